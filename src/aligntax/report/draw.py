"""Which rows the page shows as examples, and their texts: drawn evenly over kinds and slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from ..estimate import slice_columns
from ..types import KIND_THRESHOLD, PROVIDER_BLOCKED, Kind, Label, Outcome

STRATA = (  # in this order they take turns
    *(kind.value for kind in Kind),
    Label.REFUSED.value,
    Label.PARTIALLY_HEDGED.value,
    "provider_blocked",
    Label.UNDETERMINED.value,
    Label.COMPLETE.value,
    "other",
)
FETCHED = 20_000  # characters of one response that are read at all
FETCHED_HISTORY = 200_000

_KINDS = [kind.value for kind in Kind]


def draw(verdicts: pl.LazyFrame, by: Sequence[str], count: int) -> list[str]:
    """The ids of at most `count` rows, the same ones each time.

    Within every kind and slice rows are drawn at random; the list lets the kinds take turns, and within a kind
    the slices. Failed calls are never drawn.
    """
    slices = _slice_expressions(verdicts, by)
    keys = ["stratum", *(f"slice_{at}" for at in range(len(slices)))]
    rows = verdicts.filter(pl.col("outcome") != Outcome.ERROR).select(
        "id", _stratum().alias("stratum"), *slices
    )
    counts = rows.group_by(keys).agg(pl.len().alias("rows")).collect(engine="streaming")
    wanted = (
        _take_turns(
            counts.with_columns(place=pl.int_ranges(pl.min_horizontal("rows", count))).explode("place"),
            pl.struct(keys).hash(),
        )
        .head(count)
        .group_by(keys)
        .agg(pl.len().alias("wanted"), pl.first("rows"))
    )
    # Only about as many rows as are wanted ever leave the stream: those whose hash falls under a share that
    # lets enough of them through (six standard deviations), of which the lowest are taken.
    share = (pl.col("wanted") + 6 * pl.col("wanted").sqrt() + 10) / pl.col("rows")
    drawn = (
        rows.with_columns(chance=pl.col("id").hash() / 2.0**64)
        .join(wanted.lazy(), on=keys, nulls_equal=True)
        .filter(pl.col("chance") < share)
        .collect(engine="streaming")
        .unique("id")
        .sort("chance", "id")
        .with_columns(place=pl.int_range(pl.len()).over(keys))
        .filter(pl.col("place") < pl.col("wanted"))
    )
    return _take_turns(drawn, pl.col("chance"))["id"].to_list()


def _take_turns(rows: pl.DataFrame, tie: pl.Expr) -> pl.DataFrame:
    """Rows with a `place` within their stratum and slice, ordered so that strata alternate, and slices within.

    `tie` orders the slices of one stratum; it is not their name, or the first in the alphabet would always lead.
    """
    return (
        rows.sort("place", tie)
        .with_columns(turn=pl.int_range(pl.len()).over("stratum"))
        .sort("turn", "stratum")
    )


def _stratum() -> pl.Expr:
    """What a row is an example of, as its place in STRATA: its strongest kind, else its ending, else its label."""
    best = pl.max_horizontal(_KINDS)
    kind = pl.coalesce(pl.when(pl.col(name) == best).then(_place(name)) for name in _KINDS)
    outcome, label = pl.col("outcome"), pl.col("label")
    by_label = pl.coalesce(pl.when(label == value.value).then(_place(value.value)) for value in Label)
    return (
        pl.when(outcome.is_in([value.value for value in PROVIDER_BLOCKED]))
        .then(_place("provider_blocked"))
        .when(outcome != Outcome.ANSWERED)
        .then(_place("other"))
        .when(best >= KIND_THRESHOLD)
        .then(kind)
        .otherwise(pl.coalesce(by_label, _place(Label.UNDETERMINED.value)))
    )


def _place(stratum: str) -> pl.Expr:
    return pl.lit(STRATA.index(stratum), pl.UInt8)


def _slice_expressions(verdicts: pl.LazyFrame, by: Sequence[str]) -> list[pl.Expr]:
    columns = slice_columns(by, verdicts.collect_schema())
    return [column.cast(pl.String).alias(f"slice_{at}") for at, column in enumerate(columns)]


def fetch(verdicts: pl.LazyFrame, by: Sequence[str], ids: list[str]) -> list[dict[str, Any]]:
    """The drawn rows in the order of `ids`, with no text longer than FETCHED characters."""
    response, names = pl.col("response").fill_null(""), verdicts.collect_schema().names()
    # A long text is opened where its evidence starts, because nothing in front of it explains the verdict.
    length = response.str.len_chars()
    first = pl.col("spans").list.eval(pl.element().struct.field("start")).list.min().fill_null(0)
    offset = (
        pl.when(length <= FETCHED)
        .then(0)
        .otherwise((first.cast(pl.Int64) - 1000).clip(0, length.cast(pl.Int64)))
    )
    content = [
        (pl.col(name).fill_null("").str.head(most) if name in names else pl.lit("")).alias(name)
        for name, most in (("prompt", FETCHED), ("system", FETCHED), ("history", FETCHED_HISTORY))
    ]
    kept = ["id", "outcome", "outcome_raw", "time", "file", "line", "language", "answered", "label"]
    kept += ["p_full", "p_part", "p_none", *_KINDS, "words", "disclaimer_share"]
    kept += ["answer_start", "hedge_density", "spans"]
    rows = (
        verdicts.filter(pl.col("id").is_in(ids))
        .select(
            *kept,
            *content,
            *_slice_expressions(verdicts, by),
            response.str.slice(offset, FETCHED).alias("response"),
            length.alias("length"),
            offset.alias("offset"),
        )
        .collect(engine="streaming")
    )
    found = {row["id"]: row for row in rows.iter_rows(named=True)}
    return [found[id_] for id_ in ids]
