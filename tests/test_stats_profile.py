"""The profile-likelihood interval: against a generic optimiser, closed forms, its limits, and truths drawn at random."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.stats import beta, binom, chi2

from aligntax.errors import InputError
from aligntax.stats.profile import cut_of, profile_interval

Array = NDArray[np.float64]
CUT = chi2.ppf(0.95, 1) / 2
ENDLESS = 1e12
POPULATIONS = ("future", "log")


def one(counts: object, sizes: object, **options: object) -> tuple[float, float, float]:
    found = profile_interval(np.asarray(counts)[None], np.asarray(sizes)[None], **options)  # type: ignore[arg-type]
    return float(found.value[0]), float(found.low[0]), float(found.high[0])


# An independent way to the same number: hand the likelihood to a generic optimiser.


def xlogy(x: Array, y: Array) -> Array:
    return np.where(x > 0, x * np.log(np.maximum(y, 1e-300)), 0.0)


def traffic(labels: Array, sizes: Array, q: Array) -> tuple[float, Array]:
    """Minus the two-phase log-likelihood of shares q, and its gradient."""
    unlabelled, mass = sizes - labels.sum(axis=1), q.sum(axis=1)
    value = xlogy(labels, q).sum() + xlogy(unlabelled, mass).sum()
    return -value, -(labels / q + (unlabelled / mass)[:, None]).ravel()


def these(labels: Array, sizes: Array, q: Array) -> tuple[float, Array]:
    """Minus Stirling's form of the hypergeometric log-likelihood, and its gradient."""
    total = sizes.sum()
    there = q * total
    rest = np.maximum(there - labels, 1e-12)
    value = (xlogy(there, there) - xlogy(rest, rest)).sum()
    return -value, -(np.log(np.maximum(there, 1e-12) / rest) * total).ravel()


def held_fall(labels: Array, sizes: Array, rate: float, population: str) -> float:
    """How far the log-likelihood falls when the rate is held, by SLSQP from several starts."""
    likelihood = traffic if population == "future" else these
    weight, total = sizes / sizes.sum(), sizes.sum()
    gains = np.tile([1 - rate, -rate, 0.0], len(sizes))
    conditions = [{"type": "eq", "fun": lambda q: gains @ q * 10, "jac": lambda q: gains * 10}]
    if population == "future":
        ones = np.ones(labels.size)
        conditions.append({"type": "eq", "fun": lambda q: ones @ q - 1, "jac": lambda q: ones})
        lowest = np.full(labels.size, 1e-11)
    else:
        blocks = np.kron(np.eye(len(sizes)), np.ones(3))
        conditions.append({"type": "eq", "fun": lambda q: blocks @ q - weight, "jac": lambda q: blocks})
        lowest = labels.ravel() / total
    best = math.inf
    for lift in (0.02, 0.5):
        start = (labels + lift) / (labels + lift).sum(axis=1, keepdims=True) * weight[:, None]
        answer = minimize(
            lambda q: likelihood(labels, sizes, q.reshape(-1, 3)),
            np.maximum(start.ravel(), lowest),
            jac=True,
            bounds=[(low, 1) for low in lowest],
            constraints=conditions,
            method="SLSQP",
            options={"maxiter": 500, "ftol": 1e-13},
        )
        broken = max(
            float(np.abs(np.atleast_1d(condition["fun"](answer.x))).max()) for condition in conditions
        )
        if broken < 1e-7:
            best = min(best, float(answer.fun))
    labelled = labels.sum(axis=1, keepdims=True)
    free = labels / np.where(labelled > 0, labelled, 1) * weight[:, None]
    free[labelled[:, 0] == 0, 1] = weight[labelled[:, 0] == 0]
    return best - likelihood(labels, sizes, np.maximum(free, 1e-300))[0]


