"""What the commands of `aligntax label` print."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...estimate.agreeing import ENOUGH_ITEMS
from ...types import Draw
from ..summary import percent, plural
from ..terminal import clean, console, cut_middle

SECONDS_EACH = 30  # what one label takes somebody who knows the work, before we have measured it
_MOST_SLICES = 20
_WIDEST = 120
_NUMBERS_WIDTH = 52  # characters that the columns of numbers take

_Row = TypeVar("_Row")


def fitted(names: Sequence[str], room: int) -> list[str]:
    """The names within `room` characters each; names that differ do so still, as far as there is room."""
    cut = [cut_middle(name, room) for name in names]
    groups: dict[str, set[str]] = {}
    for short, name in zip(cut, names, strict=True):
        groups.setdefault(short, set()).add(name)
    return [
        _around(name, _first_difference(groups[short]), room) if len(groups[short]) > 1 else short
        for short, name in zip(cut, names, strict=True)
    ]


def _first_difference(names: Collection[str]) -> int:
    first, last = min(names), max(names)  # every other name begins as these two do
    return next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))


def _around(name: str, place: int, room: int) -> str:
    """The part of a name that begins some characters before `place`."""
    start = max(place - room // 3, 0)
    end = start + room - (start > 0)
    if end >= len(name):
        return f"…{name[len(name) - room + 1 :]}"
    return f"{'…' * (start > 0)}{name[start : end - 1]}…"


def show(draw_page: Callable[[Console], None]) -> None:
    """Print what is drawn on a screen of the terminal's width, without the blanks that fill its lines."""
    screen = console()
    with screen.capture() as printed:
        screen.width = min(screen.width, _WIDEST)
        draw_page(screen)
    click.echo("\n".join(line.rstrip() for line in printed.get().splitlines()), color=True)


def print_lines(title: str, lines: Sequence[str], screen: Console) -> None:
    """A block of lines beside its title; nothing where there are none."""
    if not lines:
        return
    screen.print()
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=6, style="bold")
    grid.add_column()
    for number, line in enumerate(lines):
        grid.add_row("" if number else title, Text(line))
    screen.print(grid)


def print_plan(draw: Draw, expected: Sequence[Mapping[str, Any]], store: str) -> None:
    """The draw for a person: how many, with what to expect of them, and what to do next."""
    asked = expected[-1]["labels"]  # the last row is the whole

    def page(screen: Console) -> None:
        first = f"Draw {draw.id[:8]}: {asked:,} of {plural(draw.population, 'exchange')} to label"
        screen.print(Text(f"{first}, kept in {clean(store)}", "bold"))
        screen.print()
        screen.print(_table(draw, expected, screen))
        screen.print()
        for line in _notes(draw, asked):
            screen.print(Text(line))
        print_lines("Next", list(_next(draw, asked)), screen)

    show(page)


def _next(draw: Draw, asked: int) -> Iterator[str]:
    yield "in the browser, a link for each person:"
    yield "  aligntax label serve --annotator NAME"
    yield "elsewhere, such as in a spreadsheet:"
    yield "  aligntax label export tasks.csv"
    yield "  aligntax label import tasks.csv --annotator NAME"
    if _pilot(draw) < asked and draw.phase == "pilot":
        yield "  and both again for what is drawn after the pilot"


def _pilot(draw: Draw) -> int:
    return sum(stratum.pilot for stratum in draw.strata)


def plan_document(draw: Draw, expected: Sequence[Mapping[str, Any]]) -> str:
    """The draw as JSON in ASCII: strata with sizes and inclusion probabilities, and what to expect."""
    strata = [
        {**msgspec.to_builtins(stratum), "inclusion_probability": stratum.labels / stratum.size}
        for stratum in draw.strata
    ]
    whole = {**msgspec.to_builtins(draw), "strata": strata}
    return json_text({"format": 1, "draw": whole, "expected": list(expected)})


