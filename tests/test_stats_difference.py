"""Differences and ratios: published tables, oracles, what is refused, and intervals that hold."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binomtest, multinomial, t
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import confint_proportions_2indep

from aligntax.errors import InputError
from aligntax.stats.difference import (
    family_t,
    mcnemar_midp,
    mover,
    newcombe,
    paired_ratio,
    ratio_of_medians,
    tango,
)
from aligntax.types import Estimate


def rate(value, low, high, *, level=0.95, method="profile", corrected=True) -> Estimate:
    return Estimate(
        value=value, low=low, high=high, level=level, n=1000, n_labels=100, method=method, corrected=corrected
    )


# mover and newcombe


def test_mover_worked_by_hand():
    difference = mover(rate(0.30, 0.26, 0.36), rate(0.10, 0.06, 0.13))
    assert difference.value == pytest.approx(0.2)
    assert difference.low == pytest.approx(0.2 - 0.05)  # .04 and .03
    assert difference.high == pytest.approx(0.2 + math.hypot(0.06, 0.04))
    assert (difference.n, difference.n_labels, difference.level) == (2000, 200, 0.95)


def test_swapping_the_sides_mirrors_the_interval():
    a, b = rate(0.30, 0.26, 0.36), rate(0.10, 0.06, 0.13)
    there, back = mover(a, b), mover(b, a)
    assert (there.value, there.low, there.high) == (-back.value, -back.high, -back.low)


def test_the_ends_of_the_scale_are_never_crossed():
    widest = mover(rate(1.0, 0.0, 1.0), rate(0.0, 0.0, 1.0))
    assert (widest.low, widest.high) == (pytest.approx(1 - math.sqrt(2)), 1.0)
    assert mover(rate(0.0, 0.0, 1.0), rate(1.0, 0.0, 1.0)).low == -1.0


def test_a_difference_is_corrected_where_both_sides_are():
    a, b = rate(0.3, 0.2, 0.4), rate(0.3, 0.2, 0.4, corrected=False)
    assert mover(a, a).corrected
    assert not mover(a, b).corrected
    assert not mover(b, a).corrected


@pytest.mark.parametrize("raw", [(0.3, None, None), (None, None, None), (0.3, 0.1, None)])
def test_raw_detector_rates_are_not_subtracted(raw):
    labelled = rate(0.3, 0.2, 0.4)
    for sides in ((labelled, rate(*raw)), (rate(*raw), labelled)):
        with pytest.raises(InputError, match="without an interval"):
            mover(*sides)


def test_intervals_of_different_levels_are_not_mixed():
    with pytest.raises(InputError, match=r"0\.95, the other at 0\.9"):
        mover(rate(0.3, 0.2, 0.4), rate(0.3, 0.2, 0.4, level=0.9))


def test_newcombe_gives_the_published_interval():
    # Newcombe 1998, table II, method 10: 56/70 - 48/80 and the empty cells below it.
    for counts, low, high in [
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((5, 56, 0, 29), -0.0381, 0.1926),
        ((0, 10, 0, 20), -0.1611, 0.2775),
    ]:
        difference = newcombe(*counts)
        assert [difference.low, difference.high] == pytest.approx([low, high], abs=5e-5)


def test_newcombe_agrees_with_statsmodels():
    for counts in itertools.product((1, 7, 20), (20, 90), (2, 13), (13, 50)):
        low, high = confint_proportions_2indep(*counts, method="newcomb", compare="diff", alpha=0.1)
        difference = newcombe(*counts, level=0.9)
        assert [difference.low, difference.high] == pytest.approx([low, high])


# paired


def test_the_published_example_of_paired_rates():
    # Fagerland, Lydersen and Laake 2013 and 2014: airway response of 21 children, 1 and 7 pairs differ.
    assert mcnemar_midp(1, 7) == pytest.approx(0.0391, abs=5e-5)
    difference = tango(1, 7, 21)
    assert difference.value == pytest.approx(-0.286, abs=5e-4)
    assert [difference.low, difference.high] == pytest.approx([-0.517, -0.026], abs=5e-4)


def test_mid_p_is_the_exact_p_without_half_of_what_was_seen():
    for b, c in [(0, 3), (2, 9), (14, 3), (40, 61)]:
        exact = mcnemar([[0, b], [c, 0]], exact=True).pvalue
        assert mcnemar_midp(b, c) == pytest.approx(exact - math.comb(b + c, b) / 2 ** (b + c))
        assert mcnemar_midp(b, c) == mcnemar_midp(c, b)
        assert mcnemar_midp(b, c) < binomtest(b, b + c).pvalue


def test_pairs_that_do_not_differ_or_balance_show_nothing():
    assert mcnemar_midp(0, 0) == 1.0
    assert mcnemar_midp(6, 6) == pytest.approx(1.0)


def test_tango_solves_his_equation():
    # The definition, with the likeliest nuisance share found by search instead of the formula.
    b, c, n = 12, 5, 60
    difference = tango(b, c, n)
    for end in (difference.low, difference.high):
        shares = np.linspace(max(0.0, -end), (1 - end) / 2, 400_001)[1:-1]
        loglik = b * np.log(shares + end) + c * np.log(shares) + (n - b - c) * np.log(1 - 2 * shares - end)
        q = shares[loglik.argmax()]
        score = (b - c - n * end) / math.sqrt(n * (2 * q + end * (1 - end)))
        assert abs(score) == pytest.approx(1.959964, abs=1e-3)


def test_tango_has_a_width_where_no_pair_differs_and_keeps_to_the_scale():
    # With b = c = 0 the equation is n d / (1 - d) = z^2.
    still = tango(0, 0, 50)
    assert still.high == pytest.approx(1.959964**2 / (50 + 1.959964**2))
    assert still.low == -still.high
    assert tango(8, 0, 8).high == 1.0
    assert tango(0, 8, 8).low == -1.0
    assert 0 < tango(8, 0, 8).low < 1


@pytest.mark.parametrize(("b", "c", "n"), [(-1, 0, 5), (3, 3, 5), (0, 0, 0)])
def test_pairs_that_cannot_be_are_refused(b, c, n):
    with pytest.raises(InputError):
        tango(b, c, n)


def test_negative_pairs_have_no_p_value():
    with pytest.raises(InputError):
        mcnemar_midp(-1, 2)


def test_paired_methods_hold_exactly_over_all_tables_of_forty_pairs():
    n, first_only, second_only = 40, 0.20, 0.10
    tables = [(b, c) for b in range(n + 1) for c in range(n + 1 - b)]
    chance = multinomial.pmf([(b, c, n - b - c) for b, c in tables], n, [first_only, second_only, 0.7])
    kept = [p > 1e-9 for p in chance]
    held = sum(
        p
        for (b, c), p, keep in zip(tables, chance, kept, strict=True)
        if keep and tango(b, c, n).low <= 0.1 <= tango(b, c, n).high
    )
    assert 0.94 < held < 0.97
    null = multinomial.pmf([(b, c, n - b - c) for b, c in tables], n, [0.15, 0.15, 0.7])
    size = sum(p for (b, c), p in zip(tables, null, strict=True) if p > 1e-9 and mcnemar_midp(b, c) <= 0.05)
    assert 0.03 < size <= 0.052


# families


def test_family_t_worked_by_hand():
    # Families a (1, 3), b (4), c (6, 8): means 2, 4, 7; mean 13/3, sd 2.517; t on 2 degrees of freedom is 4.303.
    estimate = family_t([1, 4, 6, 3, 8], ["a", "b", "c", "a", "c"])
    half = 4.302653 * 2.516611 / math.sqrt(3)
    assert estimate.value == pytest.approx(13 / 3)
    assert [estimate.low, estimate.high] == pytest.approx([13 / 3 - half, 13 / 3 + half])
    assert (estimate.n, estimate.n_labels, estimate.corrected) == (5, 0, False)


def test_repeats_add_nothing_where_they_repeat():
    once = family_t([0.1, 0.4, 0.2, 0.9], [0, 1, 2, 3])
    often = family_t([0.1, 0.4, 0.2, 0.9] * 50, [0, 1, 2, 3] * 50)
    assert [often.low, often.high] == pytest.approx([once.low, once.high])


def test_one_family_or_no_difference_gives_no_interval():
    alike = ([0.1] * 9, [1, 1, 1, 1, 1, 1, 2, 2, 3])  # whose means differ in the last digit
    for values, families in [([0.2, 0.4], ["a", "a"]), ([0.0, 0.0, 0.0], [1, 2, 3]), alike]:
        estimate = family_t(values, families)
        assert estimate.value is not None
        assert (estimate.low, estimate.high) == (None, None)


@pytest.mark.parametrize(
    ("values", "families"), [([], []), ([1.0, float("nan")], [1, 2]), ([1.0], [1, 2]), ([[1.0]], [1])]
)
def test_values_without_a_family_or_a_number_are_refused(values, families):
    with pytest.raises(InputError):
        family_t(values, families)


def test_family_t_holds_where_counting_every_row_does_not():
    random = np.random.default_rng(15)
    families = np.repeat(np.arange(12), 20)
    held, naive = [], []
    for _ in range(500):
        family = random.normal(0, 0.15, size=12)[families]
        values = 0.1 + family + random.normal(0, 0.3, size=240)
        estimate = family_t(values, families.tolist())
        held.append(estimate.low <= 0.1 <= estimate.high)
        half = 1.96 * values.std(ddof=1) / math.sqrt(240)
        naive.append(abs(values.mean() - 0.1) <= half)
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)
    assert np.mean(naive) < 0.75


# ratios


def test_the_ratio_of_medians_is_that():
    estimate = ratio_of_medians([30, 10, 20, 50, 40, 60, 70], [10, 20, 30, 40, 10, 20, 30, 40], seed=1)
    assert estimate.value == pytest.approx(40 / 25)
    assert estimate.low < 1.6 < estimate.high
    assert estimate.n == 15


@pytest.mark.parametrize("rows", [9, 10])
def test_resampled_medians_follow_the_law_of_real_resamples(rows):
    from aligntax.stats.difference import _resampled_medians

    random = np.random.default_rng(16)
    values = np.sort(random.lognormal(size=rows))
    drawn = _resampled_medians(values, 60_000, random)
    by_hand = np.median(random.choice(values, (60_000, rows)), axis=1)
    at = np.quantile(by_hand, [0.025, 0.25, 0.5, 0.75, 0.975])
    for place in np.concatenate([values, at]):
        assert (drawn <= place + 1e-12).mean() == pytest.approx((by_hand <= place + 1e-12).mean(), abs=0.012)


def test_the_interval_of_the_ratio_is_seeded_and_needs_six_a_side():
    a, b = np.arange(1, 40), np.arange(5, 60)
    assert ratio_of_medians(a, b, seed=3) == ratio_of_medians(a, b, seed=3)
    assert ratio_of_medians(a, b, seed=3).low != ratio_of_medians(a, b, seed=4).low
    assert ratio_of_medians(a, [1, 2, 3, 4, 5], seed=3).low is None
    assert ratio_of_medians(a, [1, 2, 3, 4, 5, 6], seed=3).low is not None


@pytest.mark.parametrize("side", [[], [1, 0], [1, -3], [1, float("inf")], [float("nan")]])
def test_ratios_of_nothing_are_refused(side):
    with pytest.raises(InputError, match="above 0"):
        ratio_of_medians(side, [1, 2], seed=1)
    with pytest.raises(InputError, match="above 0"):
        ratio_of_medians([1, 2], side, seed=1)


def test_the_ratio_of_medians_holds():
    random = np.random.default_rng(17)
    held = []
    for seed in range(500):
        a, b = random.lognormal(0.3, 0.8, size=80), random.lognormal(0.0, 0.8, size=61)
        estimate = ratio_of_medians(a, b, seed=seed, resamples=1000)
        held.append(estimate.low <= math.exp(0.3) <= estimate.high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.025)


def test_paired_ratios_worked_by_hand():
    ratios = [0.5, 1.0, 2.0, 2.0, 4.0, 8.0]
    geometric, median = paired_ratio(np.log(ratios))
    logs = np.log(ratios)
    half = t.ppf(0.975, 5) * logs.std(ddof=1) / math.sqrt(6)
    assert geometric.value == pytest.approx(64 ** (1 / 6))
    assert geometric.high == pytest.approx(64 ** (1 / 6) * math.exp(half))
    assert median.value == pytest.approx(2.0)
    # 1 - 2 / 2^6 = .969: with six rows the median lies between the smallest and the largest.
    assert [median.low, median.high] == pytest.approx([0.5, 8.0])


def test_the_median_of_few_pairs_has_no_interval():
    assert paired_ratio(np.log([1.0, 2.0, 3.0, 4.0, 5.0]))[1].low is None


def test_the_median_uses_the_order_statistics_of_the_tables():
    # Binomial(20, 1/2): P(X <= 5) = .0207, P(X <= 6) = .0577, so the 6th and the 15th of 20.
    median = paired_ratio(np.log(np.arange(1, 21)))[1]
    assert [median.low, median.high] == pytest.approx([6, 15])


def test_paired_ratios_count_families_once():
    logs = np.log([2.0, 2.0, 2.0, 3.0, 0.5, 1.0, 1.5, 1.2])
    families = ["a", "a", "a", "b", "c", "d", "e", "f"]
    geometric, median = paired_ratio(logs, families)
    once = paired_ratio(logs[[0, 3, 4, 5, 6, 7]])
    assert [geometric.low, geometric.high] == pytest.approx([once[0].low, once[0].high])
    assert [median.low, median.high] == pytest.approx([once[1].low, once[1].high])


def test_intervals_of_paired_ratios_hold_for_skewed_ratios():
    random = np.random.default_rng(18)
    held = []
    for _ in range(600):
        logs = random.exponential(size=25) - math.log(2)  # their median is 0
        median = paired_ratio(logs)[1]
        held.append(median.low <= 1 <= median.high)
    assert np.mean(held) >= 0.94


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_that_is_no_confidence_is_refused(level):
    for call in (
        lambda: tango(1, 2, 9, level=level),
        lambda: family_t([1, 2], [1, 2], level=level),
        lambda: ratio_of_medians([1, 2], [1, 2], seed=1, level=level),
        lambda: paired_ratio([1, 2], level=level),
    ):
        with pytest.raises(InputError, match="level"):
            call()
