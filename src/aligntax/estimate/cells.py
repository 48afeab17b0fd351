"""The population of an estimate, cut into cells, and the labelled exchanges in each.

A cell is what one slice holds of one stratum of a draw. Labels are a random part of a stratum, so they are a random
part of each of its cells too, whatever the slices are: strata cut by slices are post-strata.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import InputError
from ..label.planning import assign
from ..stats.allocation import strata_edges
from ..types import KIND_THRESHOLD, PROVIDER_BLOCKED, Draw, Kind, Label, Outcome
from .rates import slice_columns

_BLOCKED = [outcome.value for outcome in PROVIDER_BLOCKED]
_MOST_SLICES = 10_000  # more have hardly a label each, and no reader
_STRATA = 4  # of a simple random sample that no draw has cut into strata


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labelled:
    """One exchange of the population that people were asked about."""

    exchange: str
    slice: int  # row of Cells.slices
    cell: int  # column of Cells.sizes
    blocked: bool
    score: float | None  # 1 - p_full as the detector gave it; None where it did not judge


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cells:
    """Sizes of all cells, one row a slice; rows with fewer cells are padded with cells of size 0."""

    slices: pl.DataFrame  # the columns of `by`, sorted
    sizes: NDArray[np.float64]  # (slices, cells)
    strata: NDArray[np.int64]  # (slices, cells): position in the draw's strata; -1: in none of them
    blocked: NDArray[np.bool_]  # (slices, cells)
    raw: dict[str, list[float | None]]  # target -> what the detector alone says, one a slice
    labelled: dict[str, Labelled]


def cells(
    verdicts: pl.DataFrame | pl.LazyFrame,
    draw: Draw | None,
    ids: Iterable[str],
    *,
    by: Sequence[str] = (),
    random_sample: bool = False,
) -> Cells:
    """Count the population by slice and stratum in one pass, and find those of `ids` that belong to it.

    Reads ids, outcomes, scores and the columns behind `by` alone. With `random_sample` and no draw the strata are
    four of the score, over all slices. Raises InputError where a stratum holds more than the draw says: then these
    are not the verdicts that it was made from.
    """
    names = list(dict.fromkeys(by))
    rows = _population(verdicts, draw, names, random_sample=random_sample)
    keys = [*names, "stratum", "blocked"]
    counted, found = pl.collect_all(
        [
            rows.group_by(keys).agg(pl.len().cast(pl.Float64).alias("size"), *_raw_counts()),
            rows.filter(pl.col("id").is_in(pl.Series(sorted(set(ids)), dtype=pl.String).implode()))
            .select(list(dict.fromkeys(("id", "score", *keys))))
            .unique("id"),
        ],
        engine="streaming",
    )
    if draw is not None:
        _refuse_other_verdicts(counted, draw)
    return _arranged(counted, found, names)


def _population(
    verdicts: pl.DataFrame | pl.LazyFrame, draw: Draw | None, names: list[str], *, random_sample: bool
) -> pl.LazyFrame:
    """Rows of the population: id, score, stratum, blocked, the slice columns, and what raw rates need."""
    lazy = verdicts.lazy()
    schema = lazy.collect_schema()
    sliced = lazy.with_columns(slice_columns([*(draw.by if draw else ()), *names], schema)).filter(
        pl.col("outcome").is_in([Outcome.ANSWERED.value, *_BLOCKED])
    )
    if draw is not None:
        placed = assign(sliced, draw)
    elif random_sample:
        placed = _cut_by_score(sliced)
    else:
        placed = sliced.with_columns(stratum=pl.lit(-1, pl.Int32))
    score = 1 - pl.col("p_full").cast(pl.Float64)
    return placed.select(
        "id",
        "outcome",
        "label",
        *(kind.value for kind in Kind),
        *(name for name in names if name not in ("id", "outcome", "label")),
        pl.col("stratum").fill_null(-1).cast(pl.Int64),
        blocked=pl.col("outcome").is_in(_BLOCKED),
        score=pl.when(pl.col("outcome") == Outcome.ANSWERED).then(score),
    )


def _cut_by_score(sliced: pl.LazyFrame) -> pl.LazyFrame:
    """Strata for labels that no draw chose: four of the score, one unscored (4), one blocked (5)."""
    score = (1 - pl.col("p_full").cast(pl.Float64)).clip(0, 1)
    answered = pl.col("outcome") == Outcome.ANSWERED
    scores = sliced.filter(answered, score.is_not_null()).select(score=score).collect(engine="streaming")
    edges = strata_edges(scores["score"].to_numpy(), _STRATA)
    above = pl.sum_horizontal(pl.lit(0, pl.Int32), *((score >= edge).cast(pl.Int32) for edge in edges))
    return sliced.with_columns(
        stratum=pl.when(~answered)
        .then(_STRATA + 1)
        .when(score.is_null())
        .then(_STRATA)
        .otherwise(above)
        .cast(pl.Int32)
    )


def _raw_counts() -> list[pl.Expr]:
    """How many exchanges the detector alone counts, per target; kinds that it scored nowhere are null."""
    blocked = pl.col("blocked")
    judged = ~blocked
    refused = judged & (pl.col("label") == Label.REFUSED)
    hedged = judged & (pl.col("label") == Label.PARTIALLY_HEDGED)
    return [
        (blocked | refused | hedged).sum().alias("raw.not_complete"),
        (blocked | refused).sum().alias("raw.refused"),
        hedged.sum().alias("raw.partially_hedged"),
        *(
            pl.when((judged & pl.col(kind).is_not_null()).any())
            .then((judged & (pl.col(kind) >= KIND_THRESHOLD)).sum())
            .alias(f"raw.{kind}")
            for kind in Kind
        ),
    ]


def _refuse_other_verdicts(counted: pl.DataFrame, draw: Draw) -> None:
    sizes = counted.filter(pl.col("stratum") >= 0).group_by("stratum").agg(pl.col("size").sum())
    grown = [k for k, size in sizes.iter_rows() if size > draw.strata[k].size]
    if grown:
        raise InputError(
            f"{len(grown)} strata hold more exchanges than draw {draw.id} was made from",
            remedy="use the verdict file that was planned from, or plan a new draw",
        )


def _arranged(counted: pl.DataFrame, found: pl.DataFrame, names: list[str]) -> Cells:
    """Ragged cells as padded arrays: cells of a slice in the order of their strata, blocked last."""
    slices = counted.select(names).unique().sort(names, nulls_last=True) if names else pl.DataFrame()
    count = len(slices) if names else 1
    if count > _MOST_SLICES:
        raise InputError(
            f"{', '.join(names)} makes {count:,} slices",
            remedy=f"slice by less, into {_MOST_SLICES:,} at most",
        )
    numbered = slices.with_row_index("slice") if names else None

    def with_slice(frame: pl.DataFrame) -> pl.DataFrame:
        if numbered is None:
            return frame.with_columns(slice=pl.lit(0, pl.UInt32))
        return frame.join(numbered, on=names, how="left", nulls_equal=True)

    placed = (
        with_slice(counted)
        .sort("slice", "stratum", "blocked")
        .with_columns(cell=pl.int_range(pl.len()).over("slice"))
    )
    rows, columns = placed["slice"].to_numpy(), placed["cell"].to_numpy()
    shape = (count, int(columns.max()) + 1 if len(columns) else 1)
    sizes, strata = np.zeros(shape), np.full(shape, -1)
    blocked = np.zeros(shape, dtype=bool)
    sizes[rows, columns] = placed["size"].to_numpy()
    strata[rows, columns] = placed["stratum"].to_numpy()
    blocked[rows, columns] = placed["blocked"].to_numpy()
    where = placed.select("slice", "stratum", "blocked", "cell")
    labelled = with_slice(found).join(where, on=["slice", "stratum", "blocked"])
    return Cells(
        slices=slices,
        sizes=sizes,
        strata=strata,
        blocked=blocked,
        raw=_raw_rates(placed, count),
        labelled={
            row["id"]: Labelled(
                exchange=row["id"],
                slice=row["slice"],
                cell=row["cell"],
                blocked=row["blocked"],
                score=row["score"],
            )
            for row in labelled.iter_rows(named=True)
        },
    )


def _raw_rates(placed: pl.DataFrame, count: int) -> dict[str, list[float | None]]:
    names = [name for name in placed.columns if name.startswith("raw.")]
    # A sum of nulls is 0 in polars: a kind that was scored in no cell of a slice has no rate there.
    sums = placed.group_by("slice").agg(
        pl.col("size").sum(),
        *(pl.when(pl.col(name).is_not_null().any()).then(pl.col(name).sum()).alias(name) for name in names),
    )
    rates = {row["slice"]: row for row in sums.iter_rows(named=True)}

    def rate(at: int, name: str) -> float | None:
        row = rates.get(at)
        return None if row is None or row[name] is None else float(row[name] / row["size"])

    return {name.removeprefix("raw."): [rate(at, name) for at in range(count)] for name in names}
