"""`aligntax label import`: labels made elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..where import store_option

if TYPE_CHECKING:
    from ...campaign import Imported
    from ...label.formats import Reading

_MOST_PROBLEMS = 10


@click.command("import", short_help="Take over labels made elsewhere.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, dir_okay=False), metavar="FILES...")
@click.option("--draw", metavar="DRAW", help="Which draw they belong to.  [default: the newest]")
@click.option("--annotator", metavar="NAME", help="Who labelled, where the file does not say.")
@click.option(
    "--format",
    "file_format",
    default="auto",
    metavar="NAME",
    help="csv, jsonl, label_studio or argilla, when it is not recognised.",
)
@click.option("--skip-bad", is_flag=True, help="Take over the good rows of a file that has bad ones.")
@click.option(
    "--sample", is_flag=True, help="Take the labels of the sample log's author for what is left to label."
)
@store_option
def command(
    files: tuple[Path, ...],
    draw: str | None,
    annotator: str | None,
    file_format: str,
    skip_bad: bool,
    sample: bool,
    where: str | None,
) -> None:
    """Take over labels from FILES (CSV, JSON lines, Label Studio or Argilla), all of them or none.

    Rows name their exchange by aligntax's id or by the log's own. Labels of exchanges that the draw did not ask for
    are counted and left out: nobody knows how they were chosen. What other people have labelled stays beside it.
    """
    from ... import campaign
    from ...errors import InputError
    from ...label.formats import read_annotations
    from ..summary import plural
    from ..where import open_labels
    from .state import state_of
    from .which import newest

    if sample == bool(files):
        raise click.UsageError("say which files to take labels from, or try: aligntax label import --sample")
    name = annotator or ("author" if sample else None)
    readings = [
        read_annotations(path, format=file_format, annotator=name)
        for path in (_sample_labels() if sample else files)
    ]
    bad = _refuse_bad(readings, skip_bad=skip_bad)
    with open_labels(where) as store:
        chosen = newest(store, draw)
        notes = [note for reading in readings for note in reading.annotations]
        done = campaign.take_over(store, chosen.id, notes, wanted_only=sample)
        if notes and done.unasked == len(notes):
            raise InputError(
                f"the draw asked for none of the {plural(len(notes), 'label')}",
                where=f"draw {chosen.id[:8]}",
                remedy="name another draw with --draw, or see what this one asks for: aligntax label export",
            )
        state = state_of(store, done.draw)
    for line in _told(done, state, bad=bad, blank=sum(reading.blank for reading in readings)):
        click.echo(line)


def _refuse_bad(readings: Sequence[Reading], *, skip_bad: bool) -> int:
    """List the rows that cannot be taken over, and return how many; InputError unless they are to be skipped."""
    from ...errors import InputError
    from ..summary import plural
    from ..terminal import clean

    problems = [problem for reading in readings for problem in reading.problems]
    for problem in problems[:_MOST_PROBLEMS]:
        line = f":{problem.line}" if problem.line is not None else ""
        click.echo(clean(f"{problem.file}{line}: {problem.reason}"), err=True)
    if len(problems) > _MOST_PROBLEMS:
        click.echo(f"and {len(problems) - _MOST_PROBLEMS:,} more", err=True)
    if problems and not skip_bad:
        raise InputError(
            f"{plural(len(problems), 'row')} cannot be taken over, so nothing was",
            remedy="mend them, or leave them out with --skip-bad",
        )
    return len(problems)


def _told(done: Imported, state: Mapping[str, Any], *, bad: int, blank: int) -> Iterator[str]:
    from ..summary import plural

    there = f" ({done.unchanged:,} of them were there already)" if done.unchanged else ""
    yield f"{plural(done.labels, 'label')} taken over{there}"
    yield f"{state['labelled']:,} of {plural(state['to_label'], 'exchange')} to label are done"
    for count, what, why in (
        (done.waiting, "label", "wait for the second phase: the pilot comes first"),
        (done.enough, "label", "left out: others have labelled these already"),
        (done.unasked, "label", "left out: of exchanges that this draw did not ask for"),
        (bad, "row", "left out: listed above"),
        (blank, "row", "left out: nobody has labelled them yet"),
    ):
        if count:
            yield f"{plural(count, what)} {why}"


def _sample_labels() -> list[Path]:
    from ... import __file__ as package

    return sorted((Path(package).parent / "sample").glob("*.labels.jsonl"))
