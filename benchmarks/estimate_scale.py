"""How planning labels and estimating from them grow with the log: seconds, and peak memory.

    python benchmarks/estimate_scale.py [--rows 10000,100000,1000000] [--budget 400]

Writes scanned logs as Parquet with all their columns (the texts of `tests/verdicts.py`, scores of its own), plans a
draw of them in one process, labels it from a known truth, and estimates in another one. Prints what each step took.
A million rows need 100 MB of disk and less than a minute. Always exits with 0.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

import metrics as m
from aligntax import estimate, label
from aligntax.types import Annotation, Answered, Draw, Item, Outcome, ShouldAnswer

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from verdicts import verdict_frame

SECONDS_BAR, CORRECTED_BAR, MEMORY_BAR = 10.0, 4.0, 1000.0
PART = 50_000
BY = ["model"]
NOW = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)


# -- the log -------------------------------------------------------------------------------------------------


def write_verdicts(folder: Path, rows: int) -> float:
    """Parts of a scanned log with continuous scores; the size in MB."""
    for part in range(-(-rows // PART)):
        random = np.random.default_rng(part)
        frame = verdict_frame(min(PART, rows - part * PART), seed=part)
        wrong = 1 / (1 + np.exp(-random.normal(-2.0, 2.0, len(frame))))
        judged = pl.col("label") != "undetermined"
        frame = frame.with_columns(
            response=pl.col("response") + "\n(case " + pl.col("id") + ")",  # texts that repeat take no room
            p_full=pl.when(judged).then(pl.Series(1 - wrong, dtype=pl.Float32)),
            p_none=pl.when(judged).then(pl.Series(wrong, dtype=pl.Float32)),
        )
        frame.write_parquet(folder / f"verdicts-{part:03}.parquet")
    return sum(path.stat().st_size for path in folder.glob("*.parquet")) / 1e6


def labelled(folder: Path, draw: Draw, items: list[Item]) -> list[Annotation]:
    """Labels of all that the draw asked for, by two people where two were wanted.

    The truth is half a unit above the detector's log-odds.
    """
    asked = {item.exchange: item for item in items if item.known is None and item.phase != "reserve"}
    scores = dict(
        pl.scan_parquet(folder / "*.parquet")
        .filter(pl.col("id").is_in(pl.Series(list(asked)).implode()))
        .select("id", "p_full")
        .collect(engine="streaming")
        .iter_rows()
    )
    random = np.random.default_rng(1)
    notes = []
    for exchange, item in asked.items():
        full = scores[exchange] or 0.5
        wrong = random.random() < 1 / (1 + full / max(1 - full, 1e-6) * np.exp(-0.5))
        for annotator in ("ann", "bob")[: item.wanted]:
            text = item.outcome == Outcome.ANSWERED
            notes.append(
                Annotation(
                    exchange=exchange,
                    annotator=annotator,
                    answered=(Answered.NONE if wrong else Answered.FULL) if text else None,
                    kinds=() if text else None,
                    hedging=0 if text else None,
                    should_answer=ShouldAnswer.YES,
                )
            )
    return notes


# -- what is measured, each in a process of its own ----------------------------------------------------------


def plan_here(folder: Path, budget: int) -> dict[str, float]:
    """Plan, begin the second phase as if the pilot had borne the score out, and find the texts."""
    verdicts = with_slices(folder)
    took: dict[str, float] = {}
    draw, items = timed(
        took, "plan", lambda: label.plan(verdicts, by=BY, budget=budget, pilot=budget, seed=1, now=NOW)
    )
    timed(
        took, "texts", lambda: label.texts(verdicts, [item.exchange for item in items if item.known is None])
    )
    (folder / "draw.json").write_bytes(msgspec.json.encode(draw))
    (folder / "items.json").write_bytes(msgspec.json.encode(items))
    return took


def estimate_here(folder: Path) -> dict[str, float]:
    """Everything that `aligntax estimate` asks of a verdict file."""
    verdicts = pl.scan_parquet(folder / "*.parquet")
    draw = msgspec.json.decode((folder / "draw.json").read_bytes(), type=Draw)
    notes = msgspec.json.decode((folder / "notes.json").read_bytes(), type=list[Annotation])
    took: dict[str, float] = {}
    timed(took, "fingerprint", lambda: label.fingerprint(verdicts))
    timed(took, "corrected", lambda: estimate.corrected(verdicts, draw, notes))
    timed(
        took,
        "by month and use case",
        lambda: estimate.corrected(verdicts, draw, notes, by=["month", "use_case"]),
    )
    timed(took, "audit", lambda: estimate.audit(verdicts, draw, notes))
    timed(took, "spread", lambda: estimate.spread(verdicts, draw, notes))
    timed(took, "recalibrate", lambda: estimate.recalibrate(verdicts, draw, notes))
    return took


def with_slices(folder: Path) -> pl.LazyFrame:
    verdicts = pl.scan_parquet(folder / "*.parquet")
    return verdicts.with_columns(estimate.slice_columns(BY, verdicts.collect_schema()))


def timed(took: dict[str, float], name: str, step: Callable[[], Any]) -> Any:
    """What `step` gives; its wall time goes into `took`."""
    begin = time.perf_counter()
    found = step()
    took[name] = time.perf_counter() - begin
    return found


def in_process(what: str, folder: Path, budget: int) -> tuple[dict[str, float], float]:
    """Seconds by step, and peak resident MB of a process that does nothing else."""
    command = [sys.executable, __file__, "--step", what, "--folder", str(folder), "--budget", str(budget)]
    said = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - ourselves
    found = json.loads(said.stdout)
    return found["took"], found["peak_mb"]


def one_step(what: str, folder: Path, budget: int) -> None:
    took = plan_here(folder, budget) if what == "plan" else estimate_here(folder)
    # ru_maxrss is in kB on Linux and in bytes on macOS.
    unit = 1e6 if sys.platform == "darwin" else 1e3
    print(json.dumps({"took": took, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}))


# -- the report ----------------------------------------------------------------------------------------------


def measure(rows: int, budget: int) -> list[list[object]]:
    """One line per step."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = write_verdicts(folder, rows)
        planned, plan_peak = in_process("plan", folder, budget)
        draw = msgspec.json.decode((folder / "draw.json").read_bytes(), type=Draw)
        items = msgspec.json.decode((folder / "items.json").read_bytes(), type=list[Item])
        (folder / "notes.json").write_bytes(msgspec.json.encode(labelled(folder, draw, items)))
        estimated, estimate_peak = in_process("estimate", folder, budget)
    steps = [("plan", planned, plan_peak), ("estimate", estimated, estimate_peak)]
    return [
        [f"{rows:,}", f"{size:,.0f}", process, step, f"{seconds:.2f}", round(peak)]
        for process, took, peak in steps
        for step, seconds in took.items()
    ]


