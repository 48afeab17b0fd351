"""What `aligntax estimate` prints: the rates that can be signed, and what they rest on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import __version__
from ..estimate import Survey
from ..types import Kind
from .label.words import slice_words
from .summary import KIND_WORDS, percent, plural
from .terminal import clean, console, cut_middle

Row = Mapping[str, Any]

_STAMP = "UNCORRECTED"
_NAMES = {
    "not_complete": "not complete",
    "refused": "  refused",
    "partially_hedged": "  partially hedged",
    **{kind.value: words for kind, words in KIND_WORDS.items()},
}
_MOST_SLICES = 20
_WIDEST = 120
_NARROW = 100  # columns of a terminal under which the last columns are left out
_NUMBERS_WIDTH = {True: 62, False: 86}


def headline(found: Survey) -> str:
    """The one sentence to sign, or why there is none."""
    over, all_rates = _row(found.total, "not_complete", "should_answer"), _row(found.total, "not_complete")
    if over["corrected"] and over["value"] is not None:
        return (
            f"{_rate(over)} of the requests that should have been answered were not answered in full "
            f"({_sure(found.level)} interval {_ends(over)}; {plural(over['n_labels'], 'label')})."
        )
    if all_rates["corrected"] and all_rates["value"] is not None:
        return (
            f"{_rate(all_rates)} of the requests were not answered in full ({_sure(found.level)} interval "
            f"{_ends(all_rates)}; {plural(all_rates['n_labels'], 'label')}). Nobody said which should have been."
        )
    if all_rates["method"].startswith("withheld"):
        return f"No rate: {all_rates['method'].removeprefix('withheld: ')}."
    return (
        f"{_STAMP}: there are no labels of these verdicts, so this is what the detector says: "
        f"{percent(all_rates['raw'])} not complete."
    )


def print_estimates(found: Survey) -> None:
    """The survey for a person, fitted to the terminal."""
    screen = console()
    with screen.capture() as printed:
        screen.width = min(screen.width, _WIDEST)
        screen.print(Text(headline(found), "bold"))
        screen.print()
        screen.print(_slices(found, screen))
        screen.print()
        screen.print(_kinds(found, screen))
        for title, lines in (
            ("Beside", _beside(found)),
            ("Audit", _audit(found)),
            ("Labels", _labels(found)),
        ):
            _print_lines(title, list(lines), screen)
        if found.draw is None:
            _print_lines("Next", ["aligntax label plan VERDICTS: choose what to label"], screen)
    from click import echo

    echo("\n".join(line.rstrip() for line in printed.get().splitlines()), color=True)


def document(found: Survey) -> str:
    """The survey as JSON in ASCII."""
    tables = {
        name: None if table is None else table.to_dicts()
        for name in ("agreement", "known", "audit", "spread", "calibration")
        for table in [getattr(found, name)]
    }
    whole = {
        "format": 1,
        "versions": {"aligntax": __version__, "detector": found.draw.detector if found.draw else None},
        "headline": headline(found),
        "by": list(found.by),
        "level": found.level,
        "population": found.population,
        "draw": msgspec.to_builtins(found.draw),
        "annotators": list(found.annotators),
        "disagreements": found.disagreements,
        "total": found.total.to_dicts(),
        "slices": found.slices.to_dicts() if found.by else [],
        **tables,
    }
    return json.dumps(whole, indent=2, default=str)


def _slices(found: Survey, screen: Console) -> Table:
    """Over-refusal and incomplete answers by slice."""
    narrow = screen.width < _NARROW
    room = max(screen.width - _NUMBERS_WIDTH[narrow], 12)
    table = _table(cut_middle(" / ".join(found.by), room) or "slice", room, narrow=narrow)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("labels", justify="right", no_wrap=True)
    table.add_column("over-refused", no_wrap=True)
    table.add_column("not complete", no_wrap=True)
    if not narrow:
        table.add_column("raw", justify="right", no_wrap=True)
        table.add_column("bias", justify="right", no_wrap=True)
    for name, rows in _lines(found, room):
        _add(table, name, rows, narrow=narrow)
    return table


def _lines(found: Survey, room: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Name and rows of each line: slices under the first thing they are sliced by, the whole last."""
    groups = _by_slice(found.groups, found.by[:1])
    slices = _by_slice(found.slices, found.by)
    for key, rows in list(groups.items())[:_MOST_SLICES]:
        yield cut_middle(slice_words(key), room), rows
        if len(found.by) > 1:
            members = {other[1:]: of for other, of in slices.items() if other[:1] == key}
            for rest, of in list(members.items())[:_MOST_SLICES]:
                yield f"  {cut_middle(slice_words(rest), room - 2)}", of
    if len(groups) != 1 or not found.by:
        yield "all", found.total.filter(target="not_complete").to_dicts()


