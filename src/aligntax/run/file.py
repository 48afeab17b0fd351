"""The file of a run: one JSON line for every finished call, an ordinary log.

A line goes to the system in one piece as soon as the answer is there: a killed process loses none. Once a second at
most, and at the end, the file is synced to the disk: a power cut loses the answers of the last second, which the next
start asks again. A last line that was cut is dropped when the file is opened. Beside the file lies a hidden folder
(`.answers.jsonl.run/`) with the lock and what the run's answers depend on.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from ..errors import InputError, plain_disk_errors
from ..types import Outcome, Reply
from ..verdict_file.lock import FileLock
from .plan import Call, Identity

_encoder = msgspec.json.Encoder()


class _Tags(msgspec.Struct):
    run: str | None = None


class _Line(msgspec.Struct):
    """What a later start must know of a line."""

    id: str
    outcome: str
    tags: _Tags


_decoder = msgspec.json.Decoder(_Line)


class RunFile:
    """The answers of one run on their way to a file, as a context manager.

    After entering, `finished` holds the keys of the calls that earlier starts have finished, and `outcomes` counts
    their outcomes. `retry_errors` takes the lines of failed calls out first, so that they are asked again.
    Raises InputError when another process writes the file, when it holds something else, and when it is of a run
    with another suite, model, system prompt or settings.
    """

    def __init__(self, path: str | Path, identity: Identity, *, retry_errors: bool = False) -> None:
        self.path = Path(path).resolve()  # a link is followed, so that its target is written and not the link
        self.identity, self._retry_errors = identity, retry_errors
        self.finished: set[str] = set()
        self.outcomes: Counter[str] = Counter()
        self._folder = self.path.with_name(f".{self.path.name}.run")
        self._lock = FileLock(self._folder / "lock", what=str(path))
        self._run = identity.run
        self._descriptor: int | None = None
        self._size = 0
        self._dirty = False

    def __enter__(self) -> RunFile:
        with plain_disk_errors(self.path):
            if not self.path.parent.is_dir():
                raise InputError(
                    "the folder does not exist", where=str(self.path.parent), remedy="create it first"
                )
            if self.path.exists() and not self.path.is_file():
                raise InputError("this is no file", where=str(self.path), remedy="name a file with -o")
            self._lock.acquire()
            try:
                self._open()
            except BaseException:
                self._close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.sync()
            else:
                with contextlib.suppress(InputError):  # what went wrong first is said
                    self.sync()
        finally:
            self._close()

    def peek(self) -> None:
        """Fill `finished` and `outcomes` without a lock, and without touching anything. Not to be entered as well."""
        with plain_disk_errors(self.path):
            self._take_stock(ours=self._checked_settings() is not None)

    def write(self, record: dict[str, Any]) -> None:
        """Store one finished call. Raises InputError when the disk does not take it; what is stored stays whole."""
        line = _encoder.encode(record) + b"\n"
        with plain_disk_errors(self.path):
            try:
                self._append(line)
            except OSError:
                self._cut(self._size)  # half a line would be no JSON to anyone who reads the file now
                raise
        self._size += len(line)
        self._dirty = True
        self.finished.add(record["id"])
        self.outcomes[record["outcome"]] += 1

    def sync(self) -> None:
        """Bring what was written to the disk itself."""
        if self._dirty and self._descriptor is not None:
            self._dirty = False
            with plain_disk_errors(self.path):
                os.fsync(self._descriptor)

    def _open(self) -> None:
        kept = self._checked_settings()
        size = self._take_stock(ours=kept is not None)
        if kept is None:
            _write_whole(self._folder / "settings.json", _encoder.encode(self.identity) + b"\n")
        if self._retry_errors and self.outcomes[Outcome.ERROR]:
            self._take_errors_out()
            size = self._take_stock(ours=True)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        found = os.fstat(self._descriptor).st_size
        if size < found:
            os.ftruncate(self._descriptor, size)
        elif size > found:  # the last line is whole, and lost nothing but its line feed
            self._append(b"\n")
        self._size = size

    def _take_stock(self, *, ours: bool) -> int:
        """Fill `finished` and `outcomes`; returns the bytes of the whole lines, line feeds counted."""
        self.finished, self.outcomes = set(), Counter()
        size, broken = 0, 0
        for number, piece in enumerate(self._pieces(), 1):
            line = _read(piece)
            if broken or (line is None and not ours and number == 1):
                raise _not_ours(self.path, broken or number)  # only the end of a file can be torn by a crash
            if line is None:
                broken = number
                continue
            if line.tags.run != self._run:
                raise _other_run(self.path, ["suite, model, system prompt or settings"])
            if line.id in self.finished:
                raise InputError(
                    "this call is in the file twice",
                    where=f"{self.path}:{number}",
                    remedy="delete one of the lines",
                )
            self.finished.add(line.id)
            self.outcomes[line.outcome] += 1
            size += len(piece) + 1
        return size

    def _pieces(self) -> Iterator[bytes]:
        if self.path.exists():
            with self.path.open("rb") as file:
                for piece in file:
                    yield piece.removesuffix(b"\n")

    def _take_errors_out(self) -> None:
        whole = ((piece, _read(piece)) for piece in self._pieces())
        kept = [piece for piece, line in whole if line is not None and line.outcome != Outcome.ERROR]
        _write_whole(self.path, b"".join(piece + b"\n" for piece in kept))

    def _checked_settings(self) -> Identity | None:
        """What an earlier start has left beside the file, if it is the same run; None where there is nothing."""
        path = self._folder / "settings.json"
        if not path.exists():
            return None
        try:
            kept = msgspec.json.decode(path.read_bytes(), type=Identity)
        except msgspec.MsgspecError:
            return None  # damaged, or of another version: the lines themselves carry the name of their run
        if kept != self.identity and self.path.exists() and self.path.stat().st_size:
            raise _other_run(self.path, kept.differences(self.identity))
        return kept if kept == self.identity else None

    def _append(self, line: bytes) -> None:
        descriptor = self._descriptor
        if descriptor is None:
            raise ValueError("the file of the run is not open")
        written = os.write(descriptor, line)
        while written < len(line):
            written += os.write(descriptor, line[written:])

    def _cut(self, size: int) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, size)

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._lock.release()


def record_of(
    call: Call, reply: Reply, *, model: str, suite: str, run: str, system: str | None
) -> dict[str, Any]:
    """The line of one finished call, in the names that `aligntax scan` knows."""
    prompt = call.prompt
    tags = {
        **(prompt.tags or {}),
        "prompt_id": prompt.id,
        "family": prompt.family,
        "side": prompt.side,
        "intent": prompt.intent.value,
        "repeat": call.repeat,
        "suite": suite,
        "run": run,
    }
    record = {
        "id": call.key,
        "time": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
        "use_case": prompt.domain,
        "model": model,
        "model_served": reply.model_served,
        "system": system,
        "prompt": prompt.text,
        "response": reply.text,
        "outcome": reply.outcome.value,
        "outcome_raw": reply.outcome_raw,
        "outcome_detail": reply.outcome_detail,
        "latency_ms": None if reply.latency_ms is None else round(reply.latency_ms, 1),
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "cost_usd": reply.cost_usd,
        "attempts": reply.attempts,
        "cached": reply.cached or None,
        "tags": {name: value for name, value in tags.items() if value is not None},
    }
    return {name: value for name, value in record.items() if value is not None}


def _read(piece: bytes) -> _Line | None:
    try:
        return _decoder.decode(piece)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _write_whole(path: Path, content: bytes) -> None:
    """The file is there whole or not at all, also after a power cut, and for its owner's eyes."""
    draft = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _not_ours(path: Path, number: int) -> InputError:
    return InputError(
        "this line is not of a run", where=f"{path}:{number}", remedy="name another file with -o"
    )


def _other_run(path: Path, differences: list[str]) -> InputError:
    return InputError(
        f"holds answers of a run with another {' and another '.join(differences)}",
        where=str(path),
        remedy="name another file with -o, or ask with the same settings to go on",
    )
