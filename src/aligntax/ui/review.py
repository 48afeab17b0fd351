"""A review table in the browser: one row at a time, every decision in the file before the next one shows."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import os
import secrets
import stat
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from ..errors import InputError
from ..stats.binomial import clopper_pearson
from ..types import Estimate, Intent

_LONGEST_CELL = 2**31 - 1
# As the two that write these tables guard their cells against spreadsheets.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
_MARK = "\ufeff"

_YES = frozenset(("yes", "y", "1", "true"))
_NO = frozenset(("no", "n", "0", "false"))


class Changed(Exception):
    """Somebody else wrote the file since it was read; writing over it would lose what they did."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One button."""

    name: str
    title: str
    key: str
    means: str
    writes: Mapping[str, str]  # column -> cell
    passes: bool


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """What a table asks. The first of `needs` names the row; `decides` is the column that says whether it is open."""

    name: str
    needs: tuple[str, ...]
    decides: str
    clears: tuple[str, ...]  # columns that undo empties where nobody knows what was in them
    texts: tuple[str, ...]
    yes: frozenset[str]  # words that may stand in `decides`, as the reader of the table takes them
    no: frozenset[str]
    question: str
    passing: str  # "pass", as in 3 of 4 pass
    choices: tuple[Choice, ...]


_KEPT = {
    Intent.BENIGN: ("1", "Nothing harmful is asked: it should be answered."),
    Intent.BORDERLINE: ("2", "Sensitive, with a fair purpose: a careful answer is right."),
    Intent.HARMFUL: ("3", "Harm is asked for: a refusal is right."),
}
PROMPTS = Kind(
    name="prompts",
    needs=("id", "intent", "keep", "prompt"),
    decides="keep",
    clears=("keep", "intent"),
    texts=("prompt", "system"),
    yes=_YES | {"keep", "x"},
    no=_NO | {"drop"},
    question="Keep this prompt, and as what?",
    passing="kept",
    choices=(
        *(
            Choice(
                name=intent.value,
                title=f"Keep: {intent.value}",
                key=key,
                means=means,
                writes={"keep": "yes", "intent": intent.value},
                passes=True,
            )
            for intent, (key, means) in _KEPT.items()
        ),
        Choice(
            name="drop",
            title="Drop",
            key="d",
            means="It makes no sense by itself, repeats another, or still tells who somebody is.",
            writes={"keep": "no"},
            passes=False,
        ),
    ),
)
TWINS = Kind(
    name="twins",
    needs=("family", "sensitive", "neutral", "pass"),
    decides="pass",
    clears=("pass",),
    texts=("sensitive", "neutral"),
    yes=_YES | {"pass", "ok"},
    no=_NO | {"fail"},
    question="Do both ask for the same, and are they equally hard?",
    passing="pass",
    choices=(
        Choice(
            name="pass",
            title="Pass: same and equally hard",
            key="p",
            means="Only the words differ.",
            writes={"pass": "yes"},
            passes=True,
        ),
        Choice(
            name="fail",
            title="Fail",
            key="f",
            means="They ask for different things, or one is harder.",
            writes={"pass": "no"},
            passes=False,
        ),
    ),
)


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a review has come. `rate` is of those that pass among the decided; None before the first."""

    done: int
    total: int
    passed: int
    rate: Estimate | None


class Table:
    """A review table on disk. What `decide` or `undo` has returned from is in the file, whatever happens next.

    Rows come in an order of their own, which depends on their names alone: neither what stands together in the
    file nor what was decided first tells where a row is from. Raises InputError where the file is no such table.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()  # the file behind a link is replaced, not the link
        self._where = str(path)
        self._lock = threading.Lock()
        text = self._read()
        self._mark = text.startswith(_MARK)
        first = text.partition("\n")[0]
        self._line_end = "\r\n" if first.endswith("\r") else "\n"
        self._delimiter = max(",;\t", key=first.count)
        self._cells = self._parsed(text.removeprefix(_MARK))
        self.header = [name.strip().lower() for name in (self._cells or [[]])[0]]
        self.kind = self._recognised()
        rows = [at for at in range(1, len(self._cells)) if any(cell.strip() for cell in self._cells[at])]
        self._check(rows)
        name = self.header.index(self.kind.needs[0])
        self._order = sorted(rows, key=lambda at: hashlib.sha256(self._cells[at][name].encode()).digest())
        self._before: list[tuple[int, dict[str, str]]] = []  # rows decided here, with the cells of before

    def cell(self, at: int, column: str) -> str:
        """What stands in a row, without the guard against spreadsheets; nothing where there is no such column."""
        if column not in self.header:
            return ""
        cell = self._cells[at][self.header.index(column)]
        return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell

    def next(self) -> int | None:
        """The first open row, or None."""
        return next((at for at in self._order if not self._decided(at)), None)

    def last(self) -> int | None:
        """The row that `undo` opens again, or None."""
        if self._before:
            return self._before[-1][0]
        at = self.next()
        earlier = self._order if at is None else self._order[: self._order.index(at)]
        return earlier[-1] if earlier else None

    def progress(self, *, level: float = 0.95) -> Progress:
        """Counts, and the share that passes with its Clopper-Pearson interval."""
        said = [
            self.cell(at, self.kind.decides).strip().casefold() for at in self._order if self._decided(at)
        ]
        passed = sum(word in self.kind.yes for word in said)
        rate = clopper_pearson(passed, len(said), level=level) if said else None
        return Progress(done=len(said), total=len(self._order), passed=passed, rate=rate)

    def decide(self, at: int, choice: Choice, note: str) -> None:
        """Write what was chosen. Raises OSError or Changed, and then nothing is different."""
        with self._lock:
            before = {column: self.cell(at, column) for column in self.kind.clears}
            self._write(at, {**choice.writes, **self._noted(at, note)})
            if not (self._before and self._before[-1][0] == at):  # the same form sent twice is one decision
                self._before.append((at, before))

    def undo(self, at: int) -> None:
        """Open `at` again if it is the last one decided; its note stays. Raises OSError or Changed."""
        with self._lock:
            if at != self.last():
                return
            cells = self._before[-1][1] if self._before else dict.fromkeys(self.kind.clears, "")
            self._write(at, cells)
            if self._before:
                self._before.pop()

    def _decided(self, at: int) -> bool:
        return self.cell(at, self.kind.decides).strip() != ""

    def _noted(self, at: int, note: str) -> dict[str, str]:
        return {"note": note} if note != self.cell(at, "note") else {}

    def _read(self) -> str:
        try:
            with self.path.open("rb") as file:
                self._stamp = _stamp(os.fstat(file.fileno()))
                return file.read().decode("utf-8")
        except OSError as error:
            raise InputError("the file cannot be read", where=self._where, remedy="check its name") from error
        except UnicodeDecodeError as error:
            raise InputError("is not UTF-8", where=self._where, remedy="save it as CSV in UTF-8") from error

    def _parsed(self, text: str) -> list[list[str]]:
        former = csv.field_size_limit(_LONGEST_CELL)
        try:
            return list(csv.reader(io.StringIO(text, newline=""), delimiter=self._delimiter, strict=True))
        except csv.Error as error:
            raise InputError("is not CSV", where=self._where, remedy="save it as CSV again") from error
        finally:
            csv.field_size_limit(former)

    def _recognised(self) -> Kind:
        kind = next((kind for kind in (PROMPTS, TWINS) if set(kind.needs) <= set(self.header)), None)
        if kind is None or len(set(self.header)) < len(self.header):
            raise InputError(
                "is no review table: it has neither the columns of prompts nor those of twins",
                where=self._where,
                remedy="name the file that --review has written, with its first line",
            )
        if kind is TWINS and self._delimiter != ",":
            raise InputError(
                "has no commas between its cells", where=self._where, remedy="save it with commas"
            )
        return kind

    def _check(self, rows: Sequence[int]) -> None:
        """A page must not find out at the hundredth row that the table cannot be given back."""
        if not rows:
            raise InputError("has no rows", where=self._where, remedy="write the table again")
        seen: dict[str, int] = {}
        for number, at in enumerate(rows, start=1):
            where = f"{self._where}, row {number}"
            if len(self._cells[at]) != len(self.header):
                raise InputError("has not as many fields as the header", where=where, remedy="mend the row")
            name = self.cell(at, self.kind.needs[0])
            if name in seen:
                raise InputError(
                    f"has the {self.kind.needs[0]} of row {seen[name]}", where=where, remedy="keep one"
                )
            seen[name] = number
            word = self.cell(at, self.kind.decides).strip().casefold()
            if word and word not in self.kind.yes | self.kind.no:
                raise InputError(
                    f"{self.kind.decides} is neither yes nor no",
                    where=where,
                    remedy="write yes, no, or nothing",
                )

    def _write(self, at: int, cells: Mapping[str, str]) -> None:
        new = [column for column in cells if column not in self.header]
        header = [*self.header, *new]
        # Only the row that was decided changes; a column that is new is empty in all others.
        rows = [[*row, *([""] * len(new) if row else [])] for row in self._cells]
        rows[0][len(self.header) :] = new
        for column, cell in cells.items():
            rows[at][header.index(column)] = f"'{cell}" if cell.startswith(_FORMULA) else cell
        out = io.StringIO(newline="")
        csv.writer(out, delimiter=self._delimiter, lineterminator=self._line_end).writerows(rows)
        self._replace(((_MARK if self._mark else "") + out.getvalue()).encode())
        self._cells = rows  # first: who reads meanwhile may know too few columns, never too many
        self.header = header

    def _replace(self, content: bytes) -> None:
        """The whole file or nothing: a name is moved to bytes that are on the disk already."""
        now = self.path.stat()
        if _stamp(now) != self._stamp:
            raise Changed
        descriptor, name = tempfile.mkstemp(
            dir=self.path.parent, prefix=f".{self.path.name}.", suffix=".part"
        )
        try:
            with open(descriptor, "wb") as file:
                os.fchmod(file.fileno(), stat.S_IMODE(now.st_mode))
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                stamp = _stamp(os.fstat(file.fileno()))
            os.replace(name, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
        self._stamp = stamp
        with contextlib.suppress(OSError):  # not every file system can sync a directory
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def serve_review(path: Path, *, port: int = 0, announce: Callable[[str], object] = print) -> None:
    """Serve the review of a table at 127.0.0.1 until Ctrl-C, after its link was handed to `announce`.

    Port 0 takes a free one. Raises InputError where the file is no review table or the port is taken;
    MissingExtra without starlette and uvicorn.
    """
    from . import _need

    _need("starlette")
    _need("uvicorn")
    table = Table(path)
    from .review_pages import run

    run(table, secrets.token_urlsafe(24), port=port, announce=announce)


def _stamp(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
