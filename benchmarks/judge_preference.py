"""How well a preference from a simulated judge is measured: coverage of the intervals, and what order and length cost.

A judge with a known bias of order and of length compares two simulated models in families of pairs; the truth is what
an endless sample gives. Prints coverage of 95 % intervals, the mean estimate beside the truth, and how often there is no
interval. Run: python benchmarks/judge_preference.py [--runs 300]
"""

from __future__ import annotations

import argparse

import numpy as np
import polars as pl

from aligntax.judge import Preference, preference
from aligntax.judge.davidson import chances

STRENGTH, TIES = 0.4, 0.3  # log-odds of A at equal lengths; log weight of ties
POSITION, LENGTH = 0.8, 1.0
FAMILY_SPREAD = 0.8  # standard deviation of a family's own preference, in log-odds
_SAID = np.array(["a", "tie", "b"])


def compared(random: np.random.Generator, families: int, pairs: int, *, longer: float = 0.5) -> pl.DataFrame:
    """What a judge with these biases would have said: a frame as `Judge.preferences` gives it. A is longer by `longer` sd."""
    rows = families * pairs
    family = np.repeat(np.arange(families), pairs)
    effect = random.normal(0, FAMILY_SPREAD, families)[family]
    difference = np.round(400 * (longer + random.standard_normal(rows)))
    squeezed = np.tanh(difference / 400)
    said = {}
    for name, side in (("a_first", 0.5), ("b_first", -0.5)):
        terms = np.column_stack([np.ones(rows), np.full(rows, side), squeezed, effect])
        shares = chances(np.array([STRENGTH, POSITION, LENGTH, 1.0, TIES]), terms, ties=True)
        drawn = (random.random(rows)[:, None] > shares.cumsum(axis=1)).sum(axis=1)
        said[name] = _SAID[drawn]
    same = said["a_first"] == said["b_first"]
    return pl.DataFrame(
        {
            "id": [str(number) for number in range(rows)],
            "family": family.astype(str),
            **said,
            "preferred": np.where(same, said["a_first"], "tie"),
            "flipped": ~same & (said["a_first"] != "tie") & (said["b_first"] != "tie"),
            "length_a": (2000 + difference).astype(np.int64),
            "length_b": np.full(rows, 2000),
            "judge": "simulated",
            "judging_a_first": "judged",
            "judging_b_first": "judged",
        }
    )


MEASURES = ("raw", "controlled", "position", "length", "flip_rate")


def truth_of(*, longer: float = 0.5, families: int = 60_000) -> Preference:
    """What an endless sample gives, up to the third decimal."""
    return preference(compared(np.random.default_rng(1), families, 4, longer=longer))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    runs = parser.parse_args().runs
    truth = truth_of()
    shown = ", ".join(f"{name} {getattr(truth, name).value:.3f}" for name in MEASURES)
    print(f"truth: {shown}")
    print(
        f"95 % intervals, {runs} runs: coverage (mean estimate), in order: {', '.join(MEASURES)}; no interval"
    )
    for families, pairs in ((12, 4), (30, 1), (30, 4), (100, 1), (100, 4)):
        found = [preference(compared(np.random.default_rng(seed), families, pairs)) for seed in range(runs)]
        cells, missing = [], 0
        for name in MEASURES:
            right = getattr(truth, name).value
            estimates = [getattr(one, name) for one in found]
            with_ends = [one for one in estimates if one.low is not None]
            missing += len(estimates) - len(with_ends)
            held = np.mean([one.low <= right <= one.high for one in with_ends])
            cells.append(f"{held:.3f} ({np.mean([one.value for one in with_ends]):.3f})")
        print(f"{families:4d} families x {pairs}: {'  '.join(cells)}  {missing}")


if __name__ == "__main__":
    main()
