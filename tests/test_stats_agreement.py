"""Agreement among raters: published tables, oracles, cases with no answer, and intervals that hold."""

from __future__ import annotations

import time

import krippendorff
import numpy as np
import pytest
from statsmodels.stats.inter_rater import fleiss_kappa

from aligntax.errors import InputError
from aligntax.stats import agreement
from aligntax.stats.agreement import ac1, alpha, dawid_skene, positive_agreement

NAN = float("nan")
# Krippendorff 2011, "Computing Krippendorff's alpha-reliability": four observers, twelve units.
FOUR_OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
]


def two_raters(both: int, first: int, second: int, neither: int):
    return np.array(
        [
            [1] * both + [1] * first + [0] * second + [0] * neither,
            [1] * both + [0] * first + [1] * second + [0] * neither,
        ],
        dtype=float,
    )


def raters_who_err(random, items: int, prevalence: float, error: float, raters: int = 2):
    truth = random.random(items) < prevalence
    return (truth ^ (random.random((raters, items)) < error)).astype(float)


def test_alpha_is_the_published_one():
    nominal, ordinal = alpha(FOUR_OBSERVERS), alpha(FOUR_OBSERVERS, "ordinal")
    assert nominal.value == pytest.approx(0.743, abs=5e-4)
    assert ordinal.value == pytest.approx(0.815, abs=5e-4)
    assert (nominal.n, nominal.n_labels) == (11, 40)  # the unit with one label says nothing
    for estimate in (nominal, ordinal):
        assert -1 <= estimate.low < estimate.value < estimate.high <= 1


def test_alpha_worked_by_hand():
    # Two raters, ten items, one disagreement: values 9 zeros and 11 ones of 20. Do = 2 / 20, De = 2 * 9 * 11 / (20 * 19).
    assert alpha(two_raters(5, 1, 0, 4)).value == pytest.approx(1 - 0.1 / (198 / 380))


@pytest.mark.parametrize("scale", ["nominal", "ordinal"])
def test_what_is_resampled_is_the_alpha_of_the_package(scale):
    random = np.random.default_rng(8)
    table = random.integers(0, 4, size=(3, 30)).astype(float)
    table[1] = np.where(random.random(30) < 0.7, table[0], table[1])
    table[2, :12] = NAN
    _, counts = agreement._counts(table)
    raters = counts.sum(axis=1)
    pairs = counts[:, :, None] * (counts[:, None, :] - np.eye(4)) / (raters - 1)[:, None, None]
    own = agreement._alphas(pairs.sum(axis=0)[None], scale)[0]
    assert own == pytest.approx(krippendorff.alpha(table, level_of_measurement=scale))


def test_with_many_items_the_interval_is_the_one_of_resampled_tables():
    table = raters_who_err(np.random.default_rng(9), 400, 0.4, 0.1)
    random = np.random.default_rng(10)
    by_hand = [
        krippendorff.alpha(table[:, random.integers(0, 400, 400)], level_of_measurement="nominal")
        for _ in range(1000)
    ]
    estimate = alpha(table)
    assert [estimate.low, estimate.high] == pytest.approx(np.quantile(by_hand, [0.025, 0.975]), abs=0.012)


def test_the_same_seed_gives_the_same_interval_and_five_hundred_items_take_a_moment():
    table = raters_who_err(np.random.default_rng(11), 500, 0.3, 0.1, raters=3)
    start = time.process_time()
    assert alpha(table, seed=1, resamples=1000) == alpha(table, seed=1, resamples=1000)
    assert time.process_time() - start < 2  # 0.05 s where nothing else runs
    assert alpha(table, seed=1).low != alpha(table, seed=2).low


