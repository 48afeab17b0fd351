"""Looking while labels still come in: what each look may claim so that all of them together hold."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..types import Estimate

_ROUNDS = 60  # halvings: ends are exact to 1e-18 of the range


def planned_looks(
    alpha: float, looks: int, *, spending: Literal["even", "late"] = "even"
) -> NDArray[np.float64]:
    """Confidence level of the interval at each of the planned looks, first look first: (looks,), each < 1.

    All intervals hold together with probability >= 1 - alpha, by the union bound: the chances 1 - level to miss
    sum to at most alpha, whatever the data and however the looks depend on one another. `even` spends alpha / looks
    each time; `late` spends by O'Brien and Fleming's 2 - 2 Phi(z_(1-alpha/2) / sqrt(t)) at t = look / looks, so
    that early looks ask for much and the last one costs little. The number of looks is fixed beforehand.
    Raises InputError for alpha outside 0 to 1 and looks < 1.

    Ref: Bonferroni; Lan and DeMets 1983 for the spending function, without their gain from correlated looks.
    """
    if not 0 < alpha < 1 or looks < 1:
        raise InputError(
            f"alpha {alpha} over {looks} looks", remedy="alpha between 0 and 1, one look or more"
        )
    if spending == "even":
        return np.full(looks, 1 - alpha / looks)
    from scipy.special import ndtr, ndtri

    share = np.arange(1, looks + 1) / looks
    spent = 2 * ndtr(ndtri(alpha / 2) / np.sqrt(share))
    levels: NDArray[np.float64] = 1 - np.diff(spent, prepend=0.0)
    return levels


def confidence_sequence(
    successes: int, n: int, prior_rate: float, *, weight: float = 10, level: float = 0.95
) -> Estimate:
    """Rate of `successes` among `n` random labels, with an interval that may be looked at after every label.

    {p : log B(s + a, n - s + b) - log B(a, b) - s log p - (n - s) log(1 - p) < -log(1 - level)}, a = weight *
    prior_rate, b = weight - a: the truth stays inside at all n at once with probability >= level. The detector's
    rate is a good `prior_rate`; a wrong one costs width, never validity (0 and 1 are moved inside by .001).
    Assumes labels drawn at random with equal chance from many more, in random order: not stratified. At n = 0 nothing is known:
    value None, 0 to 1. Raises InputError for counts, rates, weights or levels that cannot be.

    Ref: Robbins 1970; beta mixture and Ville's inequality. About 1.5 times as wide as one look at a fixed n.
    """
    if not 0 <= successes <= n:
        raise InputError(f"{successes} of {n} labels", remedy="count successes among the labels")
    if not 0 <= prior_rate <= 1 or not weight > 0 or not 0 < level < 1:
        raise InputError(
            f"prior rate {prior_rate}, weight {weight}, level {level}",
            remedy="rate from 0 to 1, weight above 0, level between 0 and 1",
        )
    low, value, high = 0.0, successes / n if n else None, 1.0
    if value is not None:
        low = _end(successes, n, prior_rate, weight, level, outside=0.0) if successes else 0.0
        high = _end(successes, n, prior_rate, weight, level, outside=1.0) if successes < n else 1.0
    method = "beta-mixture confidence sequence, valid at every look"
    return Estimate(
        value=value, low=low, high=high, level=level, n=n, n_labels=n, method=method, corrected=True
    )


def evidence_against(
    rate: NDArray[np.float64] | float,
    successes: NDArray[np.float64] | float,
    n: NDArray[np.float64] | float,
    prior_rate: float,
    weight: float = 10,
) -> NDArray[np.float64]:
    """Logarithm of the e-value against `rate` (0 to 1, exclusive): what the sequence above compares with its cut.

    Arrays broadcast. At the true rate the e-value starts at 1 and is a martingale: it reaches 20 with chance <= .05.
    """
    from scipy.special import betaln, xlog1py, xlogy

    a = weight * min(max(prior_rate, 0.001), 0.999)
    b = weight - a
    successes, n = np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
    mixture = betaln(successes + a, n - successes + b) - betaln(a, b)
    log_evidence: NDArray[np.float64] = (
        mixture - xlogy(successes, rate) - xlog1py(n - successes, -np.asarray(rate))
    )
    return log_evidence


def _end(successes: int, n: int, prior_rate: float, weight: float, level: float, *, outside: float) -> float:
    """The end of the interval between the observed rate and `outside`, by halving: the evidence grows that way."""
    inside, cut = successes / n, -math.log1p(-level)
    for _ in range(_ROUNDS):
        middle = (inside + outside) / 2
        if evidence_against(middle, successes, n, prior_rate, weight) < cut:
            inside = middle
        else:
            outside = middle
    return outside
