"""The offline detector: what each answer does, how far it answers, and the words that show it.

`judge` is the one shape a detector has: a frame of exchanges in, the same rows with verdict columns out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from .axes import baseline, relative

if TYPE_CHECKING:
    import polars as pl

DETECTORS = {"aligntax": "aligntax.detect.frames:judge"}
"""Name -> where the detector is: a function from a frame of exchanges to the same rows with verdict columns."""

__all__ = ["DETECTORS", "baseline", "judge", "relative", "scan"]


def judge(exchanges: pl.DataFrame) -> pl.DataFrame:
    """The same rows with the columns of `verdict_schema()`, `hedging` and `verbosity_inflation` still null."""
    from .frames import judge as judge_frame

    return judge_frame(exchanges)


def scan(exchanges: pl.DataFrame | Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Judge a frame of exchanges, or batches of them, in memory; the kinds that need peers included.

    Takes what `read` gives. For logs that do not fit in memory use `aligntax scan`, which spools to a file.
    """
    import polars as pl

    batches: Iterator[pl.DataFrame] = iter([exchanges] if isinstance(exchanges, pl.DataFrame) else exchanges)
    verdicts = pl.concat([judge(batch) for batch in batches])
    return relative(verdicts.lazy(), baseline(verdicts.lazy())).collect()
