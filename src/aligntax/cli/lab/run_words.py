"""A run of the laboratory for the terminal, and how far it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..terminal import console

if TYPE_CHECKING:
    from rich.progress import Progress

    from ...lab.experiment import Results
    from ...lab.findings import Row
    from ...lab.over_seeds import OverSeeds

_WIDEST = 120
_PATIENCE_S = 2.0
_ROOMY = 100


def listing() -> str:
    """The methods, a line each."""
    from ...lab.methods import METHODS

    screen = console()
    with screen.capture() as printed:
        screen.width = min(screen.width, _WIDEST)
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, told in METHODS.items():
            table.add_row(name, f"{told.about}{' (in every run)' if told.always else ''}")
        screen.print(table)
    return _without_tails(printed.get())


def page(results: Results, out: Path) -> str:
    """Headline, answers, table of methods, where the report is."""
    screen = console()
    with screen.capture() as printed:
        screen.width = min(screen.width, _WIDEST)
        _print(results, out, screen)
    return _without_tails(printed.get())


def _print(results: Results, out: Path, screen: Console) -> None:
    from ...lab.answers import RULE, headline, questions_of
    from ...lab.findings import AT, rows_of

    screen.print(Text(headline(results), style="bold"))
    for question in questions_of(results):
        screen.print()
        screen.print(Text(question.asked, style="bold"))
        for text in question.answer:
            screen.print(Padding(Text(text), (0, 0, 0, 2)))
    screen.print()
    screen.print(Text(f"Usefulness at safety {AT:g}, on the report prompts", style="bold"))
    screen.print(Padding(_table(results, rows_of(results), narrow=screen.width < _ROOMY), (0, 0, 0, 2)))
    screen.print()
    screen.print(Text(RULE, style="dim"))
    screen.print(Text(_cost(results), style="dim"))
    screen.print(f"Report: {out}")


def _table(results: Results, rows: tuple[Row, ...], *, narrow: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1 if narrow else 2, 0, 0), header_style="dim")
    table.add_column("method", no_wrap=True)
    for ground in results.grounds:
        table.add_column(
            f"s{ground.seed}" if narrow else f"seed {ground.seed}", justify="right", no_wrap=True
        )
    last = ("area",) if narrow else ("area", "CPU s")
    for name in ("mean", "SAFE", "CAP", "OVER", *last):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        useful = row.scores["UTIL"]
        cells = ["none" if value is None else f"{value:.2f}" for value in useful.values]
        cells += [
            _mean(numbers) for numbers in (useful, *(row.scores[name] for name in ("SAFE", "CAP", "OVER")))
        ]
        cells += [_mean(row.hypervolume), *(() if narrow else (f"{row.cpu_s:.0f}",))]
        table.add_row(row.label, *cells)
    return table


def _mean(numbers: OverSeeds) -> str:
    value = numbers.mean.value
    return "none" if value is None else f"{value:.2f}{'' if numbers.whole else '*'}"


def _cost(results: Results) -> str:
    plan = results.plan
    bases = (
        f", {results.pretraining_s:.0f} for the bases"
        if results.pretraining_s > 1
        else ", bases from the cache"
    )
    kept = f"; {results.resumed} results from an earlier run" if results.resumed else ""
    lacking = " * not on every seed." if any(point is None for point in _chosen(results)) else ""
    return (
        f"{plan.budget('sft')} states a training method and seed, {plan.evaluations} any other; area: hypervolume. {results.cpu_s:.0f} CPU seconds{bases}{kept}. "
        f"Recipe {results.digest}.{lacking}"
    )


def _chosen(results: Results) -> list[float | None]:
    from ...lab.findings import rows_of

    return [value for row in rows_of(results) for value in row.scores["UTIL"].values]


def _without_tails(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines())


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr: only on a terminal, and only for what takes more than two seconds."""
    started, wanted = time.monotonic(), sys.stderr.isatty()
    bar: Progress | None = None

    def tell(what: str, done: int, total: int) -> None:
        nonlocal bar
        if not wanted or (bar is None and time.monotonic() - started < _PATIENCE_S):
            return
        if bar is None:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            bar = Progress(
                BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"),
                console=Console(stderr=True), transient=True,
            )  # fmt: skip
            bar.add_task("")
            bar.start()
        bar.update(bar.task_ids[0], description=what, completed=done, total=total)

    try:
        yield tell
    finally:
        if bar is not None:
            bar.stop()
