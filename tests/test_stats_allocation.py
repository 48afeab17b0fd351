"""Strata and labels per stratum: worked cases, what ties and small numbers do, and what the gain is."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aligntax.errors import InputError
from aligntax.stats.allocation import allocate, strata_edges


def strata(scores, edges):
    return np.searchsorted(edges, scores, side="right")


def test_a_case_worked_by_hand():
    # sqrt(p (1 - p)): .2 -> .4, .5 -> .5, .8 -> .4, .9 -> .3; sums .4, .9, 1.3, 1.6; half is .8, nearest .9.
    assert strata_edges([0.9, 0.2, 0.8, 0.5], k=2).tolist() == [0.8]


def test_every_stratum_holds_about_the_same_spread():
    scores = np.random.default_rng(1).beta(0.3, 3, size=20_000)
    number = strata(scores, strata_edges(scores, 4))
    spread = np.bincount(number, weights=np.sqrt(scores * (1 - scores)))
    assert spread / spread.sum() == pytest.approx([0.25] * 4, abs=0.001)
    sizes = np.bincount(number)
    assert (np.diff(sizes) < 0).all()  # low scores are many and alike


def test_equal_scores_stay_together_and_no_stratum_is_empty():
    scores = [0.1] * 90 + [0.5] * 10
    edges = strata_edges(scores, 4)
    assert edges.tolist() == [0.5]
    assert np.bincount(strata(scores, edges)).tolist() == [90, 10]


@pytest.mark.parametrize("scores", [[], [0.4], [0.4] * 50, [0.0] * 3, [1.0] * 3])
def test_a_constant_score_gives_one_stratum(scores):
    assert strata_edges(scores).tolist() == []


def test_scores_of_zero_and_one_alone_are_told_apart():
    assert strata_edges([0.0] * 7 + [1.0] * 2).tolist() == [1.0]


@given(st.lists(st.floats(0, 1), max_size=40), st.integers(1, 8))
@settings(deadline=None, max_examples=60)
def test_edges_ascend_are_few_enough_and_leave_no_stratum_empty(scores, k):
    edges = strata_edges(scores, k)
    assert len(edges) <= k - 1
    assert (np.diff(edges) > 0).all()
    if scores:
        assert (np.bincount(strata(scores, edges), minlength=len(edges) + 1) > 0).all()


def test_a_million_scores_take_a_moment():
    scores = np.random.default_rng(2).random(1_000_000).astype(np.float32)
    start = time.process_time()
    assert len(strata_edges(scores)) == 3
    assert time.process_time() - start < 2  # 0.1 s where nothing else runs


@pytest.mark.parametrize("scores", [[0.2, float("nan")], [1.1], [-0.1]])
def test_what_is_no_probability_is_refused(scores):
    with pytest.raises(InputError, match="between 0 and 1"):
        strata_edges(scores)


def test_an_allocation_worked_by_hand():
    # Planned rates .98 p + .02: .02 and .51; spreads 900 * .14 = 126, 100 * .4999 = 49.99; Neyman .7160, .2840.
    # With a fifth by size: .2 * .9 + .8 * .716 = .7528 and .2472 of 100 labels.
    assert allocate([900, 100], [0.0, 0.5], 100, at_least=0).tolist() == [75, 25]


def test_a_stratum_gets_at_least_four_or_all_it_holds_and_never_more_than_it_holds():
    labels = allocate([100_000, 40, 2, 0], [0.3, 0.5, 0.9, 0.0], 60)
    assert labels.tolist() == [54, 4, 2, 0]
    assert allocate([5, 1000], [0.5, 0.001], 200).tolist() == [4, 196]
    assert allocate([50, 1000], [0.5, 0.0], 1000).tolist() == [50, 950]


def test_when_sizes_run_out_everything_is_labelled():
    assert allocate([5, 7], [0.1, 0.9], 100).tolist() == [5, 7]


def test_too_few_labels_for_the_minimum_are_shared_evenly():
    assert sorted(allocate([100, 100, 100, 100], [0.1, 0.2, 0.3, 0.4], 6)) == [1, 1, 2, 2]
    assert allocate([100, 100], [0.1, 0.2], 0).tolist() == [0, 0]


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.floats(0, 1)), min_size=1, max_size=9),
    st.integers(0, 600),
    st.integers(0, 6),
    st.floats(0, 1),
)
@settings(deadline=None, max_examples=150)
def test_labels_sum_to_the_total_and_keep_their_bounds(cells, total, at_least, share):
    sizes, expected = np.array([size for size, _ in cells]), [rate for _, rate in cells]
    labels = allocate(sizes, expected, total, at_least=at_least, share=share)
    assert labels.sum() == min(total, sizes.sum())
    assert (labels >= 0).all()
    assert (labels <= sizes).all()
    lowest = np.minimum(sizes, at_least)
    if lowest.sum() <= total:
        assert (labels >= lowest).all()


@pytest.mark.parametrize(
    ("sizes", "expected", "options"),
    [
        ([10], [0.1, 0.2], {}),
        ([10.5], [0.1], {}),
        ([-1], [0.1], {}),
        ([10], [1.5], {}),
        ([10], [0.5], {"share": 2}),
        ([10], [0.5], {"at_least": -1}),
    ],
)
def test_what_is_no_plan_is_refused(sizes, expected, options):
    with pytest.raises(InputError):
        allocate(sizes, expected, 5, **options)


def test_the_stratified_mean_is_unbiased_and_needs_far_fewer_labels_than_chance():
    random = np.random.default_rng(3)
    scores = random.beta(0.15, 1.5, size=20_000)
    truth = random.random(20_000) < scores  # a calibrated score
    number = strata(scores, strata_edges(scores))
    sizes = np.bincount(number)
    expected = np.bincount(number, weights=scores) / sizes
    labels = allocate(sizes, expected, 200)
    groups = [truth[number == k] for k in range(len(sizes))]
    means = np.array(
        [
            sum(
                len(g) * random.choice(g, m, replace=False).mean()
                for g, m in zip(groups, labels, strict=True)
            )
            for _ in range(400)
        ]
    ) / len(truth)
    rate = truth.mean()
    assert means.mean() == pytest.approx(rate, abs=4 * means.std() / 20)
    by_chance = rate * (1 - rate) / 200
    assert means.var() < 0.55 * by_chance
