"""`aligntax suite review`: a review table in the browser."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("review", short_help="Review prompts or twins in the browser.")
@click.argument("table", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.csv")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8601,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
def command(table: Path, port: int) -> None:
    """Decide the rows of FILE.csv one by one in the browser, on this machine, until Ctrl-C.

    FILE.csv is what --review of aligntax suite from-logs or of aligntax twins has written. Every decision is in the
    file before the next row shows, and the page does not tell where a row came from.
    """
    from ...ui.review import serve_review

    serve_review(table, port=port, announce=click.echo)
