"""From records to frames: what every reader of one-record-at-a-time formats shares."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypedDict

import msgspec
import polars as pl

from ..outcomes import Ending
from ..types import exchange_schema
from .containers import Records, records
from .formats import PLAIN, RECORD_FORMATS, format_of, matches
from .source import BadRow, Source
from .streams import BROKEN
from .turns import Answer, Turns
from .values import field_value, look_up

MAX_BATCH_BYTES = 32 * 2**20
"""A frame is handed on at `batch_rows` rows or at about this much log, whichever comes first."""


class Row(TypedDict, total=False):
    """One exchange as a reader found it; keys are columns of `exchange_schema()`."""

    prompt: str
    response: str
    outcome: str
    outcome_raw: str | None
    outcome_detail: str | None
    model_requested: str | None
    model_served: str | None
    use_case: str | None
    time: dt.datetime | None
    system: str | None
    history: str | None
    tool_calls: int
    latency_ms: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    tags: str | None
    source_id: str | None
    id: str | None


Convert = Callable[[Any, Source], Iterable[Row]]
"""One record -> its exchanges: none for what is no model call (the converter counts it); raises BadRow."""

COLUMNS = tuple(column for column in exchange_schema() if column not in {"id", "file", "line"})


def frames(source: Source, convert: Convert, found: Records | None = None) -> Iterator[pl.DataFrame]:
    """Frames of the exchanges that `convert` finds in `found`, by default the records of `source`, in order."""
    rows: list[Row] = []
    lines: list[int] = []
    size = 0
    found = records(source) if found is None else found
    broken: Exception | None = None
    while True:
        try:
            line, length, record = next(found)
        except StopIteration:
            break
        except BROKEN as error:  # what was read before still counts
            broken = error
            break
        before = len(rows)
        rows.extend(_converted(line, record, source, convert))
        lines.extend([line] * (len(rows) - before))
        size += length
        if len(rows) >= source.settings.batch_rows or size >= MAX_BATCH_BYTES:
            if rows:
                yield to_frame(rows, lines)
            rows, lines, size = [], [], 0
    if rows:
        yield to_frame(rows, lines)
    if broken:
        raise broken


def _converted(line: int, record: Any, source: Source, convert: Convert) -> list[Row]:
    """The exchanges of one record, with the column mapping applied; none, and a problem, if it is bad."""
    try:
        if source.format in RECORD_FORMATS and isinstance(record, dict):
            _check_format(record, source.format)
        found = list(convert(record, source))
        if source.settings.columns and source.format not in PLAIN:
            for row in found:
                _override(row, record, source.settings.columns)
    except BadRow as problem:
        source.problem(line, str(problem))
    except (TypeError, AttributeError, KeyError, IndexError, ValueError, RecursionError):
        source.problem(line, "the record has the keys of this format, but not its shape")
    else:
        return found
    return []


def _check_format(record: dict[str, Any], expected: str) -> None:
    """Raise BadRow for a record that another format knows. One that none knows may be an error of this one."""
    if not matches(expected, record) and (other := format_of([record])) is not None:
        raise BadRow(f"looks like {other} in a file of {expected}: split the file, one format each")


def _override(row: Row, record: Any, columns: Mapping[str, str]) -> None:
    """Put what the caller's mapping names, in the record or among its tags, over what the reader found."""
    tags = msgspec.json.decode(row.get("tags") or "{}")
    for column, path in columns.items():
        value = look_up(record, path)
        value = tags.get(path) if value is None else value
        if value is not None:
            row[column] = field_value(column, value)  # type: ignore[literal-required]


def told(turns: Turns, answer: Answer, ending: Ending) -> Row:
    """The part of a row that every format has: what was asked, what came back, how it ended."""
    return {
        "prompt": turns.prompt,
        "system": turns.system,
        "history": turns.history,
        "response": answer.text,
        "tool_calls": answer.tool_calls,
        "outcome": ending.outcome,
        "outcome_raw": ending.raw,
        "outcome_detail": ending.detail,
    }


def to_frame(rows: list[Row], lines: list[int]) -> pl.DataFrame:
    """The rows as a frame with the columns of the exchange schema, but `id` (unless given) and `file`."""
    schema = exchange_schema()
    columns: dict[str, pl.Series] = {}
    for name in COLUMNS:
        values = [row.get(name) for row in rows]
        columns[name] = _series(name, values, schema[name])
    if any("id" in row for row in rows):
        columns["id"] = _series("id", [row.get("id") for row in rows], pl.String())
    columns["line"] = pl.Series("line", lines, pl.Int64)
    return pl.DataFrame(columns)


def _series(name: str, values: list[Any], dtype: pl.DataType) -> pl.Series:
    try:
        return pl.Series(name, values, dtype)
    except UnicodeEncodeError:  # half a surrogate pair, written by a program that cut a text inside an emoji
        return pl.Series(name, [v and v.encode("utf-8", "replace").decode() for v in values], dtype)
