"""Which of two answers is better, with a chance of a tie: a logit model fitted by Newton, errors clustered on families.

With eta the linear predictor, P(A) = e^(eta/2) / D, P(B) = e^(-eta/2) / D, P(tie) = e^t / D, D their sum: so
log(P(A) / P(B)) = eta, and the likelihood is that of a multinomial logit, concave in all parameters.

Ref: Davidson 1970; Bell and McCaffrey 2002 for the sandwich that leaves each family out of its own fit.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WINS, TIE, LOSES = 0, 1, 2
"""What was said of A."""

_STEPS = 100
_PRECISE = 1e-10
_SEPARATED = 15.0  # log-odds that no data of ours can show: the likelihood still climbs


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """The likeliest parameters: slopes of the predictor, then the log weight of ties where there are any."""

    values: Floats  # (P,)
    covariance: Floats | None  # (P, P), clustered; None: fewer families than parameters carry, or no spread
    families: int
    separated: bool  # one side always wins on some combination of the terms: no finite fit


def fit(said: Ints, terms: Floats, families: Ints) -> Fit:
    """Fit what was said, (N,) of WINS, TIE or LOSES, on the terms, (N, T), with the family of each, (N,) from 0.

    All of `said` may be of one value. Where there is no tie, the model has no weight for it.
    """
    design = _design(terms, ties=bool((said == TIE).any()))  # (N, 3, P)
    values = np.zeros(design.shape[2])
    likelihood = _log_likelihood(design, said, values)
    for _ in range(_STEPS):
        gradient, information = _slopes(design, said, values)
        step = np.linalg.lstsq(information, gradient.sum(axis=0), rcond=None)[0]
        size = 1.0
        while (after := _log_likelihood(design, said, values + size * step)) < likelihood and size > 1e-6:
            size /= 2
        moved = after - likelihood
        if moved < 0:
            break
        values, likelihood = values + size * step, after
        if np.abs(values).max() > _SEPARATED or moved < _PRECISE:
            break
    separated = bool(np.abs(values).max() > _SEPARATED)
    gradient, information = _slopes(design, said, values)
    covariance = None if separated else _clustered(design, values, gradient, information, families)
    return Fit(values=values, covariance=covariance, families=int(families.max()) + 1, separated=separated)


def chances(values: Floats, terms: Floats, *, ties: bool) -> Floats:
    """P(A), P(tie), P(B) under these parameters, (N, 3), for terms (N, T)."""
    return _softmax(_design(terms, ties=ties) @ values, ties=ties)


def _design(terms: Floats, *, ties: bool) -> Floats:
    count, slopes = terms.shape
    design = np.zeros((count, 3, slopes + ties))
    design[:, WINS, :slopes] = terms / 2
    design[:, LOSES, :slopes] = -terms / 2
    if ties:
        design[:, TIE, -1] = 1.0
    else:
        design[:, TIE, :] = np.nan  # cannot be said
    return design


def _softmax(utility: Floats, *, ties: bool) -> Floats:
    if not ties:
        utility = np.where(np.isnan(utility), -np.inf, utility)
    raised = np.exp(utility - utility.max(axis=1, keepdims=True))
    shares: Floats = raised / raised.sum(axis=1, keepdims=True)
    return shares


def _log_likelihood(design: Floats, said: Ints, values: Floats) -> float:
    share = _shares(design, values)[np.arange(len(said)), said]
    return float(np.log(np.maximum(share, 1e-300)).sum())


def _shares(design: Floats, values: Floats) -> Floats:
    ties = not np.isnan(design[0, TIE]).any()
    return _softmax(design @ values, ties=ties)


def _slopes(design: Floats, said: Ints, values: Floats) -> tuple[Floats, Floats]:
    """Gradient of each row, (N, P), and the information of all, (P, P)."""
    each = _informations(design, values)
    shares = _shares(design, values)
    known = np.nan_to_num(design)
    gradient = known[np.arange(len(said)), said] - np.einsum("nk,nkp->np", shares, known)
    information: Floats = each.sum(axis=0)
    return gradient, information


def _informations(design: Floats, values: Floats) -> Floats:
    shares, known = _shares(design, values), np.nan_to_num(design)
    mean = np.einsum("nk,nkp->np", shares, known)
    second = np.einsum("nk,nkp,nkq->npq", shares, known, known)
    informations: Floats = second - mean[:, :, None] * mean[:, None, :]
    return informations


def _clustered(
    design: Floats, values: Floats, gradient: Floats, information: Floats, families: Ints
) -> Floats | None:
    """Covariance by leaving out families, in one Newton step each: wide enough for few of them, as the plain one is not."""
    count = int(families.max()) + 1
    size = len(values)
    if count <= size + 1 or np.linalg.matrix_rank(information) < size:
        return None
    scores = np.zeros((count, size))
    np.add.at(scores, families, gradient)
    own = np.zeros((count, size, size))
    np.add.at(own, families, _informations(design, values))
    without = information - own
    if (np.linalg.matrix_rank(without, hermitian=True) < size).any():
        return None  # a term that only one family shows
    moves = np.linalg.solve(without, scores[:, :, None])[:, :, 0]
    covariance: Floats = (count - 1) / count * moves.T @ moves
    return covariance