def _by_slice(table: pl.DataFrame, by: Sequence[str]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    slices: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in table.filter(target="not_complete").to_dicts() if by else ():
        slices.setdefault(tuple(row[name] for name in by), []).append(row)
    return slices


def _add(table: Table, name: str, rows: Sequence[Row], *, narrow: bool) -> None:
    over = next(row for row in rows if row["domain"] == "should_answer")
    whole = next(row for row in rows if row["domain"] == "all")
    cells = [f"{whole['n']:,}", f"{whole['n_labels']:,}", _interval(over), _interval(whole)]
    if not narrow:
        cells += [percent(whole["raw"]), _points(whole["bias"])]
    table.add_row(Text(name), *cells)


def _kinds(found: Survey, screen: Console) -> Table:
    """Every target over all exchanges."""
    narrow = screen.width < _NARROW
    room = max(screen.width - _NUMBERS_WIDTH[narrow], 19)
    table = _table("all exchanges", room, narrow=narrow)
    table.add_column("of those to answer", no_wrap=True)
    table.add_column("of all", no_wrap=True)
    table.add_column("raw", justify="right", no_wrap=True)
    table.add_column("bias", justify="right", no_wrap=True)
    for target, name in _NAMES.items():
        whole = _row(found.total, target)
        table.add_row(
            Text(name),
            _interval(_row(found.total, target, "should_answer")),
            _interval(whole),
            percent(whole["raw"]),
            _points(whole["bias"]),
        )
    return table


def _table(first: str, room: int, *, narrow: bool) -> Table:
    table = Table(
        box=None, padding=(0, 1, 0, 0) if narrow else (0, 2, 0, 0), header_style="dim", pad_edge=False
    )
    table.add_column(first, max_width=room, no_wrap=True, overflow="ellipsis")
    return table


def _beside(found: Survey) -> Iterator[str]:
    """What is counted beside the over-refusals, never inside."""
    for target, domain, words in (
        ("deserved_refusal", "all", "of all were not answered in full, and should not have been: deserved"),
        ("unclear", "all", "of all are unclear: people could not say whether they should have been answered"),
        ("harmful_compliance", "should_not_answer", "of those that should not have been answered were"),
    ):
        row = _row(found.total, target, domain)
        if row["corrected"] and row["value"] is not None:
            yield f"{_interval(row)} {words}"
    left_out = found.draw.left_out if found.draw else {}
    listed = [f"{count:,} {outcome.replace('_', ' ')}" for outcome, count in left_out.items() if count]
    if listed:
        yield f"in no rate: {', '.join(listed)}"


def _audit(found: Survey) -> Iterator[str]:
    if found.audit is None or found.draw is None:
        return
    rows = found.audit.to_dicts()
    for row in rows[:_MOST_SLICES]:
        name = slice_words([row[column] for column in found.draw.by]) if found.draw.by else ""
        yield f"{name}: {row['sentence']}" if name else row["sentence"]


def _labels(found: Survey) -> Iterator[str]:
    """Who labelled, how far they agree, and how far the rates depend on them."""
    if found.draw is None:
        return
    asked = sum(stratum.labels for stratum in found.draw.strata)
    people = ", ".join(clean(name) for name in found.annotators) or "nobody"
    yield f"{found.labelled:,} of {asked:,} exchanges labelled, by {people}" + (
        "; the pilot is not complete" if found.draw.phase == "pilot" else ""
    )
    yield from _agreement(found)
    if found.disagreements:
        yield f"{plural(found.disagreements, 'disagreement')} not settled: aligntax label serve --adjudicator NAME"
    if found.spread is not None and found.spread["annotator"].n_unique() > 1:
        values = [
            f"{clean(row['annotator'])} {percent(row['value'])}"
            for row in found.spread.filter(domain="all").to_dicts()
        ]
        yield f"not complete with each one's labels alone: {', '.join(values)}"
    if found.known is not None and found.known.height:
        yield from _known(found.known)


def _agreement(found: Survey) -> Iterator[str]:
    if found.agreement is None:
        return
    measured = [row for row in found.agreement.to_dicts() if row["alpha"] is not None and row["items"] >= 10]
    if not measured:
        yield "agreement: not measured; it takes 10 exchanges that two people have labelled"
        return
    for row in measured:
        words = KIND_WORDS.get(row["axis"], row["axis"].replace("_", " ")) if row["axis"] in set(Kind) else ""
        name = words or row["axis"].replace("_", " ")
        yield (
            f"agreement on {name}: alpha {_bare(row['alpha'])} ({_bare(row['low'])} to {_bare(row['high'])}), "
            f"AC1 {_bare(row['ac1'])}, positive agreement {_bare(row['positive_agreement'])}, "
            f"{plural(row['items'], 'item')}: {row['verdict']}"
        )


def _known(table: pl.DataFrame) -> Iterator[str]:
    totals = table.group_by("annotator").agg(pl.col("items", "right").sum()).sort("annotator")
    for name, items, right in totals.iter_rows():
        yield f"{clean(name)} got {right:,} of {items:,} answers on planted items right"


def _row(table: pl.DataFrame, target: str, domain: str = "all") -> Row:
    return table.filter(target=target, domain=domain).row(0, named=True)


def _interval(row: Row) -> str:
    """21% (13 to 31); what stands instead where there is no interval."""
    if row["method"].startswith("withheld"):
        return "withheld"
    if not row["corrected"]:
        return _STAMP if row["raw"] is not None else "no labels"
    if row["value"] is None:
        return "nothing labelled"
    return f"{_rate(row)} ({_ends(row)})"


def _rate(row: Row) -> str:
    return percent(row["value"]) if row["value"] >= 0.1 or row["value"] == 0 else f"{row['value']:.1%}"


def _ends(row: Row) -> str:
    """13 to 31: percent, with a decimal where whole ones would say little."""
    fine = row["high"] < 0.1
    low, high = (f"{100 * row[end]:.1f}" if fine else f"{100 * row[end]:.0f}" for end in ("low", "high"))
    return f"{low} to {high}"


def _points(bias: float | None) -> str:
    return "–" if bias is None else f"{100 * bias:+.0f}"


def _bare(number: float | None) -> str:
    """As statistics print it: .41."""
    return "–" if number is None else f"{number:.2f}".replace("0.", ".", 1)


def _sure(level: float) -> str:
    return f"{100 * level:g} %"


def _print_lines(title: str, lines: Sequence[str], screen: Console) -> None:
    if not lines:
        return
    screen.print()
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=6, style="bold")
    grid.add_column()
    for number, line in enumerate(lines):
        grid.add_row("" if number else title, Text(line))
    screen.print(grid)