CASES = {
    "every category seen": ([[3, 30, 5], [12, 9, 4]], [700, 90]),
    "a stratum without positives": (
        [[0, 40, 3], [2, 20, 5], [10, 10, 3], [20, 1, 2]],
        [8000, 1500, 400, 100],
    ),
    "no positive at all": ([[0, 35, 2], [0, 11, 0]], [300, 60]),
    "no negative at all": ([[6, 0, 2], [9, 0, 0]], [30, 60]),
    "fractional labels": ([[0.4, 19.6, 0.0], [5.5, 4.25, 2.25]], [300, 100]),
    "nothing outside": ([[1, 40, 0], [30, 12, 0]], [600, 300]),
    "a stratum without labels": ([[1, 40, 2], [0, 0, 0], [7, 3, 0]], [600, 20, 300]),
    "a stratum labelled in full": ([[2, 8, 1], [3, 20, 4]], [11, 300]),
    "a stratum all outside": ([[0, 0, 12], [4, 20, 4]], [80, 300]),
    "one stratum": ([[4, 16, 6]], [200]),
    "one label": ([[1, 0, 0]], [50]),
    "nearly all labelled": ([[5, 60, 30], [20, 3, 2]], [100, 28]),
}


@pytest.mark.parametrize("population", POPULATIONS)
@pytest.mark.parametrize("name", CASES)
def test_at_both_ends_a_generic_optimiser_finds_the_cut(name: str, population: str) -> None:
    labels, sizes = (np.asarray(part, dtype=float) for part in CASES[name])
    value, low, high = one(labels, sizes, population=population)
    assert low <= value <= high
    for end in (low, high):
        if population == "future" and end in (0, 1):
            continue
        # These exchanges: the ends may be all there is room for, where the fall is still under the cut.
        if population == "log":
            positive, negative, outside = labels.sum(axis=0)
            domain = sizes.sum() - outside
            if math.isclose(end, positive / domain) or math.isclose(end, 1 - negative / domain):
                inside = end + (value - end) * 1e-3
                assert held_fall(labels, sizes, inside, population) < CUT + 1e-3
                continue
        assert held_fall(labels, sizes, end, population) == pytest.approx(CUT, abs=2e-4)


@pytest.mark.parametrize("population", POPULATIONS)
def test_random_problems_agree_with_a_generic_optimiser(population: str) -> None:
    random = np.random.default_rng(7)
    for _ in range(12):
        strata = random.integers(1, 4)
        labels = random.integers(0, 12, (strata, 3)).astype(float)
        labels[0, :2] += 1
        sizes = labels.sum(axis=1) + random.integers(1, 300, strata)
        _, low, high = one(labels, sizes, population=population)
        positive, negative, outside = labels.sum(axis=0)
        ends = [
            end
            for end, limit in ((low, positive), (1 - high, negative))
            if population == "future" or not math.isclose(end, limit / (sizes.sum() - outside))
        ]
        for end in ends:
            rate = end if end == low else 1 - end
            assert held_fall(labels, sizes, rate, population) == pytest.approx(CUT, abs=2e-4)


# What can be worked out by hand.


@pytest.mark.parametrize("population", POPULATIONS)
@pytest.mark.parametrize("labelled", [1, 20, 300])
def test_with_nothing_found_in_an_endless_population_the_upper_bound_is_in_closed_form(
    labelled: int, population: str
) -> None:
    value, low, high = one([[0, labelled, 0]], [ENDLESS], population=population)
    assert (value, low) == (0, 0)
    assert high == pytest.approx(1 - math.exp(-CUT / labelled), rel=1e-6)


def test_one_sided_bounds_use_the_one_sided_cut_and_leave_the_other_end_open() -> None:
    labels, sizes = [[0, 59, 0]], [ENDLESS]
    assert cut_of(0.95, "low") == pytest.approx(1.3528, abs=1e-4)
    assert one(labels, sizes, side="high") == (0, 0, pytest.approx(1 - math.exp(-1.3528 / 59), rel=1e-4))
    assert one([[59, 0, 0]], sizes, side="low") == (1, pytest.approx(math.exp(-1.3528 / 59), rel=1e-4), 1)


