"""One pass over a set of log files: frames of exchanges in bounded memory, and an account of the rest."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..errors import InputError
from ..types import Problem, exchange_schema
from .formats import READERS
from .paths import STDIN, PathName, expand
from .plain import check_columns
from .sniff import HEAD_BYTES, Found, parquet_format, sniff
from .source import MAX_ROW_BYTES, Reader, Settings, Source, Tally
from .streams import BROKEN, Peeked, Stream, open_stream

if TYPE_CHECKING:
    import polars as pl


def read(
    paths: PathName | Iterable[PathName],
    *,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    use_case: str | None = None,
    strict: bool = False,
    batch_rows: int = 4096,
) -> Log:
    """The exchanges in these logs, as a `Log` to iterate over once.

    `paths` is one path or several: files, folders (read in full, sorted), globs, and "-" for standard
    input; gzip and zstd are seen through. `format` is a name in `READERS`; "auto" tells each file's
    format from its content. `columns` maps exchange columns to the log's own columns or fields (dotted
    paths into JSON), such as {"prompt": "input.text"}. `use_case` fills in for rows that carry none.
    With `strict`, the first row that cannot be read raises; otherwise it is skipped, counted and listed.
    Frames hold about `batch_rows` rows.

    Raises InputError at once for a path, format or column that does not exist, and at the end of the
    iteration when not one exchange was found.

    >>> log = read("calls.jsonl", columns={"prompt": "question"})  # doctest: +SKIP
    >>> for frame in log:  # doctest: +SKIP
    ...     print(frame.height)
    >>> log.rows, log.skipped  # doctest: +SKIP
    """
    if format != "auto" and format not in READERS:
        raise InputError(
            f"there is no format {format!r}", where="format", remedy=f"one of: auto, {', '.join(READERS)}"
        )
    if batch_rows < 1:
        raise InputError("must be at least 1", where="batch_rows")
    settings = Settings(
        columns=check_columns(columns or {}), use_case=use_case, strict=strict, batch_rows=batch_rows
    )
    return Log(expand(paths), format=format, settings=settings)


class Log:
    """Exchanges of several files. Iterating gives Polars frames with the columns of `exchange_schema()`.

    The account grows while iterating: `rows`, `formats` (file -> format), `problems` (the first 1,000 rows
    or files that could not be read), `skipped` (how many there were), `not_calls` (records that are no
    model call, such as parent spans), `notes` (what cost no row but should be known), and for a progress
    bar `bytes_read` of `bytes_total` (None where it is not known, as for standard input).
    """

    def __init__(self, files: list[str], *, format: str, settings: Settings) -> None:
        self.files = files
        self.rows = 0
        self.formats: dict[str, str] = {}
        self.bytes_total = None if STDIN in files else sum(Path(file).stat().st_size for file in files)
        self._format = format
        self._settings = settings
        self._tally = Tally(strict=settings.strict)
        self._started = False

    @property
    def problems(self) -> list[Problem]:
        """Rows and files that could not be read: the first 1,000."""
        return self._tally.problems

    @property
    def notes(self) -> list[Problem]:
        """What cost no row but should be known, once a file."""
        return self._tally.notes

    @property
    def skipped(self) -> int:
        """How many rows and files could not be read."""
        return self._tally.skipped

    @property
    def not_calls(self) -> int:
        """How many records were no model call."""
        return self._tally.not_calls

    @property
    def bytes_read(self) -> int:
        """How far the pass has come, in bytes of the files as they lie."""
        return self._tally.bytes_read

    def frame(self) -> pl.DataFrame:
        """All exchanges in one frame; this one does hold them all in memory."""
        import polars as pl

        return pl.concat(list(self))

    def __iter__(self) -> Iterator[pl.DataFrame]:
        if self._started:
            raise InputError("a log is read once", remedy="call read() again for another pass")
        self._started = True
        return self._frames()

    def _frames(self) -> Iterator[pl.DataFrame]:
        done = 0
        for file in self._in_order():
            for frame in self._of_file(file):
                self.rows += frame.height
                yield frame
            done += 0 if file == STDIN else Path(file).stat().st_size
            if self.bytes_total is not None:  # what a reader had no need to read counts as done
                self._tally.bytes_read = done
        if self._tally.requests and self.rows:
            self._tally.note(
                self.files[0],
                f"{len(self._tally.requests)} batch requests have no result in these files",
            )
        if not self.rows:
            raise self._nothing_found()

    def _in_order(self) -> list[str]:
        """Files as named, but batch requests before the results that need them."""
        if len(self.files) == 1:
            return self.files
        late = {file: not (file != STDIN and self._look_at(file).requests_only) for file in self.files}
        return sorted(self.files, key=lambda file: late[file])

    def _look_at(self, file: str) -> Found:
        try:
            stream, _ = open_stream(file, lambda _: None)
            with stream:
                return self._sniffed(Peeked(stream, HEAD_BYTES))
        except BROKEN:  # said when the file's turn comes
            return Found("", "")

    def _sniffed(self, peeked: Peeked) -> Found:
        """What the stream holds; looks further into one whose first record is longer than usual."""
        found = Found("", "")
        for size in (HEAD_BYTES, MAX_ROW_BYTES):
            peeked.extend(size)
            found = sniff(peeked.head, whole=len(peeked.head) < size, forced=self._format)
            if not found.undecided:
                break
        return found

    def _of_file(self, file: str) -> Iterator[pl.DataFrame]:
        def count(read: int) -> None:
            self._tally.bytes_read += read

        try:
            stream, own = open_stream(file, count)
            with stream:
                yield from self._of_stream(file, stream, own)
        except EOFError:
            self._tally.problem(file, None, "the compressed data is cut off; what came before was read")
        except BROKEN as error:
            system = getattr(error, "strerror", None)
            reason = f"cannot be read: {system}" if system else "the compressed data is damaged"
            self._tally.problem(file, None, f"{reason}; what came before was read")

    def _of_stream(self, file: str, stream: Stream, own: bool) -> Iterator[pl.DataFrame]:
        before = self._tally.bytes_read
        peeked = Peeked(stream, HEAD_BYTES)
        found = self._sniffed(peeked)
        if found.reason:
            self._tally.problem(file, None, found.reason)
            return
        source = Source(
            name="<stdin>" if file == STDIN else file,
            stream=io.BufferedReader(peeked, HEAD_BYTES),
            container=found.container,
            format=found.format,
            settings=self._settings,
            tally=self._tally,
            path=Path(file) if own else None,
            bytes_before=before,
        )
        with closing(source):
            if source.format == "auto":
                source.format = parquet_format(source)
            self.formats[source.name] = source.format
            module, _, function = READERS[source.format].partition(":")
            reader = cast(Reader, getattr(import_module(module), function))
            for frame in reader(source):
                yield from self._finished(frame, source.name).iter_slices(self._settings.batch_rows)

    def _finished(self, frame: pl.DataFrame, file: str) -> pl.DataFrame:
        """The reader's frame with every column of the schema, the constant use case, and ids."""
        import polars as pl

        from .ids import with_ids

        schema = exchange_schema()
        absent = [
            pl.lit(None, schema[name]).alias(name) for name in schema if name not in {"id", *frame.columns}
        ]
        frame = frame.with_columns(*absent).with_columns(
            file=pl.lit(file), tool_calls=pl.col("tool_calls").fill_null(0)
        )
        if self._settings.use_case is not None:
            frame = frame.with_columns(pl.col("use_case").fill_null(self._settings.use_case))
        return with_ids(frame).select(pl.col(name).cast(dtype) for name, dtype in schema.items())

    def _nothing_found(self) -> InputError:
        tally = self._tally
        seen = [f"{len(self.files)} file{'s' * (len(self.files) != 1)}"]
        seen += [f"{tally.not_calls} records that are no model call"] if tally.not_calls else []
        seen += [f"{tally.skipped} that could not be read"] if tally.skipped else []
        where = None
        remedy = "name the files that hold the model calls"
        if tally.problems:
            first = tally.problems[0]
            where = first.file if first.line is None else f"{first.file}:{first.line}"
            remedy = f"the first reason: {first.reason}"
        elif tally.requests:
            remedy = "these are batch requests: name the file of their results as well"
        elif tally.not_calls:
            remedy = "export the model calls (generations, LLM spans), not the traces around them"
        return InputError(f"no exchange found; seen: {', '.join(seen)}", where=where, remedy=remedy)
