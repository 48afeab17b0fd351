"""`aligntax label status`: how far the labelling is."""

from __future__ import annotations

import click

from ..where import store_option


@click.command("status", short_help="How far the labelling is.")
@click.argument("draw", required=False, metavar="[DRAW]")
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the summary.")
def command(draw: str | None, where: str | None, as_json: bool) -> None:
    """Say how far DRAW (the newest one by default) is: labels done, by whom, disagreements, agreement so far."""
    from ..where import open_labels
    from .state import state_of
    from .which import newest
    from .words import json_text, print_status

    with open_labels(where) as store:
        chosen = newest(store, draw)
        state = state_of(store, chosen)
    if as_json:
        click.echo(json_text({"format": 1, **state}))
    else:
        print_status(state)