def test_without_an_outside_and_an_end_of_exchanges_it_is_the_closed_form_of_two_categories() -> None:
    positive, labelled = np.array([0, 3, 11]), np.array([40, 30, 20])
    weight = np.array([0.8, 0.15, 0.05])

    def rates(multiplier: float) -> Array:
        a = multiplier * weight  # x / t - (n - x) / (1 - t) = a, solved for t without cancelling
        return 2 * positive / (a + labelled + np.sqrt((a + labelled) ** 2 - 4 * a * positive))

    def blind(multiplier: float) -> Array:  # the other root, where a positive share nobody has seen is needed
        a = multiplier * weight
        larger = ((a + labelled) - np.sqrt((a + labelled) ** 2 - 4 * a * positive)) / (2 * a)
        return np.where((positive == 0) & (a < -labelled), 1 + labelled / a, larger)

    def fall(t: Array) -> float:
        free = positive / labelled
        held = xlogy(positive, t) + xlogy(labelled - positive, 1 - t)
        return float((xlogy(positive, free) + xlogy(labelled - positive, 1 - free) - held).sum()) - CUT

    lowest = brentq(lambda multiplier: fall(rates(multiplier)), 1e-6, 1e5, xtol=1e-9)
    highest = brentq(lambda multiplier: fall(blind(multiplier)), -1e5, -1e-6, xtol=1e-9)
    labels = np.stack([positive, labelled - positive], axis=1)
    _, low, high = one(labels, weight * ENDLESS)
    assert low == pytest.approx(float(weight @ rates(lowest)), rel=1e-6)
    assert high == pytest.approx(float(weight @ blind(highest)), rel=1e-6)


def test_without_end_both_populations_are_the_same() -> None:
    labels, weight = CASES["a stratum without positives"][0], np.array([0.8, 0.15, 0.04, 0.01])
    future, log = (one(labels, weight * ENDLESS, population=population) for population in POPULATIONS)
    assert future == pytest.approx(log, rel=1e-6)


def test_a_whole_log_labelled_leaves_no_doubt_about_it_and_some_about_traffic_like_it() -> None:
    labels, sizes = [[3, 40, 5], [12, 9, 4]], [48, 25]
    value, low, high = one(labels, sizes, population="log")
    assert value == low == high == pytest.approx(15 / 64)
    # Then the strata say nothing more: traffic is one multinomial, and 64 exchanges are in the domain.
    assert one(labels, sizes)[1:] == pytest.approx(one([[15, 49, 0]], [ENDLESS])[1:], rel=1e-6)


def test_counts_of_these_exchanges_are_never_left_out() -> None:
    # 3 of 10 are positive for certain, 2 negative for certain.
    _, low, high = one([[3, 2, 0]], [10], level=0.999999, population="log")
    assert (low, high) == (pytest.approx(0.3), pytest.approx(0.8))


def test_no_label_in_the_domain_says_nothing() -> None:
    value, low, high = one([[0, 0, 30], [0, 0, 4]], [500, 60])
    assert math.isnan(value)
    assert (low, high) == (0, 1)


def test_an_unlabelled_stratum_widens_the_interval_by_its_weight_and_leaves_the_value() -> None:
    known = one([[5, 45, 0]], [900 * ENDLESS])
    with_unknown = one([[5, 45, 0], [0, 0, 0]], [900 * ENDLESS, 100 * ENDLESS])
    assert with_unknown[0] == pytest.approx(known[0])
    # Ten in a hundred may be all negative or all positive.
    assert with_unknown[1] == pytest.approx(0.9 * known[1], rel=1e-6)
    assert with_unknown[2] == pytest.approx(0.9 * known[2] + 0.1, rel=1e-6)


def test_padding_and_company_change_nothing() -> None:
    first, second = CASES["a stratum without positives"], CASES["every category seen"]
    counts, sizes = np.zeros((2, 6, 3)), np.zeros((2, 6))
    counts[0, 1:5], sizes[0, 1:5] = first
    counts[1, [0, 5]], sizes[1, [0, 5]] = second
    for population in POPULATIONS:
        found = profile_interval(counts, sizes, population=population)
        for row, case in enumerate((first, second)):
            alone = one(*case, population=population)
            assert (found.value[row], found.low[row], found.high[row]) == pytest.approx(alone, rel=1e-7)


