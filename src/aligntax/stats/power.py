"""How many labels a wish for narrowness costs, before and while they are made.

Everything is planned at the counts to be expected, so a plan gives about the mean width (it asks for up to a sixth
more labels than that takes), not a promise: some labellings turn out wider. Expected counts are fractions; the profile
interval takes them as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ..types import Estimate
from .allocation import allocate
from .profile import Intervals, Population, Side, profile_interval

Goal = Literal["low", "high", "half_width"]
Array = NDArray[np.float64]

MOST_LABELS = 1_000_000
"""No plan goes beyond it: where so many labels would not do, the answer is that no number does."""

_AT_ONCE = 24  # plans tried in one call of the profile interval


def expected_interval(
    sizes: ArrayLike,
    expected: ArrayLike,
    total: int,
    *,
    level: float = 0.95,
    side: Side = "two",
    population: Population = "future",
) -> Estimate:
    """The interval to expect from `total` labels shared out by `allocate`, were `expected` the rates of the strata.

    `sizes`: exchanges per stratum, (K,), whole numbers. `expected`: rates of positives, (K,), 0 to 1. It is the
    profile interval at the counts to be expected: where rates differ from `expected` it says too little or too much,
    so plan again after a pilot. `corrected` is false: no label has been made. `n_labels` is how many there would be.
    Raises InputError for what `allocate` or `profile_interval` refuse.
    """
    held, rates = np.asarray(sizes, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    labels = allocate(held, rates, total)
    interval = _planned(labels[None], rates, held, level, side, population)
    value = float(interval.value[0])
    return Estimate(
        value=None if np.isnan(value) else value,
        low=float(interval.low[0]),
        high=float(interval.high[0]),
        level=level,
        n=int(held.sum()),
        n_labels=int(labels.sum()),
        method=f"expected profile interval over {len(held)} strata",
        corrected=False,
    )


def labels_for_half_width(
    sizes: ArrayLike,
    expected: ArrayLike,
    half_width: float,
    *,
    level: float = 0.95,
    population: Population = "future",
) -> int | None:
    """The fewest labels at which half the width of `expected_interval` is at most `half_width` (0 to 1).

    None where no number does: more than there are exchanges, where even all of them leave doubt about traffic to
    come, or more than `MOST_LABELS`. Raises InputError as `expected_interval` does, and for no half-width above 0.
    """
    if not half_width > 0:
        raise InputError(f"half-width {half_width}", remedy="give one above 0, such as 0.02 for 2 points")
    held, rates = np.asarray(sizes, dtype=np.float64), np.asarray(expected, dtype=np.float64)

    def narrow(totals: NDArray[np.int64]) -> NDArray[np.bool_]:
        labels = np.array([allocate(held, rates, int(total)) for total in totals])
        interval = _planned(labels, rates, held, level, "two", population)
        return _reached(interval, "half_width", half_width)

    return _fewest(narrow, _most(held.sum()))


def more_labels(
    counts: ArrayLike,
    sizes: ArrayLike,
    goal: Goal,
    bound: float,
    *,
    level: float = 0.95,
    side: Side = "two",
    population: Population = "future",
) -> int | None:
    """How many labels more until the interval is expected to reach a goal, if the rest looks like what was seen.

    `counts`: labels so far, (K, 3) or (K, 2): positive, negative, outside of the domain, per stratum. `sizes`: (K,).
    `goal`: "low" for low >= `bound`, "high" for high <= `bound`, "half_width" for (high - low) / 2 <= `bound`. New
    labels go where `allocate` finds them missing, a stratum without labels is taken to be like the others. 0 where
    the goal is reached; None where no number reaches it: the rate itself lies on the wrong side of `bound`, there
    are too few exchanges, or it takes more than `MOST_LABELS`. Raises InputError as `profile_interval` does, and for
    an unknown goal, a `side` that leaves the goal's end open, or no label in the domain.
    """
    seen, held = np.asarray(counts, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    if goal not in ("low", "high", "half_width") or side not in ("two", goal):
        raise InputError(
            f"goal {goal!r} with side {side!r}",
            remedy="use low, high or half_width, and side two or the goal",
        )
    now = profile_interval(seen[None], held[None], level=level, side=side, population=population)
    if np.isnan(now.value[0]):
        raise InputError("no label is in the domain", remedy="label some first")
    if _reached(now, goal, bound)[0]:
        return 0
    value = float(now.value[0])
    if (goal == "low" and value <= bound) or (goal == "high" and value >= bound):
        return None
    shares, labelled = _shares(seen, held), seen.sum(axis=1)
    rates = shares[:, 0] / np.maximum(shares[:, 0] + shares[:, 1], 1e-12)

    def enough(extras: NDArray[np.int64]) -> NDArray[np.bool_]:
        added = np.array([_added(held, rates, labelled, int(extra)) for extra in extras])
        planned = seen + added[:, :, None] * shares
        exchanges = np.broadcast_to(held, added.shape)
        return _reached(
            profile_interval(planned, exchanges, level=level, side=side, population=population), goal, bound
        )

    return _fewest(enough, _most(held.sum() - labelled.sum()))


def _planned(
    labels: NDArray[np.int64], rates: Array, sizes: Array, level: float, side: Side, population: Population
) -> Intervals:
    counts = np.stack([labels * rates, labels * (1 - rates)], axis=2)
    exchanges = np.broadcast_to(sizes, labels.shape)
    return profile_interval(counts, exchanges, level=level, side=side, population=population)


def _reached(interval: Intervals, goal: Goal, bound: float) -> NDArray[np.bool_]:
    if goal == "low":
        return interval.low >= bound
    if goal == "high":
        return interval.high <= bound
    return (interval.high - interval.low) / 2 <= bound


def _shares(seen: Array, sizes: Array) -> Array:
    """Expected shares of the categories in each stratum, (K, J): as seen, or as in all strata where none was seen."""
    labelled = seen.sum(axis=1, keepdims=True)
    within = seen / np.maximum(labelled, 1e-12)
    known = sizes * (labelled[:, 0] > 0)
    shares: Array = np.where(labelled > 0, within, known @ within / known.sum())
    return shares


def _added(sizes: Array, rates: Array, labelled: Array, extra: int) -> Array:
    """`extra` labels where the allocation of all labels finds them missing; fractions."""
    wanted = allocate(sizes, rates, int(np.ceil(labelled.sum())) + extra)
    missing: Array = np.maximum(wanted - labelled, 0.0)
    part = min(extra / float(missing.sum()), 1.0) if missing.any() else 0.0
    return missing * part


def _most(exchanges: float) -> int:
    return int(min(exchanges, MOST_LABELS))


def _fewest(enough: Callable[[NDArray[np.int64]], NDArray[np.bool_]], most: int) -> int | None:
    """The smallest number up to `most` that is enough, where more never is less; None where not even `most` is."""
    short, found = 0, most
    if most < 1 or not enough(np.array([most]))[0]:
        return None
    while found - short > 1:
        # Even steps of the logarithm: most answers are far smaller than what there is.
        tried = np.unique(np.geomspace(max(short, 1), found, _AT_ONCE).astype(np.int64))
        if found - short <= _AT_ONCE:
            tried = np.arange(short + 1, found)
        tried = tried[(tried > short) & (tried < found)]
        good = enough(tried)
        if good.any():
            first = int(good.argmax())
            found = int(tried[first])
            short = int(tried[first - 1]) if first else short
        else:
            short = int(tried[-1])
    return found
