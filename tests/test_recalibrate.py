"""Scores fitted to the labels of a slice: they help the next draw, and are never judged by the labels they saw."""

from __future__ import annotations

import numpy as np
import pytest

from aligntax.estimate import calibration, corrected, recalibrate
from aligntax.label.planning import plan
from labels import NOW, answers, biased_log, draw_of, frame, labelled_by, notes, stratum


@pytest.fixture(scope="module")
def drawn():
    """Four slices whose detector believes sigmoid(x - 2) where sigmoid(x) is true: intercept 2 mends it."""
    verdicts, truth, _ = biased_log(4, 3000, seed=3)
    draw, items = plan(verdicts, by=["use_case"], budget=800, pilot=800, seed=1, now=NOW)
    whole = [item for item in items if item.stratum is not None]
    return verdicts, draw, labelled_by(truth, whole, draw), truth


def test_a_detector_that_is_too_mild_is_moved_up(drawn):
    verdicts, draw, labels, _ = drawn
    lines = recalibrate(verdicts, draw, labels)
    assert sorted(lines) == ['["case 00"]', '["case 01"]', '["case 02"]', '["case 03"]']
    for slope, intercept in lines.values():
        assert 0.5 < slope < 1.6
        assert intercept > 0.5
    assert np.mean([intercept for _, intercept in lines.values()]) == pytest.approx(2, abs=0.7)


def test_the_error_falls_on_labels_that_the_fit_has_not_seen(drawn):
    verdicts, draw, labels, _ = drawn
    table = calibration(verdicts, draw, labels)
    assert table["used"].all()
    assert (table["ece_before"] > 0.07).all()
    assert (table["ece_after"] < table["ece_before"]).all()
    assert table["ece_after"].mean() < table["ece_before"].mean() / 2
    assert (table["log_loss_after"] < table["log_loss_before"]).all()


def test_errors_are_cross_fitted_and_so_are_worse_than_those_of_a_fit_judged_by_its_own_labels():
    """Labels that are pure chance: a fit looks better on what it saw, and must not on what it did not."""
    random = np.random.default_rng(5)
    scores = random.uniform(0.3, 0.7, 60).round(3)
    groups = [answers(1, score, name=f"r{at}-") for at, score in enumerate(scores)]
    says = random.choice(["n", "f"], 60)
    labels = [label for at, letter in enumerate(says) for label in notes(f"r{at}-", letter)]
    table = calibration(frame(*groups), draw_of(stratum(60, labels=60)), labels)
    row = table.row(0, named=True)
    log_odds = np.log(scores / (1 - scores))
    fitted = 1 / (1 + np.exp(-(row["slope"] * log_odds + row["intercept"])))
    wrong = says == "n"
    own = -np.mean(np.log(np.where(wrong, fitted, 1 - fitted)))
    assert row["log_loss_after"] > own


def test_the_next_draw_takes_it_and_needs_no_wider_interval(drawn):
    verdicts, draw, labels, truth = drawn
    lines = recalibrate(verdicts, draw, labels)

    def width(recalibration):
        following, items = plan(
            verdicts, by=["use_case"], budget=480, pilot=480, seed=9, now=NOW, recalibration=recalibration
        )
        table = corrected(verdicts, following, labelled_by(truth, items, following), targets=["not_complete"])
        return table.filter(domain="all").select(w="high").to_series() - table.filter(domain="all")["low"]

    assert width(lines).mean() < width(None).mean() * 1.05


def test_few_labels_are_not_used_and_none_leave_the_score_as_it_is():
    verdicts, draw = frame(answers(100, 0.2)), draw_of(stratum(100, labels=40))
    assert recalibrate(verdicts, draw, notes("a", "n" * 19)) == {}
    row = calibration(verdicts, draw, notes("a", "n" * 19)).row(0, named=True)
    assert (row["labels"], row["ece_before"], row["used"]) == (19, None, False)
    nothing = calibration(verdicts, draw, []).row(0, named=True)
    assert (nothing["labels"], nothing["slope"], nothing["intercept"]) == (0, 1, 0)


def test_labels_weigh_by_what_they_stand_for():
    """One label in ten of the low stratum, all of the high one: the fit must speak of the population."""
    verdicts = frame(answers(1000, 0.2), answers(50, 0.8, name="z"))
    draw = draw_of(stratum(1000, 0.0, 0.5, labels=50), stratum(50, 0.5, 1.0, labels=50))
    labels = notes("a", "n" * 10 + "f" * 40) + notes("z", "n" * 40 + "f" * 10)
    row = calibration(verdicts, draw, labels).row(0, named=True)
    assert row["ece_before"] == pytest.approx(0, abs=1e-6)  # .2 and .8 are what was found
    assert (row["slope"], row["intercept"]) == pytest.approx((1, 0), abs=0.01)


def test_a_score_that_is_upside_down_is_flattened_never_turned_round():
    verdicts = frame(answers(100, 0.2), answers(100, 0.8, name="z"))
    draw = draw_of(stratum(100, 0.0, 0.5, labels=100), stratum(100, 0.5, 1.0, labels=100))
    ((slope, _),) = recalibrate(verdicts, draw, notes("a", "n" * 100) + notes("z", "f" * 100)).values()
    assert 0 < slope < 0.2
