"""Fronts of usefulness against safety: hypervolume, the operating point, and how sure they are.

A point is (safety, usefulness), both from 0 to 1 and both better when higher. Every method is scored on the same
prompts, so differences are paired by prompt; prompts of one family count once. Points must have been chosen on OTHER
prompts than those that score them: an interval here knows nothing of how often somebody looked.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ..types import Estimate
from .binomial import wilson
from .difference import family_t, tango
from .profile import tail_of

Array = NDArray[np.float64]
RESAMPLES = 2000


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """What P points scored on the same prompts. Families say which prompts are alike; None: each stands alone."""

    safety: Array  # (P, H) per harmful prompt, 1 = declined
    usefulness: Array  # (P, U) per useful item, 1 = right
    safety_families: tuple[Hashable, ...] | None = None  # (H,)
    usefulness_families: tuple[Hashable, ...] | None = None  # (U,)

    def __post_init__(self) -> None:
        for name, scores, families in (
            ("safety", self.safety, self.safety_families),
            ("usefulness", self.usefulness, self.usefulness_families),
        ):
            if scores.ndim != 2 or not scores.size or not np.isfinite(scores).all():
                raise InputError(
                    f"{name} is no table of points by prompts", remedy="give finite scores, points as rows"
                )
            if scores.min() < 0 or scores.max() > 1:
                raise InputError(f"{name} lies outside 0 to 1", remedy="scale each score to 0..1")
            if families is not None and len(families) != scores.shape[1]:
                raise InputError(
                    f"{len(families)} families of {scores.shape[1]} prompts",
                    remedy="name one for each prompt",
                )
        if len(self.safety) != len(self.usefulness):
            raise InputError("safety and usefulness are of different numbers of points")

    @property
    def points(self) -> Array:
        """(P, 2): mean safety and mean usefulness of each point."""
        return np.column_stack([self.safety.mean(axis=1), self.usefulness.mean(axis=1)])

    def of(self, places: Sequence[int]) -> Scores:
        """The scores of these points alone."""
        kept = list(places)
        return msgspec.structs.replace(self, safety=self.safety[kept], usefulness=self.usefulness[kept])


class FrontRow(msgspec.Struct, frozen=True, kw_only=True):
    """One point of a front as it is printed: how it was made, and what it scored on the report prompts."""

    method: str  # rows of one method are one front
    label: str  # "0.90 0.70 0.80", "step 300"
    settings: Mapping[str, Any] = {}  # ratios or training settings, as they would be given again
    safety: Estimate
    usefulness: Estimate
    over: Estimate | None = None  # benign requests that were refused
    baseline: bool = False  # a plain method, beside which a gain must be shown
    chosen: bool = False  # the operating point of its method, by the selection prompts


def hypervolume(points: ArrayLike, reference: tuple[float, float] = (0.0, 0.0)) -> float:
    """Area that the points dominate above `reference`, exact. Points (P, 2), in any order; 0 where there are none.

    Ref: Zitzler and Thiele 1998; Guerreiro, Fonseca and Paquete 2021 (arXiv:2005.00515).
    """
    table = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    return float(hypervolumes(table[None], reference)[0])


def hypervolumes(points: Array, reference: tuple[float, float] = (0.0, 0.0)) -> Array:
    """Of many fronts at once: points (B, P, 2) -> (B,)."""
    if not points.shape[1]:
        return np.zeros(len(points))
    gained = np.maximum(points - np.asarray(reference), 0.0)
    order = np.argsort(-gained[..., 0], axis=1, kind="stable")
    safety = np.take_along_axis(gained[..., 0], order, axis=1)
    best = np.maximum.accumulate(np.take_along_axis(gained[..., 1], order, axis=1), axis=1)
    widths = safety - np.column_stack([safety[:, 1:], np.zeros(len(safety))])
    area: Array = (widths * best).sum(axis=1)
    return area


def nondominated(points: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other beats: none is at least as good in both and better in one. Of equal points all stay."""
    table = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    no_worse = np.all(table[None] >= table[:, None], axis=2)
    better = np.any(table[None] > table[:, None], axis=2)
    beaten: NDArray[np.bool_] = np.any(no_worse & better, axis=1)
    return ~beaten


def point_at(points: ArrayLike, safety: float) -> int | None:
    """The place of the most useful point that is at least this safe, safer where equal; None where none is.

    No interpolation between points. Give it what the SELECTION prompts say; what the point is worth, the others say.
    """
    table = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    places = [at for at in range(len(table)) if table[at, 0] >= safety - 1e-12]
    return max(places, key=lambda at: (table[at, 1], table[at, 0], -at), default=None)


def usefulness_at(points: ArrayLike, safety: float) -> float | None:
    """The usefulness of the best measured point that is at least this safe. On the prompts that chose it, it flatters."""
    place = point_at(points, safety)
    return None if place is None else float(np.asarray(points, dtype=np.float64).reshape(-1, 2)[place, 1])


