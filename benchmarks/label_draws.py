"""Made-up traffic whose truth is known, and expert labels drawn from it: shared by the benchmarks of intervals.

The detector's score is normal: N(+d/2, 1) for answers that are not complete, N(-d/2, 1) for the others, with d such
that calling everything above 0 not complete is right in `accuracy` of both. Its probability is calibrated by that
model. A blind spot is a share of the positives that score like negatives, while probability, strata and allocation
go on believing the score. There are as many strata as `aligntax label plan` cuts for so many labels. In the ratio case a share of the traffic is outside of the domain (should not have been
answered, and was refused in 80 % of the cases), which the detector cannot tell from what is inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from scipy.stats import norm

from aligntax.label.allocation import pilot_labels, whole_labels
from aligntax.label.strata import scored_strata
from aligntax.stats.allocation import allocate, strata_edges
from aligntax.types import Stratum

Array = npt.NDArray[np.float64]
SCORES = 100_000
REFUSED_OUTSIDE = 0.8
EVEN_ALLOCATION_OVER = 20_000  # exchanges from which strata sizes do not move the allocation


@dataclass(frozen=True)
class Traffic:
    """What exchanges come from: `rate` of positives in the domain, `domain` the share that is in it."""

    rate: float
    accuracy: float
    blind: float
    domain: float = 1.0

    @property
    def distance(self) -> float:
        """Between the means of the two kinds of score."""
        return float(2 * norm.ppf(self.accuracy))

    @property
    def categories(self) -> Array:
        """Shares of positive, negative, outside."""
        return np.array([self.domain * self.rate, self.domain * (1 - self.rate), 1 - self.domain])

    @property
    def believed(self) -> float:
        """What the detector thinks the share of answers that are not complete is."""
        return float(self.categories @ [1, 0, REFUSED_OUTSIDE])

    def probabilities(self, random: np.random.Generator, many: int, like_positives: Array) -> Array:
        """The detector's probabilities of exchanges of which a share scores like positives."""
        high = random.random(many) < like_positives
        score = random.normal(np.where(high, self.distance / 2, -self.distance / 2))
        found: Array = expit(logit(self.believed) + self.distance * score)
        return found

    def cut(self, strata: int) -> Strata:
        """Cut into so many strata of the score."""
        return _cut(self, strata)


@dataclass(frozen=True)
class Strata:
    """What the strata of some traffic look like."""

    expected: Array  # mean probability in each, (K,)
    chances: Array  # chance of an exchange to be in each, by category, (K, 3)


@cache
def _cut(traffic: Traffic, strata: int) -> Strata:
    found = traffic.probabilities(np.random.default_rng(0), SCORES, np.full(SCORES, traffic.believed))
    edges = strata_edges(found, strata)
    number = np.searchsorted(edges, found, side="right")
    means = np.bincount(number, found) / np.bincount(number)
    at, half = (logit(edges) - logit(traffic.believed)) / traffic.distance, traffic.distance / 2
    like_positive, like_negative = (
        np.diff(np.concatenate([[0.0], norm.cdf(at - mean), [1.0]])) for mean in (half, -half)
    )
    share = np.array([1 - traffic.blind, 0.0, REFUSED_OUTSIDE])
    chances = np.outer(like_positive, traffic.categories * share)
    chances += np.outer(like_negative, traffic.categories * (1 - share))
    return Strata(expected=means, chances=chances)


@dataclass(frozen=True)
class Draws:
    """Labelled samples: counts (R, K, 3), sizes of strata (R, K), and the rate of each finite population (R,)."""

    counts: Array
    sizes: Array
    truth: Array


def draw(traffic: Traffic, size: int, labels: int, random: np.random.Generator, replications: int) -> Draws:
    """`replications` populations of `size` exchanges, `labels` of each labelled by defensive Neyman allocation."""
    strata = traffic.cut(scored_strata(labels, size))
    population = _populations(strata, size, random, replications)
    sizes = population.sum(axis=2)
    if size > EVEN_ALLOCATION_OVER:
        wanted = np.tile(allocate(sizes[0], strata.expected, labels), (replications, 1))
    else:
        wanted = np.stack([allocate(row, strata.expected, labels) for row in sizes])
    return _drawn(population, _sample(population, np.minimum(wanted, sizes), random))


def draw_in_two_phases(
    traffic: Traffic, size: int, labels: int, random: np.random.Generator, replications: int, pilot: int = 50
) -> Draws:
    """As `aligntax label plan` does: a pilot of at most half, then shared out again by what it has shown."""
    parts = traffic.cut(scored_strata(labels, size))
    population = _populations(parts, size, random, replications)
    sizes = population.sum(axis=2)
    strata = tuple(
        Stratum(
            slice=(), kind="scored", low=0, high=1, size=int(many), expected=float(rate), pilot=0, labels=0, reserve=0
        )
        for many, rate in zip(sizes[0], parts.expected, strict=True)
    )  # fmt: skip
    first = tuple(pilot_labels(strata, labels, pilot))

    @cache  # pilots look alike
    def final(positives: tuple[int, ...]) -> list[int]:
        return [stratum.labels for stratum in whole_labels(strata, labels, positives, first)]

    seen = _sample(population, np.minimum(np.tile(first, (replications, 1)), sizes), random)
    wanted = np.array([final(tuple(row)) for row in seen[:, :, 0].tolist()])
    more = np.clip(wanted - seen.sum(axis=2), 0, sizes - seen.sum(axis=2))
    return _drawn(population, seen + _sample(population - seen, more, random))


def _populations(
    strata: Strata, size: int, random: np.random.Generator, replications: int
) -> npt.NDArray[np.int64]:
    drawn = random.multinomial(size, strata.chances.ravel(), size=replications)
    return drawn.reshape(replications, *strata.chances.shape)


def _sample(
    population: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64], random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Categories of `wanted` exchanges of each stratum, drawn without putting back."""
    positive, negative, outside = np.moveaxis(population, 2, 0)
    positives = random.hypergeometric(positive, negative + outside, wanted)
    negatives = random.hypergeometric(negative, outside, wanted - positives)
    return np.stack([positives, negatives, wanted - positives - negatives], axis=2)


def _drawn(population: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> Draws:
    positive, negative, _ = population.sum(axis=1).T
    truth = positive / np.maximum(positive + negative, 1)
    return Draws(counts=counts.astype(float), sizes=population.sum(axis=2).astype(float), truth=truth)
