"""How far apart two things are, with the doubt of both."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ..types import Estimate
from .profile import tail_of
from .rate import wilson

_ROUNDS = 60  # halvings: ends are exact to 1e-17


def mover(a: Estimate, b: Estimate) -> Estimate:
    """The difference a - b of two independent rates, from their own two-sided intervals of the same level.

    With d = a - b: low = d - sqrt((a - a.low)^2 + (b.high - b)^2), high = d + sqrt((a.high - a)^2 + (b - b.low)^2),
    from -1 to 1. It is as good as the intervals that go in, and is `corrected` where both are. Rates on the same
    exchanges are not independent: use `tango` or `family_t` there. Raises InputError where one of them has no
    interval, as raw detector rates have none: their difference may be all error.

    Ref: Donner and Zou 2012, method of variance estimates recovery; Newcombe 1998 for the idea.
    """
    first, first_low, first_high = _ends(a)
    second, second_low, second_high = _ends(b)
    if a.level != b.level:
        raise InputError(
            f"one interval is at {a.level:g}, the other at {b.level:g}", remedy="use one level for both"
        )
    difference = first - second
    return Estimate(
        value=difference,
        low=difference - math.hypot(first - first_low, second_high - second),
        high=difference + math.hypot(first_high - first, second - second_low),
        level=a.level,
        n=a.n + b.n,
        n_labels=a.n_labels + b.n_labels,
        method=f"difference by MOVER of: {a.method}" + ("" if a.method == b.method else f"; {b.method}"),
        corrected=a.corrected and b.corrected,
    )


def newcombe(positives_a: int, n_a: int, positives_b: int, n_b: int, *, level: float = 0.95) -> Estimate:
    """Difference of two rates in independent random samples: MOVER of two Wilson intervals.

    The reference that needs no strata and no detector. Raises InputError for counts that cannot be.

    Ref: Newcombe 1998, Statistics in Medicine 17:873, method 10 (hybrid score).
    """
    return mover(wilson(positives_a, n_a, level=level), wilson(positives_b, n_b, level=level))


def mcnemar_midp(b: int, c: int) -> float:
    """Two-sided p-value that, of pairs that differ, either side is as likely to be the positive one: 0 to 1.

    `b` pairs are positive only on the first side, `c` only on the second: with X ~ Binomial(b + c, 1/2), it is
    2 P(X <= min(b, c)) - P(X = min(b, c)). Assumes one pair a family. No pair that differs gives 1.
    Raises InputError for negative counts.

    Ref: McNemar 1947; Fagerland, Lydersen and Laake 2013: the exact test is too careful, mid-p
    nearly keeps its size (at most .055 for .05 in benchmarks/coverage_differences.py).
    """
    if b < 0 or c < 0:
        raise InputError(f"{b} and {c} pairs", remedy="count pairs from 0")
    from scipy.stats import binom

    fewer, pairs = min(b, c), b + c
    return float(min(2 * binom.cdf(fewer, pairs, 0.5) - binom.pmf(fewer, pairs, 0.5), 1.0))


def tango(b: int, c: int, n: int, *, level: float = 0.95) -> Estimate:
    """Difference of two rates on the same `n` exchanges (or of twins): (b - c) / n, from -1 to 1.

    `b` pairs are positive only on the first side, `c` only on the second. Score interval: all differences d with
    |b - c - n d| <= z sqrt(n (2 q + d (1 - d))), q the likeliest share of `c` pairs were d true. It has a width at
    b = c = 0 too. Assumes pairs drawn at random, one a family. Raises InputError for counts that cannot be.

    Ref: Tango 1998, Statistics in Medicine 17:891.
    """
    if b < 0 or c < 0 or n < 1 or b + c > n:
        raise InputError(
            f"{b} and {c} of {n} pairs differ", remedy="count pairs from 0, those that differ among all"
        )
    from scipy.special import ndtri

    z = -float(ndtri(tail_of(level, "two")))
    value = (b - c) / n
    low, high = -_farthest(c, b, n, z), _farthest(b, c, n, z)
    method = "paired difference, Tango's score interval"
    return Estimate(
        value=value, low=low, high=high, level=level, n=n, n_labels=2 * n, method=method, corrected=True
    )


def family_t(values: ArrayLike, families: Sequence[Hashable], *, level: float = 0.95) -> Estimate:
    """Mean over families of the mean of each: Student's t on F - 1 degrees of freedom, F the number of families.

    `values` (rows,): differences or log ratios, one a pair; `families` (rows,): which prompt family each belongs to.
    Variants and repeats of one prompt are alike, so they count once: more of them say little, more families much.
    Assumes families drawn independently; with a dozen of them and a rare outcome 95 % intervals hold in about 91 %
    (benchmarks/coverage_differences.py). `n` is the number of rows; no labels are counted. One family, or families
    that do not differ at all, give no interval: low and high are None. Raises InputError for values that are not
    finite, no values, or a length that does not match.

    Ref: Cameron and Miller 2015, cluster-robust inference with few clusters.
    """
    means, tail = _family_means(values, families), tail_of(level, "two")
    low = high = None
    # Means of equal values may differ in the last digit, which is no spread.
    if len(means) > 1 and np.ptp(means) > 1e-12 * np.abs(means).max():
        from scipy.stats import t

        half = t.isf(tail, len(means) - 1) * means.std(ddof=1) / math.sqrt(len(means))
        low, high = float(means.mean() - half), float(means.mean() + half)
    return Estimate(
        value=float(means.mean()),
        low=low,
        high=high,
        level=level,
        n=len(families),
        n_labels=0,
        method=f"mean over {len(means)} families, t interval",
        corrected=False,
    )


def ratio_of_medians(
    a: ArrayLike, b: ArrayLike, *, seed: int, level: float = 0.95, resamples: int = 4000
) -> Estimate:
    """median(a) / median(b) of two independent samples of lengths or other values above 0; percentile bootstrap.

    A resampled median is an order statistic, so it is drawn from its own exact law: a million rows cost no more than
    ten. Fewer rows on a side than an interval of this level needs (6 at 95 %) give none: low and high are None.
    Assumes independent rows. Raises InputError for no rows, or values that are not above 0.

    Ref: Efron 1979, also for the law of the resampled median.
    """
    sides = [_positive(a), _positive(b)]
    fewest = min(len(side) for side in sides)
    low = high = None
    tail = tail_of(level, "two")
    # The median lies below the smallest of n values with chance 1 / 2^n: with fewer no interval can hold.
    if 0.5**fewest <= tail:
        random = np.random.default_rng(seed)
        first, second = (_resampled_medians(side, resamples, random) for side in sides)
        low, high = np.quantile(first / second, [tail, 1 - tail]).tolist()
    return Estimate(
        value=float(np.median(sides[0]) / np.median(sides[1])),
        low=low,
        high=high,
        level=level,
        n=len(sides[0]) + len(sides[1]),
        n_labels=0,
        method=f"ratio of medians, bootstrap of {resamples}",
        corrected=False,
    )


def paired_ratio(
    log_ratios: ArrayLike, families: Sequence[Hashable] | None = None, *, level: float = 0.95
) -> tuple[Estimate, Estimate]:
    """Geometric mean and median of paired ratios, both above 0, from the natural logarithms of the ratios.

    The geometric mean is exp of `family_t`. The median is that of the families (of the rows, without `families`),
    its interval the order statistics between which Binomial(F, 1/2) puts it with probability >= level: it asks
    nothing of the law of the ratios. Too few families (fewer than 6 at 95 %) give no interval of the median.
    Raises InputError as `family_t` does.

    Ref: Student's t on logarithms; Thompson 1936 for the median.
    """
    groups = range(np.size(log_ratios)) if families is None else families
    mean = family_t(log_ratios, groups, level=level)
    middle = np.sort(_family_means(log_ratios, groups))
    low, high = _median_ends(middle, tail_of(level, "two"))
    unit = "rows" if families is None else "families"
    geometric = _estimate_of_ratio(
        mean, mean.value, mean.low, mean.high, f"geometric mean over {len(middle)} {unit}"
    )
    median = _estimate_of_ratio(
        mean, float(np.median(middle)), low, high, f"median over {len(middle)} {unit}"
    )
    return geometric, median


def _ends(rate: Estimate) -> tuple[float, float, float]:
    if rate.value is None or rate.low is None or rate.high is None:
        raise InputError(
            "a rate without an interval cannot be compared", remedy="label some exchanges of each side first"
        )
    return rate.value, rate.low, rate.high


def _farthest(b: int, c: int, n: int, z: float) -> float:
    """The largest difference that Tango's score does not reject."""
    inside, outside = (b - c) / n, 1.0
    if inside == 1.0:
        return 1.0
    for _ in range(_ROUNDS):
        middle = (inside + outside) / 2
        linear = (2 * n - b + c) * middle - b - c
        share = (math.sqrt(linear**2 + 8 * n * c * middle * (1 - middle)) - linear) / (4 * n)
        spread = math.sqrt(max(n * (2 * share + middle * (1 - middle)), 0.0))
        if n * middle - (b - c) <= z * spread:
            inside = middle
        else:
            outside = middle
    return outside


