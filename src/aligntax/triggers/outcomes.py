"""Verdicts and labels to one outcome an exchange: how likely it is that the request was not answered in full."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np
import polars as pl

from ..estimate import recalibrate, slice_columns
from ..estimate.cells import cells
from ..estimate.counting import counting
from ..estimate.targets import Category, category
from ..label.population import score, slice_table, with_slices
from ..types import PROVIDER_BLOCKED, Annotation, Draw, Outcome, ShouldAnswer

_BLOCKED = [outcome.value for outcome in PROVIDER_BLOCKED]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcomes:
    """`rows` are the verdicts that count, with `y` from 0 to 1."""

    rows: pl.LazyFrame
    labels: pl.DataFrame  # id, y (0 or 1), weight: exchanges that each label speaks for
    deserved: int  # left out, as people say that they should not have been answered
    recalibrated: bool


def outcomes(
    verdicts: pl.LazyFrame,
    draw: Draw | None = None,
    annotations: Sequence[Annotation] = (),
    *,
    asked: Collection[str] | None = None,
) -> Outcomes:
    """The outcome of each answered or blocked exchange: the expert label, else 1 for what the provider blocked, else the
    detector's probability that the answer is not complete, recalibrated by the labels of its slice where that helps.

    Requests that should not have been answered are left out where labels say so: refusing them is no tax.
    """
    rows = verdicts.filter(pl.col("outcome").is_in([Outcome.ANSWERED.value, *_BLOCKED]))
    labels, deserved = _settled(verdicts, draw, annotations, asked)
    lines = recalibrate(verdicts, draw, annotations, asked=asked) if draw and annotations else {}
    if draw is not None and lines:
        slices = list(dict.fromkeys(stratum.slice for stratum in draw.strata))
        sliced = rows.with_columns(slice_columns(draw.by, rows.collect_schema()))
        rows = with_slices(sliced, draw.by, slice_table(slices, lines)).with_columns(y=score())
    else:
        raw = 1 - pl.col("p_full").cast(pl.Float64)
        rows = rows.with_columns(y=pl.when(pl.col("outcome") == Outcome.ANSWERED.value).then(raw))
    rows = rows.with_columns(y=pl.when(pl.col("outcome").is_in(_BLOCKED)).then(1.0).otherwise("y"))
    if labels.height:
        said = labels.select("id", said="y").lazy()
        rows = rows.join(said, on="id", how="left", maintain_order="left").with_columns(
            y=pl.coalesce("said", "y")
        )
    if deserved:
        rows = rows.filter(~pl.col("id").is_in(pl.Series(deserved, dtype=pl.String).implode()))
    return Outcomes(rows=rows, labels=labels, deserved=len(deserved), recalibrated=bool(lines))


def _settled(
    verdicts: pl.LazyFrame,
    draw: Draw | None,
    annotations: Sequence[Annotation],
    asked: Collection[str] | None,
) -> tuple[pl.DataFrame, list[str]]:
    """Labels with their weights, and the exchanges that should not have been answered."""
    schema = {"id": pl.String(), "y": pl.Float64(), "weight": pl.Float64()}
    if draw is None or not annotations:
        return pl.DataFrame(schema=schema), []
    found = cells(verdicts, draw, [note.exchange for note in annotations], by=draw.by)
    labels, _ = counting(found, annotations, draw, asked)
    number = {
        exchange: int(found.strata[at.slice, at.cell])
        for exchange, at in found.labelled.items()
        if exchange in labels
    }
    drawn = np.bincount([place for place in number.values() if place >= 0], minlength=len(draw.strata))
    rows, deserved = [], []
    for exchange, label in labels.items():
        place = number[exchange]
        if not label.skipped and label.should_answer == ShouldAnswer.NO:
            deserved.append(exchange)
            continue
        where = category("not_complete", "all", label, blocked=found.labelled[exchange].blocked)
        if place >= 0 and where in (Category.POSITIVE, Category.NEGATIVE):
            weight = draw.strata[place].size / drawn[place]
            rows.append((exchange, float(where == Category.POSITIVE), float(weight)))
    return pl.DataFrame(rows, schema=schema, orient="row"), deserved
