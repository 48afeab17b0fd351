"""One rate from expert labels, with its interval.

`profile` is the default: it stays honest where the detector is blind. `effective_n` believes that strata without a
positive have none; `wilson` and `clopper_pearson` are for labels drawn at random from everything.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ..types import Estimate
from .binomial import clopper, clopper_pearson, estimate, open_end, wilson
from .profile import Population, Side, profile_interval, tail_of

__all__ = ["clopper_pearson", "effective_n", "profile", "weighted", "wilson"]

Array = NDArray[np.float64]


def profile(  # noqa: PLR0913 - labels in three categories, and four choices with a default
    positives: ArrayLike,
    negatives: ArrayLike,
    outside: ArrayLike | None = None,
    *,
    sizes: ArrayLike,
    level: float = 0.95,
    side: Side = "two",
    population: Population = "future",
    careful: bool = False,
) -> Estimate:
    """Rate of positives among positives and negatives, by profile likelihood over strata.

    `positives`, `negatives`, `outside`: labels in each stratum, (K,) each; `outside` are labelled exchanges that do
    not belong to the domain, such as requests that should not have been answered when the rate is over-refusal.
    `sizes`: exchanges in each stratum, (K,). `side`, `population` and `careful` as in `profile_interval`, which holds the
    formula, the assumptions and the sources. `value` is None, and the interval 0 to 1, where nothing is in the domain.

    Raises InputError for impossible counts or an unknown option.
    """
    counts, exchanges = _strata(positives, negatives, outside, sizes)
    found = profile_interval(
        counts[None], exchanges[None], level=level, side=side, population=population, careful=careful
    )
    strata = int((exchanges > 0).sum())
    return estimate(
        None if math.isnan(found.value[0]) else float(found.value[0]),
        float(found.low[0]),
        float(found.high[0]),
        level=level,
        n=float(exchanges.sum()),
        labels=float(counts.sum()),
        method=f"profile likelihood over {_named(strata)}{', careful' if careful else ''}",
    )


def effective_n(
    positives: ArrayLike,
    negatives: ArrayLike,
    outside: ArrayLike | None = None,
    *,
    sizes: ArrayLike,
    level: float = 0.95,
    side: Side = "two",
    population: Population = "future",
) -> Estimate:
    """The same rate by the Clopper-Pearson interval of an effective number of labels (Korn-Graubard).

    The effective number n* is the size of a random sample with the same estimated variance, R (1 - R) / var(R), where
    var is that of the stratified ratio (two-phase for "future", with the finite population correction for "log"),
    times (t_{n-1} / t_{n-K})^2 for the degrees of freedom. Where no variance is seen, as at a rate of 0, n* is Kish's
    1 / sum(W_k^2 / n_k). Arguments and what comes back are those of `profile`.

    Assumes that a stratum without positives has none, which is what a blind detector makes wrong: report it only
    where an audit of the lowest stratum has passed. Raises InputError as `profile` does, and for a stratum without labels.

    Ref: Korn and Graubard 1998, Survey Methodology 24:193; Kish 1965; Cochran 1977, 12.2 for the two-phase variance.
    """
    counts, exchanges = _strata(positives, negatives, outside, sizes)
    tail = tail_of(level, side)
    _check_population(population)
    here = exchanges > 0
    counts, exchanges = counts[here], exchanges[here]
    labelled, weight, total = counts.sum(axis=1), exchanges / exchanges.sum(), float(exchanges.sum())
    if (labelled > exchanges).any():
        raise InputError("a stratum has more labels than exchanges")
    if (labelled <= 0).any():
        raise InputError(
            "a stratum has no label, so its variance is unknown", remedy="use the profile interval"
        )
    share = counts / labelled[:, None]
    domain = float(weight @ share[:, :2].sum(axis=1))
    rate = float(weight @ share[:, 0]) / domain if domain > 0 else math.nan
    method = f"effective number of labels over {_named(len(weight))}"
    labels = float(labelled.sum())
    if math.isnan(rate):
        return estimate(None, 0.0, 1.0, level=level, n=total, labels=labels, method=method)
    gains = np.array([1 - rate, -rate, 0.0]) / domain  # the ratio, linearised
    mean = share @ gains
    spread = share @ gains**2 - mean**2
    # One label tells of no spread within its stratum: it is taken to have that of all exchanges.
    spread = np.where(
        labelled > 1, spread * labelled / np.maximum(labelled - 1, 1), rate * (1 - rate) / domain
    )
    unseen = 1 - labelled / exchanges
    variance = float((weight**2 * spread / labelled * unseen).sum())
    if population == "future":
        variance += float(weight @ (share @ gains**2)) / total
    freedom = max(labels - len(weight), 1.0)
    whole = domain / float((weight**2 / labelled).sum())
    low, high = _korn_graubard(rate, variance, (labels, freedom), whole, (tail, side))
    if population == "log" and not unseen.any():
        low = high = rate
    return estimate(rate, low, high, level=level, n=total, labels=labels, method=method)


def weighted(
    outcomes: ArrayLike,
    weights: ArrayLike,
    *,
    strata: ArrayLike | None = None,
    size: int | None = None,
    level: float = 0.95,
    side: Side = "two",
) -> Estimate:
    """A rate from labels with design weights of their own, by Korn and Graubard's effective number of labels.

    `outcomes`: 1 positive, 0 negative, nan outside of the domain, (n,). `weights`: one over the probability that the
    exchange was drawn, (n,), up to a factor. `strata`: the stratum of each label, or None for one. `size`: exchanges
    that the labels speak for. The variance is that of the linearised ratio, as if drawn with replacement.

    Raises InputError for weights that are not positive numbers, outcomes that are not 0, 1 or nan, or no outcome.
    Ref: Korn and Graubard 1998.
    """
    tail = tail_of(level, side)
    y, w = np.asarray(outcomes, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if y.ndim != 1 or y.shape != w.shape or not len(y):
        raise InputError(f"{y.size} outcomes and {w.size} weights", remedy="give one weight for each outcome")
    inside = ~np.isnan(y)
    if not np.isin(y[inside], (0, 1)).all():
        raise InputError("outcomes must be 1, 0, or nan outside of the domain")
    if not (np.isfinite(w) & (w > 0)).all():
        raise InputError("weights must be positive numbers")
    groups = np.zeros(len(y), dtype=np.intp) if strata is None else np.unique(strata, return_inverse=True)[1]
    n, labels, method = size or len(y), float(len(y)), "effective number of weighted labels"
    domain = float(w[inside].sum())
    if domain == 0:
        return estimate(None, 0.0, 1.0, level=level, n=n, labels=labels, method=method)
    rate = float(w[inside] @ y[inside]) / domain
    gains = np.where(inside, w * (np.nan_to_num(y) - rate), 0) / domain
    many = np.bincount(groups)
    centred = gains - (np.bincount(groups, gains) / many)[groups]
    # A stratum with one label cannot show its spread: its square is taken as it stands.
    centred = np.where(many[groups] > 1, centred, gains)
    factor = np.where(many > 1, many / np.maximum(many - 1, 1), 1)[groups]
    variance = float((factor * centred**2).sum())
    freedom = max(labels - len(many), 1.0)
    whole = domain**2 / float((w[inside] ** 2).sum())
    low, high = _korn_graubard(rate, variance, (labels, freedom), whole, (tail, side))
    return estimate(rate, low, high, level=level, n=n, labels=labels, method=method)


def _strata(
    positives: ArrayLike, negatives: ArrayLike, outside: ArrayLike | None, sizes: ArrayLike
) -> tuple[Array, Array]:
    """Counts (K, 3) and sizes (K,)."""
    parts = [np.asarray(part, dtype=np.float64) for part in (positives, negatives, sizes)]
    other = np.zeros_like(parts[0]) if outside is None else np.asarray(outside, dtype=np.float64)
    if parts[0].ndim != 1 or any(part.shape != parts[0].shape for part in (*parts, other)):
        raise InputError(
            "labels and sizes must be lists of equal length", remedy="give one number for each stratum"
        )
    counts = np.stack([parts[0], parts[1], other], axis=1)
    if not np.isfinite(counts).all() or (counts < 0).any():
        raise InputError("counts of labels must be numbers of 0 or more")
    if not np.isfinite(parts[2]).all() or (parts[2] < 0).any() or not parts[2].any():
        raise InputError("sizes of strata must be numbers of 0 or more, and not all 0")
    return counts, parts[2]


def _named(strata: int) -> str:
    return "1 stratum" if strata == 1 else f"{strata} strata"


def _check_population(population: str) -> None:
    if population not in ("future", "log"):
        raise InputError(f"there is no population {population!r}", remedy="use future or log")


def _korn_graubard(
    rate: float, variance: float, degrees: tuple[float, float], whole: float, sided: tuple[float, Side]
) -> tuple[float, float]:
    """Clopper-Pearson of the effective number; `degrees`: of all labels, of the design; `whole`: where no spread is seen."""
    from scipy.stats import t

    (labels, freedom), (tail, side) = degrees, sided
    number = rate * (1 - rate) / variance if variance > 0 and 0 < rate < 1 else whole
    # Where labels are as many as strata, one degree is taken to be left.
    number *= float(t.isf(tail, max(labels - 1, 1)) / t.isf(tail, freedom)) ** 2
    return open_end(*clopper(rate * number, number, tail), side)
