"""`aligntax report`: a page from verdicts that were kept, and from what their labels say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .by import by_option, conditions
from .where import labels_if_any, labels_of, store_option, without_planted

if TYPE_CHECKING:
    import polars as pl

    from ..estimate import Survey
    from ..report import Comparison, Gated
    from ..store import Store
    from ..types import Annotation, Draw


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
@click.option(
    "--base",
    multiple=True,
    callback=conditions,
    metavar="NAME=VALUE",
    help="Compare: which exchanges are the base, as for aligntax compare.  [default: the earlier of two models]",
)
@click.option(
    "--aligned",
    multiple=True,
    callback=conditions,
    metavar="NAME=VALUE",
    help="Compare: which exchanges are held against the base.",
)
@click.option(
    "--tax",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="What aligntax twins ... --json has printed: a section about the tax.",
)
@click.option(
    "--triggers",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="What aligntax triggers ... --json has printed: a section about trigger words.",
)
@store_option
def command(  # noqa: PLR0913, PLR0917 - each is one option
    verdicts: Path,
    out: Path,
    by: tuple[str, ...] | None,
    base: dict[str, str],
    aligned: dict[str, str],
    tax: Path | None,
    triggers: Path | None,
    where: str | None,
) -> None:
    """Write an HTML page from VERDICTS, a file that `aligntax scan -o` has written.

    Where these verdicts have labels, the page opens with corrected rates, compares the models where there are two,
    and shows the gate's last decision about this file. The page quotes what people wrote, unless the scan was run
    with --no-text.
    """
    if bool(base) != bool(aligned):
        raise click.UsageError("a comparison needs both sides: --base NAME=VALUE --aligned NAME=VALUE")
    from ..report import write_report
    from ..verdict_file import scan_verdicts
    from .former import former_labels
    from .result import default_slices
    from .terminal import clean

    frame = scan_verdicts(verdicts)
    names = default_slices(frame) if by is None else by
    with labels_if_any(where) as store:
        draw, annotations = labels_of(store, frame)
        survey = _survey(store, frame, draw, annotations, names)
        decision = _decision(store, verdicts, without_planted(store, draw, annotations))
        former = former_labels(store, frame, annotations, source=verdicts.name)
    sides = (base, aligned) if base else _two_models(frame, names) if annotations else None
    write_report(
        frame,
        out,
        by=names,
        source=verdicts.name,
        survey=survey,
        comparison=_comparison(frame, draw, annotations, sides, names) if sides else None,
        decision=decision,
        tax=tax,
        triggers=triggers,
    )
    click.echo(f"{clean(str(out))}: open it in a browser")
    if former:
        click.echo(f"UNCORRECTED: {former}", err=True)


def _survey(
    store: Store | None,
    verdicts: pl.LazyFrame,
    draw: Draw | None,
    annotations: Sequence[Annotation],
    by: Sequence[str],
) -> Survey | None:
    if store is None or draw is None:
        return None
    from ..campaign import known_labels
    from ..estimate import survey

    return survey(verdicts, draw, annotations, by=by, known=known_labels(store, draw))


def _decision(store: Store | None, verdicts: Path, annotations: Sequence[Annotation]) -> Gated | None:
    """The newest decision about exactly this file; others say nothing about it."""
    kept = [entry.record for entry in store.decisions()] if store else []
    if not kept:
        return None
    from ..report import Gated
    from .corrected import sha256

    digest = sha256(verdicts)
    for record in kept:
        candidate = _part(record, "inputs", "candidate")
        if _part(candidate, "verdicts").get("sha256") == digest:
            return Gated(record=record, labels_changed=_changed(_part(candidate, "labels"), annotations))
    return None


def _part(record: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """A part of a record that another version may have written; empty where it is not there."""
    for name in names:
        found = record.get(name)
        record = found if isinstance(found, Mapping) else {}
    return record


def _changed(decided_from: Mapping[str, Any], annotations: Sequence[Annotation]) -> bool:
    times = [label.time for label in annotations if label.time is not None]
    newest = max(times).isoformat() if times else None
    return (decided_from.get("count"), decided_from.get("newest")) != (len(annotations), newest)


def _two_models(
    verdicts: pl.LazyFrame, by: Sequence[str]
) -> tuple[Mapping[str, str], Mapping[str, str]] | None:
    """The two models of a log that has no third, the one that answered first as base."""
    if "model" not in by:
        return None
    import polars as pl

    from ..estimate import slice_columns
    from ..types import PROVIDER_BLOCKED, Outcome

    (model,) = slice_columns(["model"], verdicts.collect_schema())
    compared = [Outcome.ANSWERED.value, *(outcome.value for outcome in PROVIDER_BLOCKED)]
    first = (
        verdicts.filter(pl.col("outcome").is_in(compared))
        .group_by(model.cast(pl.String).alias("model"))
        .agg(pl.min("time"))
        .collect(engine="streaming")
        .drop_nulls("model")
        .sort("time", "model", nulls_last=True)
    )
    if first.height != 2:
        return None
    earlier, later = first["model"]
    return {"model": earlier}, {"model": later}


def _comparison(
    verdicts: pl.LazyFrame,
    draw: Draw | None,
    annotations: Sequence[Annotation],
    sides: tuple[Mapping[str, str], Mapping[str, str]],
    by: Sequence[str],
) -> Comparison:
    """The two sides held against each other, and again within each slice that does not tell them apart."""
    from ..estimate import compare, split
    from ..report import Comparison

    base, aligned = split(verdicts, *sides, draw=draw, annotations=annotations)
    within = tuple(name for name in dict.fromkeys(by) if name not in {*base.where, *aligned.where})
    return Comparison(
        base=base.name,
        aligned=aligned.name,
        total=compare(base, aligned),
        by=within,
        slices=compare(base, aligned, by=within) if within else None,
    )
