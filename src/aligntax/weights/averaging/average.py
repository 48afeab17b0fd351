"""Average checkpoints as planned: streamed in the order of the files, resumable, and never over an input.

Ref: arXiv:2309.06256 for ratios by block of layers. Nothing here needs torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import msgspec

from ... import __version__
from ...errors import DISK_FULL, InputError
from .card import write_companions
from .check import check, to_check
from .checkpoint import inodes
from .journal import NAME as JOURNAL
from .journal import Done, Journal
from .operations import MEASURES, Settings, loaded
from .pieces import Piece, Pieces, count_pieces, size_of_piece
from .plan import Plan, Step, check_space
from .result import RESULT, Averaged, TensorResult, content_of, read_result

Progress = Callable[[int, int, str], None]
"""Told bytes of output done, bytes in all, and the tensor at hand."""


def average(plan: Plan, *, threads: int | None = None, progress: Progress | None = None) -> Averaged:
    """Write `plan.out`, a folder; what an earlier, stopped start has finished is kept.

    `threads`: how many pieces are worked on at once, 1 or more; two more than there are cores, at most 8, where it is
    None. Memory is a few buffers of 4 MiB for each of them, whatever the size of the checkpoints. The folder appears under its name when
    everything is in it; until then it is `plan.partial`. Raises InputError where `plan.out` is there and is not this
    very average, where the disk is full, and where an input changes meanwhile.
    """
    began = time.monotonic()
    former = former_result(plan)
    if former is not None:
        return former
    check_space(plan)
    _make_partial(plan)
    workers = threads or _workers()
    stamps = tuple((shard.size, shard.modified_ns) for one in plan.inputs for shard in one.shards)
    with Journal(plan.partial, plan.identity, stamps) as journal:
        resumed = sum(step.target.nbytes for step in plan.steps if step.name in journal.finished)
        with _full_disk(plan), _targets(plan) as (targets, starts):
            pieces = Pieces(plan, targets)
            pieces.shift(starts)
            try:
                _run(plan, pieces, journal, workers, progress)
            finally:
                pieces.close()
            _refuse_changed(plan)
            result = _result(plan, journal, time.monotonic() - began, resumed)
            for target, header in zip(
                targets, headers_of(plan, result.recipe_sha256, result.contents), strict=True
            ):
                os.pwrite(target, header, 0)
                os.fsync(target)
        with _full_disk(plan):
            write_companions(plan, result, plan.partial)
            check(plan, result)
        _publish(plan)
    return result


def _workers() -> int:
    """Two more than there are cores, for those that wait for the disk."""
    return min((len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2) + 2, 8)


def _run(plan: Plan, pieces: Pieces, journal: Journal, workers: int, progress: Progress | None) -> None:
    """Hand out pieces in the order of the files, a bounded number at once, and note each tensor that is complete."""
    total, done = plan.nbytes, sum(s.target.nbytes for s in plan.steps if s.name in journal.finished)
    waiting: deque[_Begun] = deque()
    in_flight: deque[tuple[Future[Piece], int]] = deque()

    def settle(limit: int) -> None:
        nonlocal done
        while len(in_flight) > limit:
            future, nbytes = in_flight.popleft()
            future.result()
            done += nbytes
        while waiting and waiting[0].finished():
            _note(journal, waiting.popleft())

    with ThreadPoolExecutor(workers, thread_name_prefix="average") as pool:
        try:
            for step in plan.steps:
                if step.name in journal.finished:
                    continue
                settings = _settings(pieces, step)
                waiting.append(_Begun(step, settings, []))
                for at in range(count_pieces(step)):
                    future = pool.submit(pieces.work, step, at, settings)
                    waiting[-1].futures.append(future)
                    in_flight.append((future, size_of_piece(step, at)))
                    settle(2 * workers)
                    if progress:
                        progress(done, total, step.name)
            settle(0)
        except BaseException:  # also Ctrl-C: what is begun is finished, what waits is not begun
            pool.shutdown(cancel_futures=True)
            raise


class _Begun(NamedTuple):
    step: Step
    settings: Settings
    futures: list[Future[Piece]]

    def finished(self) -> bool:
        """Whether every piece was handed out and is written."""
        return len(self.futures) == count_pieces(self.step) and all(future.done() for future in self.futures)


def _settings(pieces: Pieces, step: Step) -> Settings:
    settings = pieces.settings(step, {})
    look = MEASURES.get(pieces.plan.recipe.operation)
    if not look or step.copied is not None:
        return settings
    return pieces.settings(step, loaded(look)(lambda: pieces.stretches(step), settings))


def _note(journal: Journal, begun: _Begun) -> None:
    seen = [future.result() for future in begun.futures]
    n_inputs = len(begun.step.sources)
    journal.add(
        Done(
            name=begun.step.name,
            hashes=tuple(
                hashlib.sha256(b"".join(piece.hashes[at] for piece in seen)).hexdigest()
                for at in range(n_inputs)
            ),
            moved=tuple(_root(math.fsum(piece.moved[at] for piece in seen)) for at in range(n_inputs - 1)),
            norm=_root(math.fsum(piece.norm for piece in seen)),
            identical=all(piece.identical for piece in seen),
            strange=sum(piece.strange for piece in seen),
            measured=dict(begun.settings.measured),
        )
    )


def _root(square: float) -> float:
    return (
        math.sqrt(square) if math.isfinite(square) else 0.0
    )  # JSON knows no infinity; `strange` tells of it


def former_result(plan: Plan) -> Averaged | None:
    """What stands under that name already, if it is this very average; None where there is nothing.

    Raises InputError where something else stands there.
    """
    if not plan.out.exists() and not plan.out.is_symlink():
        return None
    if plan.out.is_dir() and not plan.out.is_symlink() and not any(plan.out.iterdir()):
        return None
    try:
        former = read_result(plan.out / RESULT)
    except (OSError, ValueError):
        former = None
    if former is None or former.identity != plan.identity:
        raise InputError(
            "is there already", where=str(plan.out), remedy="name another folder; nothing is written over"
        )
    (plan.out / JOURNAL).unlink(missing_ok=True)
    return msgspec.structs.replace(former, was_there=True)


def _make_partial(plan: Plan) -> None:
    partial = plan.partial
    if partial.is_symlink() or (partial.exists() and not partial.is_dir()):
        raise InputError("is in the way", where=str(partial), remedy="remove it")
    partial.mkdir(exist_ok=True)
    if not (partial / JOURNAL).exists() and any(partial.iterdir()):
        raise InputError(
            "holds files that aligntax did not write", where=str(partial), remedy="move them away"
        )


@contextlib.contextmanager
def _targets(plan: Plan) -> Iterator[tuple[list[int], list[int]]]:
    """The output's files, open and as long as they will be; and where in each the data begins.

    The first bytes stay zero until the end: no program takes an unfinished file for a sound one.
    """
    never = inodes(plan.inputs)
    targets, starts = [], []
    placeholder = "0" * 64
    headers = headers_of(plan, placeholder, [placeholder] * len(plan.inputs))
    try:
        for header, shard in zip(headers, plan.inputs[1].shards, strict=True):
            path = plan.partial / shard.path.name
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
            targets.append(os.open(path, flags, 0o644))
            status = os.fstat(targets[-1])
            if (status.st_dev, status.st_ino) in never or status.st_nlink > 1:
                raise InputError(
                    "is a link to another file", where=str(path), remedy=f"remove {plan.partial}"
                )
            _allocate(targets[-1], len(header) + shard.size - shard.data)
            starts.append(len(header))
        yield targets, starts
    finally:
        for target in targets:
            os.close(target)


def _allocate(file: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, 0, size)
        except OSError as error:
            if error.errno in DISK_FULL:
                raise
    os.ftruncate(file, size)


def headers_of(plan: Plan, recipe: str, contents: Sequence[str]) -> list[bytes]:
    """The header of each output file: the aligned model's, with hashes of what it is made of. Same hashes, same length."""
    said = {
        "aligntax.average": "1",
        "aligntax.version": __version__,
        "aligntax.operation": plan.recipe.operation,
    }
    said |= {"aligntax.recipe_sha256": recipe}
    said |= {f"aligntax.theta{at}_content_sha256": content for at, content in enumerate(contents)}
    headers = []
    for at, shard in enumerate(plan.inputs[1].shards):
        kept = {name: value for name, value in shard.metadata.items() if not name.startswith("aligntax.")}
        described: dict[str, object] = {"__metadata__": kept | said}
        for tensor in plan.inputs[1].tensors.values():
            if tensor.shard == at:
                offsets = [tensor.start - shard.data, tensor.end - shard.data]
                described[tensor.name] = {
                    "dtype": tensor.dtype,
                    "shape": list(tensor.shape),
                    "data_offsets": offsets,
                }
        body = json.dumps(described, separators=(",", ":")).encode("ascii")
        body += b" " * (-len(body) % 8)
        headers.append(len(body).to_bytes(8, "little") + body)
    return headers


