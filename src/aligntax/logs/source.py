"""An opened log file as a reader sees it, and the tally of what was met on the way."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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
        self.requests: dict[str, bytes] = {}  # batch requests that wait for their result, by custom_id
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
    path: Path | None = None  # the file itself, when it is one and is not compressed

    def problem(self, line: int | None, reason: str) -> None:
        """Count a row (or, with no line, the rest of the file) that cannot be read."""
        self.tally.problem(self.name, line, reason)

    def note(self, reason: str) -> None:
        """Keep something worth knowing that cost no row."""
        self.tally.note(self.name, reason)

    @contextmanager
    def on_disk(self) -> Iterator[Path]:
        """A path for formats that are read by seeking: the file, or a temporary copy of the stream."""
        if self.path is not None:
            yield self.path
            return
        with tempfile.NamedTemporaryFile(prefix="aligntax-") as copy:
            shutil.copyfileobj(self.stream, copy, 2**20)
            copy.flush()
            yield Path(copy.name)


Reader = Callable[[Source], "Iterator[pl.DataFrame]"]
"""A reader gives frames with any columns of `exchange_schema()` but `id` and `file`; `line` is 1-based."""
