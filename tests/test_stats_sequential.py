"""Several looks: what each may claim, and that the truth stays inside at all of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import betaln
from scipy.stats import norm
from statsmodels.stats.proportion import proportion_confint

from aligntax.errors import InputError
from aligntax.stats.sequential import confidence_sequence, evidence_against, planned_looks


def labels_of_runs(rate: float, runs: int, longest: int, seed: int):
    """Running counts of positives after each label: (runs, longest), and how many labels that were."""
    hits = np.random.default_rng(seed).random((runs, longest)) < rate
    return np.cumsum(hits, axis=1), np.arange(1, longest + 1)


def test_even_looks_share_alpha():
    assert planned_looks(0.05, 4) == pytest.approx([0.9875] * 4)
    assert planned_looks(0.05, 1) == pytest.approx([0.95])


def test_late_looks_follow_the_published_spending_function():
    spent = np.cumsum(1 - planned_looks(0.05, 4, spending="late"))
    assert spent[-1] == pytest.approx(0.05)
    # Lan and DeMets: 2 - 2 Phi(1.96 / sqrt(t)) at t = 1/4, 1/2, 3/4.
    assert spent == pytest.approx([0.00009, 0.00557, 0.02362, 0.05], abs=1e-5)
    assert planned_looks(0.05, 1, spending="late") == pytest.approx([0.95])


@pytest.mark.parametrize("looks", [1, 2, 4, 7])
@pytest.mark.parametrize("spending", ["even", "late"])
def test_the_chances_to_miss_never_sum_to_more_than_alpha(looks, spending):
    levels = planned_looks(0.1, looks, spending=spending)
    assert len(levels) == looks
    assert ((levels > 0) & (levels < 1)).all()
    assert (1 - levels).sum() <= 0.1 + 1e-12


@pytest.mark.parametrize("spending", ["even", "late"])
def test_all_planned_looks_hold_together_where_unplanned_ones_do_not(spending):
    means = np.cumsum(np.random.default_rng(6).normal(size=(6000, 4)), axis=1) / np.sqrt(np.arange(1, 5))
    cuts = norm.ppf(1 - (1 - planned_looks(0.05, 4, spending=spending)) / 2)
    assert (np.abs(means) > cuts).any(axis=1).mean() <= 0.05
    assert (np.abs(means) > norm.ppf(0.975)).any(axis=1).mean() > 0.10


@pytest.mark.parametrize(("alpha", "looks"), [(0, 2), (1, 2), (0.05, 0), (float("nan"), 2)])
def test_looks_that_cannot_be_planned_are_refused(alpha, looks):
    with pytest.raises(InputError):
        planned_looks(alpha, looks)


def test_one_success_in_one_label_worked_by_hand():
    # a = b = 5: the e-value against p is (a / (a + b)) / p = .5 / p, which is 20 at p = .025.
    sequence = confidence_sequence(1, 1, 0.5)
    assert sequence.low == pytest.approx(0.025)
    assert sequence.high == 1.0
    assert confidence_sequence(0, 1, 0.5).high == pytest.approx(0.975)


def test_the_ends_are_where_the_evidence_reaches_its_cut():
    sequence = confidence_sequence(14, 200, 0.07, level=0.9)
    for end in (sequence.low, sequence.high):
        by_formula = (
            betaln(14 + 0.7, 186 + 9.3) - betaln(0.7, 9.3) - 14 * math.log(end) - 186 * math.log(1 - end)
        )
        assert by_formula == pytest.approx(math.log(10))
    assert sequence.low < 0.07 < sequence.high


def test_its_width_is_what_the_plan_says_it_is():
    sequence = confidence_sequence(14, 200, 0.07)
    low, high = proportion_confint(14, 200, method="wilson")
    assert sequence.high - sequence.low == pytest.approx(0.110, abs=0.01)
    assert high - low == pytest.approx(0.072, abs=0.002)


def test_no_labels_say_nothing_and_all_successes_leave_the_top_open():
    assert (confidence_sequence(0, 0, 0.1).value, confidence_sequence(0, 0, 0.1).low) == (None, 0.0)
    assert confidence_sequence(0, 0, 0.1).high == 1.0
    assert confidence_sequence(30, 30, 0.1).high == 1.0
    assert confidence_sequence(0, 30, 0.0).low == 0.0


@pytest.mark.parametrize(
    ("successes", "n", "rate", "options"),
    [
        (3, 2, 0.1, {}),
        (-1, 2, 0.1, {}),
        (1, 2, 1.1, {}),
        (1, 2, 0.1, {"weight": 0}),
        (1, 2, 0.1, {"level": 1}),
    ],
)
def test_counts_and_settings_that_cannot_be_are_refused(successes, n, rate, options):
    with pytest.raises(InputError):
        confidence_sequence(successes, n, rate, **options)


@pytest.mark.parametrize("rate", [0.07, 0.38])
def test_the_truth_stays_inside_under_continuous_looks_where_wilson_loses_it(rate):
    hits, n = labels_of_runs(rate, runs=1200, longest=500, seed=7)
    for prior in (rate, 0.2):  # a wrong prior costs width only
        lost = (evidence_against(rate, hits, n, prior) >= math.log(20)).any(axis=1)
        assert lost.mean() <= 0.05
    low, high = proportion_confint(hits, n, method="wilson")
    assert ((rate < low) | (rate > high)).any(axis=1).mean() > 0.25
