"""Several processes at one store: none takes another's item, none loses a label, none that dies breaks anything."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from aligntax.errors import InputError
from aligntax.store import Store
from stores import draw, items, says, stratum

DRAW = draw(strata=(stratum(size=500, pilot=200, labels=200, reserve=200),))

# Labels until nothing is left, and says each label only when the store has acknowledged it.
LABELLER = """
import sys
from aligntax.store import Store
from aligntax.types import Annotation, Answered
where, draw, who = sys.argv[1:]
with Store.open(where) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    while item := store.next_item(draw, who):
        store.label(draw, Annotation(exchange=item.exchange, annotator=who, answered=Answered.FULL))
        print(item.exchange, flush=True)
"""
OPENER = """
import sys
from aligntax.store import Store
print("ready", flush=True)
sys.stdin.readline()
with Store.open(sys.argv[1]) as store:
    print(store.record_run("scan", {}, {}), flush=True)
"""
# Adds draws whose items are large, until it is killed.
WRITER = """
import sys
import msgspec
from aligntax.store import Store
from stores import draw, items
where, = sys.argv[1:]
with Store.open(where) as store:
    print("ready", flush=True)
    for number in range(1000):
        texts = [msgspec.structs.replace(item, response="x" * 20_000) for item in items(pilot=100)]
        store.add_draw(draw(id=f"draw-{number}"), texts)
        print(number, flush=True)
"""


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    """A process that runs the script and has come as far as its first line."""
    running = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent,
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    return running


def finish(running: list[subprocess.Popen[str]]) -> list[list[str]]:
    """Let them go at once; the lines that each has printed."""
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0].split() for process in running]
    assert [process.returncode for process in running] == [0] * len(running)
    return said


def test_two_processes_label_every_item_exactly_as_often_as_wanted(where: str) -> None:
    plan = [
        msgspec.structs.replace(item, wanted=2 if item.place % 4 == 0 else 1)
        for item in items(pilot=200, reserve=0, strata=1)
    ]
    with Store.open(where) as store:
        store.add_draw(DRAW, plan)
        ada, ben = finish([start(LABELLER, where, DRAW.id, who) for who in ("ada", "ben")])
        given = Counter(label.exchange for label in store.annotations(DRAW.id))
        assert given == {item.exchange: item.wanted for item in plan}
        assert Counter([*ada, *ben]) == given
        assert len(set(ada)) == len(ada)
        assert min(len(ada), len(ben)) >= 50  # both were at it, and each gave at least the doubles
        assert len(store.history(DRAW.id)) == 250
        assert store.progress(DRAW.id).to_label == store.progress(DRAW.id).double_left == 0


def test_processes_that_start_at_once_make_the_tables_once(where: str) -> None:
    numbers = finish([start(OPENER, where) for _ in range(4)])
    assert sorted(number for (number,) in numbers) == ["1", "2", "3", "4"]


def test_a_process_killed_while_it_labels_loses_nothing_that_was_acknowledged(where: str) -> None:
    with Store.open(where) as store:
        store.add_draw(DRAW, items(pilot=200, reserve=0, strata=1))
    running = start(LABELLER, where, DRAW.id, "ada")
    assert running.stdin is not None
    assert running.stdout is not None
    running.stdin.write("go\n")
    running.stdin.flush()
    acknowledged = [running.stdout.readline().strip() for _ in range(25)]
    running.send_signal(signal.SIGKILL)
    acknowledged += running.stdout.read().split()
    running.wait()
    running.stdin.close()
    running.stdout.close()
    check_sound(where)
    with Store.open(where) as store:
        there = [label.exchange for label in store.annotations(DRAW.id)]
        assert there[: len(acknowledged)] == acknowledged
        assert len(there) <= len(acknowledged) + 1  # one may have been committed and not yet said
        assert [change.exchange for change in store.history(DRAW.id)] == there
        following = store.next_item(DRAW.id, "ada")  # the dead process's lease is in nobody's way
        assert following is not None
        assert following.exchange not in there


def test_a_process_killed_in_the_middle_of_a_large_write_leaves_all_of_it_or_nothing(where: str) -> None:
    running = start(WRITER, where)
    assert running.stdout is not None
    assert running.stdin is not None
    acknowledged = int(running.stdout.readline())
    threading.Event().wait(0.05)  # into the next one
    running.send_signal(signal.SIGKILL)
    acknowledged = max([acknowledged, *map(int, running.stdout.read().split())])
    running.wait()
    running.stdin.close()
    running.stdout.close()
    check_sound(where)
    with Store.open(where) as store:
        names = {kept.id for kept in store.draws()}
        assert {f"draw-{number}" for number in range(acknowledged + 1)} <= names
        assert {len(store.exchange_ids(name)[0]) for name in names} == {214}


def check_sound(where: str) -> None:
    if "://" not in where:
        connection = sqlite3.connect(where)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        connection.close()


def test_many_threads_share_one_store(store: Store) -> None:
    store.add_draw(DRAW, items(pilot=40, reserve=0, strata=1))
    failures: list[BaseException] = []

    def work(who: str) -> None:
        try:
            while item := store.next_item(DRAW.id, who):
                store.label(DRAW.id, says(item.exchange, who))
                store.progress(DRAW.id, who)
        except BaseException as failure:  # noqa: BLE001 - shown by the assertion below
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(f"person {number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert Counter(label.exchange for label in store.annotations(DRAW.id)) == {
        f"s0p{n}": 1 for n in range(40)
    }


def test_only_one_of_many_begins_the_second_phase(store: Store) -> None:
    store.add_draw(DRAW, items(pilot=3, reserve=20, strata=1))
    whole = draw(phase="whole", strata=(stratum(labels=9),))
    first: list[bool] = []
    threads = [threading.Thread(target=lambda: first.append(store.extend_draw(whole))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(first) == [False] * 5 + [True]
    assert len(list(store.items(DRAW.id))) == 9


@pytest.mark.parametrize("people", [2, 5])
def test_labels_of_one_item_at_the_same_moment_are_all_counted(store: Store, people: int) -> None:
    store.add_draw(DRAW, items(pilot=1, reserve=0, strata=1))
    names = [f"person {number}" for number in range(people)]
    threads = [threading.Thread(target=store.label, args=(DRAW.id, says("s0p0", who))) for who in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(label.annotator for label in store.annotations(DRAW.id)) == names
    assert store.progress(DRAW.id).to_label == 0
    assert store.next_item(DRAW.id, "late") is None
    with pytest.raises(InputError):
        store.item(DRAW.id, "s0p1")
