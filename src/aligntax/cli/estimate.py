"""`aligntax estimate`: verdicts and labels in, corrected rates out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .by import by_option
from .where import store_option

if TYPE_CHECKING:
    from ..estimate.correction import Population


@click.command("estimate", short_help="Rates corrected by labels, with intervals.")
@click.argument("verdicts", type=click.Path(dir_okay=False, path_type=Path), metavar="VERDICTS")
@by_option
@click.option(
    "--level",
    type=click.FloatRange(0.5, 1, max_open=True, min_open=True),
    default=0.95,
    show_default=True,
    metavar="LEVEL",
    help="Confidence of the intervals.",
)
@click.option(
    "--population",
    type=click.Choice(["future", "log"]),
    default="future",
    show_default=True,
    help="What the rates speak for: traffic like this, or just these exchanges.",
)
@click.option(
    "--random-sample",
    is_flag=True,
    help="All labelled exchanges were drawn at random: use those too that no draw asked for.",
)
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the tables.")
def command(
    verdicts: Path,
    by: tuple[str, ...] | None,
    level: float,
    population: Population,
    random_sample: bool,
    where: str | None,
    as_json: bool,
) -> None:
    """Correct the rates of VERDICTS by the labels of the draw that was made from it.

    How often requests that should have been answered were not, and how sure that is. A slice without labels is
    printed as UNCORRECTED; an axis on which annotators disagree gets no rate. Where there is a draw, its own slices are
    the default of --by.
    """
    from ..verdict_file import scan_verdicts
    from .corrected import estimates, keep
    from .corrected_words import document, print_estimates
    from .where import labels_if_any

    frame = scan_verdicts(verdicts)
    with labels_if_any(where) as store:
        found = estimates(
            store,
            frame,
            source=verdicts.name,
            by=by,
            level=level,
            population=population,
            random_sample=random_sample,
        )
        if store is not None:
            keep(store, found.survey, source=verdicts)
    if as_json:
        click.echo(document(found))
    else:
        print_estimates(found)