def _result(plan: Plan, journal: Journal, seconds: float, resumed: int) -> Averaged:
    tensors = tuple(
        TensorResult(
            name=step.name,
            role=step.role,
            layer=step.layer,
            ratio=step.ratio,
            action=step.action,
            why=step.why,
            done=journal.finished[step.name],
        )
        for step in plan.steps
    )
    contents = tuple(
        content_of((step.name, step.target.dtype, step.target.shape, journal.finished[step.name].hashes[at]) for step in plan.steps)
        for at in range(len(plan.inputs))
    )  # fmt: skip
    return Averaged(
        identity=plan.identity,
        recipe=plan.recipe.without_folders(),
        recipe_sha256=plan.recipe.sha256(),
        contents=contents,
        fingerprints=plan.fingerprints,
        tensors=tensors,
        nbytes=plan.nbytes,
        resumed_bytes=resumed,
        seconds=seconds,
        checked=len(to_check(plan)),
    )


def _refuse_changed(plan: Plan) -> None:
    for checkpoint in plan.inputs:
        changed = checkpoint.changed()
        if changed is not None:
            raise InputError(
                "changed while it was read",
                where=str(changed),
                remedy=f"remove {plan.partial} and start again",
            )


def _publish(plan: Plan) -> None:
    """Give the folder its name, in one step, after its files are on the disk."""
    try:
        plan.partial.rename(plan.out)
    except OSError as error:
        raise InputError(
            f"cannot be given its name: {error.strerror}",
            where=str(plan.partial),
            remedy=f"see what is at {plan.out}",
        ) from error
    (plan.out / JOURNAL).unlink()
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(plan.out.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def _full_disk(plan: Plan) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise InputError(
            "the disk is full; what is written is kept",
            where=str(plan.partial),
            remedy="make room and give the same command again",
        ) from error
