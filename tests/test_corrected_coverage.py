"""Corrected rates hold the truth as often as they say, on logs whose detector is far off."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from aligntax.estimate import corrected
from aligntax.label.planning import allocate_rest, plan
from labels import NOW, biased_log, labelled_by


def simulated(seed: int, *, budget_each: int, finish: bool):
    """50 slices are 50 replications: a draw, its pilot labels and, to `finish`, those of the second phase."""
    verdicts, truth, rates = biased_log(50, 600, seed=seed)
    draw, items = plan(
        verdicts, by=["use_case"], budget=50 * budget_each, pilot=50 * budget_each // 2, seed=seed, now=NOW
    )
    if finish:
        pilot = labelled_by(truth, items, draw)
        found = np.zeros((len(draw.strata), 2), dtype=int)
        place = {item.exchange: item.stratum for item in items}
        for label in pilot:
            found[place[label.exchange]] += (label.answered == "none", 1)
        draw = allocate_rest(draw, found[:, 0], found[:, 1])
    return verdicts, draw, labelled_by(truth, items, draw), rates


@pytest.mark.parametrize("finish", [False, True], ids=["pilot alone", "both phases"])
def test_intervals_cover_the_truth_although_the_detector_is_far_off(finish):
    here, future, bias = [], [], []
    for seed in range(3):
        verdicts, draw, labels, rates = simulated(seed, budget_each=60, finish=finish)
        log = corrected(verdicts, draw, labels, population="log", targets=["not_complete"]).filter(
            domain="all"
        )
        true_here = _shares(verdicts, seed)
        here += list((log["low"] <= true_here) & (true_here <= log["high"]))
        bias += list(log["raw"] - true_here)
        like = corrected(verdicts, draw, labels, targets=["not_complete"]).filter(domain="all")
        future += list((like["low"].to_numpy() <= rates) & (rates <= like["high"].to_numpy()))
    assert np.mean(bias) < -0.1  # the detector misses more than every tenth answer
    # 150 replications at 95 %: the standard error is 1.8 points.
    assert np.mean(here) >= 0.90
    assert np.mean(future) >= 0.90


def test_the_over_refusal_rate_is_covered_too():
    inside = []
    for seed in range(3):
        verdicts, draw, labels, rates = simulated(seed, budget_each=60, finish=True)
        table = corrected(verdicts, draw, labels, targets=["not_complete"]).filter(domain="should_answer")
        inside += list((table["low"].to_numpy() <= rates) & (rates <= table["high"].to_numpy()))
    assert np.mean(inside) >= 0.90


def _shares(verdicts: pl.DataFrame, seed: int) -> pl.Series:
    _, truth, _ = biased_log(50, 600, seed=seed)
    wrong = pl.Series([float(truth[exchange].answered == "none") for exchange in verdicts["id"]])
    return (
        verdicts.with_columns(wrong=wrong)
        .group_by("use_case")
        .agg(pl.col("wrong").mean())
        .sort("use_case")["wrong"]
    )
