"""The exchanges of a verdict file that can be labelled: who they are, in which slice, with which score."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np
import polars as pl

from ..errors import InputError
from ..types import PROVIDER_BLOCKED, Outcome

Slice = tuple[str | None, ...]
MAX_SLICES = 50
"""Of one draw. Each slice needs labels of its own, and nobody labels for more."""

BLOCKED = [outcome.value for outcome in PROVIDER_BLOCKED]
_ELIGIBLE = [Outcome.ANSWERED.value, *BLOCKED]
_FINGERPRINT_ROWS = 65_536
_NEARLY = 1e-6  # scores of 0 and 1 have no log-odds
_KEY, _SLICE, _SLOPE, _INTERCEPT = "__by_{}", "__slice", "__slope", "__intercept"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """The exchanges that can be drawn.

    `frame` is sorted by `id` and has `id`, `outcome`, `score` (0 to 1, recalibrated; null where the detector did
    not judge) and `slice`, the position in `slices`.
    """

    frame: pl.DataFrame
    slices: tuple[Slice, ...]
    left_out: dict[str, int]  # outcome -> exchanges that nobody can label
    detector: str
    fingerprint: str


def slice_key(values: Iterable[str | None]) -> str:
    """A slice as the JSON list by which `Draw.recalibration` names it."""
    return msgspec.json.encode(list(values)).decode()


def read_population(
    verdicts: pl.LazyFrame, by: Sequence[str], recalibration: Mapping[str, tuple[float, float]]
) -> Population:
    """Read what a draw needs to know, never a text. Raises InputError for a frame that cannot be drawn from."""
    _refuse_missing(verdicts, ("detector", *by))
    slices, left_out = _slices(verdicts, by)
    table = slice_table(slices, recalibration).with_columns(
        pl.int_range(pl.len(), dtype=pl.Int32).alias(_SLICE)
    )
    frame = (
        with_slices(verdicts.filter(eligible()), by, table)
        .select(
            "id",
            pl.col("outcome").cast(pl.Enum(_ELIGIBLE)),
            pl.col("p_full").cast(pl.Float32),
            score().alias("score"),
            pl.col(_SLICE).alias("slice"),
            pl.col("detector").cast(pl.Categorical),
        )
        .collect(engine="streaming")
        .sort("id", "outcome", "p_full")
    )
    _refuse_broken(frame)
    detectors = frame.filter(outcome="answered")["detector"].drop_nulls().unique().cast(pl.String)
    return Population(
        frame=frame.drop("detector", "p_full"),
        slices=slices,
        left_out=left_out,
        detector=", ".join(sorted(detectors)),
        fingerprint=_digest(frame),
    )


def fingerprint(verdicts: pl.LazyFrame | pl.DataFrame) -> str:
    """32 hex characters that say which population this is: BLAKE2b over ids, outcomes and detector scores.

    The order of the rows does not matter, nor do texts and rows that nobody can label; a score that has changed by
    a bit of its Float32 does. The same in every version of Polars. Raises InputError for a missing column.
    """
    lazy = verdicts.lazy()
    _refuse_missing(lazy, ())
    columns = ("id", pl.col("outcome").cast(pl.Enum(_ELIGIBLE)), pl.col("p_full").cast(pl.Float32))
    frame = lazy.filter(eligible()).select(columns).collect(engine="streaming")
    return _digest(frame.sort("id", "outcome", "p_full"))


def eligible() -> pl.Expr:
    """Rows that belong to the population: answers that ended by themselves, and calls that the provider refused."""
    return pl.col("outcome").cast(pl.String).is_in(_ELIGIBLE)


def slice_table(slices: Sequence[Slice], recalibration: Mapping[str, tuple[float, float]]) -> pl.DataFrame:
    """One row per slice in their order: its values as keys for a join, and its recalibration (null: none)."""
    known = normal_recalibration(recalibration)
    pairs = [known.get(slice_key(values), (None, None)) for values in slices]
    keys = {
        _KEY.format(number): pl.Series([values[number] for values in slices], dtype=pl.String)
        for number in range(len(slices[0]) if slices else 0)
    }
    return pl.DataFrame(
        {
            **keys,
            _SLOPE: pl.Series([slope for slope, _ in pairs], dtype=pl.Float64),
            _INTERCEPT: pl.Series([intercept for _, intercept in pairs], dtype=pl.Float64),
        }
    )


def with_slices(verdicts: pl.LazyFrame, by: Sequence[str], table: pl.DataFrame) -> pl.LazyFrame:
    """The rows in their order with the columns of their slice in `table` after them; null where it has none."""
    if not by:
        return verdicts.with_columns(pl.lit(table[name].item()).alias(name) for name in table.columns)
    keys = [_KEY.format(number) for number in range(len(by))]
    return verdicts.with_columns(
        pl.col(name).cast(pl.String).alias(key) for name, key in zip(by, keys, strict=True)
    ).join(table.lazy(), on=keys, how="left", nulls_equal=True, maintain_order="left")


def score() -> pl.Expr:
    """The probability that an answer is not complete, 0 to 1, recalibrated; null for a blocked call.

    For frames that come from `with_slices`.
    """
    raw = 1 - pl.col("p_full").cast(pl.Float32).cast(pl.Float64).fill_nan(None)
    inside = raw.clip(_NEARLY, 1 - _NEARLY)
    log_odds = pl.col(_SLOPE) * (inside / (1 - inside)).log() + pl.col(_INTERCEPT)
    recalibrated = pl.when(pl.col(_SLOPE).is_null()).then(raw).otherwise(1 / (1 + (-log_odds).exp()))
    return pl.when(pl.col("outcome").cast(pl.String) == Outcome.ANSWERED.value).then(recalibrated)


def _digest(frame: pl.DataFrame) -> str:
    state = hashlib.blake2b(digest_size=16)
    for rows in frame.iter_slices(_FINGERPRINT_ROWS):
        ids = rows["id"].fill_null("")
        # The lengths as well, so that no two ids run together.
        state.update(ids.str.len_bytes().to_numpy().astype("<u4").tobytes())
        state.update("".join(ids.to_list()).encode())
        state.update(" ".join(rows["outcome"].cast(pl.String).to_list()).encode())
        scores = rows["p_full"].fill_null(float("nan")).to_numpy()
        # Nothing and NaN, of which there are many, have one form.
        state.update(np.where(np.isnan(scores), np.float32(-1), scores).astype("<f4").tobytes())
    return state.hexdigest()


def normal_recalibration(recalibration: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """With every key written as `slice_key` writes it. Raises InputError for a slope that turns the score round."""
    normal = {}
    for key, (slope, intercept) in recalibration.items():
        if not (math.isfinite(slope) and math.isfinite(intercept) and slope > 0):
            raise InputError(
                f"slope {slope:g} and intercept {intercept:g} recalibrate nothing",
                where="recalibration",
                remedy="fit it again; the slope must be above 0",
            )
        normal[slice_key(json.loads(key))] = (float(slope), float(intercept))
    return normal


def _slices(verdicts: pl.LazyFrame, by: Sequence[str]) -> tuple[tuple[Slice, ...], dict[str, int]]:
    """The slices that have something to label, sorted with nothing last, and what is left out."""
    keys = [pl.col(name).cast(pl.String).alias(_KEY.format(number)) for number, name in enumerate(by)]
    counts = verdicts.group_by(*keys, pl.col("outcome").cast(pl.String)).len().collect(engine="streaming")
    outcomes = dict(counts.group_by("outcome").agg(pl.col("len").sum()).sort("outcome").iter_rows())
    unknown = sum(count for outcome, count in outcomes.items() if outcome not in {*Outcome})
    if unknown:
        raise InputError(
            f"{unknown} rows have an outcome that aligntax does not know",
            where="column outcome",
            remedy=f"use one of {', '.join(Outcome)}",
        )
    names = [_KEY.format(number) for number in range(len(by))]
    found = counts.filter(eligible()).select(names).unique() if by else None
    slices = found.sort(names, nulls_last=True).rows() if found is not None else [()]
    if len(slices) > MAX_SLICES:
        raise InputError(
            f"{', '.join(by)} makes {len(slices)} slices, and each needs labels of its own",
            remedy=f"slice by less, into {MAX_SLICES} at most",
        )
    left_out = {outcome: count for outcome, count in outcomes.items() if outcome not in _ELIGIBLE}
    return tuple(slices), left_out


def _refuse_missing(verdicts: pl.LazyFrame, by: Sequence[str]) -> None:
    schema = verdicts.collect_schema()
    missing = [name for name in ("id", "outcome", "p_full", *by) if name not in schema]
    if missing:
        raise InputError(
            f"there is no column {', '.join(missing)}", remedy="name a file that aligntax scan -o has written"
        )


def _refuse_broken(frame: pl.DataFrame) -> None:
    remedy = "scan the log again"
    if not frame.height:
        raise InputError(
            "there is nothing to label: no call was answered or blocked", remedy="scan more of the log"
        )
    if frame["id"].null_count() or (frame["id"] == frame["id"].shift(1)).any():
        raise InputError("ids are missing or occur more than once", where="column id", remedy=remedy)
    if not frame["score"].drop_nulls().is_between(0, 1).all():
        raise InputError("probabilities lie outside of 0 to 1", where="column p_full", remedy=remedy)
