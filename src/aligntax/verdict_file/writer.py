"""A verdict file being written: finished parts first, one Parquet file at the end.

Parts lie in a folder beside the file (`verdicts.parquet.parts/`). Each is whole or absent: it is written under
another name, synced, then renamed. The merge into the file is one rename too. So a run killed at any moment
leaves parts that the next run picks up, and the ids in them are not judged again: nothing lost, nothing twice.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal

import polars as pl

from ..errors import InputError
from ..types import CONTENT_COLUMNS, exchange_schema, verdict_schema
from .known_ids import KnownIds
from .lock import FileLock

_PART_ROWS = 65_536
_PART_BYTES = 128 * 2**20  # rows of 10 MB exist: a part is bounded by what it weighs as well
_GROUP_ROWS, _GROUP_BYTES = 16_384, 32 * 2**20  # a row group is what a reader holds in memory at a time
_PART_COMPRESSION: Literal["lz4"] = "lz4"  # parts live for minutes: quick counts, small does not
_ZSTD_LEVEL = 1  # half the time of the usual level, for a file that is 5 % larger
_FORMAT = "aligntax.verdict_file"
_METADATA = {_FORMAT: "1"}


def scan_verdicts(path: str | Path) -> pl.LazyFrame:
    """The verdicts of a finished file, lazily. Raises InputError when it is absent or not a verdict file."""
    path = Path(path)
    if not path.is_file():
        raise InputError(
            "there is no such file", where=str(path), remedy="make one: aligntax scan LOGS -o FILE"
        )
    try:
        verdicts = pl.scan_parquet(path, glob=False)
        missing = [
            name for name in ("id", "outcome", *verdict_schema()) if name not in verdicts.collect_schema()
        ]
    except pl.exceptions.PolarsError as error:
        raise InputError("this is not a Parquet file", where=str(path), remedy="name another file") from error
    version = pl.read_parquet_metadata(path).get(_FORMAT, _METADATA[_FORMAT])
    if version != _METADATA[_FORMAT]:
        raise InputError(
            f"this verdict file has format {version}, which is newer than this aligntax",
            where=str(path),
            remedy="update aligntax",
        )
    if missing:
        raise InputError(
            f"this is not a verdict file: it has no column {', '.join(missing[:3])}",
            where=str(path),
            remedy="name a file that aligntax scan -o has written",
        )
    return verdicts


class VerdictFile:
    """Verdicts on their way to one Parquet file, as a context manager.

    `detector` is the name and version that the verdicts carry; a file from another one is refused, because
    rates over both would compare nothing. `keep_text=False` leaves `CONTENT_COLUMNS` out of everything that
    touches the disk. `rescan=True` starts anew: what the file held is replaced once the new one is complete.

    After entering, `former` counts the rows that the file held, `resumed` those that an interrupted run had
    left in parts; `repeated` counts rows that came again and were dropped. Raises InputError when the file
    cannot be added to, when another process is writing it, and when the disk does not take it.
    """

    def __init__(
        self, path: str | Path, *, detector: str, keep_text: bool = True, rescan: bool = False
    ) -> None:
        self.path = Path(
            path
        ).resolve()  # a link is followed, so that its target is replaced and not the link
        self.former = self.resumed = self.repeated = 0
        self.detector, self._rescan = detector, rescan
        schema = {**exchange_schema(), **verdict_schema()}
        self._schema = pl.Schema(
            {name: dtype for name, dtype in schema.items() if keep_text or name not in CONTENT_COLUMNS}
        )
        self._folder = self.path.with_name(f"{self.path.name}.parts")
        self._lock = FileLock(self._folder / "lock", what=str(self.path))
        self._ids = KnownIds()
        self._waiting: list[pl.DataFrame] = []

    def __enter__(self) -> VerdictFile:
        with self._writing():
            if not self.path.parent.is_dir():
                raise InputError(
                    "the folder does not exist", where=str(self.path.parent), remedy="create it first"
                )
            self._lock.acquire()
        try:
            self._take_stock()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None and issubclass(
                kind, KeyboardInterrupt
            ):  # what was judged stays, so that the next run starts here
                self._flush()
        finally:
            self._close()

    def new_rows(self, exchanges: pl.DataFrame) -> pl.DataFrame:
        """The rows of a batch whose id has not come before, in this run or in an earlier one."""
        unseen = self._ids.take(exchanges["id"])
        self.repeated += exchanges.height - int(unseen.sum())
        return exchanges if unseen.all() else exchanges.filter(unseen)

    def write(self, verdicts: pl.DataFrame) -> None:
        """Take judged rows; they are on disk once a part is full, and at `finish`."""
        self._waiting.append(verdicts.select(self._schema.names()))
        rows = sum(frame.height for frame in self._waiting)
        if rows >= _PART_ROWS or sum(frame.estimated_size() for frame in self._waiting) >= _PART_BYTES:
            self._flush()

    def finish(self, relative: Callable[[pl.LazyFrame], pl.LazyFrame]) -> None:
        """Merge what the file held and all parts into the file, with `relative` applied over everything."""
        self._flush()
        parts = self._parts()
        if not parts:
            return
        sources = [*([self.path] if self.path.exists() and not self._rescan else []), *parts]
        merged = self._folder / "merged.tmp"
        with self._writing():
            relative(pl.scan_parquet(sources, glob=False)).select(self._schema.names()).sink_parquet(
                merged,
                row_group_size=_merged_group_rows(sources),
                compression_level=_ZSTD_LEVEL,
                metadata=_METADATA,
                sync_on_close="all",
            )
            if self.path.exists():  # whoever closed the former file to others meant the next one too
                merged.chmod(stat.S_IMODE(self.path.stat().st_mode))
            merged.replace(self.path)
            _sync_folder(self.path.parent)
        for part in parts:
            part.unlink()

    def _take_stock(self) -> None:
        """Learn which ids are there already; refuse what cannot be added to."""
        self._clear()
        if self.path.exists():
            self._check(self.path)
            if not self._rescan:
                self.former = self._ids.add(_hashes(self.path))
        for part in self._parts():
            hashes = _hashes(part)
            # Ids in parts are new ones by construction; known ones mean that a run was killed after its merge.
            if self._rescan or self._ids.has(hashes).all():
                part.unlink()
                continue
            self._check(part)
            self.resumed += self._ids.add(hashes)

    def _check(self, path: Path) -> None:
        verdicts = scan_verdicts(path)
        if self._rescan:
            return
        others = (
            verdicts.select(pl.col("detector").unique()).collect(engine="streaming")["detector"].to_list()
        )
        others = [name for name in others if name != self.detector]
        if others:
            raise InputError(
                f"holds verdicts of {others[0]}, and this is {self.detector}: rates over both compare nothing",
                where=str(path),
                remedy="pass --rescan to judge the logs anew and replace the file, or name another file with -o",
            )
        schema = verdicts.collect_schema()
        differs = [name for name in {**schema, **self._schema} if schema.get(name) != self._schema.get(name)]
        if differs:
            text = [name for name in differs if name in CONTENT_COLUMNS]
            raise InputError(
                "was written " + ("with text" if text[0] in schema else "without text, by --no-text")
                if text
                else f"has other columns: {', '.join(sorted(differs)[:3])}",
                where=str(path),
                remedy="scan in the same way, pass --rescan to replace the file, or name another file with -o",
            )

    def _flush(self) -> None:
        if not self._waiting:
            return
        verdicts, self._waiting = pl.concat(self._waiting), []
        parts = self._parts()
        number = int(parts[-1].stem.removeprefix("part-")) + 1 if parts else 0
        part = self._folder / f"part-{number:06}.parquet"
        with self._writing():
            unfinished = part.with_suffix(".tmp")
            verdicts.write_parquet(
                unfinished,
                row_group_size=_group_rows(verdicts.estimated_size(), verdicts.height),
                compression=_PART_COMPRESSION,
            )
            with unfinished.open("rb+") as written:
                os.fsync(written.fileno())
            unfinished.replace(part)
            _sync_folder(self._folder)

    def _parts(self) -> list[Path]:
        return sorted(self._folder.glob("part-*.parquet"))

    def _close(self) -> None:
        if not self._parts():
            self._clear()
            (self._folder / "lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # something of the user's lies in it
                self._folder.rmdir()
        self._lock.release()

    def _clear(self) -> None:
        """Remove what was being written when a run was killed."""
        for rest in self._folder.glob("*.tmp"):
            rest.unlink()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn what the disk says no to into one line with a remedy."""
        try:
            yield
        except (OSError, pl.exceptions.ComputeError) as error:
            number = _errno(error) or self._refusal()
            if number is None:
                raise
            remedy = "check that the folder may be written"
            if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                remedy = (
                    f"make room and run the same command again; what is done stays in {self._folder.name} "
                    "and is not done twice"
                )
            raise InputError(
                f"cannot be written: {os.strerror(number)}", where=str(self.path), remedy=remedy
            ) from error

    def _refusal(self) -> int | None:
        """The number with which the disk refuses a megabyte, for errors of Polars that do not tell it."""
        try:
            with (self._folder / "probe.tmp").open("wb") as probe:
                probe.write(bytes(2**20))
                probe.flush()
                os.fsync(probe.fileno())
        except OSError as error:
            return error.errno
        return None


def _group_rows(size: float, rows: int) -> int:
    """Rows in a row group, when `rows` rows take `size` bytes of memory."""
    return max(1, min(_GROUP_ROWS, int(_GROUP_BYTES * rows / max(size, 1))))


def _merged_group_rows(sources: list[Path]) -> int:
    rows = pl.scan_parquet(sources, glob=False).select(pl.len()).collect(engine="streaming").item()
    on_disk = sum(source.stat().st_size for source in sources)
    return _group_rows(4 * on_disk, rows)  # text takes about a quarter of its size once compressed


def _hashes(path: Path) -> pl.Series:
    try:
        return pl.scan_parquet(path, glob=False).select(pl.col("id").hash()).collect(engine="streaming")["id"]
    except pl.exceptions.PolarsError as error:
        raise InputError(
            "is damaged or not a verdict file",
            where=str(path),
            remedy="move it away and run the same command again",
        ) from error


def _errno(error: Exception) -> int | None:
    """The system's number for what went wrong; Polars passes it on in its message alone."""
    if isinstance(error, OSError):
        return error.errno
    number = re.search(r"\(os error (\d+)\)", str(error))
    return int(number[1]) if number else None


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut; Windows has no such call and needs none."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
