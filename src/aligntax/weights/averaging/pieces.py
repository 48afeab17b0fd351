"""One piece of one tensor: read from every input, hashed, averaged, measured and written, all in bounded memory."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np

from ...errors import InputError
from .arithmetic import BLOCK, SHORT_BLOCK, Room, double, fits_single, single
from .dtypes import AVERAGED, SIZES, Floats, Raw, to_float64
from .operations import OPERATIONS, Settings, loaded
from .plan import Plan, Step

PIECE = 4 << 20
"""Bytes of a tensor that are read, hashed and written at a time. Part of how contents are hashed: see `content_sha256`."""


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of a piece. `hashes` are those of its bytes in each input; `moved` and `norm` are squares."""

    hashes: tuple[bytes, ...]
    moved: tuple[float, ...]
    norm: float
    identical: bool
    strange: int


class Pieces:
    """The open files of a plan. `work` may be called by several threads at once, on different pieces."""

    def __init__(self, plan: Plan, targets: Sequence[int]) -> None:
        """`targets`: descriptors of the output's files. Opens the inputs; `close` closes those."""
        self.plan, self._targets = plan, targets
        self._operation = loaded(OPERATIONS[plan.recipe.operation])
        self._on_the_line = plan.recipe.operation == "linear" and len(plan.inputs) == 2
        self._files: list[list[int]] = []
        self._room = threading.local()
        self._writing = threading.Lock()
        self._shift = [0] * len(targets)
        for checkpoint in plan.inputs:
            self._files.append([os.open(shard.path, os.O_RDONLY | _BINARY) for shard in checkpoint.shards])

    def close(self) -> None:
        """Close the inputs."""
        for files in self._files:
            for file in files:
                os.close(file)

    def shift(self, starts: Sequence[int]) -> None:
        """Where the data of each output file begins, which its longer header has moved."""
        shards = self.plan.inputs[1].shards
        self._shift = [start - shard.data for start, shard in zip(starts, shards, strict=True)]

    def settings(self, step: Step, measured: Mapping[str, float]) -> Settings:
        """What the operation is told of this tensor."""
        said = self.plan.recipe
        given = {"density": said.density, "drop": said.drop, "seed": said.seed}
        return Settings(
            ratio=step.ratio,
            weights=said.weights,
            measured=measured,
            **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
        )

    def stretches(self, step: Step) -> Iterator[list[Floats]]:
        """All of a tensor's values, in order, a stretch at a time: what a first look at it reads."""
        for at in range(count_pieces(step)):
            raws = self._read(step, at)
            for start, stop in _blocks(raws[0], step.target.dtype, BLOCK):
                yield [to_float64(raw[start:stop], step.target.dtype) for raw in raws]

    def work(self, step: Step, at: int, settings: Settings) -> Piece:
        """Make piece `at` of a tensor and write it. Raises InputError where the disk is full or an input changed."""
        raws = self._read(step, at)
        hashes = tuple(hashlib.sha256(raw.data).digest() for raw in raws)
        identical = all(_same(raws[0], raw) for raw in raws[1:])
        copied = 0 if identical and step.copied is None else step.copied
        result, moved, norm, strange = self._made(step, at, raws, copied, settings, measure=not identical)
        self._write(step, at, result)
        return Piece(hashes=hashes, moved=moved, norm=norm, identical=identical, strange=strange)

    def _made(
        self, step: Step, at: int, raws: list[Raw], copied: int | None, settings: Settings, *, measure: bool
    ) -> tuple[Raw, tuple[float, ...], float, int]:
        dtype = step.target.dtype
        moved, norm, strange = [0.0] * (len(raws) - 1), 0.0, 0
        if dtype not in AVERAGED:
            return raws[copied or 0], tuple(moved), norm, strange
        out = self._buffer(len(raws))[: len(raws[0])] if copied is None else raws[copied]
        short = (
            SIZES[dtype] == 2 if copied is not None else self._on_the_line and fits_single(dtype, step.ratio)
        )
        first = at * PIECE // SIZES[dtype]
        with np.errstate(all="ignore"):  # infinite values are counted and reported, not warned of
            for start, stop in _blocks(out, dtype, SHORT_BLOCK if short else BLOCK):
                parts = [raw[start:stop] for raw in (raws if measure else raws[:1])]
                into = out[start:stop]
                if short:
                    seen = single(parts, dtype, step.ratio if copied is None else None, into, self._rooms)
                elif copied is not None:
                    seen = double(parts, dtype, None, into)
                else:
                    place = msgspec.structs.replace(settings, offset=first + start // SIZES[dtype])
                    seen = double(parts, dtype, partial(self._operation, step.acts_as, settings=place), into)
                norm += seen.norm
                strange += seen.strange * (len(raws) // len(parts))
                if measure:
                    moved = [sum(both) for both in zip(moved, seen.moved, strict=True)]
        return out, tuple(moved), norm, strange

    @property
    def _rooms(self) -> Room:
        found: Room | None = getattr(self._room, "arithmetic", None)
        if found is None:
            found = self._room.arithmetic = Room(len(self._files))
        return found

    def _read(self, step: Step, at: int) -> list[Raw]:
        raws = []
        for which, (tensor, files) in enumerate(zip(step.sources, self._files, strict=True)):
            start = tensor.start + at * PIECE
            raw = self._buffer(which)[: min(PIECE, tensor.end - start)]
            if _read_at(files[tensor.shard], raw, start) != len(raw):
                path = self.plan.inputs[which].shards[tensor.shard].path
                raise InputError("became shorter while it was read", where=str(path), remedy="start again")
            raws.append(raw)
        return raws

    def _write(self, step: Step, at: int, result: Raw) -> None:
        tensor = step.target
        place = tensor.start + self._shift[tensor.shard] + at * PIECE
        rest = result.data
        with (
            self._writing
        ):  # the system lets one at a time write to a file, and those who wait there burn time
            while rest:
                written = _write_at(self._targets[tensor.shard], rest, place)
                rest, place = rest[written:], place + written

    def _buffer(self, which: int) -> Raw:
        rooms: list[Raw] = self._room.__dict__.setdefault("rooms", [])
        while len(rooms) <= which:
            rooms.append(np.empty(PIECE, np.uint8))
        return rooms[which]


def count_pieces(step: Step) -> int:
    """How many pieces a tensor has; none where it is empty."""
    return -(-step.target.nbytes // PIECE)


def size_of_piece(step: Step, at: int) -> int:
    """Bytes of piece `at` of a tensor."""
    return min(PIECE, step.target.nbytes - at * PIECE)


def _blocks(raw: Raw, dtype: str, count: int) -> Iterator[tuple[int, int]]:
    size = count * SIZES[dtype]
    return ((start, min(start + size, len(raw))) for start in range(0, len(raw), size))


def _same(first: Raw, second: Raw) -> bool:
    return bool(np.array_equal(first[:4096], second[:4096]) and np.array_equal(first, second))


_BINARY = getattr(os, "O_BINARY", 0)
_TURN = threading.Lock()


def _read_at(file: int, raw: Raw, start: int) -> int:
    """Fill `raw` from that place on; fewer bytes than asked for mean that the file ends."""
    rest: Any = raw.data
    while rest:
        if hasattr(os, "preadv"):
            got = os.preadv(file, [rest], start)
        else:  # where reading moves a position that threads share
            with _TURN:
                os.lseek(file, start, os.SEEK_SET)
                part = os.read(file, len(rest))
            rest[: len(part)] = part
            got = len(part)
        if not got:
            break
        rest, start = rest[got:], start + got
    return len(raw) - len(rest)


def _write_at(file: int, rest: memoryview, start: int) -> int:
    if hasattr(os, "pwrite"):
        return os.pwrite(file, rest, start)
    with _TURN:
        os.lseek(file, start, os.SEEK_SET)
        return os.write(file, rest)