@pytest.mark.parametrize(
    "table",
    [
        [[1, 1, 1], [1, 1, 1]],  # everybody said the same: no disagreement could have been seen
        [[1, 0, 1]],  # one rater
        [[1, 0, NAN, NAN], [NAN, NAN, 1, 0]],  # no item that two labelled
        [[0, 1, 1], [NAN, 1, 1]],  # two values, but only one where two labelled
        [[NAN, NAN], [NAN, NAN]],
        np.empty((2, 0)),
    ],
)
def test_where_alpha_is_not_defined_none_is_given(table):
    estimate = alpha(table)
    assert (estimate.value, estimate.low, estimate.high) == (None, None, None)


def test_agreement_without_a_flaw_on_few_items_is_no_certainty():
    few, many = alpha(two_raters(5, 0, 0, 5)), alpha(two_raters(250, 0, 0, 250))
    assert few.value == many.value == 1.0
    assert few.high == many.high == 1.0
    assert 0.4 < few.low < 0.8
    assert 0.98 < many.low < 1.0


def test_a_rare_value_leaves_alpha_wide_open():
    # Two labels of a hundred pairs are positive: nobody can know from that how well positives are agreed on.
    estimate = alpha(two_raters(1, 1, 0, 98))
    assert estimate.low < 0.2
    assert estimate.high > 0.95


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_that_is_no_confidence_is_refused(level):
    with pytest.raises(InputError, match="level"):
        alpha(FOUR_OBSERVERS, level=level)


def test_ac1_is_the_published_one():
    # Gwet 2008: 118, 5, 2 and 0 of 125; kappa is -.023 there although the two agree on 94 %.
    assert ac1(two_raters(118, 5, 2, 0)) == pytest.approx(0.9408, abs=5e-5)
    # Gwet's irrCAC prints .77544 for the four observers above.
    assert ac1(FOUR_OBSERVERS) == pytest.approx(0.77544, abs=5e-6)


def test_ac1_of_several_raters_uses_the_agreement_that_fleiss_uses():
    table = raters_who_err(np.random.default_rng(12), 60, 0.3, 0.15, raters=4)
    _, counts = agreement._counts(table)
    share = counts.sum(axis=0) / counts.sum()
    by_chance = (share**2).sum()
    agreed = fleiss_kappa(counts) * (1 - by_chance) + by_chance
    expected = share[0] * share[1] * 2
    assert ac1(table) == pytest.approx((agreed - expected) / (1 - expected))


def test_ac1_stays_steady_where_alpha_does_not():
    assert ac1([[1, 1, 1], [1, 1, 1]]) == 1.0
    assert ac1(two_raters(0, 1, 1, 98)) > 0.97
    assert alpha(two_raters(0, 1, 1, 98)).value < 0


def test_ac1_counts_values_that_nobody_chose():
    two = ac1([[0, 1, 1, 1], [0, 1, 1, 0]])
    assert ac1([[0, 1, 1, 1], [0, 1, 1, 0]], categories=3) > two
    with pytest.raises(InputError, match="categories"):
        ac1([[0, 1, 2], [0, 1, 2]], categories=2)


def test_without_an_item_that_two_labelled_there_is_no_agreement():
    for table in ([[1, 0, 1]], [[1, NAN], [NAN, 0]], [[NAN], [NAN]]):
        assert np.isnan(ac1(table))
        assert np.isnan(positive_agreement(table))


def test_positive_agreement_worked_by_hand():
    assert positive_agreement(two_raters(6, 3, 1, 90)) == pytest.approx(12 / 16)
    assert positive_agreement(1 - two_raters(6, 3, 1, 90), positive=0) == pytest.approx(12 / 16)
    # Three raters: items with 3, 2 and 1 positives. (3 * 2 + 2 * 1 + 1 * 0) / 2 of 6 labels.
    assert positive_agreement([[1, 1, 1], [1, 1, 0], [1, 0, 0]]) == pytest.approx(4 / 6)
    # A missing label takes part in no pair; an item with one label takes no part at all.
    assert positive_agreement([[1, 1, 1], [1, 0, NAN]]) == pytest.approx(2 / 3)


def test_nobody_positive_is_no_agreement_on_positives():
    assert np.isnan(positive_agreement(two_raters(0, 0, 0, 9)))


