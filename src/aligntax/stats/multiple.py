"""Many tests at once: p-values adjusted so that a whole table may be read."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values, in the order given: rejecting those <= q keeps the expected share of false finds <= q.

    The i-th smallest becomes min over j >= i of p_(j) * m / j, at most 1. Assumes independent tests, or positively
    dependent ones. Empty in, empty out. Raises InputError for values outside 0 to 1.

    Ref: Benjamini and Hochberg 1995.
    """
    values = _checked(p_values)
    if not values.size:
        return values
    from scipy.stats import false_discovery_control

    adjusted: NDArray[np.float64] = false_discovery_control(values)
    return adjusted


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values, in the order given: rejecting those <= alpha makes any false find at most alpha likely.

    The i-th smallest becomes max over j <= i of p_(j) * (m - j + 1), at most 1. Assumes nothing about how the tests
    depend on one another. Empty in, empty out. Raises InputError for values outside 0 to 1.

    Ref: Holm 1979.
    """
    values = _checked(p_values)
    order = np.argsort(values, kind="stable")
    stepped = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted


def _checked(p_values: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():  # also catches what is not a number
        raise InputError("p-values must be one row of numbers between 0 and 1")
    return values
