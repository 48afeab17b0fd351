"""How `aligntax scan` grows with the log: time, memory, and what of the time is not reading or judging.

    python benchmarks/scan_scale.py [--data DIR] [--rows 10000,100000,1000000] [--jobs N]

Makes Parquet logs with the writer's default row groups, from published answers (DIR, .jsonl) or from authored ones,
every row with an id of its own. Scans each in a process of its own, then reads the same file, and judges the same
rows, in this one. A million rows need 5 GB of disk and a few minutes. Always exits with 0.
"""

from __future__ import annotations

import os

_LIMITED = {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "POLARS_MAX_THREADS"} - os.environ.keys()
os.environ.update(dict.fromkeys(_LIMITED, "1"))  # for this process; the scan has what a user's has

import argparse  # noqa: E402 - the number of threads is read at import
import dataclasses  # noqa: E402
import itertools  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402

import metrics as m  # noqa: E402
from aligntax.detect import judge  # noqa: E402
from aligntax.logs import read  # noqa: E402
from texts import SEED, pairs  # noqa: E402

MEMORY_BAR = 1000  # MB
LINEAR_BAR = 1.15  # time for ten times the rows, over ten times the time
SHARE_BAR = 0.5  # of the speed of reading and judging alone
MODELS = ("northwind-1", "northwind-2", "harbour-7b")
USE_CASES = ("search", "support", "drafting", "review")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one scan took, and the same rows only read and only judged."""

    rows: int
    file_mb: float
    wall: float
    cpu: float
    peak_mb: float  # a page that processes share is divided among them
    summed_mb: float  # or counted for each
    read_cpu: float
    judge_cpu: float

    @property
    def share(self) -> float:
        """Speed of the scan against reading and judging alone, in CPU time."""
        return (self.read_cpu + self.judge_cpu) / self.cpu


# -- the log -------------------------------------------------------------------------------------------------


def write_log(path: Path, texts: list[tuple[str, str]], rows: int) -> None:
    """A Parquet log of `rows` exchanges drawn from `texts`, over four weeks.

    Every answer ends in a number of its own: texts that repeat would be stored once, and read for nothing.
    """
    rng = np.random.default_rng(SEED)
    drawn = rng.integers(0, len(texts), rows)
    prompts, responses = (pl.Series(column, dtype=pl.String) for column in zip(*texts, strict=True))
    start = np.datetime64("2026-01-05T00:00:00", "us")
    pl.DataFrame(
        {
            "id": pl.Series(range(rows)).cast(pl.String),
            "time": pl.Series(start + np.sort(rng.integers(0, 28 * 86_400_000_000, rows)).astype("m8[us]")),
            "model": pl.Series(MODELS).gather(rng.integers(0, len(MODELS), rows)),
            "use_case": pl.Series(USE_CASES).gather(rng.integers(0, len(USE_CASES), rows)),
            "prompt": prompts.gather(drawn),
            "response": responses.gather(drawn) + "\n(case " + pl.Series(range(rows)).cast(pl.String) + ")",
            "finish_reason": pl.Series(["stop"]).new_from_index(0, rows),
        }
    ).write_parquet(path)


# -- the scan ------------------------------------------------------------------------------------------------


def tree_memory(root: int) -> tuple[int, int]:
    """Resident bytes of a process and all under it, from /proc: shared pages divided among their users, and summed."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue  # it ended while we looked
            children.setdefault(parent, []).append(int(entry.name))
    waiting, divided, summed = [root], 0, 0
    while waiting:
        at = waiting.pop()
        waiting += children.get(at, [])
        try:
            lines = Path(f"/proc/{at}/smaps_rollup").read_text().splitlines()[1:]
        except OSError:
            continue
        held = {line.split(":")[0]: int(line.split()[1]) for line in lines}
        divided += held.get("Pss", 0) * 1024
        summed += held.get("Rss", 0) * 1024
    return divided, summed


