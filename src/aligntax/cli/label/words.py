"""What the commands of `aligntax label` print."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...types import Draw
from ..summary import percent, plural
from ..terminal import clean, console, cut_middle

SECONDS_EACH = 30  # what one label takes somebody who knows the work, before we have measured it
_MOST_SLICES = 20
_WIDEST = 120
_NUMBERS_WIDTH = 52  # characters that the columns of numbers take


def print_plan(draw: Draw, expected: Sequence[Mapping[str, Any]], store: str) -> None:
    """The draw for a person: how many, with what to expect of them, and what to do next."""
    screen = console()
    screen.width = min(screen.width, _WIDEST)
    asked = expected[-1]["labels"]  # the last row is the whole
    screen.print(
        Text(
            f"Draw {draw.id[:8]}: {asked:,} of {plural(draw.population, 'exchange')} to label, "
            f"kept in {clean(store)}",
            "bold",
        )
    )
    screen.print()
    screen.print(_table(draw, expected, screen))
    screen.print()
    for line in _notes(draw, asked):
        screen.print(Text(line))
    screen.print()
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=6, style="bold")
    grid.add_column()
    grid.add_row("Next", "aligntax label serve --annotator NAME: one link a person, in the browser")
    grid.add_row("", "aligntax label export tasks.csv, then aligntax label import tasks.csv: elsewhere")
    screen.print(grid)


def plan_document(draw: Draw, expected: Sequence[Mapping[str, Any]]) -> str:
    """The draw as JSON in ASCII: strata with sizes and inclusion probabilities, and what to expect."""
    strata = [
        {**msgspec.to_builtins(stratum), "inclusion_probability": stratum.labels / stratum.size}
        for stratum in draw.strata
    ]
    whole = {**msgspec.to_builtins(draw), "strata": strata}
    return json.dumps({"format": 1, "draw": whole, "expected": list(expected)}, indent=2, default=str)


def slice_words(values: Sequence[object]) -> str:
    """The values of a slice as one name."""
    return " · ".join("(none)" if value is None else clean(str(value)) for value in values) or "all"


def _table(draw: Draw, expected: Sequence[Mapping[str, Any]], screen: Console) -> Table:
    room = max(screen.width - _NUMBERS_WIDTH, 12)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column(cut_middle(" / ".join(draw.by), room) or "slice", max_width=room, no_wrap=True)
    for heading in ("exchanges", "to label", "expected not complete"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in [*expected[:-1][:_MOST_SLICES], expected[-1]]:
        table.add_row(
            Text("all" if row["slice"] is None else cut_middle(slice_words(row["slice"]), room)),
            f"{row['exchanges']:,}",
            f"{row['labels']:,}",
            f"{percent(row['value'])}  ({percent(row['low'])} to {percent(row['high'])})",
        )
    if len(expected) > _MOST_SLICES + 1:
        table.add_row(Text(f"{plural(len(expected) - _MOST_SLICES - 1, 'more slice')} not shown", "dim"))
    return table


def _notes(draw: Draw, asked: int) -> Iterator[str]:
    pilot = sum(stratum.pilot for stratum in draw.strata)
    if draw.phase == "pilot" and pilot < asked:
        yield (
            f"The first {pilot:,} are a pilot; after it the other {asked - pilot:,} are drawn where they tell most."
        )
    hours = asked * (1 + draw.double_share) * SECONDS_EACH / 3600
    yield (
        f"{percent(draw.double_share)} are labelled by two people, where there are two. "
        f"At {SECONDS_EACH} seconds each that is about {hours:.1f} hours of work in all."
    )
    if draw.recalibration:
        yield "The detector's scores are recalibrated by the labels of an earlier draw."
    left_out = [f"{count:,} {outcome.replace('_', ' ')}" for outcome, count in draw.left_out.items() if count]
    if left_out:
        yield f"Nobody can label: {', '.join(left_out)}."
    yield f"Seed {draw.seed}; every exchange's chance to be drawn is stored with the draw (--json shows them)."


def print_status(state: Mapping[str, Any]) -> None:
    """How far a draw is, for a person."""
    screen = console()
    screen.width = min(screen.width, _WIDEST)
    done, asked = state["labelled"], state["to_label"]
    part = " of the pilot" if state["phase"] == "pilot" else ""
    screen.print(
        Text(f"Draw {state['draw'][:8]}: {done:,} of {asked:,} exchanges{part} are labelled", "bold")
    )
    for person in state["people"]:
        each = f", {person['seconds_each']:.0f} seconds each" if person["seconds_each"] else ""
        screen.print(Text(f"{clean(person['name'])}: {plural(person['labels'], 'label')}{each}"))
    for line in _open_work(state):
        screen.print(Text(line))


def _open_work(state: Mapping[str, Any]) -> Iterator[str]:
    if state["phase"] == "pilot":
        yield "Once it is complete, the rest is drawn where it tells most."
    if state["double_left"]:
        yield f"{plural(state['double_left'], 'exchange')} wait for a second person."
    if state["planted_left"]:
        yield f"{plural(state['planted_left'], 'planted item')} to check the annotators, on top."
    if state["disagreements"]:
        yield (
            f"{plural(state['disagreements'], 'disagreement')} to settle: "
            "aligntax label serve --adjudicator NAME"
        )
    if state["labelled"] >= state["to_label"]:
        yield "Next: aligntax estimate VERDICTS"
