"""The exchanges that show best what the rates are made of."""

from __future__ import annotations

import polars as pl

from ..types import KIND_THRESHOLD, NO_EVIDENCE, Kind, Label, Outcome

_SPARE = 8  # the surest answers are often one phrase over and over: so many are looked at for each one shown
_LONGEST_EXAMPLE = 2000  # characters; beyond it a snippet says little about the whole answer


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
