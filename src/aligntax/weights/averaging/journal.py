"""What of an average is finished, so that after a kill the same command goes on where it was."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

import msgspec

from ...errors import InputError

NAME = ".aligntax-average.jsonl"


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor that is written. `hashes`: of its bytes in each input. `moved`: ||theta_i - theta0||, `norm`: ||theta0||.

    `identical`: its bytes are the same in all inputs. `strange`: values that are infinite or no number, in all inputs
    together. `measured`: what the operation had measured of the whole tensor.
    """

    name: str
    hashes: tuple[str, ...]
    moved: tuple[float, ...] = ()
    norm: float = 0.0
    identical: bool = False
    strange: int = 0
    measured: dict[str, float] = {}


class _Opening(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: which plan this is of, what the inputs were like, and since which start of the machine."""

    identity: str
    stamps: tuple[tuple[int, int], ...]
    boot: str


class Journal:
    """A file of one JSON line a tensor, held by one process at a time.

    A line is written after the tensor's bytes were handed to the system: they outlive this process. They may not
    outlive the machine, so lines of an earlier start of the machine are not believed: such an average starts anew.
    """

    def __init__(self, folder: Path, identity: str, stamps: tuple[tuple[int, int], ...]) -> None:
        """Open or make the journal. Raises InputError where another process has it, or it is of another plan."""
        self.path = folder / NAME
        self.finished: dict[str, Done] = {}
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        self._file = os.fdopen(os.open(self.path, flags, 0o644), "r+b")
        try:
            _lock(self._file.fileno(), folder)
            self._read(_Opening(identity=identity, stamps=stamps, boot=_boot()), folder)
        except BaseException:
            self._file.close()
            raise

    def add(self, done: Done) -> None:
        """Note that this tensor is written."""
        self._write(done)
        self.finished[done.name] = done

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _write(self, line: Done | _Opening) -> None:
        self._file.write(msgspec.json.encode(line) + b"\n")
        self._file.flush()

    def _read(self, opening: _Opening, folder: Path) -> None:
        self._file.seek(0)
        whole = self._file.read()
        whole = whole[: whole.rfind(b"\n") + 1]  # a last line without its end was cut by the kill
        lines = whole.splitlines()
        try:
            former = msgspec.json.decode(lines[0], type=_Opening) if lines else None
            found = [msgspec.json.decode(line, type=Done) for line in lines[1:]]
        except msgspec.DecodeError:
            raise InputError("is not readable", where=str(self.path), remedy=f"remove {folder}") from None
        if former is not None and former.identity != opening.identity:
            raise InputError(
                "holds an unfinished average of other inputs or with another recipe",
                where=str(folder),
                remedy="finish that one, remove this folder, or name another output",
            )
        if former == opening:
            self.finished = {done.name: done for done in found}
            self._file.truncate(len(whole))
        else:
            self._file.truncate(0)
            self._write(opening)


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _lock(file: int, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: two processes are not kept apart there
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(
            "another process is writing this average", where=str(folder), remedy="wait for it"
        ) from None
