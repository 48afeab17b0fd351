"""Rates over time, and where the model that serves the calls changes."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import polars as pl

from ..estimate import summarise

Rates = dict[str, Any]
"""One row of `summarise`, by column name."""

MOST_BUCKETS = 60
ROWS_PER_BUCKET = 20  # fewer, on average, and a wider bucket is used
MAIN_SHARE = 0.1  # a model is in use when it serves this share of a bucket


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """One day, week, month or year of calls."""

    start: dt.datetime
    rates: Rates
    models: dict[str, float]  # share of the calls by served model
    entered: tuple[str, ...] = ()  # models in use here and in no bucket before
    left: tuple[str, ...] = ()  # models in use until the bucket before and never again


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """Rates over time, oldest first; `untimed` rows carry no timestamp."""

    step: str  # day, week, month or year
    buckets: tuple[Bucket, ...]
    untimed: int


def find_timeline(verdicts: pl.LazyFrame, counts: Rates) -> Timeline | None:
    """None where timestamps are missing, or where all calls fall into one bucket.

    `counts` holds the `first` and `last` time, and how many rows are `timed` and `untimed`.
    """
    if counts["first"] is None:
        return None
    timed = verdicts.filter(pl.col("time").is_not_null())
    step, every = _step(counts["last"] - counts["first"], counts["timed"])
    bucketed = timed.with_columns(bucket=pl.col("time").dt.truncate(every))
    rates = summarise(bucketed, ["bucket"])
    if rates.height < 2:
        return None
    served = (
        bucketed.filter(pl.col("model_served").is_not_null())
        .group_by("bucket", "model_served")
        .agg(pl.len().alias("calls"))
        .collect(engine="streaming")
    )
    models: dict[dt.datetime, dict[str, int]] = {}
    for start, model, calls in served.sort("bucket", "calls", descending=[False, True]).iter_rows():
        models.setdefault(start, {})[model] = calls
    buckets = [
        Bucket(
            start=row["bucket"],
            rates=row,
            models={
                model: calls / row["exchanges"] for model, calls in models.get(row["bucket"], {}).items()
            },
        )
        for row in rates.iter_rows(named=True)
    ]
    return Timeline(step=step, buckets=_mark_changes(buckets), untimed=counts["untimed"])


def _step(span: dt.timedelta, rows: int) -> tuple[str, str]:
    """The finest bucket that leaves the line readable: not too many points, not too few rows in each."""
    for step, every, days in (("day", "1d", 1), ("week", "1w", 7), ("month", "1mo", 30)):
        buckets = span.days / days + 1
        # A short log is still drawn by day: two weekly points would say less than ten thin daily ones.
        enough = rows >= ROWS_PER_BUCKET * buckets or buckets <= 14
        if buckets <= MOST_BUCKETS and enough:
            return step, every
    return "year", "1y"


def _mark_changes(buckets: list[Bucket]) -> tuple[Bucket, ...]:
    in_use = [{model for model, share in bucket.models.items() if share >= MAIN_SHARE} for bucket in buckets]
    marked = [buckets[0]]
    for at in range(1, len(buckets)):
        before: set[str] = set().union(*in_use[:at])
        after: set[str] = set().union(*in_use[at:])
        entered = [model for model in buckets[at].models if model in in_use[at] - before]
        left = sorted(in_use[at - 1] - after)
        marked.append(msgspec.structs.replace(buckets[at], entered=tuple(entered), left=tuple(left)))
    return tuple(marked)
