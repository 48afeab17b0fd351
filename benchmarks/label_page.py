"""How fast the labelling page answers with 100 000 exchanges in its queue.

    python benchmarks/label_page.py [--items 100000] [--requests 300] [--people 2]

A real server on loopback in a process of its own, a SQLite file that syncs every label to the disk, clients that
keep their connection. Printed: p50 and p99 of GET (the next exchange as a page) and POST (a label kept, the
next exchange shown), in milliseconds; first one person alone, then several at once. Beside them, measured in the
same run: a static file from the same server, which is what the server itself costs, and one synced write of 4 KiB,
which is what the disk costs at least.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np

from aligntax.store import Store
from aligntax.types import Draw, Item, Stratum

SERVE = """
import sys
from aligntax import ui
from aligntax.store import Store
ui.serve(Store(sys.argv[1]), sys.argv[2], annotators=sys.argv[3:], announce=lambda line: print(line, flush=True))
"""
LABELS = {
    "answered": "part",
    "kinds": "soft_refusal",
    "disclaimer": "no",
    "hedging": "1",
    "should_answer": "yes",
}
NOW = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--people", type=int, default=2)
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "labels.db"
        draw = fill(path, settings.items)
        print(f"{settings.items:,} exchanges queued, {path.stat().st_size / 2**20:.0f} MiB of SQLite")
        measure(path, draw, settings.requests, settings.people)
        kept = len(Store(path).annotations(draw.id))
        print(f"{kept} labels kept, of {settings.requests * (1 + settings.people)} sent")


def fill(path: pathlib.Path, size: int) -> Draw:
    """A store with one draw of `size` exchanges of about 1.5 KB, in its pilot: the phase with most work."""
    stratum = Stratum(
        slice=(),
        kind="scored",
        low=0.0,
        high=1.0,
        size=size,
        expected=0.2,
        pilot=size,
        labels=size,
        reserve=size,
    )
    draw = Draw(
        id="bench", created=NOW, seed=1, source="", fingerprint="", detector="", by=(), budget=size, level=0.95,
        phase="pilot", strata=(stratum,), population=size, left_out={}, double_share=0.3, recalibration={},
        codebook="1",
    )  # fmt: skip
    dice = random.Random(1)  # noqa: S311 - a benchmark
    items = (
        Item(
            exchange=f"{dice.getrandbits(128):032x}",
            stratum=0,
            place=number,
            position=dice.random(),
            phase="pilot",
            wanted=1 if dice.random() > 0.3 else 2,
            prompt=f"Question {number}. " * 15,
            response=f"Answer {number}, which goes on for a while. " * 30,
        )
        for number in range(size)
    )
    with Store(path) as store:
        store.add_draw(draw, items)
    return draw


def measure(path: pathlib.Path, draw: Draw, requests: int, people: int) -> None:
    names = [f"person-{number}" for number in range(people + 1)]
    command = [sys.executable, "-c", SERVE, str(path), draw.id, *names]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 - ours
        assert server.stdout is not None
        links = [server.stdout.readline().split()[-1] for _ in names]
        try:
            alone = visit(links[0], requests)
            show("one person", alone)
            together: list[dict[str, list[float]]] = [{} for _ in links[1:]]
            threads = [
                threading.Thread(target=lambda at=at, link=link: together[at].update(visit(link, requests)))
                for at, link in enumerate(links[1:])
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            show(
                f"{people} people at once",
                {what: [ms for one in together for ms in one[what]] for what in alone},
            )
        finally:
            server.kill()
    show("the disk", {"synced write of 4 KiB": synced_writes(path.parent, requests)})


def visit(link: str, requests: int) -> dict[str, list[float]]:
    """Times in ms of somebody who labels `requests` exchanges, by what was asked."""
    times: dict[str, list[float]] = {"GET /": [], "POST /label": [], "static file": []}
    with httpx.Client(follow_redirects=True, trust_env=False, timeout=60) as client:
        page = client.get(link)
        base = str(page.url).rstrip("/")
        for _ in range(requests):
            page = timed(times["GET /"], lambda: client.get(f"{base}/"))
            form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text)) | LABELS
            answer = timed(
                times["POST /label"],
                lambda form=form: client.post(f"{base}/label", data=form, headers={"hx-request": "true"}),
            )
            assert 'data-said="Saved' in answer.text, answer.status_code
            timed(times["static file"], lambda: client.get(f"{base}/static/icon.svg"))
    return times


def synced_writes(folder: pathlib.Path, count: int) -> list[float]:
    times: list[float] = []
    with (folder / "probe").open("wb", buffering=0) as file:
        for _ in range(count):
            timed(times, lambda: (file.write(b"x" * 4096), os.fsync(file.fileno())))
    return times


def timed(times: list[float], work: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = work()
    times.append((time.perf_counter() - start) * 1000)
    return result


def show(who: str, times: dict[str, list[float]]) -> None:
    for what, all_of_them in times.items():
        p50, p99 = np.percentile(all_of_them, [50, 99])
        print(f"{who:<18} {what:<22} p50 {p50:6.1f} ms   p99 {p99:6.1f} ms   n {len(all_of_them)}")


if __name__ == "__main__":
    main()