def _family_means(values: ArrayLike, families: Sequence[Hashable]) -> NDArray[np.float64]:
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 1 or len(rows) != len(families):
        raise InputError(
            f"{rows.size} values in {len(families)} families", remedy="name the family of each value"
        )
    if not len(rows) or not np.isfinite(rows).all():
        raise InputError(
            "values must be finite numbers, at least one", remedy="leave out rows that have none"
        )
    number: dict[Hashable, int] = {}
    place = [number.setdefault(family, len(number)) for family in families]
    means: NDArray[np.float64] = np.bincount(place, weights=rows) / np.bincount(place)
    return means


def _positive(values: ArrayLike) -> NDArray[np.float64]:
    rows = np.sort(np.asarray(values, dtype=np.float64).ravel())
    if not len(rows) or not (np.isfinite(rows) & (rows > 0)).all():
        raise InputError(
            "a ratio needs values above 0, at least one a side", remedy="leave out empty answers"
        )
    return rows


def _resampled_medians(
    ascending: NDArray[np.float64], resamples: int, random: np.random.Generator
) -> NDArray[np.float64]:
    """Medians of bootstrap samples: the k-th smallest of n draws stands at the quantile Beta(k, n - k + 1)."""
    n = len(ascending)
    lower = (n + 1) // 2
    at = random.beta(lower, n - lower + 1, size=resamples)
    medians = ascending[np.minimum((at * n).astype(np.int64), n - 1)]
    if n % 2 == 0:  # mean of the two in the middle: the next above is the least of the n - k that are left
        at = at + (1 - at) * random.beta(1, n - lower, size=resamples)
        medians = (medians + ascending[np.minimum((at * n).astype(np.int64), n - 1)]) / 2
    return medians


def _median_ends(ascending: NDArray[np.float64], tail: float) -> tuple[float | None, float | None]:
    from scipy.stats import binom

    # The largest count that a fair coin stays under with chance <= tail; ppf gives the first one beyond it.
    skipped = int(binom.ppf(tail, len(ascending), 0.5))
    if binom.cdf(skipped, len(ascending), 0.5) > tail:
        skipped -= 1
    if skipped < 0:
        return None, None
    return float(ascending[skipped]), float(ascending[-1 - skipped])


def _estimate_of_ratio(
    mean: Estimate, value: float | None, low: float | None, high: float | None, method: str
) -> Estimate:
    value, low, high = (None if log is None else math.exp(log) for log in (value, low, high))
    return Estimate(
        value=value,
        low=low,
        high=high,
        level=mean.level,
        n=mean.n,
        n_labels=0,
        method=method,
        corrected=False,
    )
