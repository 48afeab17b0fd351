"""`aligntax label export`: tasks for another tool, or the labels that were given."""

from __future__ import annotations

from pathlib import Path

import click

from ..where import store_option

FORMATS = ("csv", "jsonl", "label_studio", "argilla")


@click.command("export", short_help="Write tasks to label elsewhere, or finished labels.")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE")
@click.option("--draw", metavar="DRAW", help="Which draw.  [default: the newest]")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(FORMATS),
    help="[default: by the ending of FILE: .csv, .jsonl; .json is Label Studio]",
)
@click.option(
    "--labels", is_flag=True, help="Write the labels that were given, instead of the tasks to label."
)
@store_option
def command(out: Path, draw: str | None, file_format: str | None, labels: bool, where: str | None) -> None:
    """Write FILE with the exchanges that are to be labelled, for a tool of your own.

    The file holds what people wrote, and neither models nor scores. Exchanges of the second phase are in it once
    the pilot is labelled.
    """
    from ...label.formats import format_of, write_annotations, write_tasks
    from ..terminal import clean
    from ..where import open_store
    from .which import newest

    kind = file_format or format_of(out)
    with open_store(where) as store:
        chosen = newest(store, draw)
        if labels:
            given = store.annotations(chosen.id)
            write_annotations(out, given, format=kind)
            count = len(given)
        else:
            tasks = [item for item in store.items(chosen.id) if item.phase != "reserve"]
            write_tasks(out, tasks, format=kind)
            count = len(tasks)
    click.echo(f"{clean(str(out))}: {count:,} {'labels' if labels else 'exchanges to label'}")
