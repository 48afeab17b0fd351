"""Judging in worker processes: the same verdicts in the same order, and no process left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

import fake_detector
from aligntax.cli import jobs
from aligntax.cli.jobs import judged
from aligntax.errors import AlignTaxError
from aligntax.types import exchange_schema

DEADLINE_S = 60


def batch(number: int, rows: int = 10) -> pl.DataFrame:
    prompts = [
        {"id": f"{number}-{row}", "prompt": "p", "response": "r", "outcome": "answered"}
        for row in range(rows)
    ]
    return pl.DataFrame(prompts, schema=exchange_schema())


def in_worker() -> bool:
    return multiprocessing.parent_process() is not None


def marking(exchanges: pl.DataFrame) -> pl.DataFrame:
    """Says in `words` how many threads Polars has where the row was judged, and in `detector` which process."""
    verdicts = fake_detector.judge(exchanges)
    threads = pl.lit(pl.thread_pool_size()).cast(pl.UInt32)
    return verdicts.with_columns(detector=pl.lit(str(os.getpid())), words=threads)


def failing(exchanges: pl.DataFrame) -> pl.DataFrame:
    if in_worker() and exchanges.height:
        raise ZeroDivisionError("broken rule")
    return fake_detector.judge(exchanges)


def dying(exchanges: pl.DataFrame) -> pl.DataFrame:
    if in_worker() and exchanges.height:
        os._exit(9)
    return fake_detector.judge(exchanges)


@pytest.fixture(autouse=True)
def workers_start_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_ALONE_ROWS", 1)


def endless() -> Iterator[pl.DataFrame]:
    """Batches for as long as workers take to get ready."""
    end = time.monotonic() + DEADLINE_S
    number = 0
    while time.monotonic() < end:
        yield batch(number)
        number += 1
        time.sleep(0.005)


def until_both_workers_judged() -> pl.DataFrame:
    """What `judged` gave until verdicts came from two other processes; after that the source ends."""
    seen: set[str] = set()
    frames = []

    def stopping() -> Iterator[pl.DataFrame]:
        for part in endless():
            if len(seen) >= 3:
                return
            yield part

    for frame in judged(stopping(), marking, 2):
        seen |= set(frame["detector"])
        frames.append(frame)
    return pl.concat(frames)


def test_two_workers_give_the_order_of_the_log_and_one_polars_thread_each():
    verdicts = until_both_workers_judged()
    assert verdicts["detector"].n_unique() == 3  # this process while they started, then both
    expected = [f"{number}-{row}" for number in range(verdicts.height // 10) for row in range(10)]
    assert verdicts["id"].to_list() == expected
    theirs = verdicts.filter(pl.col("detector") != str(os.getpid()))
    assert set(theirs["words"]) == {1}
    assert multiprocessing.active_children() == []
    assert "POLARS_MAX_THREADS" not in os.environ


def test_a_small_log_or_a_single_job_starts_no_process(monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(jobs, "_workers", refuse)
    assert len(list(judged((batch(number) for number in range(9)), marking, 1))) == 9
    monkeypatch.setattr(jobs, "_ALONE_ROWS", 1000)
    assert len(list(judged((batch(number) for number in range(9)), marking, 8))) == 9


def test_a_judge_that_fails_in_a_worker_stops_the_scan_with_its_traceback():
    with pytest.raises(RuntimeError, match="broken rule"):
        list(judged(endless(), failing, 2))
    assert multiprocessing.active_children() == []


def test_a_worker_that_dies_stops_the_scan_with_a_remedy():
    with pytest.raises(AlignTaxError, match=r"a worker process died.*--jobs 1"):
        list(judged(endless(), dying, 2))
    assert multiprocessing.active_children() == []


def test_a_scan_that_stops_early_takes_its_workers_along():
    verdicts = judged(endless(), marking, 2)
    for frame in verdicts:
        if frame["detector"][0] != str(os.getpid()):
            break
    assert len(multiprocessing.active_children()) == 2
    verdicts.close()
    assert multiprocessing.active_children() == []


SCAN = """
import sys
sys.path[:0] = [sys.argv[1]]
import test_cli_jobs
from aligntax.cli import jobs
jobs._ALONE_ROWS = 1
if __name__ == "__main__":
    pids = set()
    for frame in jobs.judged(test_cli_jobs.endless(), test_cli_jobs.marking, 2):
        pids |= set(frame["detector"])
        if len(pids) == 3:
            print(*pids, flush=True)
            pids = {1, 2, 3, 4}
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_kill_9_of_the_scan_leaves_no_orphan(tmp_path):
    script = tmp_path / "scan.py"
    script.write_text(SCAN)
    with subprocess.Popen(
        [sys.executable, str(script), str(Path(__file__).parent)], stdout=subprocess.PIPE, text=True
    ) as scan:
        assert scan.stdout is not None
        pids = [int(pid) for pid in scan.stdout.readline().split()]
        assert len(pids) == 3
        scan.send_signal(signal.SIGKILL)
    end = time.monotonic() + 20
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < end, "a worker outlived its scan"
        time.sleep(0.02)
