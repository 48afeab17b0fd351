"""`aligntax label export`: tasks for another tool, or the labels that were given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..where import store_option

if TYPE_CHECKING:
    from ...store import Store
    from ...types import Draw, Item

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
    "--annotator",
    metavar="NAME",
    help="Write what NAME may still label, second labels too.  [default: what nobody has labelled]",
)
@click.option(
    "--labels", is_flag=True, help="Write the labels that were given, instead of the tasks to label."
)
@store_option
def command(
    out: Path,
    draw: str | None,
    file_format: str | None,
    annotator: str | None,
    labels: bool,
    where: str | None,
) -> None:
    """Write FILE with the exchanges that are to be labelled, for a tool of your own.

    The file holds what people wrote, and neither models nor scores. Exchanges of the second phase are in it once
    the pilot is labelled.
    """
    if labels and annotator:
        raise click.UsageError("--labels writes everybody's labels; --annotator is for tasks")
    from ...label.formats import format_of, write_annotations, write_tasks
    from ..summary import plural
    from ..terminal import clean
    from ..where import open_labels
    from .which import newest

    kind = file_format or format_of(out)
    with open_labels(where) as store:
        chosen = newest(store, draw)
        if labels:
            given = store.annotations(chosen.id)
            write_annotations(out, given, format=kind)
            click.echo(f"{clean(str(out))}: {plural(len(given), 'label')}")
            return
        tasks = _open_tasks(store, chosen, annotator)
        write_tasks(out, tasks, format=kind)
    of_pilot = ", the pilot; export again when these are labelled" if chosen.phase == "pilot" else ""
    click.echo(f"{clean(str(out))}: {plural(len(tasks), 'exchange')} to label{of_pilot}")


def _open_tasks(store: Store, draw: Draw, annotator: str | None) -> list[Item]:
    """What nobody has labelled; with a name, what this person has not, and others have not often enough."""
    from ...errors import InputError

    people: dict[str, set[str]] = {}
    for note in store.annotations(draw.id):
        people.setdefault(note.exchange, set()).add(note.annotator)

    def is_open(item: Item) -> bool:
        given = people.get(item.exchange, set())
        return annotator not in given and len(given) < item.wanted if annotator else not given

    tasks = [item for item in store.items(draw.id) if item.phase != "reserve" and is_open(item)]
    if not tasks:
        raise InputError(
            "nothing is left to label" + (" for this person" if annotator else ""),
            where=f"draw {draw.id[:8]}",
            remedy="aligntax label status says what is done; --labels writes the labels",
        )
    return tasks
