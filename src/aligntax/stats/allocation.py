"""Where labels are worth most: strata of the detector's score, and how many labels each gets.

Labels are drawn at random inside a stratum, so the score may be wrong: it then costs width, never validity.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError

_DOUBT = 0.02  # a stratum that the score calls clean is planned as if it held this share of positives


def strata_edges(scores: ArrayLike, k: int = 4) -> NDArray[np.float64]:
    """Inner edges of at most `k` strata, ascending: between them lie equal slices of the sum of sqrt(p (1 - p)).

    `scores`: probabilities from 0 to 1, of any number and order. A stratum holds low <= score < high, so
    `numpy.searchsorted(edges, scores, side="right")` numbers it from 0. No stratum is empty: equal scores stay
    together, so heavy ties give fewer strata, and a constant score one (no edges). Each edge is a score that occurs.
    Raises InputError for scores outside 0 to 1, not a number, and for k < 1.

    Ref: Dalenius and Hodges 1959, with the standard deviation of a 0/1 label in place of the density.
    """
    values = _probabilities(scores, "scores")
    if k < 1:
        raise InputError(f"{k} strata", remedy="ask for at least one")
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) < 2:
        return np.empty(0)
    spread = counts * np.sqrt(distinct * (1.0 - distinct))
    # Scores of 0 and 1 alone carry no spread: they are split by how many there are.
    reached: NDArray[np.float64] = np.cumsum(spread if spread.any() else counts.astype(np.float64))
    wanted = reached[-1] * np.arange(1, k) / k
    # The cut after a distinct value that comes nearest to the wanted slice; never after the last value.
    edges: NDArray[np.float64] = distinct[np.unique(_nearest(reached[:-1], wanted)) + 1]
    return edges


def allocate(
    sizes: ArrayLike, expected: ArrayLike, total: int, *, at_least: int = 4, share: float = 0.2
) -> NDArray[np.int64]:
    """Labels per stratum: defensive Neyman allocation, an integer each, summing to `total` unless `sizes` run out.

    `sizes`: exchanges per stratum, 0 or more. `expected`: rate of positives expected in each, 0 to 1 (p), planned
    as .98 p + .02. A `share` of the labels goes by size, the rest by size times sqrt(p (1 - p)); each stratum gets
    `at_least` labels, or all that it holds, and never more than it holds. Where `total` cannot give everyone
    `at_least`, it is shared as evenly as it goes. Raises InputError for what is not such a plan.

    Ref: Neyman 1934; the defensive share and floor keep blind spots of the score visible.
    """
    held = np.asarray(sizes, dtype=np.float64)
    rates = _probabilities(expected, "expected rates")
    if held.shape != rates.shape or held.ndim != 1:
        raise InputError(
            f"{held.size} sizes and {rates.size} expected rates", remedy="give one of each a stratum"
        )
    if not np.isfinite(held).all() or (held < 0).any() or (held != np.floor(held)).any():
        raise InputError("sizes of strata must be whole numbers, 0 or more")
    if total < 0 or at_least < 0 or not 0 <= share <= 1:
        raise InputError(
            f"total {total}, at_least {at_least}, share {share}", remedy="0 or more; share from 0 to 1"
        )
    total = int(min(total, held.sum()))
    if total == 0:
        return np.zeros(held.shape, dtype=np.int64)
    lowest = np.minimum(held, _affordable(held, total, at_least))
    return _rounded(_scaled(_weights(held, rates, share), lowest, held, total), total)


def _nearest(ascending: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.intp]:
    """Where in `ascending` the value nearest to each wanted one stands."""
    above = np.minimum(np.searchsorted(ascending, wanted), len(ascending) - 1)
    below = np.maximum(above - 1, 0)
    nearer_below = wanted - ascending[below] < ascending[above] - wanted
    return np.where(nearer_below, below, above)


def _probabilities(values: ArrayLike, what: str) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64).ravel()
    if not ((array >= 0) & (array <= 1)).all():  # also catches what is not a number
        raise InputError(f"{what} must lie between 0 and 1", remedy="leave out what has none")
    return array


def _weights(held: NDArray[np.float64], rates: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    planned = (1 - _DOUBT) * rates + _DOUBT
    by_size = held / held.sum()
    by_spread = held * np.sqrt(planned * (1 - planned))
    neyman = by_spread / by_spread.sum() if by_spread.any() else by_size
    # A trace for every stratum: the last labels must find a place where the others are full.
    weights: NDArray[np.float64] = share * by_size + (1 - share) * neyman + 1e-9 * by_size
    return weights


def _affordable(held: NDArray[np.float64], total: int, at_least: int) -> int:
    """The largest number up to `at_least` that every stratum can get (or all that it holds)."""
    each = at_least
    while np.minimum(held, each).sum() > total:
        each -= 1
    return each


def _scaled(
    weights: NDArray[np.float64], lowest: NDArray[np.float64], highest: NDArray[np.float64], total: int
) -> NDArray[np.float64]:
    """clip(c * weights, lowest, highest) with the one c that makes it sum to `total`."""
    there = weights > 0
    # The sum is piecewise linear in c and bends only where a stratum leaves its lowest or meets its highest.
    bends = np.unique(
        np.concatenate([[0.0], lowest[there] / weights[there], highest[there] / weights[there]])
    )
    sums = np.clip(bends[:, None] * weights, lowest, highest).sum(axis=1)
    scaled: NDArray[np.float64] = np.clip(np.interp(total, sums, bends) * weights, lowest, highest)
    return scaled


def _rounded(labels: NDArray[np.float64], total: int) -> NDArray[np.int64]:
    """Whole labels by largest remainder; whole bounds that held before still hold."""
    whole = np.floor(labels + 1e-6)
    missing = total - int(whole.sum())
    whole[np.argsort(whole - labels, kind="stable")[:missing]] += 1
    return whole.astype(np.int64)
