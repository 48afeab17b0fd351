"""Records out of a file: JSON lines, JSON documents, CSV and Parquet rows, one at a time.

Each gives (line, size in bytes, record); the line is 1-based, of the element or row where there are no lines.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import msgspec

from ..json_text import NOT_JSON, parsed
from .formats import PLAIN
from .json_document import elements
from .source import MAX_ROW_BYTES, Source

Records = Iterator[tuple[int, int, Any]]


def records(source: Source) -> Records:
    """The records of the source, whatever holds them. Broken ones are reported to the source."""
    if source.container == "jsonl":
        return _json_lines(source)
    if source.container == "json":
        return elements(source)
    table = _csv_rows(source) if source.container == "csv" else _parquet_rows(source)
    if source.format in PLAIN:
        return table
    return ((number, size, decoded(row)) for number, size, row in table)


def decoded(record: dict[str, Any]) -> dict[str, Any]:
    """The record with fields that hold a JSON object or array decoded, as tables of traces have them."""
    return {key: parsed(value) for key, value in record.items()}


def _json_lines(source: Source) -> Records:
    decode = msgspec.json.Decoder().decode
    readline = source.stream.readline
    number = 0
    while line := readline(MAX_ROW_BYTES + 1):
        number += 1
        if len(line) > MAX_ROW_BYTES and not line.endswith(b"\n"):
            while (rest := readline(2**20)) and not rest.endswith(b"\n"):
                pass
            source.problem(number, f"the line is longer than {MAX_ROW_BYTES // 2**20} MiB")
            continue
        try:
            record = decode(line)
        except NOT_JSON:
            if not line.strip():
                continue
            try:
                record = lenient(line)
            except ValueError as reason:
                source.problem(number, str(reason))
                continue
        if isinstance(record, dict):
            yield number, len(line), record
        else:
            source.problem(number, "the line is JSON but not an object")


def lenient(line: bytes) -> Any:
    """Decode what the strict decoder did not take: NaN and lone surrogates pass; ValueError says what is wrong."""
    if not line.strip(b"\0 \t\r\n"):
        raise ValueError("the line holds only NUL bytes: the file was cut off while it was written")
    try:
        return json.loads(line)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"not UTF-8 (byte {error.start + 1}): convert the file, for example with iconv -f latin1 -t utf-8"
        ) from None
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    except json.JSONDecodeError as error:
        if b"\0" in line:
            raise ValueError("the line holds NUL bytes: the file was damaged or cut off") from None
        raise ValueError(
            f"broken JSON: {error.msg.removesuffix(' at')} at character {error.pos + 1}"
        ) from None


def _csv_rows(source: Source) -> Records:
    # the module's limit is one for the whole process; it is only ever raised
    csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_BYTES))
    text = io.TextIOWrapper(source.stream, encoding="utf-8", errors="surrogateescape", newline="")
    first = text.readline(2**20)
    rows = csv.reader(_chain(first, text), delimiter=delimiter(first))
    names = [name.strip() for name in next(rows, [])]
    row: list[str] = []
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            reason = (
                "a field is longer than the limit: look for an unclosed quote"
                if "limit" in str(error)
                else str(error)
            )
            source.problem(rows.line_num, reason)
            continue
        if not row:
            continue
        if len(row) != len(names):
            source.problem(rows.line_num, f"{len(row)} fields where the header has {len(names)}")
            continue
        size = sum(map(len, row))
        if any(not value.isascii() and _escaped(value) for value in row):
            source.problem(
                rows.line_num, "not UTF-8: convert the file, for example with iconv -f latin1 -t utf-8"
            )
            continue
        yield rows.line_num, size, dict(zip(names, row, strict=True))


def _chain(first: str, rest: io.TextIOWrapper) -> Iterator[str]:
    yield first
    while line := rest.readline(MAX_ROW_BYTES):
        yield line


def _escaped(value: str) -> bool:
    """Whether undecodable bytes were carried through as lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return True
    return False


def delimiter(header: str) -> str:
    """The separator that the header line uses most."""
    return max(",;\t|", key=header.count)


def _parquet_rows(source: Source) -> Records:
    from .parquet import slices

    number = 0
    for frame in slices(source):
        size = frame.estimated_size() // max(frame.height, 1)
        for row in frame.iter_rows(named=True):
            number += 1
            yield number, int(size), row