@pytest.mark.parametrize(("side", "level"), [("high", 0.95), ("low", 0.95), ("two", 0.95)])
def test_careful_ends_of_one_stratum_are_nearly_those_of_the_exact_test(side: str, level: float) -> None:
    labelled = 60
    found = np.arange(labelled + 1)
    counts = np.stack([found, labelled - found], axis=1)[:, None, :]
    ends = profile_interval(counts, np.full((labelled + 1, 1), ENDLESS), side=side, level=level, careful=True)
    tail = (1 - level) / (2 if side == "two" else 1)
    some, room = found > 0, found < labelled
    if side != "low":
        assert ends.high[room] == pytest.approx(
            beta.isf(tail, found[room] + 1, labelled - found[room]), rel=0.03
        )
    if side != "high":
        exact = 1 - beta.ppf(tail, found[some], labelled - found[some] + 1)
        assert 1 - ends.low[some] == pytest.approx(exact, rel=0.03)


def test_careful_bounds_hold_their_promise_at_every_rate_where_the_plain_ones_do_not() -> None:
    labelled, rates = 80, np.linspace(0.002, 0.998, 499)
    found = np.arange(labelled + 1)
    counts = np.stack([found, labelled - found], axis=1)[:, None, :]
    chance = binom.pmf(found[:, None], labelled, rates)
    worst = {}
    for careful in (False, True):
        high = profile_interval(
            counts, np.full((labelled + 1, 1), ENDLESS), side="high", careful=careful
        ).high
        worst[careful] = (chance * (high[:, None] >= rates)).sum(axis=0).min()
    assert worst[False] < 0.8  # nothing found: the plain bound is 1.35 / n, where the exact one is 3 / n
    assert worst[True] >= 0.949


def test_careful_ends_leave_a_whole_log_without_doubt_and_the_value_where_it_was() -> None:
    labels, sizes = [[3, 40, 5], [12, 9, 4]], [48, 25]
    assert one(labels, sizes, population="log", careful=True) == one(labels, sizes, population="log")
    plain, careful = one(labels, [480, 250]), one(labels, [480, 250], careful=True)
    assert careful[0] == plain[0]
    assert careful[1] < plain[1] <= plain[2] < careful[2]


# Truths drawn at random: four strata by a score that misses a quarter of the positives.

SHARES, FOUND = np.array([0.70, 0.17, 0.08, 0.05]), np.array([0.01, 0.05, 0.25, 0.75])
LABELS = np.array([38, 24, 20, 18])


def draws(
    random: np.random.Generator, size: int, outside: Array, replications: int
) -> tuple[Array, Array, Array]:
    """Labels, sizes and the rate of each population, of which `outside` is the share outside by stratum."""
    chances = SHARES[:, None] * np.stack(
        [FOUND * (1 - outside), (1 - FOUND) * (1 - outside), outside], axis=1
    )
    population = random.multinomial(size, chances.ravel(), replications).reshape(replications, 4, 3)
    sizes = population.sum(axis=2)
    wanted = np.minimum(LABELS, sizes)
    positives = random.hypergeometric(population[:, :, 0], sizes - population[:, :, 0], wanted)
    negatives = random.hypergeometric(population[:, :, 1], population[:, :, 2], wanted - positives)
    counts = np.stack([positives, negatives, wanted - positives - negatives], axis=2)
    positive, negative, _ = population.sum(axis=1).T
    return counts, sizes, positive / (positive + negative)


