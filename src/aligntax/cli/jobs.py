"""Judging batches in worker processes: in order, with bounded memory, and none left behind.

Workers are started only after so many rows that their start-up pays; until they are ready this process goes
on judging. Each is tied to this process by one pipe: when this process dies, however it dies, the worker
reads the end of its pipe and leaves.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from ..errors import AlignTaxError
from ..types import exchange_schema

if TYPE_CHECKING:
    import polars as pl

Judge = Callable[["pl.DataFrame"], "pl.DataFrame"]

_ALONE_ROWS = 20_000  # a log of this size is judged sooner than workers have started
_IN_FLIGHT = 2  # batches a worker holds: one being judged, one waiting, so that it never idles
_READY, _JUDGED, _FAILED = b"r", b"j", b"f"


def judged(batches: Iterable[pl.DataFrame], judge: Judge, jobs: int) -> Generator[pl.DataFrame]:
    """Each batch with the verdict columns added, in the order in which the batches came.

    `judge` is a module-level function that keeps the rows and their order; with `jobs` > 1 it runs in so many
    processes. Raises RuntimeError with the worker's traceback when it fails, AlignTaxError when a worker dies.
    """
    source = iter(batches)
    rows = 0
    for batch in source:
        yield judge(batch)
        rows += batch.height
        if jobs > 1 and rows >= _ALONE_ROWS:
            break
    else:
        return
    with _workers(judge, jobs) as workers:
        for batch in source:
            if all(worker.ready() for worker in workers):
                yield from _fan_out(batch, source, workers)
                return
            yield judge(batch)


def _fan_out(
    first: pl.DataFrame, rest: Iterator[pl.DataFrame], workers: list[_Worker]
) -> Iterator[pl.DataFrame]:
    """Deal batches to the workers in turn and take them back in turn, which keeps their order."""
    flying: deque[tuple[_Worker, pl.DataFrame]] = deque()
    batch: pl.DataFrame | None = first
    turn = 0
    while batch is not None or flying:
        while batch is not None and len(flying) < _IN_FLIGHT * len(workers):
            worker = workers[turn % len(workers)]
            worker.send(batch)
            flying.append((worker, batch))
            turn += 1
            batch = next(rest, None)
        worker, exchanges = flying.popleft()
        yield exchanges.hstack(worker.receive())


class _Worker:
    """One process that judges what it is sent, seen from this side of its pipe."""

    def __init__(self, judge: Judge) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, judge), daemon=True)
        self._process.start()
        theirs.close()
        self._ready = False

    def ready(self) -> bool:
        if not self._ready and self._pipe.poll():
            self._receive()
            self._ready = True
        return self._ready

    def send(self, batch: pl.DataFrame) -> None:
        with _alive():
            self._pipe.send_bytes(_to_bytes(batch))

    def receive(self) -> pl.DataFrame:
        import polars as pl

        return pl.read_ipc(io.BytesIO(self._receive()))

    def close(self) -> None:
        self._pipe.close()
        self._process.terminate()
        self._process.join()
        self._process.close()

    def _receive(self) -> bytes:
        with _alive():
            message = self._pipe.recv_bytes()
        if message[:1] == _FAILED:
            raise RuntimeError(f"a worker process failed\n{message[1:].decode()}")
        return message[1:]


@contextlib.contextmanager
def _alive() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError):
        raise AlignTaxError("a worker process died, perhaps for want of memory: try --jobs 1") from None


@contextlib.contextmanager
def _workers(judge: Judge, jobs: int) -> Iterator[list[_Worker]]:
    workers: list[_Worker] = []
    try:
        with _inherited_by_workers():
            workers.extend(_Worker(judge) for _ in range(jobs))
        yield workers
    finally:
        for worker in workers:
            worker.close()


@contextlib.contextmanager
def _inherited_by_workers() -> Iterator[None]:
    """What workers take over at their start: one Polars thread each, and deaf to Ctrl-C, which is ours to handle."""
    former = os.environ.get("POLARS_MAX_THREADS")
    os.environ["POLARS_MAX_THREADS"] = "1"
    deaf = {signal.SIGINT}
    if os.name != "nt":
        signal.pthread_sigmask(signal.SIG_BLOCK, deaf)
    try:
        yield
    finally:
        if os.name != "nt":
            signal.pthread_sigmask(signal.SIG_UNBLOCK, deaf)
        if former is None:
            del os.environ["POLARS_MAX_THREADS"]
        else:
            os.environ["POLARS_MAX_THREADS"] = former


def _serve(pipe: Connection, judge: Judge) -> None:
    """A worker's life: judge what comes through the pipe until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import polars as pl

    judge(pl.DataFrame(schema=exchange_schema()))  # loads the detector before the first batch comes
    # A thread of its own empties the pipe, so that neither side ever waits for the other to read.
    inbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(pipe, inbox), daemon=True).start()
    pipe.send_bytes(_READY)
    with contextlib.suppress(BrokenPipeError):
        while (message := inbox.get()) is not None:
            try:
                exchanges = pl.read_ipc(io.BytesIO(message))
                verdicts = judge(exchanges)
                answer = _JUDGED + _to_bytes(verdicts.drop(exchanges.columns))
            except Exception:  # noqa: BLE001  machinery failure: it is told to the other side, which stops
                answer = _FAILED + traceback.format_exc().encode()
            pipe.send_bytes(answer)


def _read(pipe: Connection, inbox: queue.SimpleQueue[bytes | None]) -> None:
    try:
        while True:
            inbox.put(pipe.recv_bytes())
    except (EOFError, OSError):
        inbox.put(None)


def _to_bytes(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc(buffer)
    return buffer.getvalue()