def scan(log: Path, out: Path, jobs: int | None) -> tuple[float, float, float, float]:
    """Wall seconds, CPU seconds and both peaks in MB of the process tree of one `aligntax scan`."""
    command = [sys.executable, "-m", "aligntax", "scan", str(log), "-o", str(out), "--json"]
    environment = {name: value for name, value in os.environ.items() if name not in _LIMITED}
    before, begin = os.times(), time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - ourselves
        [*command, *(["--jobs", str(jobs)] if jobs else [])],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    peaks, ended = [(0, 0)], threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            peaks.append(tree_memory(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    said = process.communicate()[1]
    ended.set()
    watcher.join()
    if process.returncode:
        sys.exit(f"the scan failed with exit code {process.returncode}: {said.decode(errors='replace')}")
    wall, after = time.perf_counter() - begin, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    divided, summed = (max(column) / 1e6 for column in zip(*peaks, strict=True))
    return wall, cpu, divided, summed


def parts(log: Path) -> tuple[float, float]:
    """CPU seconds to read the log, and to judge what was read."""
    reading = judging = 0.0
    frames = iter(read(str(log)))
    while True:
        begin = time.process_time()
        frame = next(frames, None)
        reading += time.process_time() - begin
        if frame is None:
            return reading, judging
        begin = time.process_time()
        judge(frame)
        judging += time.process_time() - begin


def measure(folder: Path, texts: list[tuple[str, str]], rows: int, jobs: int | None) -> Run:
    """Write, scan, take apart and delete one log."""
    log, out = folder / f"log-{rows}.parquet", folder / "verdicts.parquet"
    write_log(log, texts, rows)
    size = log.stat().st_size / 1e6
    wall, cpu, divided, summed = scan(log, out, jobs)
    judged = pl.scan_parquet(out).select(pl.len()).collect().item()
    out.unlink()
    if judged != rows:
        sys.exit(f"{judged:,} verdicts came out of {rows:,} rows")
    read_cpu, judge_cpu = parts(log)
    log.unlink()
    return Run(
        rows=rows,
        file_mb=size,
        wall=wall,
        cpu=cpu,
        peak_mb=divided,
        summed_mb=summed,
        read_cpu=read_cpu,
        judge_cpu=judge_cpu,
    )


# -- the report ----------------------------------------------------------------------------------------------


def show(runs: list[Run]) -> None:
    """Times, memory, and where they stand against the bars."""
    lines = [
        [
            f"{run.rows:,}",
            f"{run.file_mb:,.0f}",
            f"{run.wall:.1f}",
            round(run.rows / run.wall),
            f"{run.cpu:.1f}",
            f"{run.read_cpu:.1f}",
            f"{run.judge_cpu:.1f}",
            f"{run.share:.2f}",
            round(run.peak_mb),
            round(run.summed_mb),
        ]
        for run in runs
    ]
    heads = ["rows", "file MB", "wall s", "rows/s", "CPU s", "read CPU s", "judge CPU s", "share of speed"]
    m.table("aligntax scan LOG -o OUT", [*heads, "peak MB", "(summed)"], lines)
    largest = runs[-1]
    bars = [
        ["peak memory of the tree, MB", f"< {MEMORY_BAR:,}", round(max(run.peak_mb for run in runs))],
        [
            f"share of the speed of reading and judging, {largest.rows:,} rows",
            f">= {SHARE_BAR}",
            largest.share,
        ],
    ]
    met = [max(run.peak_mb for run in runs) < MEMORY_BAR, largest.share >= SHARE_BAR]
    for small, large in itertools.pairwise(runs):
        growth = large.cpu / small.cpu / (large.rows / small.rows)
        bars.append([f"CPU time a row, {large.rows:,} against {small.rows:,}", f"<= {LINEAR_BAR}", growth])
        met.append(growth <= LINEAR_BAR)
    m.table(
        "Bars of scale",
        ["what", "bar", "measured", ""],
        [[*bar, "met" if good else "MISSED"] for bar, good in zip(bars, met, strict=True)],
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of labelled responses")
    parser.add_argument("--rows", default="10000,100000,1000000", help="sizes, separated by commas")
    parser.add_argument("--jobs", type=int, help="of the scan; its own default where it is not given")
    chosen = parser.parse_args()
    texts = pairs(chosen.data)
    size = np.mean([len(response.encode()) for _, response in texts])
    judge(pl.DataFrame({"prompt": [""], "response": ["warm"], "outcome": ["answered"]}))
    print(f"scan at scale, {m.machine()}; {len(texts):,} answers of {size:,.0f} bytes in the mean")
    with tempfile.TemporaryDirectory() as name:
        sizes = sorted(int(rows) for rows in chosen.rows.split(","))
        runs = [measure(Path(name), texts, rows, chosen.jobs) for rows in sizes]
    show(runs)
    print(f"\n{m.machine()}")


if __name__ == "__main__":
    main()
