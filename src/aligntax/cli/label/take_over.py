"""`aligntax label import`: labels made elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from ..where import store_option

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
@click.option("--sample", is_flag=True, help="Take over the labels of the sample log's author.")
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
    are counted and left out: nobody knows how they were chosen.
    """
    from ... import campaign
    from ...errors import InputError
    from ...label.formats import read_annotations
    from ..summary import plural
    from ..terminal import clean
    from ..where import open_store
    from .which import newest

    if sample == bool(files):
        raise click.UsageError("say which files to take labels from, or try: aligntax label import --sample")
    paths = _sample_labels() if sample else list(files)
    readings = [
        read_annotations(path, format=file_format, annotator="author" if sample else annotator)
        for path in paths
    ]
    problems = [problem for reading in readings for problem in reading.problems]
    for problem in problems[:_MOST_PROBLEMS]:
        line = f":{problem.line}" if problem.line is not None else ""
        click.echo(clean(f"{problem.file}{line}: {problem.reason}"), err=True)
    if problems and not skip_bad:
        raise InputError(
            f"{len(problems)} rows cannot be taken over, so none was",
            remedy="mend them, or leave them out with --skip-bad",
        )
    with open_store(where) as store:
        chosen = newest(store, draw)
        done = campaign.take_over(
            store, chosen.id, [row for reading in readings for row in reading.annotations]
        )
        progress = store.progress(chosen.id)
    whole = progress.labelled + progress.to_label
    click.echo(
        f"{plural(done.labels, 'label')} taken over: {progress.labelled:,} of {whole:,} exchanges are done"
    )
    if done.unasked:
        click.echo(f"{plural(done.unasked, 'label')} left out: of exchanges that this draw did not ask for")


def _sample_labels() -> list[Path]:
    from ... import __file__ as package

    return sorted((Path(package).parent / "sample").glob("*.labels.jsonl"))
