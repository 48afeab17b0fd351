"""An opened log file as a reader sees it, and the tally of what was met on the way."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from ..errors import InputError
from ..types import Problem

if TYPE_CHECKING:
    import polars as pl

MAX_ROW_BYTES = 64 * 2**20
"""A longer line, array element or zip member is skipped as a problem, without holding it in memory."""

MAX_PROBLEMS = 1000
"""So many problems are kept with their place; all are counted."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller asked for; see `aligntax.logs.read`."""

    columns: Mapping[str, str] = msgspec.field(default_factory=dict)
    use_case: str | None = None
    strict: bool = False
    batch_rows: int = 4096


class BadRow(Exception):
    """A row that cannot be read; the message is the reason, without content of the row."""


class Tally:
    """Counts shared by all files of one log."""

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self.problems: list[Problem] = []
        self.notes: list[Problem] = []
        self.skipped = 0
        self.not_calls = 0
        # batch requests that wait for their result, by whether they are Anthropic's and by custom_id
        self.requests: dict[tuple[bool, str], bytes] = {}
        self.bytes_read = 0

    def problem(self, file: str, line: int | None, reason: str) -> None:
        """Count a row (or, with no line, a file) that cannot be read; raises InputError when strict."""
        if self.strict:
            where = file if line is None else f"{file}:{line}"
            raise InputError(
                reason, where=where, remedy="mend it, or read without strict to skip and count it"
            )
        self.skipped += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(file=file, line=line, reason=reason))

    def note(self, file: str, reason: str) -> None:
        """Keep something worth knowing that cost no row; said once a file."""
        said = Problem(file=file, line=None, reason=reason)
        if said not in self.notes and len(self.notes) < MAX_PROBLEMS:
            self.notes.append(said)


@dataclass(kw_only=True)
class Source:
    """One opened file: `stream` gives its bytes, decompressed, text as UTF-8 without a byte order mark."""

    name: str
    stream: BinaryIO
    container: str  # how records are held: jsonl, json, csv, parquet or zip
    format: str  # a name in READERS
    settings: Settings
    tally: Tally
    bytes_before: int = 0  # what the tally's bytes_read was when this file's turn came
    path: Path | None = None  # the file itself, when it is one and is not compressed
    _copy: tempfile._TemporaryFileWrapper[bytes] | None = None

    def problem(self, line: int | None, reason: str) -> None:
        """Count a row (or, with no line, the rest of the file) that cannot be read."""
        self.tally.problem(self.name, line, reason)

    def note(self, reason: str) -> None:
        """Keep something worth knowing that cost no row."""
        self.tally.note(self.name, reason)

    def on_disk(self) -> Path:
        """A path for formats that are read by seeking: the file, or a copy of the stream, removed by `close`."""
        if self.path is None:
            if self._copy is None:
                self._copy = tempfile.NamedTemporaryFile(prefix="aligntax-")  # noqa: SIM115 - closed by close()
                shutil.copyfileobj(self.stream, self._copy, 2**20)
                self._copy.flush()
            return Path(self._copy.name)
        return self.path

    def read_so_far(self, share: float) -> None:
        """Say which share of the file a reader that seeks in it has come through."""
        if self.path is not None:
            self.tally.bytes_read = self.bytes_before + int(self.path.stat().st_size * share)

    def close(self) -> None:
        """Remove the copy, if there is one."""
        if self._copy is not None:
            self._copy.close()


Reader = Callable[[Source], "Iterator[pl.DataFrame]"]
"""A reader gives frames, of any length, with any columns of `exchange_schema()` but `file`; `line` is 1-based.

It brings an `id` only where the log has ids that aligntax gave.
"""
