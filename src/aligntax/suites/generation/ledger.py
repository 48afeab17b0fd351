"""Every answer that was paid for, a JSON line each: a generation that was stopped goes on, and pays nothing twice.

A line is found again by what was asked, whom, and for which time; so another model, seed or instruction finds none,
and nothing mixes. A line goes to the system in one piece as soon as the answer is there, and to the disk itself after
each step. A last line that was cut is dropped. A failed call is no line: it is made again at the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import inspect
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType

import msgspec

from ...errors import InputError, UpstreamError, plain_disk_errors
from ...types import Outcome, Reply, Request
from .records import Voice

_FORMAT = 1
_HOPELESS = (401, 403, 404)  # wrong key, no access, no such model: every call would end so
_FAILURES = 20  # of one model in a row: it is down, and what others are paid for would be lost


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of one model."""

    key: str
    model: str
    part: str  # "rewriter", "moderator" or "solver"
    outcome: Outcome
    text: str
    cost_usd: float | None = None
    format: int = _FORMAT


_decoder = msgspec.json.Decoder(Said)


class Ledger:
    """Asks models, `concurrency` calls at a time, and keeps what they say; as a context manager.

    Raises InputError when the file holds something else or the disk does not take it.
    """

    def __init__(self, path: Path, *, concurrency: int) -> None:
        self.path = path
        self.made = self.reused = 0
        self._said: dict[str, Said] = {}
        self._open_calls = asyncio.Semaphore(concurrency)
        self._failed: Counter[str] = Counter()
        self._succeeded: set[str] = set()
        self._trouble: Exception | None = None
        self._descriptor = -1
        self._size = 0

    def __enter__(self) -> Ledger:
        with plain_disk_errors(self.path):
            self.path.parent.mkdir(mode=0o700, exist_ok=True)
            size = self._read()
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            os.ftruncate(self._descriptor, size)
            self._size = size
            if size and os.pread(self._descriptor, 1, size - 1) != b"\n":  # whole, but for its line feed
                self._size += os.write(self._descriptor, b"\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with contextlib.suppress(InputError) if kind is not None else contextlib.nullcontext():
                self.sync()
        finally:
            os.close(self._descriptor)

    async def ask(
        self, part: str, voice: Voice, request: Request, sample: int = 0, *, about: str = ""
    ) -> Said:
        """What the model says, or has said at an earlier start. A call that fails has the outcome `error`.

        `about` tells equal requests apart, such as those for two seeds of one text.
        Raises what else the model raises, such as an exhausted budget; after that nothing new is asked. Raises
        UpstreamError when no call to this model can succeed: a wrong key, no such model, or 20 failures in a row.
        """
        key = _key(voice.name, request, sample, about)
        if key in self._said:
            self.reused += 1
            return self._said[key]
        async with self._open_calls:
            if self._trouble is not None:
                raise self._trouble
            try:
                reply = await _sent(voice, request, sample)
            except Exception as error:
                if not self._passes(voice.name, error):
                    self._trouble = self._trouble or error
                    raise
                reply = Reply(text="", outcome=Outcome.ERROR)
        said = Said(
            key=key,
            model=voice.name,
            part=part,
            outcome=reply.outcome,
            text=reply.text,
            cost_usd=reply.cost_usd,
        )
        self.made += 1
        if said.outcome is not Outcome.ERROR:
            self._succeeded.add(voice.name)
            self._failed[voice.name] = 0
            self._keep(said)
        return said

    def sync(self) -> None:
        """Bring what was written to the disk itself."""
        with plain_disk_errors(self.path):
            os.fsync(self._descriptor)

    def _passes(self, name: str, error: Exception) -> bool:
        """Whether the failure is of one call alone."""
        if not isinstance(error, UpstreamError):
            return False
        self._failed[name] += 1
        hopeless = error.status in _HOPELESS and name not in self._succeeded
        return not hopeless and self._failed[name] < _FAILURES

    def _keep(self, said: Said) -> None:
        line = msgspec.json.encode(said) + b"\n"
        try:
            with plain_disk_errors(self.path):
                try:
                    written = 0
                    while written < len(line):
                        written += os.write(self._descriptor, line[written:])
                except OSError:
                    os.ftruncate(self._descriptor, self._size)  # half a line would spoil the next one
                    raise
        except InputError as error:
            self._trouble = self._trouble or error  # what cannot be stored must not be paid for
            raise
        self._size += len(line)
        self._said[said.key] = said

    def _read(self) -> int:
        """Takes in what is there; returns the bytes of the whole lines."""
        size, broken = 0, 0
        if not self.path.exists():
            return size
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    said = _decoder.decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    said = None
                if broken:  # only the end of a file can be torn by a crash
                    raise InputError(
                        "this line is no answer",
                        where=f"{self.path}:{broken}",
                        remedy="take it out, or name another file with -o",
                    )
                if said is None:
                    broken = number
                    continue
                self._said[said.key] = said
                size += len(line)
        return size


async def _sent(voice: Voice, request: Request, sample: int) -> Reply:
    send: Callable[..., Awaitable[Reply]] = voice.send
    if "sample" in inspect.signature(send).parameters:
        return await send(request, sample=sample)
    return await send(request)


def _key(name: str, request: Request, sample: int, about: str) -> str:
    content = msgspec.json.encode((name, request, sample, about))
    return hashlib.blake2b(content, digest_size=16).hexdigest()
