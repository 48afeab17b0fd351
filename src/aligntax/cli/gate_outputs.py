"""A decision of the gate for people, for CI systems and for programs."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..errors import InputError
from ..floor import Finding, Ruling, words
from ..floor.github import workflow_commands
from ..floor.junit import junit_xml
from ..floor.markdown import markdown
from .gate_record import Decided
from .terminal import clean, console, cut_middle

_WIDEST = 120
_HEADINGS = ("", "rule", "limit", "value (bounds)", "labels")
_STYLE = {Ruling.PASS: "green", Ruling.FAIL: "bold red", Ruling.TOO_LITTLE_DATA: "yellow"}


def check_folders(*paths: Path | None) -> None:
    """Refuse before the estimates what could not be written after them."""
    for path in paths:
        if path is not None and not path.absolute().parent.is_dir():
            raise InputError("the folder does not exist", where=str(path.parent), remedy="create it first")


def write_outputs(decided: Decided, *, junit: Path | None, markdown: Path | None) -> None:
    """Write the files that were asked for, and add to the summary of a GitHub job."""
    if junit:
        _write(junit, _junit(decided))
    if markdown:
        _write(markdown, _markdown(decided))
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(f"{_markdown(decided)}\n")
        except OSError as error:
            click.echo(f"warning: the job summary cannot be written: {error.strerror}", err=True)


def print_decision(decided: Decided, *, as_json: bool) -> None:
    """Print the table, or one JSON document; in GitHub Actions also what it shows beside the job."""
    in_github = bool(os.environ.get("GITHUB_ACTIONS"))
    text = _document(decided) if as_json else _page(decided)
    if not in_github:
        click.echo(text, color=None if as_json else True)
        return
    # Names from a log could pass for workflow commands: none are read until the token comes back.
    token = secrets.token_hex(16)
    if as_json:  # standard output is the document and nothing else; commands are read from standard error too
        click.echo(text.replace("##[", "#\\u0023["))
    else:
        click.echo(f"::stop-commands::{token}\n{text}\n::{token}::", color=True)
    for line in workflow_commands(decided.decision):
        click.echo(line, err=as_json)


def _document(decided: Decided) -> str:
    document: dict[str, Any] = {**decided.record, "notes": list(decided.notes)}
    return json.dumps(document, indent=2)


def _junit(decided: Decided) -> str:
    inputs = decided.record["inputs"]
    facts = {
        "decision": decided.id,
        "config.sha256": inputs["config"]["sha256"],
        "verdicts.sha256": inputs["candidate"]["verdicts"]["sha256"],
        "labels": str(inputs["candidate"]["labels"]["count"]),
        "labels.newest": str(inputs["candidate"]["labels"]["newest"]),
    }
    time = dt.datetime.fromisoformat(decided.record["time"])
    return junit_xml(decided.decision, properties=facts, time=time)


def _markdown(decided: Decided) -> str:
    return markdown(decided.decision, title=_title(decided), notes=(*decided.notes, _kept(decided)))


def _title(decided: Decided) -> str:
    model = decided.record["inputs"]["candidate"]["model"]
    return f"{model} in {decided.verdicts.name}" if model else decided.verdicts.name


def _kept(decided: Decided) -> str:
    labels = decided.record["inputs"]["candidate"]["labels"]
    newest = f", the newest of {labels['newest'][:10]}" if labels["newest"] else ""
    return f"decision {decided.id} is kept; it rests on {labels['count']:,} labels{newest}"


def _page(decided: Decided) -> str:
    screen = console()
    with screen.capture() as printed:
        _print(decided, screen)
    return "\n".join(line.rstrip() for line in printed.get().splitlines())


def _print(decided: Decided, screen: Console) -> None:
    screen.width = min(screen.width, _WIDEST)
    decision = decided.decision
    screen.print(
        Text.assemble(
            (words.RULING[decision.ruling], _STYLE[decision.ruling]),
            f"  {clean(_title(decided))}: {words.headline(decision)}",
        )
    )
    screen.print()
    for part in _tables(decided, screen.width):
        screen.print(part)
    why = [finding for finding in decision.findings if finding.ruling != Ruling.PASS or _close(finding)]
    if why:
        screen.print()
        screen.print(Text("Why", "bold"))
        for finding in why:
            _print_reason(finding, screen)
    screen.print()
    for note in _notes(decided):
        screen.print(Padding(Text(clean(note), "dim"), 0))


def _notes(decided: Decided) -> Iterator[str]:
    uncorrected = sum(not finding.corrected and not finding.n_labels for finding in decided.decision.findings)
    if uncorrected:
        yield (
            f"UNCORRECTED: {uncorrected} of the rates are the detector's own. Label a sample: "
            f"aligntax label plan {decided.verdicts}"
        )
    yield from decided.notes
    yield words.confidence_note(decided.decision)
    yield _kept(decided)


def _tables(decided: Decided, width: int) -> Iterator[Text | Table]:
    """A heading and a table for each use case; columns stand under one another."""
    findings = decided.decision.findings
    rows = [_cells(finding) for finding in findings]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    widths[1] = max(min(widths[1] + 2, width - sum(widths) + widths[1] - 8), 12)
    grouped = itertools.groupby(zip(findings, rows, strict=True), key=lambda pair: pair[0].rule.use_case)
    yield _columns(widths, header=True)
    for use_case, members in grouped:
        table = _columns(widths, header=False)
        for finding, cells in members:
            styles = (_STYLE[finding.ruling], "", "", "" if finding.corrected else "yellow", "")
            table.add_row(*(Text(cell, style) for cell, style in zip(cells, styles, strict=True)))
        yield Text(cut_middle(clean(use_case), width), "bold")
        yield table


def _columns(widths: list[int], *, header: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=header, header_style="dim")
    for at, (heading, width) in enumerate(zip(_HEADINGS, widths, strict=True)):
        table.add_column(heading, width=width, justify="left" if at < 2 else "right", overflow="fold")
    return table


def _cells(finding: Finding) -> tuple[str, str, str, str, str]:
    rule = finding.rule
    return (
        words.RULING[finding.ruling],
        words.rule(rule),
        words.limit(rule).replace(" point", " pt"),
        words.measured(finding),
        f"{finding.n_labels:,}",
    )


def _close(finding: Finding) -> bool:
    """Passed, though the rate may be above the limit by less than what matters."""
    return finding.high is not None and finding.high > finding.rule.limit + 1e-9


def _print_reason(finding: Finding, screen: Console) -> None:
    use_case = cut_middle(clean(finding.rule.use_case), 40)
    line = Text.assemble(
        (use_case, "bold"), ", ", words.kind(finding.rule), ": ", clean(finding.sentence), "."
    )
    screen.print(Padding(line, (0, 0, 0, 2)))


def _write(path: Path, text: str) -> None:
    """All or nothing: a CI system never reads half a file."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        draft.write_text(text, encoding="utf-8", newline="\n")
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise InputError(
            f"this cannot be written: {error.strerror}",
            where=str(path),
            remedy="give a file in a folder you may write to",
        ) from error
