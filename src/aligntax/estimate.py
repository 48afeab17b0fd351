"""Verdicts to rates: how often answers were refused, hedged, avoided or padded, per slice.

Every rate here is what the detector says, not what is true: it carries the detector's own errors, and the
column `corrected` says so. Expert labels correct it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import polars as pl

from .errors import InputError
from .types import CONTENT_COLUMNS, KIND_THRESHOLD, NO_EVIDENCE, PROVIDER_BLOCKED, Kind, Label, Outcome

_SPARE = 8  # the surest answers are often one phrase over and over: so many are looked at for each one shown
_LONGEST_EXAMPLE = 2000  # characters; beyond it a snippet says little about the whole answer
_SHARES = (
    *(label.value for label in Label),
    "provider_blocked",
    Outcome.TRUNCATED.value,
    Outcome.EMPTY.value,
    Outcome.TOOL_CALL.value,
)
_RATES = (*_SHARES, *(kind.value for kind in Kind), "not_complete")


def summarise(verdicts: pl.DataFrame | pl.LazyFrame, by: Sequence[str] = ()) -> pl.DataFrame:
    """One row per slice, sorted by slice; a single row when `by` is empty.

    Columns: those of `by`; `exchanges` (all rows), `errors`, `counted` (exchanges - errors: the denominator of
    every rate), `judged` (rows whose outcome is `answered`); then shares of `counted` that sum to 1: `complete`,
    `partially_hedged`, `refused`, `undetermined`, `provider_blocked`, `truncated`, `empty`, `tool_call`; then
    one rate per kind (judged rows whose score reaches `KIND_THRESHOLD`; a row may have several kinds or none);
    `not_complete` (partially_hedged + refused); and `corrected`, always false: these are raw detector rates.
    Rates are null where nothing was counted.

    `by` takes columns of the frame, `model` (served, else requested) and `tags.KEY` (a key of the log's own
    metadata). Raises InputError for a column that the frame does not have, or an outcome that no reader writes.
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

    Raises InputError for a name that is neither a column that can be grouped by, nor `model`, nor `tags.KEY`.
    """
    return [_slice_column(name, schema) for name in dict.fromkeys(by)]


def examples(verdicts: pl.DataFrame | pl.LazyFrame, n: int) -> pl.DataFrame:
    """The clearest answers that were not complete, at most `n`: whole rows, with `kind` and `probability` added.

    `kind` is the row's strongest kind, `probability` that of its label (p_none where refused, else p_part).
    One example per kind comes first, surest first, no answer twice; answers with no evidence in words or too long
    to show are left out. Empty when the frame holds no response text.
    """
    lazy = verdicts.lazy()
    if "response" not in lazy.collect_schema():
        return pl.DataFrame()
    kinds = [kind.value for kind in Kind]
    scores = pl.concat_list(pl.col(kind).fill_null(0) for kind in kinds)
    candidates = lazy.filter(
        pl.col("outcome") == Outcome.ANSWERED,
        pl.col("label").is_in([Label.REFUSED.value, Label.PARTIALLY_HEDGED.value]),
        pl.max_horizontal(kinds) >= KIND_THRESHOLD,
        pl.col("response").str.len_chars() <= _LONGEST_EXAMPLE,
    ).with_columns(
        kind=scores.list.arg_max().replace_strict(list(range(len(kinds))), kinds, return_dtype=pl.String),
        probability=pl.when(pl.col("label") == Label.REFUSED).then("p_none").otherwise("p_part"),
    )
    function = pl.element().struct.field("function")
    telling = pl.col("spans").list.eval(~function.is_in(NO_EVIDENCE)).list.any()
    weakened = pl.col("spans").list.eval(function == "weakener").list.any() & (pl.col("kind") == Kind.HEDGING)
    candidates = candidates.filter(telling | weakened)
    # The text stays out of the ranking: a million rows are ranked by id and score alone.
    ranked = (
        candidates.select("id", "kind", "probability")
        .sort("probability", "id", descending=[True, False], nulls_last=True)
        .with_columns(place=pl.int_range(pl.len()).over("kind"))
        .sort("place", "probability", "id", descending=[False, True, False], nulls_last=True)
        .head(_SPARE * n)
        .with_row_index("order")
        .select("id", "order")
        .collect(engine="streaming")
    )
    chosen = candidates.filter(pl.col("id").is_in(ranked["id"].implode())).collect(engine="streaming")
    in_order = chosen.unique("id").join(ranked, on="id").sort("order").drop("order")
    return in_order.unique("response", keep="first", maintain_order=True).head(n)


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
    usable = [
        column
        for column, dtype in schema.items()
        if not (dtype.is_nested() or dtype.is_float() or column in CONTENT_COLUMNS)
    ]
    if name not in usable:
        raise InputError(
            f"cannot slice by {name!r}",
            remedy=f"choose from model, tags.KEY, {', '.join(usable)}",
        )
    return pl.col(name)
