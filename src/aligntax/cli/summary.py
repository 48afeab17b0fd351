"""What a scan prints for a person: one sentence, rates per slice, three examples, the state of the data."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..estimate import examples, summarise
from ..types import Kind, Outcome
from .evidence import evidence
from .result import ScanResult
from .terminal import clean, cut, cut_middle

UNCORRECTED = "UNCORRECTED detector rates: label a sample before you sign a number."

KIND_WORDS = {
    Kind.HARD_REFUSAL: "hard refusal",
    Kind.SOFT_REFUSAL: "soft refusal",
    Kind.HEDGING: "hedging",
    Kind.TOPIC_AVOIDANCE: "topic avoidance",
    Kind.VERBOSITY_INFLATION: "verbosity inflation",
}

_COLUMNS = (  # column of the summary, heading, heading where space is short
    ("not_complete", "not\ncomplete", "not\ncom-\nplete"),
    ("hard_refusal", "hard\nrefusal", "hard\nrefu-\nsal"),
    ("soft_refusal", "soft\nrefusal", "soft\nrefu-\nsal"),
    ("hedging", "hedging", "hedg-\ning"),
    ("topic_avoidance", "topic\navoidance", "avoid-\nance"),
    ("verbosity_inflation", "verbosity\ninflation", "infla-\ntion"),
    ("undetermined", "undeter-\nmined", "unde-\nter-\nmined"),
    ("provider_blocked", "provider\nblocked", "block-\ned"),
)
_MOST_SLICES = 20
_MOST_PROBLEMS = 3
_EXAMPLES = 3
_WIDEST = 120
_NUMBERS_WIDE, _NUMBERS_NARROW = 90, 58  # characters that the columns of numbers take
_NARROW = 110  # columns of a terminal under which the headings are broken


def headline(total: Mapping[str, Any]) -> str:
    """One sentence that adds up: every counted exchange is in one of its shares."""
    exchanges = plural(total["exchanges"], "exchange")
    if not total["counted"]:
        return f"{exchanges}, and every call failed: there is nothing to count."
    other = total["truncated"] + total["empty"] + total["tool_call"]
    shares = [
        f"{percent(total['complete'])} complete",
        f"{percent(total['partially_hedged'])} partially hedged",
        f"{percent(total['refused'])} refused",
        f"{percent(total['undetermined'])} undetermined",
        f"{percent(total['provider_blocked'])} blocked by the provider",
    ]
    if other:
        shares.append(f"{percent(other)} not answers (cut, empty, tool calls)")
    return f"{exchanges}: {', '.join(shares)}."


def print_summary(result: ScanResult, console: Console, *, out: Path | None, report: Path | None) -> None:
    """Write the whole summary to `console`, fitted to its width."""
    console.width = min(console.width, _WIDEST)
    console.print(Text(headline(result.total), "bold"))
    console.print(Text(UNCORRECTED, "yellow"))
    if result.total["counted"]:
        console.print()
        console.print(_table(result, console.width))
        _print_examples(result, console)
    _print_lines("Data", list(_data_notes(result)), console)
    _print_lines("Files", list(_files(result, out, report)), console)


def percent(share: float | None) -> str:
    """14%; a trace never reads as none, nor nearly all as all; a dash where there is no rate."""
    if share is None:
        return "–"
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"


def plural(number: int, noun: str) -> str:
    """1 row, 2 rows."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _table(result: ScanResult, width: int) -> Table:
    narrow = width < _NARROW
    table = Table(
        box=None, padding=(0, 1, 0, 0) if narrow else (0, 2, 0, 0), header_style="dim", pad_edge=False
    )
    room = max(width - (_NUMBERS_NARROW if narrow else _NUMBERS_WIDE), 12)
    table.add_column(
        cut_middle(" / ".join(result.by), room) or "slice",
        max_width=room,
        no_wrap=True,
        overflow="ellipsis",
        vertical="bottom",
    )
    table.add_column("n", justify="right", no_wrap=True, vertical="bottom")
    for name, wide, short in _COLUMNS:
        style = "bold" if name == "not_complete" else ""
        table.add_column(
            short if narrow else wide, justify="right", no_wrap=True, vertical="bottom", style=style
        )
    shown = (
        result.slices.sort("exchanges", descending=True)
        .head(_MOST_SLICES)
        .sort(result.by or "exchanges", nulls_last=True)
    )
    if len(result.by) > 1:
        _add_groups(table, result, shown.to_dicts())
    else:
        for row in shown.to_dicts():
            _add_row(table, _name(row, result.by), row)
    hidden = result.slices.height - shown.height
    if hidden:
        table.add_row(Text(f"{plural(hidden, 'smaller slice')} not shown", "dim"))
    if result.slices.height > 1:
        _add_row(table, "all", result.total)
    return table


def _add_groups(table: Table, result: ScanResult, rows: Sequence[dict[str, Any]]) -> None:
    """Slices under the first thing they are sliced by, which has its own rates."""
    first, *rest = result.by
    groups = {row[first]: row for row in summarise(result.verdicts, [first]).to_dicts()}
    for value, members in itertools.groupby(rows, key=lambda row: row[first]):
        _add_row(table, _name(groups[value], [first]), groups[value])
        for row in members:
            _add_row(table, _name(row, rest), row, indent="  ")


