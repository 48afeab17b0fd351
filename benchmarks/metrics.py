"""Measures of a binary score, with NumPy alone, and how the benchmarks print: shared by the scripts beside it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Array = npt.NDArray[Any]
Measure = Callable[[Array, Array], float]  # (truth, score) -> value

BINS = 10
RESAMPLES = 300


def auc(truth: Array, score: Array) -> float:
    """Chance that a true row scores higher than a false one, ties counted half; NaN without both."""
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(score)[truth]
    return float((ranks.sum() - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(truth: Array, score: Array) -> float:
    """Mean of the precision over the recall, stepwise, rows of one score taken together; NaN without true rows."""
    if not truth.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    hits = np.cumsum(truth[order])[last]
    recall = hits / truth.sum()
    return float((np.diff(recall, prepend=0.0) * hits / (last + 1)).sum())


def f1_precision_recall(truth: Array, found: Array) -> tuple[float, float, float]:
    """F1, precision and recall of a decision."""
    hits = int((truth & found).sum())
    precision, recall = hits / max(int(found.sum()), 1), hits / max(int(truth.sum()), 1)
    return 2 * hits / max(int(found.sum() + truth.sum()), 1), precision, recall


def f1_at_half(truth: Array, score: Array) -> float:
    """F1 of the decision `score >= 0.5`."""
    return f1_precision_recall(truth, score >= 0.5)[0]


def calibration_error(truth: Array, probability: Array) -> float:
    """Expected calibration error: mean distance of forecast and rate over equally wide bins."""
    return sum(abs(said - rate) * count for said, rate, count in reliability(truth, probability)) / len(truth)


def reliability(truth: Array, probability: Array) -> list[tuple[float, float, int]]:
    """(mean forecast, observed rate, rows) of each bin that holds any."""
    place = np.clip((probability * BINS).astype(int), 0, BINS - 1)
    held = [place == at for at in range(BINS) if (place == at).any()]
    return [(float(probability[b].mean()), float(truth[b].mean()), int(b.sum())) for b in held]


def sensitivity_at(specificity: float) -> Measure:
    """The measure "sensitivity where this share of the false rows scores lower"."""

    def measure(truth: Array, score: Array) -> float:
        return float((score[truth] > np.quantile(score[~truth], specificity)).mean())

    return measure


def interval(measure: Measure, truth: Array, score: Array, clusters: Array) -> tuple[float, float]:
    """95 % percentile interval from resampling whole clusters (rows that share a prompt) of rows."""
    rng = np.random.default_rng(20260302)
    order = np.argsort(clusters, kind="stable")
    edges = np.flatnonzero(np.diff(clusters[order])) + 1
    rows = np.split(order, edges)
    values = []
    for _ in range(RESAMPLES):
        drawn = np.concatenate([rows[at] for at in rng.integers(0, len(rows), len(rows))])
        values.append(measure(truth[drawn], score[drawn]))
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


# -- printing ------------------------------------------------------------------------------------------------


def table(title: str, heads: list[str], rows: list[list[Any]]) -> None:
    """Print rows under their heads: the first column to the left, the others to the right, NaN as a dash."""
    cells = [heads, *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(heads))]
    print(f"\n{title}")
    for at, row in enumerate(cells):
        padded = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(padded).rstrip())
        if at == 0:
            print("  ".join("-" * width for width in widths))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "-" if np.isnan(value) else f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def machine() -> str:
    """Load averages and processors: benchmarks on shared machines mean little without them."""
    load = " ".join(f"{value:.2f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    return f"load average {load} on {os.cpu_count()} processors"