def show(lines: list[list[object]]) -> None:
    """All steps, and the bars at the largest log."""
    m.table(
        "Plan and estimate", ["rows", "file MB", "process", "step", "wall s", "peak MB of the process"], lines
    )
    largest = lines[-1][0]
    took = {str(step): float(str(seconds)) for rows, _, _, step, seconds, _ in lines if rows == largest}
    whole = took["plan"] + took["texts"] + took["fingerprint"] + took["corrected"] + took["audit"]
    peak = max(float(str(line[-1])) for line in lines)
    bars = [
        [f"plan, texts, fingerprint, corrected and audit of {largest} verdicts, s", whole, SECONDS_BAR],
        [f"corrected alone, {largest} verdicts, s", took["corrected"], CORRECTED_BAR],
        ["peak memory, MB", peak, MEMORY_BAR],
    ]
    m.table(
        "Bars",
        ["what", "bar", "measured", ""],
        [[what, f"< {bar:,.0f}", value, "met" if value < bar else "MISSED"] for what, value, bar in bars],
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", default="10000,100000,1000000", help="sizes, separated by commas")
    parser.add_argument("--budget", type=int, default=400, help="exchanges to label")
    parser.add_argument("--step", choices=["plan", "estimate"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.step:
        one_step(chosen.step, chosen.folder, chosen.budget)
        return
    print(f"plan and estimate at scale, {m.machine()}")
    sizes = sorted(int(rows) for rows in chosen.rows.split(","))
    show([line for rows in sizes for line in measure(rows, chosen.budget)])
    print(f"\n{m.machine()}")


if __name__ == "__main__":
    main()