def _add_row(table: Table, name: str, row: Mapping[str, Any], indent: str = "") -> None:
    room = (table.columns[0].max_width or _WIDEST) - len(indent)
    table.add_row(
        Text(indent + cut_middle(name, room)),
        f"{row['counted']:,}",
        *(_cell(row[column]) for column, _, _ in _COLUMNS),
    )


def _cell(share: float | None) -> Text:
    return Text("·", "dim") if share == 0 else Text(percent(share))


def _name(row: Mapping[str, Any], by: Sequence[str]) -> str:
    return " · ".join("(none)" if row[name] is None else clean(str(row[name])) for name in by) or "all"


def _print_examples(result: ScanResult, console: Console) -> None:
    rows = examples(result.verdicts, _EXAMPLES).to_dicts()
    if not rows:
        return
    console.print()
    console.print(Text("Clearest examples", "bold"))
    for number, row in enumerate(rows, 1):
        facts = [f"{percent(row['probability'])} sure", *_slice_of(row), *_place_of(row)]
        console.print(
            Text.assemble(f"{number}. ", (KIND_WORDS[Kind(row["kind"])], "bold"), ", ", " · ".join(facts)),
            no_wrap=True,
            overflow="ellipsis",
        )
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=11, style="dim")
        grid.add_column()
        grid.add_row("   asked", Text(cut(clean(row["prompt"]), console.width - 14)))
        grid.add_row(
            "   answered", evidence(row, length=2 * (console.width - 14), marks=console.color_system is None)
        )
        console.print(grid)


def _slice_of(row: Mapping[str, Any]) -> list[str]:
    names = (row["use_case"], row["model_served"] or row["model_requested"])
    return [cut(clean(name), 32) for name in names if name]


def _place_of(row: Mapping[str, Any]) -> list[str]:
    """The last part of the file's path and the line: enough to find the row, short enough to be shown."""
    if row["file"] is None:
        return []
    name = clean(Path(row["file"]).name)
    return [f"{name}:{row['line']}" if row["line"] is not None else name]


def _data_notes(result: ScanResult) -> Iterator[str]:
    total, reading = result.total, result.reading
    if reading.resumed:
        yield f"{plural(reading.resumed, 'row')} came from an interrupted run"
    if reading.repeated:
        yield f"{plural(reading.repeated, 'row')} came again and {_was(reading.repeated)} not counted again"
    if reading.skipped:
        yield f"{plural(reading.skipped, 'row')} could not be read and {_was(reading.skipped)} skipped"
        for problem in reading.problems[:_MOST_PROBLEMS]:
            line = f":{problem.line}" if problem.line is not None else ""
            yield f"  {clean(problem.file)}{line}: {clean(problem.reason)}"
        if reading.skipped > _MOST_PROBLEMS:
            yield "  --json lists more of them"
    if reading.not_calls:
        yield f"{plural(reading.not_calls, 'record')} {_was(reading.not_calls)} no model calls"
    for note in reading.notes[:_MOST_PROBLEMS]:
        yield f"{clean(note.file)}: {clean(note.reason)}"
    unjudged = [
        (total["errors"], "failed call"),
        *(
            (round(total[name] * total["counted"]) if total["counted"] else 0, words)
            for name, words in (
                (Outcome.TRUNCATED.value, "answer cut at a length limit"),
                (Outcome.EMPTY.value, "empty answer"),
                (Outcome.TOOL_CALL.value, "tool call"),
            )
        ),
    ]
    parts = [f"{number:,} {_several(words, number)}" for number, words in unjudged if number]
    if parts:
        yield f"not judged: {', '.join(parts)}" + (
            " (failed calls are in no rate)" if total["errors"] else ""
        )
    if result.languages_not_judged:
        listed = ", ".join(
            f"{clean(name)} {n:,}" for name, n in list(result.languages_not_judged.items())[:6]
        )
        yield f"answers in languages the detector does not judge: {listed}"


def _files(result: ScanResult, out: Path | None, report: Path | None) -> Iterator[str]:
    if out:
        rows = result.total["exchanges"]
        yield f"{out}: {plural(rows, 'verdict')}, {result.reading.new:,} new"
    if report:
        yield f"{report}: open it in a browser"
    elif out:
        yield f"next: aligntax report {out} --out report.html"
    else:
        yield "none written; next: add --report report.html to see more, -o verdicts.parquet to keep the verdicts"


def _print_lines(title: str, lines: Sequence[str], console: Console) -> None:
    if not lines:
        return
    console.print()
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=6, style="bold")
    grid.add_column()
    for number, line in enumerate(lines):
        grid.add_row("" if number else title, Text(line))
    console.print(grid)


def _was(number: int) -> str:
    return "was" if number == 1 else "were"


def _several(words: str, number: int) -> str:
    if number == 1:
        return words
    return words.replace("answer", "answers", 1) if "answer" in words else f"{words}s"
