"""Rates with their intervals: against statsmodels and scipy, worked cases, limits, and truths drawn at random."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import beta, hypergeom, t
from statsmodels.stats.proportion import proportion_confint

from aligntax.errors import InputError
from aligntax.stats.profile import profile_interval
from aligntax.stats.rate import clopper_pearson, effective_n, profile, weighted, wilson

POSITIVES, NEGATIVES, OUTSIDE, SIZES = [0, 2, 10, 20], [40, 20, 10, 1], [3, 5, 3, 2], [8000, 1500, 400, 100]


def test_the_profile_estimate_is_the_interval_of_the_engine_in_words() -> None:
    estimate = profile(POSITIVES, NEGATIVES, OUTSIDE, sizes=SIZES, level=0.9, population="log")
    counts = np.stack([POSITIVES, NEGATIVES, OUTSIDE], axis=1)
    found = profile_interval(counts[None], np.array([SIZES]), level=0.9, population="log")
    assert (estimate.value, estimate.low, estimate.high) == (found.value[0], found.low[0], found.high[0])
    assert (estimate.n, estimate.n_labels, estimate.level) == (10_000, 116, 0.9)
    assert estimate.method == "profile likelihood over 4 strata"
    assert estimate.corrected
    assert profile([3], [30], sizes=[500]).method == "profile likelihood over 1 stratum"


def test_the_value_is_the_weighted_ratio() -> None:
    # (.2 * 1/10 + .8 * 0) / (.2 * (1/10 + 4/10) + .8 * 1/2) = .02 / .5
    for method in (profile, effective_n):
        assert method([1, 0], [4, 5], [5, 5], sizes=[200, 800]).value == pytest.approx(0.04)


@pytest.mark.parametrize("method", [profile, effective_n])
def test_where_nothing_is_in_the_domain_there_is_no_value_and_every_rate_is_possible(method) -> None:
    estimate = method([0, 0], [0, 0], [7, 9], sizes=[50, 60])
    assert (estimate.value, estimate.low, estimate.high, estimate.n_labels) == (None, 0, 1, 16)


@pytest.mark.parametrize("side", ["two", "low", "high"])
@pytest.mark.parametrize(("positives", "n"), [(0, 30), (1, 100), (7, 100), (38, 100), (30, 30)])
def test_random_labels_agree_with_statsmodels(positives: int, n: int, side: str) -> None:
    tail = 0.05 if side == "two" else 0.1
    for function, name in ((wilson, "wilson"), (clopper_pearson, "beta")):
        low, high = proportion_confint(positives, n, alpha=tail, method=name)
        estimate = function(positives, n, side=side)
        assert estimate.value == positives / n
        assert estimate.low == (0 if side == "high" else pytest.approx(low, abs=1e-9))
        assert estimate.high == (1 if side == "low" else pytest.approx(high, abs=1e-9))
        assert (estimate.n, estimate.n_labels, estimate.level) == (n, n, 0.95)


def test_wilson_of_a_log_shrinks_to_a_point_as_all_of_it_is_labelled() -> None:
    found = [wilson(7, 100, size=size) for size in (10**9, 1000, 200, 101)]
    widths = [estimate.high - estimate.low for estimate in found]
    assert widths == sorted(widths, reverse=True)
    assert wilson(7, 100, size=10**9).high == pytest.approx(wilson(7, 100).high, rel=1e-6)
    everything = wilson(7, 100, size=100)
    assert everything.low == everything.high == pytest.approx(0.07)


def test_clopper_pearson_of_a_log_inverts_the_exact_test() -> None:
    estimate = clopper_pearson(3, 40, size=200)
    fewest, most = round(estimate.low * 200), round(estimate.high * 200)
    assert hypergeom.sf(2, 200, fewest, 40) > 0.025 >= hypergeom.sf(2, 200, fewest - 1, 40)
    assert hypergeom.cdf(3, 200, most, 40) > 0.025 >= hypergeom.cdf(3, 200, most + 1, 40)
    everything = clopper_pearson(3, 40, size=40)
    assert everything.low == everything.high == 3 / 40


def test_clopper_pearson_never_covers_less_than_it_says() -> None:
    # All samples of 20 from logs of 60 with every number of positives: coverage summed, not simulated.
    ends = [clopper_pearson(found, 20, size=60, level=0.9) for found in range(21)]
    for there in range(61):
        chance = hypergeom.pmf(np.arange(21), 60, there, 20)
        covered = [end.low - 1e-12 <= there / 60 <= end.high + 1e-12 for end in ends]
        assert chance[covered].sum() >= 0.9


def test_effective_n_of_two_strata_is_what_it_is_worked_by_hand() -> None:
    # Endless; variance = .9^2 * (.04 * .96) / 49 + .1^2 * (.25) / 19, and 70 labels less 2 strata leave 68 degrees.
    rate = 0.9 * 2 / 50 + 0.1 * 10 / 20
    variance = 0.81 * 0.04 * 0.96 / 49 + 0.01 * 0.25 / 19
    number = rate * (1 - rate) / variance * (t.ppf(0.975, 69) / t.ppf(0.975, 68)) ** 2
    estimate = effective_n([2, 10], [48, 10], sizes=[9e11, 1e11])
    assert estimate.value == pytest.approx(rate)
    assert estimate.low == pytest.approx(beta.ppf(0.025, rate * number, (1 - rate) * number + 1), rel=1e-6)
    assert estimate.high == pytest.approx(beta.ppf(0.975, rate * number + 1, (1 - rate) * number), rel=1e-6)


def test_effective_n_counts_what_is_not_labelled_as_doubt() -> None:
    labels = ([10, 10], [40, 10])
    endless, future = effective_n(*labels, sizes=[9e11, 1e11]), effective_n(*labels, sizes=[90, 30])
    log = effective_n(*labels, sizes=[90, 30], population="log")
    assert endless.high - endless.low > log.high - log.low
    assert future.high - future.low > log.high - log.low
    everything = effective_n(*labels, sizes=[50, 20], population="log")
    assert everything.low == everything.high == everything.value


def test_effective_n_without_a_positive_takes_the_number_of_labels_by_weight() -> None:
    # Kish: 1 / (.9^2 / 20 + .1^2 / 60) labels
    estimate = effective_n([0, 0], [20, 60], sizes=[9e11, 1e11], side="high")
    number = 1 / (0.81 / 20 + 0.01 / 60) * (t.ppf(0.95, 79) / t.ppf(0.95, 78)) ** 2
    assert (estimate.value, estimate.low) == (0, 0)
    assert estimate.high == pytest.approx(1 - 0.05 ** (1 / number), rel=1e-9)


def test_design_weights_of_strata_give_what_the_strata_give() -> None:
    positives, negatives, outside, sizes = [2, 10], [40, 8], [8, 2], np.array([9e11, 1e11])
    outcomes = [1] * 2 + [0] * 40 + [math.nan] * 8 + [1] * 10 + [0] * 8 + [math.nan] * 2
    strata = ["low"] * 50 + ["high"] * 20
    weights = np.repeat(sizes / [50, 20], [50, 20])
    found = weighted(outcomes, weights, strata=strata, size=1000)
    expected = effective_n(positives, negatives, outside, sizes=sizes)
    assert (found.value, found.low, found.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )
    assert (found.n, found.n_labels, found.corrected) == (1000, 70, True)


def test_equal_weights_are_one_random_sample() -> None:
    found = weighted([1] * 7 + [0] * 94, [3.0] * 101)
    # n* is n - 1, for the variance is estimated
    assert found.high == pytest.approx(beta.ppf(0.975, 700 / 101 + 1, 9400 / 101), rel=1e-9)
    assert weighted([math.nan] * 3, [1, 2, 3]).value is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wilson(5, 4), "5 positives among 4 labels"),
        (lambda: wilson(0, 0), "0 positives among 0 labels"),
        (lambda: clopper_pearson(1, 40, size=30), "40 labels among 30 exchanges"),
        (lambda: clopper_pearson(1, 40, level=1), "not between 0 and 1"),
        (lambda: wilson(1, 40, side="both"), "no side 'both'"),
        (lambda: profile([1], [2, 3], sizes=[10]), "equal length"),
        (lambda: profile([1], [2], sizes=[2]), "more labels than exchanges"),
        (lambda: profile([math.inf], [2], sizes=[2]), "0 or more"),
        (lambda: profile([0], [0], sizes=[0]), "not all 0"),
        (lambda: effective_n([1], [2], sizes=[2]), "more labels than exchanges"),
        (lambda: effective_n([1, 0], [2, 0], sizes=[9, 9]), "a stratum has no label"),
        (lambda: effective_n([1], [2], sizes=[9], population="all"), "no population 'all'"),
        (lambda: weighted([1, 0], [1]), "2 outcomes and 1 weights"),
        (lambda: weighted([], []), "0 outcomes"),
        (lambda: weighted([1, 2], [1, 1]), "1, 0, or nan"),
        (lambda: weighted([1, 0], [1, 0]), "positive numbers"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(call, message) -> None:
    with pytest.raises(InputError, match=message):
        call()
