"""A population cut into strata: per slice by the detector's score, and apart what has no score."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import numpy.typing as npt

from ..stats.allocation import strata_edges
from ..types import Outcome, Stratum
from .allocation import AT_LEAST, slice_budgets
from .population import Population

MOST = 8
"""Scored strata of a slice. More are narrower, and need more labels before the interval holds all the same."""
_FEW, _LABELS_EACH = 4, 8  # up to four strata: the least number of labels in each, twice
_LABELS_EACH_OF_MANY = 25  # benchmarks/coverage.py: eight strata hold as often as four from 200 labels on
_MARGIN = 0.005  # no stratum is expected to hold nothing, or nothing else
_NO_IDEA = 0.5

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Strata, and for every row of the population the position of its stratum."""

    strata: tuple[Stratum, ...]
    stratum: npt.NDArray[np.int32]


def cut(population: Population, budget: int) -> Parts:
    """Scored strata of each slice, from low to high: eight, fewer where it or its share of the budget is small or
    scores tie; then `unscored` and `blocked` where there are such rows. Their `pilot`, `labels` and `reserve` are 0.
    """
    frame = population.frame
    slices = frame["slice"].to_numpy()
    scores = frame["score"].cast(float).fill_null(np.nan).to_numpy()
    answered = (frame["outcome"].cast(str) == Outcome.ANSWERED.value).to_numpy()
    budgets = slice_budgets(np.bincount(slices, minlength=len(population.slices)).tolist(), budget)
    overall = _mean(scores[~np.isnan(scores)], otherwise=_NO_IDEA)
    strata: list[Stratum] = []
    positions = np.zeros(frame.height, np.int32)
    for number, values in enumerate(population.slices):
        inside = np.flatnonzero(slices == number)
        scored = inside[~np.isnan(scores[inside])]
        apart = {
            "unscored": inside[answered[inside] & np.isnan(scores[inside])],
            "blocked": inside[~answered[inside]],
        }
        edges = _edges(scores[scored], budgets[number], sum(len(rows) > 0 for rows in apart.values()))
        for low, high, rows in _split(scores, scored, edges):
            positions[rows] = len(strata)
            strata.append(
                _stratum(values, "scored", (low, high), len(rows), _mean(scores[rows], otherwise=0))
            )
        # Nobody knows how often the detector would have found something there: halfway between its rate and a coin.
        unscored = (_mean(scores[scored], otherwise=overall) + _NO_IDEA) / 2
        for kind, expected in (("unscored", unscored), ("blocked", _NO_IDEA)):
            if len(apart[kind]):
                positions[apart[kind]] = len(strata)
                strata.append(_stratum(values, kind, (0.0, 1.0), len(apart[kind]), expected))
    return Parts(strata=tuple(strata), stratum=positions)


def scored_strata(budget: int, answers: int, apart: int = 0) -> int:
    """Strata of the score of a slice with `answers` scored answers and `budget` labels: 8 from 200 of both on.

    Fewer where it has less of either, and 4 below 125 labels; 1 or less means that it is not cut. `apart` are its
    strata without a score, each of which takes the least number of labels.
    """
    few = min(_FEW, (budget - AT_LEAST * apart) // _LABELS_EACH, answers // _LABELS_EACH)
    return max(few, min(MOST, budget // _LABELS_EACH_OF_MANY, answers // _LABELS_EACH_OF_MANY))


def _edges(scores: Floats, budget: int, apart: int) -> list[float]:
    """Inner edges, each halfway between two scores that occur, so that rounding moves no answer across one."""
    most = scored_strata(budget, len(scores), apart)
    if most < 2:
        return []
    distinct = np.unique(scores)
    edges = []
    for edge in strata_edges(scores, most):
        at = int(np.searchsorted(distinct, edge))
        middle = float(distinct[at - 1] + distinct[at]) / 2
        edges.append(middle if middle > distinct[at - 1] else float(distinct[at]))
    return edges


def _split(
    scores: Floats, rows: npt.NDArray[np.intp], edges: list[float]
) -> list[tuple[float, float, npt.NDArray[np.intp]]]:
    if not len(rows):
        return []
    numbers = np.searchsorted(edges, scores[rows], side="right") if edges else np.zeros(len(rows), np.intp)
    bounds = [0.0, *edges, 1.0]
    return [
        (low, high, rows[numbers == number]) for number, (low, high) in enumerate(itertools.pairwise(bounds))
    ]


def _stratum(
    values: tuple[str | None, ...], kind: str, bounds: tuple[float, float], size: int, expected: float
) -> Stratum:
    return Stratum(
        slice=values,
        kind=kind,
        low=bounds[0],
        high=bounds[1],
        size=size,
        expected=min(max(expected, _MARGIN), 1 - _MARGIN),
        pilot=0,
        labels=0,
        reserve=0,
    )


def _mean(values: Floats, *, otherwise: float) -> float:
    return float(values.mean()) if len(values) else otherwise