@pytest.mark.parametrize(
    ("size", "outside", "options"),
    [
        (100_000, [0, 0, 0, 0], {}),
        (1_000, [0, 0, 0, 0], {"population": "log"}),
        (100_000, [0.1, 0.2, 0.4, 0.5], {}),
        (100_000, [0, 0, 0, 0], {"side": "high", "careful": True}),
    ],
    ids=["traffic", "these exchanges", "ratio", "upper bound"],
)
def test_intervals_hold_the_truth_as_often_as_they_say(size: int, outside: list[float], options) -> None:
    replications = 400
    random = np.random.default_rng(20)
    counts, sizes, here = draws(random, size, np.array(outside), replications)
    kept = SHARES * (1 - np.array(outside))
    truth = here if options.get("population") == "log" else float(kept @ FOUND / kept.sum())
    found = profile_interval(counts, sizes, **options)
    held = ((found.low <= truth + 1e-9) & (truth <= found.high + 1e-9)).mean()
    # Three standard errors of the simulation under what benchmarks/coverage.py measures at the least.
    assert held >= 0.925 - 3 * math.sqrt(0.925 * 0.075 / replications)
    # Not by being too wide: the normal interval of the same draws has about that width.
    if not options:
        share = counts / LABELS[None, :, None]
        weight = sizes / size
        rate = (weight * share[:, :, 0]).sum(axis=1) / (weight * share[:, :, :2].sum(axis=2)).sum(axis=1)
        assert np.ptp(np.quantile(rate, [0.025, 0.975])) > 0.75 * (found.high - found.low).mean()


# What holds for any labels.

stratum = st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 10**6))
problems = st.lists(stratum, min_size=1, max_size=5).map(
    lambda rows: (np.array(rows)[:, :3].astype(float), np.array(rows).sum(axis=1).astype(float))
)


@settings(max_examples=25, deadline=None)
@given(problems, st.sampled_from(POPULATIONS), st.randoms(use_true_random=False))
def test_order_and_names_of_strata_and_categories_change_nothing(problem, population, random) -> None:
    labels, sizes = problem
    value, low, high = one(labels, sizes, population=population)
    order = random.sample(range(len(sizes)), len(sizes))
    assert one(labels[order], sizes[order], population=population) == pytest.approx(
        (value, low, high), abs=1e-6, nan_ok=True
    )
    assert one(labels[:, [1, 0, 2]], sizes, population=population) == pytest.approx(
        (1 - value, 1 - high, 1 - low), abs=1e-6, nan_ok=True
    )


@settings(max_examples=25, deadline=None)
@given(problems)
def test_these_exchanges_leave_less_doubt_than_traffic_and_a_lower_level_less_than_a_higher(problem) -> None:
    labels, sizes = problem
    _, low, high = one(labels, sizes)
    for inner in (one(labels, sizes, population="log"), one(labels, sizes, level=0.8)):
        assert low - 1e-7 <= inner[1] <= inner[2] <= high + 1e-7


@settings(max_examples=20, deadline=None)
@given(problems)
def test_outside_counted_as_negative_is_the_rate_over_all(problem) -> None:
    labels, sizes = problem
    merged = np.stack([labels[:, 0], labels[:, 1] + labels[:, 2]], axis=1)
    with_empty_column = np.concatenate([merged, np.zeros((len(sizes), 1))], axis=1)
    over_all = one(merged, sizes)
    assert over_all == pytest.approx(one(with_empty_column, sizes), nan_ok=True)
    # A part of all exchanges holds all positives: its rate is not lower.
    value, *_ = one(labels, sizes)
    assert math.isnan(value) or value >= over_all[0] - 1e-12


@pytest.mark.parametrize(
    ("counts", "sizes", "options", "message"),
    [
        ([[1, 2, 0]], [2], {}, "more labels than exchanges"),
        ([[-1, 2, 0]], [20], {}, "negative"),
        ([[1, math.nan, 0]], [20], {}, "finite"),
        ([[1, 2, 0]], [math.inf], {}, "finite"),
        ([[1, 2, 3, 4]], [20], {}, "do not go with sizes"),
        ([[1, 2, 0]], [20, 20], {}, "do not go with sizes"),
        ([[1, 2, 0]], [20], {"level": 95}, "not between 0 and 1"),
        ([[1, 2, 0]], [20], {"side": "left"}, "no side 'left'"),
        ([[1, 2, 0]], [20], {"population": "past"}, "no population 'past'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(counts, sizes, options, message) -> None:
    with pytest.raises(InputError, match=message):
        one(counts, sizes, **options)
