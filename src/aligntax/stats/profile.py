"""Interval of a rate from labels drawn per score stratum: the profile likelihood, for many problems at once.

With q_kj the share of all exchanges that is in stratum k and category j, the rate is
R = sum_k q_k,pos / sum_k (q_k,pos + q_k,neg). The interval holds every R whose deviance stays under a cut: the fall
of the log-likelihood when sum_kj g_j q_kj = 0, with g = (1 - R, -R, 0), is demanded.

The log-likelihood is concave, so that fall is the maximum over one multiplier of a concave dual, whose slope is
sum g q (dual.py). Only lower bounds are searched for: an upper bound is one minus the lower bound with positive and
negative exchanged. The search is a Newton for the rate round one for the multiplier round one for each stratum,
all kept within brackets, for all problems at once; problems that have converged drop out.

Sources: Owen, Empirical Likelihood (2001), chapters 2 and 3, for the constraint and its multiplier; Cochran, Sampling
Techniques (1977), chapter 12, for two-phase sampling, where the weights of strata are estimated from N exchanges.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from .dual import Array, Point, Strata, dual

Side = Literal["two", "low", "high"]
Population = Literal["future", "log"]

_SURE = 40.0  # multiplier / N at which these exchanges hold nothing but what was seen: exp(-40) of the rest
_STEPS = 100  # Newton needs about 5; halving, where it leaves the bracket, has what it needs
_FLAT = 1e-100  # a slope under this sends Newton out of its bracket, and is as good as none
_PRECISE = 1e-9  # of an angle; a rate is its squared sine


class Intervals(msgspec.Struct, frozen=True, kw_only=True):
    """Rates and the ends of their intervals: arrays of shape (problems,), from 0 to 1.

    `value` is nan where no label is in the domain; the interval is then 0 to 1.
    """

    value: Array
    low: Array
    high: Array


def profile_interval(
    counts: ArrayLike,
    sizes: ArrayLike,
    *,
    level: float = 0.95,
    side: Side = "two",
    population: Population = "future",
    careful: bool = False,
) -> Intervals:
    """Profile-likelihood intervals of B rates, each from labels in K strata.

    `counts`: (B, K, 3), labels that are positive in the domain, negative in the domain, outside of it; (B, K, 2)
    where nothing is outside. They may be fractional, as planning needs. `sizes`: (B, K), exchanges in each stratum;
    0 pads. For an endless population give huge ones, such as 1e12 times the weights: only shares then matter.

    `side`: "two" gives both ends at `level`; "low" a lower bound at `level` and 1, "high" 0 and an upper bound.
    `population`: "log" speaks of these exchanges only and is a point where all are labelled (hypergeometric
    likelihood with Stirling's formula); "future" of the traffic they were drawn from (multinomial).

    `careful` corrects both ends for counts being whole and skewed, which matters where few were found. Without it, and
    with one stratum, a one-sided 95 % bound may cover as little as 75 %, two ends 82 % (over rates the average is .95);
    with it the ends are those of the exact binomial test within 3 %, and an interval over strata is 10 to 80 % wider.
    Use it where a bound is a promise: gates, audits of one stratum.

    A stratum with a size and no label is unknown and widens the interval by its whole weight; the value is then the
    rate of the labelled strata. The interval assumes that labels are right and drawn at random within strata;
    how many in each may depend on earlier labels. Its coverage is approximate: benchmarks/coverage.py measures it.

    Raises InputError for impossible counts, more labels than exchanges, or an unknown option.
    """
    if population not in ("future", "log"):
        raise InputError(f"there is no population {population!r}", remedy="use future or log")
    strata, cut = Strata.read(counts, sizes, finite=population == "log"), cut_of(level, side)
    value = strata.rate()
    low, high = np.zeros(len(value)), np.ones(len(value))
    if side == "two":
        both = _lower_bounds(strata.and_mirrored(), cut, careful=careful)
        low, high = both[: len(value)], 1 - both[len(value) :]
    elif side == "low":
        low = _lower_bounds(strata, cut, careful=careful)
    else:
        high = 1 - _lower_bounds(strata.mirrored(), cut, careful=careful)
    # Where the interval is a point, rounding may carry an end past the value in the last digit.
    return Intervals(value=value, low=np.fmin(low, value), high=np.fmax(high, value))


def cut_of(level: float, side: str) -> float:
    """Half the squared normal quantile: 1.92 for 95 % on both sides, 1.35 on one. Raises as `tail_of` does."""
    from scipy.special import ndtri

    # A one-sided bound at a level under one half would lie on the other side of the value.
    return max(float(ndtri(1 - tail_of(level, side))), 0.0) ** 2 / 2


def tail_of(level: float, side: str) -> float:
    """Probability beyond one end: half of what the level leaves, or all of it on one side.

    Raises InputError for a level that is not between 0 and 1, or an unknown side.
    """
    if not 0 < level < 1:
        raise InputError(
            f"a confidence level of {level} is not between 0 and 1", remedy="use for example 0.95"
        )
    if side not in ("two", "low", "high"):
        raise InputError(f"an interval has no side {side!r}", remedy="use two, low or high")
    return (1 - level) / 2 if side == "two" else 1 - level


def _lower_bounds(strata: Strata, cut: float, *, careful: bool) -> Array:
    """Smallest rate whose deviance is at most `cut`, (P,); 0 where no label is positive."""
    if careful:
        strata = _carefully(strata)
    positive, negative, unknown = strata.expected()
    seen = strata.labels.sum(axis=1)
    some = seen[:, 0] > 0
    # Down to here the deviance is 0: strata without labels may be all negative.
    start = np.divide(positive, positive + negative + unknown, out=np.zeros(len(some)), where=some)
    least = np.zeros(len(some))
    if strata.finite:  # what was seen as positive is positive, whatever the others are
        np.divide(seen[:, 0], strata.total() - seen[:, 2], out=least, where=some)
    rows = np.flatnonzero(start > least)
    if strata.finite and len(rows):
        end = dual(strata.take(rows), least[rows], _SURE * strata.total()[rows])
        rows = rows[end.deviance > cut]
        bound = least
    else:
        bound = start
    if len(rows) and cut > 0:
        bound[rows] = _search(strata.take(rows), start[rows], least[rows], cut)
    return bound


def _carefully(strata: Strata) -> Strata:
    """The labels with part of a positive made negative, in the stratum where one positive moves the rate most.

    Half of one, because counts are whole: the exact test adds the chance of what was seen. And (1 - 2 p) / 6 the other
    way, because the signed root of the deviance is skewed: the second-order term of a binomial count (Barndorff-Nielsen
    1986). Seen from the upper bound of something rare this is 2/3 of a positive more.
    """
    positive, labelled = strata.labels[:, :, 0], strata.labels.sum(axis=2)
    domain = np.maximum(positive + strata.labels[:, :, 1], np.finfo(np.float64).tiny)
    unseen = 1 - labelled / np.maximum(strata.sizes, 1) if strata.finite else np.ones_like(labelled)
    step = np.where(positive > 0, strata.sizes * unseen / np.maximum(labelled, 1e-9), 0)
    moved = np.where(step > 0, np.minimum(positive, 0.5 - (1 - 2 * positive / domain) / 6), 0)
    problems, heaviest = np.arange(len(step)), step.argmax(axis=1)
    labels = strata.labels.copy()
    labels[problems, heaviest, 0] -= moved[problems, heaviest]
    labels[problems, heaviest, 1] += moved[problems, heaviest]
    return Strata(labels=labels, sizes=strata.sizes, finite=strata.finite)


def _search(strata: Strata, start: Array, least: Array, cut: float) -> Array:
    """Rates between `least` and `start` whose deviance is `cut`.

    By the arc sine of its root, the square root of the deviance is nearly a straight line.
    """
    below, above = np.arcsin(np.sqrt(least)), np.arcsin(np.sqrt(start))
    labelled = strata.labels[:, :, :2].sum(axis=(1, 2))
    angle = np.maximum(above - np.sqrt(cut / (2 * labelled)), (below + above) / 2)
    active = np.arange(len(start))
    for _ in range(_STEPS):
        rate = np.sin(angle[active]) ** 2
        # This would be the multiplier if there were one stratum and no end of exchanges.
        guess = labelled[active] * (start[active] - rate) / (rate * (1 - rate))
        point, multiplier = _held(strata.take(active), rate, guess)
        root, goal = np.sqrt(np.maximum(point.deviance, 0)), np.sqrt(cut)
        below[active] = np.where(root > goal, angle[active], below[active])
        above[active] = np.where(root > goal, above[active], angle[active])
        slope = -multiplier * point.domain * np.sin(2 * angle[active])  # of the deviance
        following = _within(
            angle[active] - (root - goal) * 2 * root / np.minimum(slope, -_FLAT),
            below[active],
            above[active],
            (below[active] + above[active]) / 2,
        )
        moved = np.abs(following - angle[active])
        angle[active] = following
        active = active[moved > _PRECISE]
        if not len(active):
            break
    rates: Array = np.sin(angle) ** 2
    return rates


def _held(strata: Strata, rate: Array, guess: Array) -> tuple[Point, Array]:
    """The dual at its maximum over the multiplier, and that multiplier, (P,).

    Solves negative / positive = (1 - rate) / rate, whose left side is nearly a straight line.
    """
    low, high = np.zeros(len(rate)), strata.total() * (_SURE if strata.finite else (1 - 1e-12) / rate)
    multiplier, active = np.minimum(guess, high / 2), np.arange(len(rate))
    for _ in range(_STEPS):
        here = multiplier[active]
        point = dual(strata.take(active), rate[active], here)
        excess = point.odds - (1 - rate[active]) / rate[active]
        low[active] = np.where(excess < 0, here, low[active])
        high[active] = np.where(excess < 0, high[active], here)
        # Where it is flat, as before an unseen category takes mass, go on by factors.
        up = np.minimum(4 * here, (here + high[active]) / 2)
        down = np.maximum(here / 4, (here + low[active]) / 2)
        following = _within(
            here - excess / np.maximum(point.odds_slope, _FLAT),
            low[active],
            high[active],
            np.where(excess < 0, up, down),
        )
        multiplier[active] = following
        # The deviance has its maximum here, so its error is the square of this.
        active = active[np.abs(following - here) > 1e-8 * here]
        if not len(active):
            break
    return dual(strata, rate, multiplier), multiplier


def _within(step: Array, low: Array, high: Array, otherwise: Array) -> Array:
    """`step` where it lies between `low` and `high`, else `otherwise`."""
    return np.where((step > low) & (step < high), step, otherwise)