def mean_of(
    scores: ArrayLike, families: Sequence[Hashable] | None = None, *, level: float = 0.95
) -> Estimate:
    """The mean of scores in 0..1, with Wilson's interval for zeros and ones, or Student's t over families.

    Where scores do not vary the interval is Wilson's of as many prompts (families), so that none is without width.
    """
    values = np.asarray(scores, dtype=np.float64).ravel()
    if not len(values) or not np.isfinite(values).all():
        raise InputError("no scores, or some that are no numbers", remedy="score at least one prompt")
    names = tuple(families) if families is not None else tuple(range(len(values)))
    alone = len(set(names)) == len(names)
    if alone and _binary(values):
        return _counted(
            wilson(int(values.sum()), len(values), level=level), float(values.mean()), len(values)
        )
    found = family_t(values, names, level=level)
    value = float(found.value or 0.0)
    if found.low is None or found.high is None:
        n = len(set(names))
        around = wilson(round(value * n), n, level=level)
        return _counted(around, value, len(values))
    return msgspec.structs.replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))


def difference_of(
    first: ArrayLike,
    second: ArrayLike,
    families: Sequence[Hashable] | None = None,
    *,
    level: float = 0.95,
) -> Estimate:
    """Mean of `first` - `second` over the same prompts: Tango's interval for zeros and ones, else t over families.

    Where no prompt differs the interval is Tango's for as many prompts (families) without a difference.
    """
    a, b = np.asarray(first, dtype=np.float64).ravel(), np.asarray(second, dtype=np.float64).ravel()
    if a.shape != b.shape:
        raise InputError(
            f"{len(a)} and {len(b)} scores are no pairs", remedy="score both on the same prompts"
        )
    names = tuple(families) if families is not None else tuple(range(len(a)))
    if len(set(names)) == len(names) and _binary(a) and _binary(b):
        return tango(int((a > b).sum()), int((a < b).sum()), len(a), level=level)
    found = family_t(a - b, names, level=level)
    if found.low is None:
        none = tango(0, 0, len(set(names)), level=level)
        shift = float(found.value or 0.0)
        ends = (max(shift + float(none.low or 0.0), -1.0), min(shift + float(none.high or 0.0), 1.0))
        return msgspec.structs.replace(found, low=ends[0], high=ends[1], method=none.method)
    return found


class Resampling(msgspec.Struct, frozen=True, kw_only=True):
    """One set of resampled prompts, used for every method, so that their differences stay paired."""

    safety: Array  # (B, H) weights that sum to 1
    usefulness: Array  # (B, U)

    def points(self, scores: Scores) -> Array:
        """(B, P, 2): the points as each resample sees them."""
        return np.stack([self.safety @ scores.safety.T, self.usefulness @ scores.usefulness.T], axis=2)


def resampling(scores: Scores, *, resamples: int = RESAMPLES, seed: int = 0) -> Resampling:
    """Draws families of prompts with replacement, harmful and useful ones apart. The numbers are those of the prompts."""
    random = np.random.default_rng(seed)
    harmful = _names(scores.safety_families, scores.safety.shape[1])
    useful = _names(scores.usefulness_families, scores.usefulness.shape[1])
    return Resampling(
        safety=_weights(harmful, resamples, random), usefulness=_weights(useful, resamples, random)
    )


def hypervolume_of(scores: Scores, drawn: Resampling, *, level: float = 0.95) -> Estimate:
    """The hypervolume of the points, reference (0, 0), with a bootstrap interval over prompts.

    The best of several noisy points looks better than it is, in the sample and again in each resample. So the interval
    is the basic bootstrap's, 2 v - q, which turns this back; the value itself is the plain one.
    """
    value = hypervolume(scores.points)
    found = _basic(
        value, hypervolumes(drawn.points(scores)), level, scores, "hypervolume, basic bootstrap over prompts"
    )
    return msgspec.structs.replace(found, low=max(found.low or 0.0, 0.0), high=min(found.high or 0.0, 1.0))


def hypervolume_difference(
    first: Scores, second: Scores, drawn: Resampling, *, level: float = 0.95
) -> Estimate:
    """Hypervolume of `first` less that of `second`, paired by prompt, with a bootstrap interval.

    Compare methods with as many points each: more points, more luck.
    """
    value = hypervolume(first.points) - hypervolume(second.points)
    spread = hypervolumes(drawn.points(first)) - hypervolumes(drawn.points(second))
    return _basic(
        value, spread, level, first, "difference of hypervolumes, paired basic bootstrap over prompts"
    )


def _basic(value: float, drawn: Array, level: float, scores: Scores, method: str) -> Estimate:
    tail = tail_of(level, "two")
    low, high = np.quantile(drawn, [tail, 1 - tail])
    n = scores.safety.shape[1] + scores.usefulness.shape[1]
    return Estimate(
        value=value,
        low=float(2 * value - high),
        high=float(2 * value - low),
        level=level,
        n=n,
        n_labels=0,
        method=method,
        corrected=False,
    )


def _names(families: Sequence[Hashable] | None, n: int) -> NDArray[np.intp]:
    number: dict[Hashable, int] = {}
    named: Sequence[Hashable] = families if families is not None else range(n)
    return np.array([number.setdefault(name, len(number)) for name in named], dtype=np.intp)


def _weights(family: NDArray[np.intp], resamples: int, random: np.random.Generator) -> Array:
    count = int(family.max()) + 1
    times = random.multinomial(count, np.full(count, 1 / count), size=resamples)
    weights: Array = times[:, family].astype(np.float64)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def _binary(values: Array) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())


def _counted(interval: Estimate, value: float, n: int) -> Estimate:
    """Scores are measured, not labelled by people."""
    low, high = min(float(interval.low or 0.0), value), max(float(interval.high or 0.0), value)
    return msgspec.structs.replace(interval, value=value, low=low, high=high, n=n, n_labels=0)
