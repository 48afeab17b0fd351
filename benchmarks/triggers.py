"""How often the trigger words that are found are false, how many are found, and how quickly.

    python benchmarks/triggers.py [--seeds 40] [--quick] [--scale 1000000]

Simulations of `tests/trigger_logs.py`: 4,000 prompts in 8 topics that are refused in 1.5 to 17 %, 1,500 words, 15 of
which raise refusals. Keyness (log-odds ratio with an informative prior) and chi-square stand beside on the same logs.
`--scale N` instead writes N prompts to a file and finds their triggers in a process of its own.
Needs no data. Prints the bars, met or MISSED, and exits with 1 where one is missed.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtr

import metrics as m
from aligntax.stats.multiple import benjamini_hochberg
from aligntax.triggers import find
from aligntax.triggers.association import Strata, associated
from aligntax.triggers.counting import counted
from aligntax.triggers.reading import read_prompts

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from trigger_logs import BASE, TOPICS, Traffic, false_and_found, many_prompts, swapped_words, traffic

ASSOCIATED_BAR, CONFIRMED_BAR, POWER_BAR = 0.15, 0.10, 0.6
SECONDS_BAR, MEMORY_BAR = 60.0, 2000.0
Tally = dict[str, list[tuple[int, int, int]]]  # way -> (found, false, triggers found) a log


def main() -> int:
    reading = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    reading.add_argument("--seeds", type=int, default=40, help="logs a setting")
    reading.add_argument("--quick", action="store_true", help="8 logs a setting")
    reading.add_argument("--scale", type=int, metavar="PROMPTS", help="time and memory at this size instead")
    reading.add_argument("--worker", help=argparse.SUPPRESS)
    chosen = reading.parse_args()
    if chosen.worker:
        return worker(Path(chosen.worker))
    print(m.machine())
    return scale(chosen.scale) if chosen.scale else simulations(8 if chosen.quick else chosen.seeds)


# -- simulations ---------------------------------------------------------------------------------------------


def simulations(seeds: int) -> int:
    settings: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "topics given": ({}, {"by": ["use_case"]}),
        "a quarter of the topics wrong": ({"wrong_topics": 0.25}, {"by": ["use_case"]}),
        "clusters as topics": ({}, {}),
        "topics given, detector d' = 3": ({"detector": 1.5}, {"by": ["use_case"]}),
        "clusters, detector d' = 3": ({"detector": 1.5}, {}),
    }
    rows = {name: one_setting(seeds, made, asked) for name, (made, asked) in settings.items()}
    bars = []
    for name, tally in rows.items():
        m.table(
            f"{name}: {seeds} logs of 4,000 prompts",
            ["way", "found", "false discovery", "power", "worst log"],
            [[way, *summary(logs)] for way, logs in tally.items()],
        )
    clean, noisy = rows["topics given"], rows["topics given, detector d' = 3"]
    for name, tally in (("topics given", clean), ("topics given, noisy detector", noisy)):
        bars.append(
            (f"{name}: associated, false discovery", summary(tally["aligntax"])[1], "<=", ASSOCIATED_BAR)
        )
    bars += [
        (f"{name}: confirmed, false discovery", summary(rows[name]["confirmed"])[1], "<=", CONFIRMED_BAR)
        for name in settings
    ]
    bars.append(("topics given: power", summary(clean["aligntax"])[2], ">=", POWER_BAR))
    return show(bars)


def one_setting(seeds: int, made: dict[str, Any], asked: dict[str, Any]) -> Tally:
    tally: Tally = {}
    for seed in range(seeds):
        log = traffic(seed, **made)
        found = find(log.verdicts, **asked)
        words = {"aligntax": [trigger.words for trigger in found.triggers]}
        words["confirmed"] = swapped_words(found, log, seed)
        words |= plain_ways(log)
        for way, groups in words.items():
            false, hits = false_and_found(groups, log.triggers)
            tally.setdefault(way, []).append((len(groups), false, len(hits)))
    return tally


def summary(logs: list[tuple[int, int, int]]) -> tuple[float, float, float, float]:
    """Words a log, mean share of false ones (0 where none was found), mean share of the triggers, worst share."""
    shares = [false / max(found, 1) for found, false, _ in logs]
    power = np.mean([hits for *_, hits in logs]) / 15
    return float(np.mean([found for found, *_ in logs])), float(np.mean(shares)), float(power), max(shares)


def plain_ways(log: Traffic) -> dict[str, list[tuple[str, ...]]]:
    """What is commonly done, on the same logs: outcomes as yes or no, no topics."""
    prompts = read_prompts(log.verdicts.lazy().with_columns(y=1 - pl.col("p_full").cast(pl.Float64)))
    parts = counted(prompts)
    refused = prompts.outcome > 0.5
    words: list[tuple[str, ...]] = []
    keyness: list[NDArray[Any]] = []
    square: list[NDArray[Any]] = []
    normal: list[NDArray[Any]] = []
    for part in parts:
        spelled = prompts.vocabulary.gather(part.words.ravel().astype(np.int64)).to_list()
        step = part.length
        words += [(" ".join(spelled[at * step : (at + 1) * step]),) for at in range(len(part))]
        with_word = np.diff(part.columns.indptr).astype(float)
        a = np.asarray(part.columns.T.astype(float) @ refused.astype(float))
        square.append(chi_square(a, with_word, float(refused.sum()), len(refused)))
        if part.length == 1:
            keyness.append(log_odds(prompts, part.words[:, 0], refused))
        strata = Strata(
            outcome=prompts.outcome,
            family=np.arange(len(refused)),
            topic=np.zeros(len(refused), int),
            topics=1,
        )
        normal.append(associated(part.columns, strata).p)
    single = words[: len(keyness[0])]
    one_sided = 1 - ndtr(keyness[0])
    return {
        "keyness z > 1.96": [word for word, z in zip(single, keyness[0], strict=True) if z > 1.96],
        "keyness, BH": chosen(single, one_sided),
        "chi-square, BH": chosen(words, np.concatenate(square)),
        "our test without topics, BH": chosen(words, np.concatenate(normal)),
    }


def chosen(words: list[tuple[str, ...]], p: NDArray[Any]) -> list[tuple[str, ...]]:
    return [word for word, q in zip(words, benjamini_hochberg(p), strict=True) if q <= 0.1]


def log_odds(prompts: Any, words: NDArray[Any], refused: NDArray[Any]) -> NDArray[Any]:
    """Z of the log-odds ratio of token counts with an informative Dirichlet prior (Monroe and others 2008)."""
    side = np.repeat(refused, np.diff(prompts.first))
    size = len(prompts.vocabulary)
    inside = np.bincount(prompts.words[side], minlength=size).astype(float)
    outside = np.bincount(prompts.words[~side], minlength=size).astype(float)
    prior = 1000 * (inside + outside) / (inside + outside).sum()
    total = [float(side.sum()), float((~side).sum())]
    prior = np.maximum(prior, 1e-9)  # words that occur nowhere
    logs = [
        np.log((count + prior) / (n + 1000 - count - prior))
        for count, n in zip((inside, outside), total, strict=True)
    ]
    z: NDArray[Any] = (logs[0] - logs[1]) / np.sqrt(1 / (inside + prior) + 1 / (outside + prior))
    return z[words]


def chi_square(a: NDArray[Any], n1: NDArray[Any], d1: float, n: int) -> NDArray[Any]:
    """One-sided p of the 2 x 2 table of prompts, with a continuity correction."""
    variance = n1 * (n - n1) * d1 * (n - d1) / (n**2 * (n - 1.0))
    p: NDArray[Any] = 1 - ndtr((a - n1 * d1 / n - 0.5) / np.sqrt(np.maximum(variance, 1e-12)))
    return p


def show(bars: list[tuple[str, float, str, float]]) -> int:
    print("\nbars")
    missed = 0
    for name, value, sign, bar in bars:
        met = value <= bar if sign == "<=" else value >= bar
        missed += not met
        print(f"  {'met   ' if met else 'MISSED'}  {name}: {value:.3g} (bar {sign} {bar:g})")
    return int(missed > 0)


# -- scale ---------------------------------------------------------------------------------------------------


def scale(prompts: int) -> int:
    """Time and memory of `find` on a file, clusters as topics."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "verdicts.parquet"
        many_prompts(path, prompts)
        print(
            f"{prompts:,} prompts, {path.stat().st_size / 1e6:.0f} MB on disk; {TOPICS} topics, base {BASE[0]:g} to {BASE[-1]:g}"
        )
        done = subprocess.run(  # noqa: S603 - ourselves
            [sys.executable, __file__, "--worker", str(path)], check=True, capture_output=True, text=True
        )
    result = json.loads(done.stdout)
    print(json.dumps(result, indent=2))
    return show(
        [
            (f"{prompts:,} prompts, seconds", result["seconds"], "<=", SECONDS_BAR),
            (f"{prompts:,} prompts, MB", result["peak_mb"], "<=", MEMORY_BAR),
        ]
    )


def worker(path: Path) -> int:
    before, cpu = time.perf_counter(), time.process_time()
    found = find(pl.scan_parquet(path))
    print(
        json.dumps(
            {
                "seconds": round(time.perf_counter() - before, 1),
                "cpu_seconds": round(time.process_time() - cpu, 1),
                "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
                "tested": found.tested,
                "prompts": found.prompts,
                "families": found.families,
                "topics": found.topics,
                "triggers": len(found.triggers),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
