"""A rate from labels drawn at random from everything: Wilson and Clopper-Pearson, of traffic or of one log."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..errors import InputError
from ..types import Estimate
from .profile import Side, tail_of


def wilson(
    positives: int, n: int, *, size: int | None = None, level: float = 0.95, side: Side = "two"
) -> Estimate:
    """A rate from `n` labels drawn at random from everything, by the score interval of Wilson (1927).

    {p : (positives / n - p)^2 <= z^2 p (1 - p) / n * f}, where f = (N - n) / (N - 1) when the rate is that of `size` = N
    exchanges, else 1. Below about 5 positives it is a little too narrow. Raises InputError for impossible counts.
    """
    _check_counts(positives, n, size)
    from scipy.special import ndtri

    z2 = max(float(ndtri(1 - tail_of(level, side))), 0.0) ** 2
    if size is not None:
        z2 *= (size - n) / max(size - 1, 1)
    rate = positives / n
    centre, half = rate + z2 / (2 * n), math.sqrt(z2 * (rate * (1 - rate) / n + z2 / (4 * n * n)))
    low = max((centre - half) / (1 + z2 / n), 0.0) if positives else 0.0
    high = min((centre + half) / (1 + z2 / n), 1.0) if positives < n else 1.0
    low, high = open_end(min(low, rate), max(high, rate), side)
    return estimate(rate, low, high, level=level, n=size or n, labels=n, method="Wilson")


def clopper_pearson(
    positives: int, n: int, *, size: int | None = None, level: float = 0.95, side: Side = "two"
) -> Estimate:
    """A rate from `n` labels drawn at random from everything, never covering less than it says (Clopper, Pearson 1934).

    Both exact tests inverted: binomial, or hypergeometric when the rate is that of `size` exchanges.
    Raises InputError for impossible counts.
    """
    _check_counts(positives, n, size)
    tail, rate = tail_of(level, side), positives / n
    if size is None:
        low, high = clopper(positives, n, tail)
    else:
        low, high = _hypergeometric(positives, n, size, tail)
    low, high = open_end(low, high, side)
    return estimate(rate, low, high, level=level, n=size or n, labels=n, method="Clopper-Pearson")


def clopper(positives: float, n: float, tail: float) -> tuple[float, float]:
    """Ends of the binomial interval; the beta form takes fractions."""
    from scipy.stats import beta

    negatives = n - positives
    low = float(beta.ppf(tail, positives, negatives + 1)) if positives > 0 else 0.0
    high = float(beta.isf(tail, positives + 1, negatives)) if negatives > 0 else 1.0
    return low, high


def open_end(low: float, high: float, side: Side) -> tuple[float, float]:
    """The ends, of which a bound on one side has one at 0 or 1."""
    return (0.0 if side == "high" else low, 1.0 if side == "low" else high)


def estimate(
    rate: float | None, low: float, high: float, *, level: float, n: float, labels: float, method: str
) -> Estimate:
    """An Estimate that rests on labels; counts are rounded."""
    return Estimate(
        value=rate,
        low=low,
        high=high,
        level=level,
        n=round(n),
        n_labels=round(labels),
        method=method,
        corrected=True,
    )


def _check_counts(positives: int, n: int, size: int | None) -> None:
    if not 0 <= positives <= n or n < 1:
        raise InputError(
            f"{positives} positives among {n} labels", remedy="give 0 <= positives <= labels, and a label"
        )
    if size is not None and size < n:
        raise InputError(f"{n} labels among {size} exchanges")


def _hypergeometric(positives: int, n: int, size: int, tail: float) -> tuple[float, float]:
    from scipy.stats import hypergeom

    fewest, most = positives, size - (n - positives)
    low = _first(fewest, most, lambda there: float(hypergeom.sf(positives - 1, size, there, n)) > tail)
    too_many = _first(fewest, most + 1, lambda there: float(hypergeom.cdf(positives, size, there, n)) <= tail)
    return low / size, (too_many - 1) / size


def _first(start: int, end: int, holds: Callable[[int], bool]) -> int:
    """The first number from `start` on for which `holds`, `end` where none does before; it must stay true once true."""
    while start < end:
        middle = (start + end) // 2
        start, end = (start, middle) if holds(middle) else (middle + 1, end)
    return start
