"""How many labels: plans that keep what they say, agree with what was measured, and say None where none would do."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.special import expit, ndtri
from statsmodels.stats.proportion import proportion_confint

from aligntax.errors import InputError
from aligntax.stats.allocation import allocate, strata_edges
from aligntax.stats.power import expected_interval, labels_for_half_width, more_labels
from aligntax.stats.profile import profile_interval

ENDLESS = 1e12


def strata_of(rate: float, accuracy: float, n: int = 100_000):
    """Sizes and mean scores of four strata; a calibrated score whose two normal laws `accuracy` tells apart."""
    random = np.random.default_rng(19)
    apart = 2 * ndtri(accuracy)
    positive = random.random(n) < rate
    evidence = random.normal(size=n) + apart * positive
    scores = expit(apart * evidence - apart**2 / 2 + np.log(rate / (1 - rate)))
    number = np.searchsorted(strata_edges(scores), scores, side="right")
    sizes = np.bincount(number)
    return sizes, np.bincount(number, weights=scores) / sizes


def half_width(interval) -> float:
    return np.ravel(interval.high - interval.low)[0] / 2


def test_without_strata_the_plan_is_that_of_one_rate():
    # One stratum of endless size is binomial; at 200 labels of 7 % the likelihood interval is near Wilson's.
    plan = expected_interval([ENDLESS], [0.07], 200)
    low, high = proportion_confint(14, 200, method="wilson")
    assert plan.value == pytest.approx(0.07)
    assert half_width(plan) == pytest.approx((high - low) / 2, rel=0.03)
    assert (plan.n_labels, plan.corrected) == (200, False)


@pytest.mark.parametrize(
    ("rate", "wanted", "accuracy", "measured"),
    [(0.38, 0.02, 0.90, 592), (0.38, 0.03, 0.85, 413), (0.07, 0.01, 0.90, 811), (0.02, 0.005, 0.85, 1670)],
)
def test_the_plan_agrees_with_labels_measured_by_simulation(rate, wanted, accuracy, measured):
    # Mean widths over 4,000 simulated labellings (independent of this code) gave these numbers of labels.
    sizes, expected = strata_of(rate, accuracy)
    assert labels_for_half_width(sizes, expected, wanted) == pytest.approx(measured, rel=0.07)


def test_simulated_labellings_come_out_as_narrow_as_planned():
    sizes, expected = strata_of(0.07, 0.95, n=20_000)
    total = labels_for_half_width(sizes, expected, 0.02, population="log")
    labels = allocate(sizes, expected, total)
    positives = np.random.default_rng(20).binomial(labels, expected, size=(800, len(labels)))
    counts = np.stack([positives, labels - positives], axis=2)
    found = profile_interval(counts, np.broadcast_to(sizes, (800, len(sizes))), population="log")
    widths = (found.high - found.low) / 2
    assert 0.017 < widths.mean() <= 0.02


def test_the_answer_is_the_fewest_that_does():
    sizes, expected = [60_000, 30_000, 10_000], [0.01, 0.2, 0.8]
    total = labels_for_half_width(sizes, expected, 0.03)
    assert half_width(expected_interval(sizes, expected, total)) <= 0.03
    assert half_width(expected_interval(sizes, expected, total - 1)) > 0.03


def test_where_no_number_of_labels_does_the_answer_is_none():
    # All 300 labelled are certain about themselves, and leave doubt about traffic like them.
    assert labels_for_half_width([300], [0.3], 0.02) is None
    assert labels_for_half_width([300], [0.3], 0.02, population="log") <= 300
    assert labels_for_half_width([ENDLESS], [0.3], 1e-5) is None


def test_a_plan_takes_a_moment():
    sizes, expected = strata_of(0.07, 0.9)
    start = time.process_time()
    labels_for_half_width(sizes, expected, 0.01)
    more_labels([[2, 48], [5, 45], [20, 30], [40, 10]], sizes, "half_width", 0.01)
    assert time.process_time() - start < 3  # 0.2 s where nothing else runs


@pytest.mark.parametrize("wanted", [0, -0.1, float("nan")])
def test_a_width_that_is_none_is_refused(wanted):
    with pytest.raises(InputError, match="half-width"):
        labels_for_half_width([100], [0.5], wanted)


# more_labels


COUNTS, SIZES = [[1, 49, 0], [6, 40, 4], [30, 15, 5]], [40_000, 8_000, 2_000]


def interval(counts, **options):
    return profile_interval([counts], [SIZES], **options)


def test_nothing_more_is_needed_where_the_goal_is_reached():
    now = interval(COUNTS)
    assert more_labels(COUNTS, SIZES, "half_width", half_width(now) + 1e-6) == 0
    assert more_labels(COUNTS, SIZES, "high", float(now.high[0])) == 0
    assert more_labels(COUNTS, SIZES, "low", float(now.low[0])) == 0


@pytest.mark.parametrize(
    ("goal", "bound", "options"),
    [
        ("half_width", 0.02, {}),
        ("half_width", 0.02, {"population": "log"}),
        ("high", 0.08, {"side": "high"}),
        ("low", 0.05, {"side": "low", "level": 0.9}),
    ],
)
def test_so_many_more_labels_like_those_seen_reach_the_goal(goal, bound, options):
    more = more_labels(COUNTS, SIZES, goal, bound, **options)
    assert more > 0
    # Label that many more by hand, where the allocation of all labels finds them missing, in the shares that were seen.
    seen = np.array(COUNTS, dtype=float)
    labelled = seen.sum(axis=1)
    for extra, does in ((more, True), (more - 1, False)):
        wanted = allocate(SIZES, seen[:, 0] / seen[:, :2].sum(axis=1), int(labelled.sum()) + extra)
        missing = np.maximum(wanted - labelled, 0)
        missing *= extra / missing.sum()
        then = interval(seen * (1 + missing / labelled)[:, None], **options)
        reached = {
            "low": then.low[0] >= bound,
            "high": then.high[0] <= bound,
            "half_width": half_width(then) <= bound,
        }
        assert reached[goal] == does
        assert then.value[0] == pytest.approx(interval(COUNTS).value[0])


def test_a_rate_on_the_wrong_side_is_not_cleared_by_labels():
    value = float(interval(COUNTS).value[0])
    assert more_labels(COUNTS, SIZES, "high", value - 0.001) is None
    assert more_labels(COUNTS, SIZES, "high", value) is None
    assert more_labels(COUNTS, SIZES, "low", value + 0.001) is None


def test_too_few_exchanges_are_none_too():
    counts = [[3, 27], [10, 20]]
    assert more_labels(counts, [40, 40], "half_width", 0.01) is None
    assert more_labels(counts, [40, 40], "half_width", 0.01, population="log") <= 20
    assert more_labels(counts, [30, 30], "half_width", 0.01) is None  # nothing is left to label


def test_a_stratum_without_labels_gets_some():
    counts = [[1, 49], [0, 0]]
    more = more_labels(counts, [50_000, 10_000], "half_width", 0.04)
    assert 4 <= more < 200


def test_a_stricter_goal_never_takes_fewer():
    wanted = [more_labels(COUNTS, SIZES, "half_width", width) for width in (0.035, 0.03, 0.02, 0.01)]
    assert wanted == sorted(wanted)


@pytest.mark.parametrize(
    ("goal", "options"), [("narrow", {}), ("low", {"side": "high"}), ("half_width", {"side": "low"})]
)
def test_goals_that_the_interval_cannot_reach_are_refused(goal, options):
    with pytest.raises(InputError, match="goal"):
        more_labels(COUNTS, SIZES, goal, 0.05, **options)


def test_without_a_label_in_the_domain_there_is_nothing_to_go_by():
    with pytest.raises(InputError, match="no label"):
        more_labels([[0, 0, 9], [0, 0, 0]], [100, 100], "high", 0.1)
