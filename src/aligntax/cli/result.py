"""What a scan found, ready to be shown or written as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from ..estimate import summarise
from ..types import Outcome, Problem


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """What reading the logs came upon, and what became of the rows."""

    detector: str  # name and version
    new: int  # rows judged now
    former: int  # rows that the verdict file held before
    resumed: int  # rows that an interrupted run had judged
    repeated: int  # rows that came again and were not counted again
    skipped: int
    not_calls: int
    problems: Sequence[Problem]
    notes: Sequence[Problem]  # what cost no row but should be known
    formats: Mapping[str, int]  # format -> files


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScanResult:
    """Verdicts and their rates. `total` is the summary of all slices together."""

    verdicts: pl.LazyFrame
    by: tuple[str, ...]
    total: dict[str, Any]
    slices: pl.DataFrame
    languages_not_judged: dict[str, int]  # language -> answers
    reading: Reading


def to_result(verdicts: pl.LazyFrame, by: tuple[str, ...], reading: Reading) -> ScanResult:
    """The rates of `verdicts`, sliced by `by`."""
    return ScanResult(
        verdicts=verdicts,
        by=by,
        total=summarise(verdicts).row(0, named=True),
        slices=summarise(verdicts, by),
        languages_not_judged=_languages_not_judged(verdicts),
        reading=reading,
    )


def default_slices(verdicts: pl.LazyFrame) -> tuple[str, ...]:
    """Use case and model, as far as the log names them."""
    named = verdicts.select(
        use_case=pl.col("use_case").is_not_null().any(),
        model=pl.coalesce("model_served", "model_requested").is_not_null().any(),
    ).collect(engine="streaming")
    return tuple(name for name in named.columns if named[name].item())


def _languages_not_judged(verdicts: pl.LazyFrame) -> dict[str, int]:
    """Answers in languages that the detector does not judge, most frequent language first."""
    found = (
        verdicts.filter(pl.col("outcome") == Outcome.ANSWERED, pl.col("p_full").is_null())
        .group_by("language")
        .len()
        .sort("len", "language", descending=[True, False])
        .collect(engine="streaming")
    )
    return dict(found.iter_rows())
