"""Exchanges by prompt: what the detector says of each prompt's answers, for comparing like with like.

A family is all answers to one prompt (its history included) on one side of a comparison. Repeats of a prompt are not
independent, so they count as one. Text never leaves the query: a prompt is a hash of 64 bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from ..types import KIND_THRESHOLD, PROVIDER_BLOCKED, Kind, Label, Outcome
from .rates import slice_columns

CALLS = ("not_complete", "refused", "partially_hedged", *(kind.value for kind in Kind))
"""What the detector calls yes or no of an exchange, as `estimate.TARGETS` names it."""

MIX = "mix"
"""The column that holds the use case, whatever the slices are."""

_BLOCKED = [outcome.value for outcome in PROVIDER_BLOCKED]
_COLUMNS = (
    "exchanges",
    *(f"call.{name}" for name in CALLS),
    "answers",
    "hedge_density",
    "complete",
    "length",
)


def families(verdicts: pl.LazyFrame, by: Sequence[str]) -> pl.DataFrame:
    """One row per slice, use case and prompt of the population: answers, and calls that the provider blocked.

    Columns: those of `by`; `mix`, the use case; `family`, a hash of prompt and history, or of the id where there is
    no prompt; `prompted`, whether it is a prompt; `exchanges`; call.NAME, a count per name in `CALLS`; `answers` that
    gave something, and the mean of their `hedge_density`; `complete` ones, and `length`, the geometric mean of their
    words. Means are null where there is nothing to take them of.
    """
    schema = verdicts.collect_schema()
    names = list(dict.fromkeys(by))
    judged = pl.col("outcome") == Outcome.ANSWERED
    complete = judged & (pl.col("label") == Label.COMPLETE) & (pl.col("words") > 0)
    # A refusal has no answering text to hedge in: counted as 0, it would make who refuses more look plainer.
    given = judged & pl.col("label").is_in([Label.COMPLETE.value, Label.PARTIALLY_HEDGED.value])
    return (
        verdicts.filter(pl.col("outcome").is_in([Outcome.ANSWERED.value, *_BLOCKED]))
        .select(
            *slice_columns(names, schema),
            (pl.col("use_case") if "use_case" in schema else pl.lit(None, pl.String)).alias(MIX),
            *_family(schema),
            *(call.alias(f"call.{name}") for name, call in _calls(judged).items()),
            density=pl.when(given).then(pl.col("hedge_density").cast(pl.Float64)),
            log_words=pl.when(complete).then(pl.col("words").cast(pl.Float64).log()),
        )
        .group_by(*names, MIX, "family", "prompted")
        .agg(
            pl.len().alias("exchanges"),
            *(pl.col(f"call.{name}").sum().alias(f"call.{name}") for name in CALLS),
            pl.col("density").count().alias("answers"),
            pl.col("density").mean().alias("hedge_density"),
            pl.col("log_words").count().alias("complete"),
            pl.col("log_words").mean().exp().alias("length"),
        )
        .collect(engine="streaming")
    )


def pairs(base: pl.DataFrame, aligned: pl.DataFrame) -> pl.DataFrame:
    """The prompts that both sides answered, one row each: `family`, and the other columns with _base and _aligned.

    Both frames are `families` of one slice. A prompt that came up in several use cases is one family.
    """
    sides = [
        _by_prompt(side).rename({name: f"{name}_{which}" for name in _COLUMNS})
        for side, which in ((base, "base"), (aligned, "aligned"))
    ]
    return sides[0].join(sides[1], on="family").sort("family")


def _by_prompt(side: pl.DataFrame) -> pl.DataFrame:
    """One row per prompt, whatever the use case. Means are weighted by what they were taken of."""
    density = (pl.col("hedge_density") * pl.col("answers")).sum() / pl.col("answers").sum()
    log_words = (pl.col("length").log() * pl.col("complete")).sum() / pl.col("complete").sum()
    sums = {name: pl.col(name).sum() for name in _COLUMNS if name not in ("hedge_density", "length")}
    return (
        side.filter("prompted")
        .group_by("family")
        .agg(**sums, hedge_density=density, length=log_words.exp())
        .select("family", *_COLUMNS)
    )


def _family(schema: pl.Schema) -> list[pl.Expr]:
    """The 64-bit name of a family. Two of a million prompts share one once in 37 million comparisons."""
    alone = pl.col("id").hash(seed=2)
    if "prompt" not in schema:
        return [alone.alias("family"), pl.lit(value=False).alias("prompted")]
    prompted = (pl.col("prompt").str.len_bytes() > 0).fill_null(value=False)
    before = pl.col("history").fill_null("").hash(seed=1) if "history" in schema else pl.lit(0, pl.UInt64)
    asked = pl.col("prompt").hash(seed=0).xor(before)
    return [
        pl.when(prompted).then(asked).otherwise(alone).alias("family"),
        prompted.alias("prompted"),
    ]


def _calls(judged: pl.Expr) -> dict[str, pl.Expr]:
    refused = judged & (pl.col("label") == Label.REFUSED)
    hedged = judged & (pl.col("label") == Label.PARTIALLY_HEDGED)
    calls = {
        "not_complete": ~judged | refused | hedged,
        "refused": ~judged | refused,
        "partially_hedged": hedged,
        **{kind.value: judged & (pl.col(kind.value) >= KIND_THRESHOLD) for kind in Kind},
    }
    return {name: call.fill_null(value=False).cast(pl.UInt32) for name, call in calls.items()}
