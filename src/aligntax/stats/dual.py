"""The log-likelihood of labelled strata when their rate is held at a value; used by profile.py, which says why.

In stratum k, n_k of N_k exchanges are labelled, x_kj of them in category j. W_k = N_k / N, and q_kj is the share of
all exchanges that is in stratum k and category j. Held at the rate R, sum_kj g_j q_kj = 0 with g = (1 - R, -R, 0).
With a multiplier mu >= 0 of that condition and t_kj = s_k + mu * g_j >= 0, the optimum has

    these N exchanges:  q_kj = x_kj / (N * (1 - exp(-t_kj / N))),  sum_j q_kj = W_k
    traffic like them:  q_kj = x_kj / t_kj,                        sum_j q_kj = Q_k = (N_k - n_k) / (N - s_k)

and an unseen category (x = 0) has mass only where its t is 0; with mu >= 0 that can only be the negative one, which
then takes what the others leave. This is how a stratum without positives keeps room for some. In both cases a shift
of s_k makes the unknown z of a stratum linear: with y_j = b_j + c_j * z and every b, c, z >= 0, the shares within
the stratum are x_j / (W y_j). Newton on 1 / sum_j (x_j / y_j), which is concave in z, climbs to the root and never
passes it.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError

Array = NDArray[np.float64]

_TINY = 1e-280  # divides without an overflow where nothing is to be divided
_NEARLY_ONE = 1 - 1e-16
_NEWTON_STEPS = 60  # about 4 are needed; more only where nearly all of a stratum is labelled
_MORE_THAN_ALL = 1e-9  # how far fractional labels may pass a stratum's size by rounding


class Strata(msgspec.Struct, frozen=True, kw_only=True):
    """P problems of K strata and 3 categories: positive, negative, outside of the domain."""

    labels: Array  # (P, K, 3)
    sizes: Array  # (P, K)
    finite: bool  # these exchanges, not traffic like them

    @classmethod
    def read(cls, counts: ArrayLike, sizes: ArrayLike, *, finite: bool) -> Strata:
        """From what a caller gives; raises InputError for what cannot be counts of labels and exchanges."""
        labels, exchanges = np.asarray(counts, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
        if labels.ndim != 3 or labels.shape[2] not in (2, 3) or labels.shape[:2] != exchanges.shape:
            raise InputError(
                f"counts of shape {labels.shape} do not go with sizes of shape {exchanges.shape}",
                remedy="give (problems, strata, 2 or 3 categories) and (problems, strata)",
            )
        if not (np.isfinite(labels).all() and np.isfinite(exchanges).all()):
            raise InputError(
                "counts and sizes must be finite numbers", remedy="use 1e12 for an endless population"
            )
        if (labels < 0).any() or (exchanges < 0).any():
            raise InputError("counts and sizes cannot be negative")
        if (labels.sum(axis=2) > exchanges * (1 + _MORE_THAN_ALL)).any():
            raise InputError("a stratum has more labels than exchanges")
        if labels.shape[2] == 2:
            labels = np.concatenate([labels, np.zeros((*labels.shape[:2], 1))], axis=2)
        return cls(labels=labels, sizes=exchanges, finite=finite)

    def total(self) -> Array:
        """Exchanges, (P,)."""
        exchanges: Array = self.sizes.sum(axis=1)
        return exchanges

    def expected(self) -> tuple[Array, Array, Array]:
        """Exchanges that the labels say are positive, negative, and those in strata without labels; (P,) each."""
        labelled = self.labels.sum(axis=2)
        share = self.labels[:, :, :2] / np.where(labelled > 0, labelled, 1)[:, :, None]
        positive, negative = np.einsum("pkj,pk->jp", share, self.sizes)
        return positive, negative, np.where(labelled > 0, 0, self.sizes).sum(axis=1)

    def rate(self) -> Array:
        """The rate of the labelled strata, (P,); nan where none of their labels is in the domain."""
        positive, negative, _ = self.expected()
        domain = positive + negative
        rates: Array = np.divide(positive, domain, out=np.full(len(domain), np.nan), where=domain > 0)
        return rates

    def take(self, rows: NDArray[np.intp]) -> Strata:
        """The problems in `rows`."""
        return Strata(labels=self.labels[rows], sizes=self.sizes[rows], finite=self.finite)

    def mirrored(self) -> Strata:
        """The same with positive and negative exchanged: its rate is one minus the rate."""
        return Strata(labels=self.labels[:, :, [1, 0, 2]], sizes=self.sizes, finite=self.finite)

    def and_mirrored(self) -> Strata:
        """These problems, then their mirrors."""
        return Strata(
            labels=np.concatenate([self.labels, self.mirrored().labels]),
            sizes=np.concatenate([self.sizes, self.sizes]),
            finite=self.finite,
        )


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """The dual at one rate and multiplier; arrays of shape (P,)."""

    deviance: Array  # a lower bound of the fall of the log-likelihood; equal to it at the right multiplier
    domain: Array  # share of all exchanges that is in the domain
    odds: Array  # negative / positive, which rises with the multiplier
    odds_slope: Array  # by the multiplier


def dual(strata: Strata, rate: Array, multiplier: Array) -> Point:
    """The dual of the held log-likelihood at `rate` and `multiplier` >= 0, (P,) each.

    Needs a positive label in every problem, and for traffic multiplier < total / rate.
    """
    x, total = strata.labels, strata.total()[:, None]
    weight = strata.sizes / total
    weight = np.where(weight > 0, weight, _TINY)  # padding divides by it, and counts for nothing
    mu, held = multiplier[:, None], rate[:, None]
    gains = np.stack([1 - rate, -rate, np.zeros_like(rate)], axis=1)[:, None, :]
    b, c = _line(strata, weight, mu, gains)
    z = _roots(x, b, c, weight)
    y = b + c * z[:, :, None]
    share = x / (weight[:, :, None] * y + _TINY)
    at_edge = z <= 0
    left = np.where(at_edge, 1 - share.sum(axis=2), 0)

    labelled = np.maximum(x.sum(axis=2), _TINY)[:, :, None]
    fall = (x * np.log(np.where(x > 0, weight[:, :, None] * y, labelled) / labelled)).sum(axis=2)
    part = _finite_part if strata.finite else _traffic_part
    more, mass, stiff = part(strata, weight, mu, gains, z)
    fall = np.where(strata.sizes > 0, fall + more, 0)
    q = mass[:, :, None] * share
    # How q answers to its own t, how s answers to mu, and so how q answers to mu.
    bend = q * mass[:, :, None] / (weight[:, :, None] * y + _TINY)
    if strata.finite:
        bend *= 1 - np.minimum(y / total[:, :, None], 1)
    s_slope = -(bend * gains).sum(axis=2) / np.maximum(bend.sum(axis=2) + stiff, _TINY)
    s_slope = np.where(at_edge, held, s_slope)
    q_slope = -bend * (gains + s_slope[:, :, None])
    left_slope = np.where(at_edge, np.where(at_edge, stiff, 0) * s_slope - q_slope.sum(axis=2), 0)
    positive, positive_slope = q[:, :, 0].sum(axis=1), q_slope[:, :, 0].sum(axis=1)
    negative = (q[:, :, 1] + mass * left).sum(axis=1)
    negative_slope = (q_slope[:, :, 1] + left_slope).sum(axis=1)
    odds = negative / positive
    return Point(
        deviance=fall.sum(axis=1),
        domain=positive + negative,
        odds=odds,
        odds_slope=(negative_slope - odds * positive_slope) / positive,
    )


def _line(strata: Strata, weight: Array, mu: Array, gains: Array) -> tuple[Array, Array]:
    """The b and c of y = b + c * z, (P, K, 3): z is 0 where the negative category is at its edge, t = 0."""
    total, above = strata.total()[:, None, None], gains - gains[:, :, 1:2]
    shift = mu[:, :, None] * above / total  # (P, 1, 3), 0 for the negative
    if strata.finite:
        b, c = -total * np.expm1(-shift), np.exp(-shift)
    else:
        c = 1 + mu[:, :, None] * gains / total
        unlabelled = np.maximum(strata.sizes - strata.labels.sum(axis=2), 0) / (weight * total[:, :, 0])
        b = unlabelled[:, :, None] * total * shift / c[:, :, 1:2]
    shape = strata.labels.shape
    return np.broadcast_to(b, shape), np.broadcast_to(c, shape)


def _roots(x: Array, b: Array, c: Array, weight: Array) -> Array:
    """The z >= 0 with sum_j x_j / (b_j + c_j z) = weight, (P, K); 0 where the sum is less at once."""
    alone = np.where(x > 0, (x / weight[:, :, None] - b) / c, 0)  # one term is less than the sum
    z: Array = np.maximum(alone.max(axis=2), 0)
    for _ in range(_NEWTON_STEPS):
        y = b + c * z[:, :, None] + _TINY
        term = x / y
        total, slope = term.sum(axis=2), (term * c / y).sum(axis=2)
        step = total * (total / weight - 1) / np.maximum(slope, _TINY)
        following = np.maximum(z + step, 0)
        done = np.abs(following - z) <= 1e-14 * following
        z = following
        if done.all():
            break
    return z


def _finite_part(
    strata: Strata, weight: Array, mu: Array, gains: Array, z: Array
) -> tuple[Array, Array, Array]:
    """Of these exchanges: the rest of the fall, the mass of each stratum, and how mass answers to s; (P, K) each."""
    total, labelled = strata.total()[:, None], strata.labels.sum(axis=2)
    room = np.maximum(strata.sizes - labelled, 0)
    # Capped where all are labelled; room is 0 there.
    taken = np.minimum(labelled / np.maximum(strata.sizes, _TINY), _NEARLY_ONE)
    s = -mu * gains[:, :, 1] - total * np.log1p(-np.minimum(z / total, _NEARLY_ONE))
    fall = -room * (np.log1p(-taken) + s / total) + (strata.labels * gains).sum(axis=2) * mu / total
    return fall, weight, np.zeros_like(weight)


def _traffic_part(
    strata: Strata, weight: Array, mu: Array, gains: Array, z: Array
) -> tuple[Array, Array, Array]:
    """Of traffic: the rest of the fall, the mass of each stratum, and how mass answers to s; (P, K) each."""
    total, labelled = strata.total()[:, None], strata.labels.sum(axis=2)
    edge = mu * gains[:, :, 1]
    change = (z - (labelled / weight + edge) / (1 + edge / total)) / total
    mass = weight * (1 + np.maximum(change, -_NEARLY_ONE))
    room = np.maximum(strata.sizes - labelled, 0)
    stiff = np.divide(mass**2, room, out=np.full_like(mass, np.inf), where=room > 0)
    return -strata.sizes * np.log1p(np.maximum(change, -_NEARLY_ONE)), mass, stiff
