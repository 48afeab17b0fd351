"""Files to rows: JSON lines, JSON, YAML, CSV, Parquet, text. What the rows mean is asked elsewhere."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from ..errors import InputError
from .rows import BadRow, Row

_DELIMITERS = (",", ";", "\t", "|")
_LONGEST_CELL = 2**31 - 1

Rows = Iterator[tuple[int, Row | BadRow]]


def rows_of(path: Path) -> Rows:
    """The records of a file with their lines. Raises InputError when it cannot be read as a whole."""
    reader = CONTAINERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            "the name does not say what kind of file it is",
            where=str(path),
            remedy=f"end it in {', '.join(CONTAINERS)}",
        )
    return reader(path)


def text_of(path: Path) -> str:
    """A whole file as text. Raises InputError when it cannot be read or is not UTF-8."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError("the file cannot be read", where=str(path), remedy="check its name") from error
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("the file is not UTF-8", where=str(path), remedy="save it as UTF-8") from error


def _row(line: int, value: object, where: str) -> tuple[int, Row | BadRow]:
    if isinstance(value, dict):
        return line, Row(line, value, where)
    return line, BadRow("is not an object with names and values", "write one a line")


def _json_lines(path: Path) -> Rows:
    for number, line in enumerate(text_of(path).split("\n"), 1):
        if line.strip():
            try:
                yield _row(number, msgspec.json.decode(line), str(path))
            except (msgspec.DecodeError, RecursionError):
                yield number, BadRow("is not JSON", "write one JSON object a line, closed on the same line")


def _json(path: Path) -> Rows:
    """A JSON array or document; JSON lines too, because many sets carry them under this ending."""
    text = text_of(path)
    try:
        document: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        if text.lstrip().startswith("{") and "\n" in text.strip():
            yield from _json_lines(path)
            return
        raise InputError("the file is not JSON", where=str(path), remedy="export it again") from error
    yield from _elements(document, path)


def _yaml(path: Path) -> Rows:
    import yaml

    try:
        document: Any = yaml.safe_load(text_of(path))
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise InputError("the file is not YAML", where=where, remedy="mend it at this place") from error
    yield from _elements(document, path)


def _elements(document: object, path: Path) -> Rows:
    """Elements of a list; a document that is one object stays one row, for the format to open."""
    for number, value in enumerate(document if isinstance(document, list) else [document], 1):
        yield _row(number, value, str(path))


def _csv(path: Path) -> Rows:
    text = text_of(path)
    with _long_cells():
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
        header: list[str] | None = None
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                yield line, BadRow("is not CSV from here on", "close the quote, or double a quote in a field")
                return
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = _header(cells, path)
            elif len(cells) != len(header):
                more = "more" if len(cells) > len(header) else "fewer"
                yield line, BadRow(f"has {more} fields than the header", "put quotes round the long field")
            else:
                yield line, Row(line, dict(zip(header, cells, strict=True)), str(path))


def _header(cells: list[str], path: Path) -> list[str]:
    names = [cell.strip() for cell in cells]
    if len({*names}) < len(names):
        raise InputError("two columns have the same name", where=str(path), remedy="take one of them out")
    return names


def _delimiter(text: str) -> str:
    first = text.lstrip().partition("\n")[0]
    return max(_DELIMITERS, key=first.count)


def _parquet(path: Path) -> Rows:
    import polars as pl

    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError("the file is not Parquet", where=str(path), remedy="export it again") from error
    for number, record in enumerate(frame.iter_rows(named=True), 1):
        yield _row(number, record, str(path))


def _lines(path: Path) -> Rows:
    """A prompt a line; blank lines and those that begin with # are passed over."""
    for number, line in enumerate(text_of(path).split("\n"), 1):
        if line.strip() and not line.startswith("#"):
            yield number, Row(number, {"line": line.strip()}, str(path))


@contextlib.contextmanager
def _long_cells() -> Iterator[None]:
    former = csv.field_size_limit(_LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(former)


CONTAINERS: dict[str, Callable[[Path], Rows]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".yaml": _yaml,
    ".yml": _yaml,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
    ".txt": _lines,
}
"""Ending of a file -> its reader."""