def json_text(document: Mapping[str, Any]) -> str:
    """One JSON document in ASCII; what is not a number is null."""
    return json.dumps(_numbers(msgspec.to_builtins(document)), indent=2, allow_nan=False)


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _numbers(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_numbers(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def slice_words(values: Sequence[object]) -> str:
    """The values of a slice as one name."""
    return " · ".join("(none)" if value is None else clean(str(value)) for value in values) or "all"


def _table(draw: Draw, expected: Sequence[Mapping[str, Any]], screen: Console) -> Table:
    room = max(screen.width - _NUMBERS_WIDTH, 12)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column(cut_middle(" / ".join(draw.by), room) or "slice", max_width=room, no_wrap=True)
    for heading in ("exchanges", "to label", "expected not complete"):
        table.add_column(heading, justify="right", no_wrap=True)
    slices = expected[:-1] if expected[0]["slice"] is not None and len(expected) > 1 else []
    shown = largest(slices, _MOST_SLICES, lambda row: int(row["exchanges"]))
    names = [*fitted([slice_words(row["slice"]) for row in shown], room), "all"]
    for name, row in zip(names, [*shown, expected[-1]], strict=True):
        table.add_row(
            Text(name),
            f"{row['exchanges']:,}",
            f"{row['labels']:,}",
            f"{percent(row['value'])}  ({percent(row['low'])} to {percent(row['high'])})",
        )
    return table


def largest(rows: Sequence[_Row], most: int, size: Callable[[_Row], int]) -> list[_Row]:
    """The rows in their order; where there are too many, the largest of them."""
    kept = sorted(range(len(rows)), key=lambda number: (-size(rows[number]), number))[:most]
    return [rows[number] for number in sorted(kept)]


def _notes(draw: Draw, asked: int) -> Iterator[str]:
    slices = len({stratum.slice for stratum in draw.strata})
    if slices > _MOST_SLICES:
        yield f"These are the {_MOST_SLICES} largest of {slices} slices; --json has them all."
    pilot = _pilot(draw)
    if draw.phase == "pilot" and pilot < asked:
        yield (
            f"The first {pilot:,} are a pilot; after it the other {asked - pilot:,} "
            f"{'is' if asked - pilot == 1 else 'are'} drawn where they tell most."
        )
    hours = asked * (1 + draw.double_share) * SECONDS_EACH / 3600
    work = f"{hours:.1f} hours" if hours >= 1 else plural(max(round(hours * 60), 1), "minute")
    yield (
        f"{percent(draw.double_share)} are labelled by two people, where there are two. "
        f"At {SECONDS_EACH} seconds each that is about {work} of work in all."
    )
    if draw.recalibration:
        yield "The detector's scores are recalibrated by the labels of an earlier draw."
    left_out = outcome_words(draw.left_out)
    if left_out:
        yield f"Nobody can label: {left_out}."
    yield f"Seed {draw.seed}; every exchange's chance to be drawn is stored with the draw (--json shows them)."


_OUTCOMES = {
    "truncated": ("answer cut at a length limit", "answers cut at a length limit"),
    "empty": ("empty answer", "empty answers"),
    "tool_call": ("tool call", "tool calls"),
    "error": ("failed call", "failed calls"),
}


def outcome_words(counts: Mapping[str, int]) -> str:
    """5 empty answers, 1 tool call."""
    return ", ".join(
        f"{count:,} {_OUTCOMES.get(outcome, (outcome, outcome))[count != 1]}"
        for outcome, count in counts.items()
        if count
    )


def print_status(state: Mapping[str, Any]) -> None:
    """How far a draw is, for a person."""
    of_pilot = " of the pilot" if state["phase"] == "pilot" else ""

    def page(screen: Console) -> None:
        done, asked = state["labelled"], state["to_label"]
        head = f"Draw {state['draw'][:8]}: {done:,} of {plural(asked, 'exchange')}{of_pilot} labelled"
        screen.print(Text(head, "bold"))
        for person in state["people"]:
            each = f", {person['seconds_each']:.0f} seconds each" if person["seconds_each"] else ""
            screen.print(Text(f"{clean(person['name'])}: {plural(person['labels'], 'label')}{each}"))
        for line in _open_work(state):
            screen.print(Text(line))
        print_lines("Next", list(_after_status(state)), screen)

    show(page)


def _open_work(state: Mapping[str, Any]) -> Iterator[str]:
    if state["phase"] == "pilot":
        more = state["to_label_in_all"] - state["to_label"]
        yield f"Once the pilot is complete, {more:,} more are drawn where they tell most."
    if state["planted_left"]:
        yield f"{plural(state['planted_left'], 'planted item')} to check the annotators, on top."
    if state["double_left"]:
        waits = "waits" if state["double_left"] == 1 else "wait"
        yield f"{plural(state['double_left'], 'exchange')} {waits} for a second person."
    if state["agreement"]:
        yield from agreement_words(state["agreement"])
    if state["disagreements"]:
        yield f"{plural(state['disagreements'], 'disagreement')} to settle."


def agreement_words(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """How far people agree, an axis a line; that nobody knows where no axis has been measured."""
    measured = [row for row in rows if row["alpha"] is not None and row["items"] >= ENOUGH_ITEMS]
    for row in measured:
        yield (
            f"agreement on {row['axis'].replace('_', ' ')}: alpha {_bare(row['alpha'])} "
            f"({_bare(row['low'])} to {_bare(row['high'])}), AC1 {_bare(row['ac1'])}, "
            f"positive agreement {_bare(row['positive_agreement'])}, {plural(row['items'], 'item')}: {row['verdict']}"
        )
    if not measured:
        yield (
            f"agreement: not measured; it takes {ENOUGH_ITEMS} exchanges that two people have labelled, "
            "not all of them alike"
        )


def _bare(number: float | None) -> str:
    """As statistics print it: .41."""
    return "–" if number is None else f"{number:.2f}".replace("0.", ".", 1)


def _after_status(state: Mapping[str, Any]) -> Iterator[str]:
    if state["labelled"] < state["to_label"]:
        yield "aligntax label serve --annotator NAME"
        return
    if state["disagreements"]:
        yield "aligntax label serve --adjudicator NAME"
    yield f"aligntax estimate {clean(state['source']) or 'VERDICTS'}"
