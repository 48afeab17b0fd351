"""`aligntax label plan`: which answers to label, and what interval to expect."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..by import by_option
from ..where import store_option

if TYPE_CHECKING:
    import polars as pl


@click.command("plan", short_help="Choose which answers to label.")
@click.argument("verdicts", type=click.Path(dir_okay=False, path_type=Path), metavar="VERDICTS")
@click.option(
    "--budget",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    metavar="N",
    help="How many exchanges to label in all; slices share them.",
)
@by_option
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    metavar="N",
    help="Draw the same exchanges again.  [default: a new one, which is stored]",
)
@click.option(
    "--level",
    type=click.FloatRange(0.5, 1, max_open=True, min_open=True),
    default=0.95,
    show_default=True,
    metavar="LEVEL",
    help="Confidence of the interval that the plan expects.",
)
@click.option(
    "--logs",
    multiple=True,
    metavar="PATH",
    help="The logs that were scanned, where the verdicts were kept without text. May be repeated.",
)
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the summary.")
def command(  # noqa: PLR0913, PLR0917 - each is one option
    verdicts: Path,
    budget: int,
    by: tuple[str, ...] | None,
    seed: int | None,
    level: float,
    logs: tuple[str, ...],
    where: str | None,
    as_json: bool,
) -> None:
    """Choose from VERDICTS, a file of `aligntax scan -o`, which answers experts should label.

    Answers of which the detector is unsure are drawn more often, and every answer has a known chance. Each slice of
    --by gets labels of its own: ask for the slices that you will report. A first part is labelled, then the rest is
    drawn where it tells most.
    """
    import secrets

    from ... import campaign
    from ...verdict_file import scan_verdicts
    from ..result import default_slices
    from ..where import open_store
    from .words import plan_document, print_plan

    frame = scan_verdicts(verdicts)
    by = default_slices(frame) if by is None else by
    with open_store(where) as store:
        draw = campaign.start(
            store,
            frame,
            by=by,
            texts=_texts(logs),
            budget=budget,
            seed=secrets.randbelow(2**32) if seed is None else seed,
            level=level,
            source=verdicts.name,
            recalibration=campaign.learned(store, frame, by),
        )
        if as_json:
            click.echo(plan_document(draw, campaign.expected(draw)))
        else:
            print_plan(draw, campaign.expected(draw), store.place)


def _texts(logs: tuple[str, ...]) -> Iterable[pl.DataFrame] | None:
    from ...logs import read

    return read(list(logs)) if logs else None