def test_one_step_of_dawid_and_skene_worked_by_hand():
    # One item all call 1, one that two of three call 0. Start: (0, 1) and (2/3, 1/3); prevalence (1/3, 2/3).
    # Rater a said 1, 0; given 0: weights 2/3 on 0, nothing on 1; given 1: 1/3 on 0, 1 on 1; .5 is added to each.
    step = dawid_skene([[1, 0], [1, 0], [1, 1]], rounds=1)
    careful = np.array([[2 / 3 + 0.5, 0.5], [1 / 3 + 0.5, 1.5]]) / [[2 / 3 + 1], [1 / 3 + 2]]
    # The third said 1 both times.
    third = np.array([[0.5, 2 / 3 + 0.5], [0.5, 4 / 3 + 0.5]]) / [[2 / 3 + 1], [4 / 3 + 1]]
    assert step.confusion == pytest.approx(np.array([careful, careful, third]))
    second = np.array([1 / 3, 2 / 3]) * careful[:, 0] ** 2 * third[:, 1]
    assert step.posterior[1] == pytest.approx(second / second.sum())
    assert (step.rounds, step.converged) == (1, False)


def test_raters_who_agree_are_taken_at_their_word():
    consensus = dawid_skene([[0, 1, 2, 1]] * 3, smoothing=0)
    assert consensus.converged
    assert consensus.posterior == pytest.approx(np.eye(3)[[0, 1, 2, 1]])
    assert consensus.confusion == pytest.approx(np.array([np.eye(3)] * 3))


def test_it_finds_the_careless_rater_and_beats_the_majority():
    random = np.random.default_rng(13)
    truth = random.random(600) < 0.3
    errors = [0.05, 0.1, 0.2, 0.4, 0.4]
    table = np.array([truth ^ (random.random(600) < error) for error in errors], dtype=float)
    table[random.random(table.shape) < 0.1] = NAN
    consensus = dawid_skene(table)
    assert consensus.converged
    assert consensus.posterior.sum(axis=1) == pytest.approx(np.ones(600))
    assert consensus.prevalence[1] == pytest.approx(0.3, abs=0.04)
    missed = 1 - consensus.confusion[:, [0, 1], [0, 1]].mean(axis=1)
    assert missed == pytest.approx(errors, abs=0.07)
    by_majority = np.nanmean(table, axis=0) > 0.5
    assert (consensus.posterior[:, 1].round() != truth).sum() < 0.6 * (by_majority != truth).sum()


def test_an_item_without_labels_gets_the_prevalence():
    consensus = dawid_skene([[1, 0, 1, NAN], [1, 0, 1, NAN], [1, 0, 0, NAN]])
    assert consensus.posterior[3] == pytest.approx(consensus.prevalence, abs=1e-4)


@pytest.mark.parametrize("table", [[[1, 0], [1, 0]], [[1, 0], [1, 0], [NAN, NAN]]])
def test_two_people_cannot_be_weighed(table):
    with pytest.raises(InputError, match="three or more"):
        dawid_skene(table)


@pytest.mark.parametrize("function", [alpha, ac1, positive_agreement, dawid_skene])
@pytest.mark.parametrize("table", [[1, 0, 1], [[1, float("inf")]]])
def test_what_is_no_table_is_refused(function, table):
    with pytest.raises(InputError, match="table of raters and items"):
        function(table)


@pytest.mark.parametrize(("items", "prevalence", "error"), [(100, 0.3, 0.1), (30, 0.05, 0.05)])
def test_the_interval_of_alpha_holds(items, prevalence, error):
    random = np.random.default_rng(14)
    truth = alpha(raters_who_err(random, 400_000, prevalence, error), resamples=2).value
    held = []
    for seed in range(300):
        estimate = alpha(raters_who_err(random, items, prevalence, error), seed=seed, resamples=600)
        if estimate.value is not None:
            held.append(estimate.low <= truth <= estimate.high)
    assert len(held) > 250
    assert np.mean(held) > 0.91
