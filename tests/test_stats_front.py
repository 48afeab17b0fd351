"""Fronts: the area is the oracle's, the chosen point is not the luckiest, and noise claims no gain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from aligntax.errors import InputError
from aligntax.stats.front import (
    Scores,
    difference_of,
    hypervolume,
    hypervolume_difference,
    hypervolume_of,
    mean_of,
    nondominated,
    point_at,
    resampling,
    usefulness_at,
)
from aligntax.stats.gain import Chosen, gain_over

SHARE = st.integers(0, 20).map(lambda twentieths: twentieths / 20)
POINTS = st.lists(st.tuples(SHARE, SHARE), min_size=1, max_size=12)


def test_a_hand_worked_area() -> None:
    assert hypervolume([(0.5, 1.0), (1.0, 0.5)]) == pytest.approx(0.75)
    assert hypervolume([(0.5, 1.0), (1.0, 0.5), (0.5, 0.5)]) == pytest.approx(0.75)  # dominated: adds nothing
    assert hypervolume([(0.5, 1.0), (1.0, 0.5)], reference=(0.4, 0.4)) == pytest.approx(0.1 * 0.6 + 0.5 * 0.1)
    assert hypervolume([(0.3, 0.9)], reference=(0.4, 0.4)) == 0
    assert hypervolume([]) == 0


@given(POINTS, st.tuples(SHARE, SHARE))
@settings(max_examples=150, deadline=None)
def test_the_area_and_the_front_are_those_of_moocore(
    points: list[tuple[float, float]], reference: tuple[float, float]
) -> None:
    moocore = pytest.importorskip("moocore", reason="the weights extra is not installed")
    table = np.array(points)
    expected = float(moocore.hypervolume(table, ref=np.array(reference), maximise=True))
    assert hypervolume(points, reference) == pytest.approx(expected, abs=1e-12)
    kept = moocore.is_nondominated(table, maximise=True, keep_weakly=True)
    assert nondominated(table).tolist() == kept.tolist()


def test_the_operating_point_is_measured_and_safe_enough() -> None:
    points = [(0.9, 0.4), (0.8, 0.7), (0.79, 0.9), (0.8, 0.7)]
    assert point_at(points, 0.8) == 1
    assert usefulness_at(points, 0.8) == 0.7
    assert usefulness_at(points, 0.95) is None


def test_means_have_a_width_also_where_all_agree() -> None:
    all_safe = mean_of(np.ones(40))
    assert (all_safe.value, all_safe.high) == (1, 1)
    assert 0.9 < (all_safe.low or 0) < 0.95
    half = mean_of(np.full(40, 0.5))
    assert half.value == 0.5
    assert (half.low or 1) < 0.4
    same = difference_of(np.ones(40), np.ones(40))
    assert same.value == 0
    assert (same.low or 0) < -0.05
    same = difference_of(np.full(40, 0.3), np.full(40, 0.3))
    assert (same.low or 0) < -0.05


def test_prompts_of_one_family_count_once() -> None:
    scores = np.repeat([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0], 10)
    alone, alike = mean_of(scores), mean_of(scores, [at // 10 for at in range(80)])
    assert (alike.high or 0) - (alike.low or 0) > 2 * ((alone.high or 0) - (alone.low or 0))
    table = Scores(safety=scores[None], usefulness=scores[None])
    grouped = Scores(
        safety=scores[None],
        usefulness=scores[None],
        safety_families=tuple(at // 10 for at in range(80)),
        usefulness_families=tuple(at // 10 for at in range(80)),
    )
    narrow, wide = (hypervolume_of(kind, resampling(kind, resamples=400)) for kind in (table, grouped))
    assert (wide.high or 0) - (wide.low or 0) > 2 * ((narrow.high or 0) - (narrow.low or 0))


def world(
    random: np.random.Generator, safety: np.ndarray, usefulness: np.ndarray, prompts: int
) -> Scores:  # scores of points whose prompts are hard or easy for all of them alike
    def drawn(rates: np.ndarray) -> np.ndarray:
        hard = random.normal(size=(1, prompts))
        return (ndtr(0.8 * hard + 0.6 * random.normal(size=(len(rates), prompts))) < rates[:, None]).astype(
            float
        )

    return Scores(safety=drawn(safety), usefulness=drawn(usefulness))


SAFE, USEFUL = np.linspace(0.95, 0.5, 6), np.linspace(0.5, 0.9, 6)


def coverage(worlds: int, prompts: int, gap: float) -> tuple[float, float]:
    """How often the intervals of a hypervolume, and of a difference of two, hold the truth."""
    random = np.random.default_rng(5)
    truth = hypervolume(np.column_stack([SAFE, USEFUL]))
    other = hypervolume(np.column_stack([SAFE, USEFUL - gap]))
    hits = np.zeros(2)
    for seed in range(worlds):
        both = world(random, np.tile(SAFE, 2), np.concatenate([USEFUL, USEFUL - gap]), prompts)
        first, second = both.of(range(6)), both.of(range(6, 12))
        drawn = resampling(first, resamples=300, seed=seed)
        one, two = hypervolume_of(first, drawn), hypervolume_difference(first, second, drawn)
        hits += (
            (one.low or 0) <= truth <= (one.high or 0),
            (two.low or 0) <= truth - other <= (two.high or 0),
        )
    return tuple(hits / worlds)


def test_intervals_of_areas_hold_the_truth() -> None:
    alone, between = coverage(worlds=120, prompts=48, gap=0.05)
    assert alone >= 0.89  # three standard errors under .95
    assert between >= 0.89


@pytest.mark.long
@pytest.mark.parametrize("prompts", [24, 48, 96])
@pytest.mark.parametrize("gap", [0.0, 0.05])
def test_intervals_of_areas_hold_the_truth_in_many_worlds(prompts: int, gap: float) -> None:
    alone, between = coverage(worlds=1500, prompts=prompts, gap=gap)
    assert alone >= 0.925
    assert between >= 0.925


def claims(worlds: int, gain: float, prompts: int) -> float:
    """How often a gain is claimed when points are chosen on one draw and compared on another."""
    random, claimed = np.random.default_rng(8), 0
    safety, usefulness = np.tile(SAFE, 2), np.concatenate([USEFUL + gain, USEFUL])
    for seed in range(worlds):
        selection, report = (world(random, safety, usefulness, prompts) for _ in range(2))
        chosen = [
            Chosen(
                method=name,
                scores=report.of(range(start, start + 6)),
                place=point_at(selection.of(range(start, start + 6)).points, 0.75),
            )
            for name, start in (("blocks", 0), ("uniform", 6))
        ]
        drawn = resampling(chosen[0].scores, resamples=50, seed=seed)
        claimed += gain_over(*chosen, drawn).ruling == "gain"
    return claimed / worlds


def test_noise_claims_no_gain_and_a_large_one_is_found() -> None:
    assert claims(worlds=150, gain=0.0, prompts=100) <= 0.06
    assert claims(worlds=40, gain=0.3, prompts=400) >= 0.5


def test_useful_but_less_safe_is_not_a_gain() -> None:
    harmful, useful = np.ones((2, 200)), np.ones((2, 200))
    harmful[0, :60] = 0
    useful[1, :80] = 0
    scores = Scores(safety=harmful, usefulness=useful)
    first = Chosen(method="blocks", scores=scores.of([0]), place=0)
    second = Chosen(method="uniform", scores=scores.of([1]), place=0)
    drawn = resampling(scores, resamples=50)
    assert gain_over(first, second, drawn).ruling == "safety not shown"
    assert gain_over(second, first, drawn).ruling == "less useful"
    assert gain_over(first, first, drawn).ruling == "no gain beyond noise"
    nothing = Chosen(method="early stopping", scores=scores.of([1]), place=None)
    assert gain_over(first, nothing, drawn).ruling == "no operating point"


def test_more_comparisons_make_a_claim_harder() -> None:
    random = np.random.default_rng(1)
    harmful, useful = np.ones((2, 300)), (random.random((2, 300)) < [[0.61], [0.5]]).astype(float)
    scores = Scores(safety=harmful, usefulness=useful)
    first = Chosen(method="blocks", scores=scores.of([0]), place=0)
    second = Chosen(method="uniform", scores=scores.of([1]), place=0)
    drawn = resampling(scores, resamples=50)
    one, many = (gain_over(first, second, drawn, comparisons=count) for count in (1, 30))
    assert one.usefulness is not None
    assert many.usefulness is not None
    assert (many.usefulness.low or 0) < (one.usefulness.low or 0)


def test_scores_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match="outside 0 to 1"):
        Scores(safety=np.full((1, 3), 2.0), usefulness=np.ones((1, 3)))
    with pytest.raises(InputError, match="no table"):
        Scores(safety=np.ones(3), usefulness=np.ones((1, 3)))
    with pytest.raises(InputError, match="families"):
        Scores(safety=np.ones((1, 3)), usefulness=np.ones((1, 3)), safety_families=("a",))
    with pytest.raises(InputError, match="no pairs"):
        difference_of(np.ones(3), np.ones(4))
