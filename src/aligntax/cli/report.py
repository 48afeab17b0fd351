"""`aligntax report`: a page from verdicts that were kept."""

from __future__ import annotations

from pathlib import Path

import click

from .by import by_option


@click.command("report", short_help="Write the HTML page of verdicts that scan has kept.")
@click.argument("verdicts", type=click.Path(dir_okay=False, path_type=Path), metavar="VERDICTS")
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE",
    help="Where to write the page: one HTML file, no network.",
)
@by_option
def command(verdicts: Path, out: Path, by: tuple[str, ...] | None) -> None:
    """Write an HTML page from VERDICTS, a file that `aligntax scan -o` has written.

    The page quotes what people wrote, unless the scan was run with --no-text.
    """
    from ..report import write_report
    from ..verdict_file import scan_verdicts
    from .result import default_slices
    from .terminal import clean

    frame = scan_verdicts(verdicts)
    write_report(frame, out, by=default_slices(frame) if by is None else by, source=verdicts.name)
    click.echo(f"{clean(str(out))}: open it in a browser")
