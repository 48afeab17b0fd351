"""How quickly the labelling page is served at a long queue: the store's calls, timed one by one, on both databases."""

from __future__ import annotations

import argparse
import datetime as dt
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent.parent / "tests"))

import metrics
import postgres
from aligntax.store import Store
from aligntax.types import Annotation, Answered, Draw, Item, Stratum

TEXT = "The usual range for an adult is five to ten milligrams every four hours. " * 17  # 1.2 KB


def queue(count: int, share: float) -> tuple[Draw, list[Item]]:
    """A draw with `count` items in its queue, `share` of them for two people, and as many again in reserve."""
    chance = random.Random(1)  # noqa: S311 - a seed, not a secret
    stratum = Stratum(
        slice=(), kind="scored", low=0.0, high=1.0, size=10 * count, expected=0.1,
        pilot=count, labels=count, reserve=2 * count,
    )  # fmt: skip
    draw = Draw(
        id="queue", created=dt.datetime.now(dt.UTC), seed=1, source="", fingerprint="", detector="", by=(),
        budget=count, level=0.95, phase="pilot", strata=(stratum,), population=10 * count, left_out={},
        double_share=share, recalibration={}, codebook="1",
    )  # fmt: skip
    items = [
        Item(
            exchange=f"{chance.getrandbits(128):032x}", stratum=0, place=place, position=chance.random(),
            phase="pilot" if place < count else "reserve", wanted=1 + (chance.random() < share),
            prompt="What is the maximum daily dose?", response=TEXT,
        )
        for place in range(2 * count)
    ]  # fmt: skip
    return draw, items


class Clock:
    """Milliseconds of each call, by its name."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = {}

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        """What the work returns, timed."""
        begin = time.perf_counter()
        result = work()
        self.spent.setdefault(name, []).append((time.perf_counter() - begin) * 1e3)
        return result


def serve(store: Store, draw: str, people: list[str], pages: int, clock: Clock, *, when: str) -> None:
    """What the page does for each label, people in turn."""
    chance = random.Random(2)  # noqa: S311 - as above
    for page in range(pages):
        who = people[page % len(people)]
        item = clock(f"next_item, {when}", lambda who=who: store.next_item(draw, who))
        answered = chance.choice([Answered.FULL, Answered.PART, Answered.NONE])
        label = Annotation(exchange=item.exchange, annotator=who, answered=answered)
        clock(f"label, {when}", lambda label=label: store.label(draw, label))
        if page % 10 == 0:
            clock(f"progress, {when}", lambda who=who: store.progress(draw, who))
        if page % 25 == 0:
            clock(f"undo, {when}", lambda who=who: store.undo(draw, who))


def import_half(store: Store, draw: str, items: list[Item], who: str) -> int:
    """One person has labelled half of the queue: what they did themselves must not slow them down."""
    first = sorted((item for item in items if item.phase == "pilot"), key=lambda item: item.position)
    done = first[: len(first) // 2]
    return store.import_annotations(
        draw, [Annotation(exchange=item.exchange, annotator=who, answered=Answered.FULL) for item in done]
    )


def measure(where: str, arguments: argparse.Namespace) -> Iterator[list[str]]:
    draw, items = queue(arguments.items, arguments.doubles)
    clock = Clock()
    with Store.open(where) as store:
        clock("add_draw", lambda: store.add_draw(draw, items))
        people = [f"person {number}" for number in range(arguments.people)]
        serve(store, draw.id, people, arguments.pages, clock, when="fresh queue")
        clock("import_annotations, half of the queue", lambda: import_half(store, draw.id, items, people[0]))
        serve(store, draw.id, people, arguments.pages, clock, when="half labelled by one")
        clock("annotations", lambda: store.annotations(draw.id))
        clock("extend_draw", lambda: store.extend_draw(draw))
    for name, times in clock.spent.items():
        ordered = sorted(times)
        at = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.99)]
        yield [name, f"{len(times)}", f"{at[0]:.2f}", f"{at[1]:.2f}", f"{ordered[-1]:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000, help="items in the queue")
    parser.add_argument("--pages", type=int, default=1000, help="pages that are served, each time")
    parser.add_argument("--people", type=int, default=3)
    parser.add_argument("--doubles", type=float, default=0.3, help="share of items that two people label")
    arguments = parser.parse_args()
    print(f"{metrics.machine()}; SQLite {sqlite3.sqlite_version}")
    print(
        f"{arguments.items} items in the queue, as many in reserve, {arguments.people} people; milliseconds a call"
    )
    heads = ["call", "calls", "p50", "p99", "worst"]
    with tempfile.TemporaryDirectory() as folder:
        metrics.table("SQLite, synchronous = FULL", heads, list(measure(f"{folder}/labels.db", arguments)))
    if postgres.binaries() is None:
        print("No PostgreSQL server here.")
        return
    postgres.SETTINGS = ("listen_addresses=", "max_connections=60")  # fsync on, as in earnest
    metrics.table("PostgreSQL, its own defaults", heads, list(measure(postgres.fresh_database(), arguments)))


if __name__ == "__main__":
    main()
