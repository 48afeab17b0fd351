"""Verdicts to rates: how often answers were refused, hedged, avoided or padded, per slice.

Every rate here is what the detector says, not what is true: it carries the detector's own errors, and the
column `corrected` says so. Expert labels correct it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import polars as pl

from ..errors import InputError
from ..types import CONTENT_COLUMNS, KIND_THRESHOLD, PROVIDER_BLOCKED, Kind, Label, Outcome

_SHARES = (
    *(label.value for label in Label),
    "provider_blocked",
    Outcome.TRUNCATED.value,
    Outcome.EMPTY.value,
    Outcome.TOOL_CALL.value,
)
_RATES = (*_SHARES, *(kind.value for kind in Kind), "not_complete")
_PERIODS = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}  # weeks are those of ISO 8601


def summarise(verdicts: pl.DataFrame | pl.LazyFrame, by: Sequence[str] = ()) -> pl.DataFrame:
    """One row per slice, sorted by slice; a single row when `by` is empty.

    Columns: those of `by`; `exchanges` (all rows), `errors`, `counted` (exchanges - errors: the denominator of
    every rate), `judged` (rows whose outcome is `answered`); then shares of `counted` that sum to 1: `complete`,
    `partially_hedged`, `refused`, `undetermined`, `provider_blocked`, `truncated`, `empty`, `tool_call`; then
    one rate per kind (judged rows whose score reaches `KIND_THRESHOLD`; a row may have several kinds or none);
    `not_complete` (partially_hedged + refused); and `corrected`, always false: these are raw detector rates.
    Rates are null where nothing was counted.

    `by` takes columns of the frame, `model` (served, else requested), `tags.KEY` (a key of the log's own
    metadata), and `day`, `week` (2026-W12) and `month` in UTC. Raises InputError for a column that the frame does not have, or an outcome that no reader writes.
    """
    lazy = verdicts.lazy()
    keys = slice_columns(by, lazy.collect_schema())
    counts = (
        lazy.group_by(keys).agg(_counts())
        if keys
        else lazy.select(_counts())  # group_by takes at least one key
    ).collect(engine="streaming")
    _refuse_unknown_outcomes(counts)
    # A denominator of nothing gives no rate: null, never 0 %.
    denominator = pl.when(pl.col("counted") > 0).then(pl.col("counted"))
    names = list(dict.fromkeys(by))
    return (
        counts.with_columns(counted=pl.col("exchanges") - pl.col("errors"))
        .with_columns(not_complete=pl.col("partially_hedged") + pl.col("refused"))
        .select(
            *names,
            *(pl.col(name).cast(pl.Int64) for name in ("exchanges", "errors", "counted", "judged")),
            *((pl.col(name) / denominator).alias(name) for name in _RATES),
            pl.lit(value=False).alias("corrected"),
        )
        .sort(names or ["exchanges"], nulls_last=True)
    )


def slice_columns(by: Sequence[str], schema: pl.Schema) -> list[pl.Expr]:
    """The expressions behind `by`, one per distinct name, each named as the user wrote it.

    Raises InputError for a name that is neither a column that can be grouped by, nor `model`, `tags.KEY`, `day`,
    `week` or `month`.
    """
    return [_slice_column(name, schema) for name in dict.fromkeys(by)]


def _counts() -> list[pl.Expr]:
    """Counts of rows, one expression per column that `summarise` divides."""
    outcome, judged = pl.col("outcome"), pl.col("outcome") == Outcome.ANSWERED
    label = pl.col("label").fill_null(
        Label.UNDETERMINED.value
    )  # an answer nobody could judge is not complete
    return [
        pl.len().alias("exchanges"),
        (outcome == Outcome.ERROR).sum().alias("errors"),
        judged.sum().alias("judged"),
        *((judged & (label == value)).sum().alias(value.value) for value in Label),
        outcome.is_in([value.value for value in PROVIDER_BLOCKED]).sum().alias("provider_blocked"),
        *(
            (outcome == value).sum().alias(value.value)
            for value in (Outcome.TRUNCATED, Outcome.EMPTY, Outcome.TOOL_CALL)
        ),
        *((judged & (pl.col(kind) >= KIND_THRESHOLD)).sum().alias(kind.value) for kind in Kind),
        (~outcome.is_in([value.value for value in Outcome])).fill_null(value=True).sum().alias("unknown"),
    ]


def _refuse_unknown_outcomes(counts: pl.DataFrame) -> None:
    unknown = counts["unknown"].sum()
    if unknown:
        raise InputError(
            f"{unknown} rows have an outcome that aligntax does not know, so shares would not sum to 1",
            where="column outcome",
            remedy=f"use one of {', '.join(value.value for value in Outcome)}",
        )


def _slice_column(name: str, schema: pl.Schema) -> pl.Expr:
    if name.startswith("tags.") and len(name) > len("tags.") and "tags" in schema:
        key = json.dumps(name.removeprefix("tags."), ensure_ascii=False)
        return pl.col("tags").str.json_path_match(f"$[{key}]").alias(name)
    if name == "model" and "model" not in schema:
        served_first = [column for column in ("model_served", "model_requested") if column in schema]
        if served_first:
            return pl.coalesce(served_first).alias(name)
    if name in _PERIODS and name not in schema and isinstance(schema.get("time"), pl.Datetime):
        return pl.col("time").dt.convert_time_zone("UTC").dt.to_string(_PERIODS[name]).alias(name)
    usable = [
        column
        for column, dtype in schema.items()
        if not (dtype.is_nested() or dtype.is_float() or column in CONTENT_COLUMNS)
    ]
    if name not in usable:
        raise InputError(
            f"cannot slice by {name!r}",
            remedy=f"choose from model, tags.KEY, {', '.join(_PERIODS)}, {', '.join(usable)}",
        )
    return pl.col(name)
