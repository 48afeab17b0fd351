"""From records to frames: what every reader of one-record-at-a-time formats shares."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypedDict

import polars as pl

from ..types import exchange_schema
from .containers import Records, records
from .formats import PLAIN
from .paths import BROKEN
from .source import BadRow, Source
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
        found = list(convert(record, source))
        overrides = {} if source.format in PLAIN else source.settings.columns
        for row in found:
            for column, path in overrides.items():
                row[column] = field_value(column, look_up(record, path))  # type: ignore[literal-required]
    except BadRow as problem:
        source.problem(line, str(problem))
    except (TypeError, AttributeError, KeyError, IndexError, ValueError, RecursionError):
        source.problem(line, "the record has the keys of this format, but not its shape")
    else:
        return found
    return []


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


_IDENTITY = (
    "source_id",
    "time",
    "model_requested",
    "model_served",
    "system",
    "history",
    "prompt",
    "response",
)


def with_ids(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with `id`: 24 hex characters, BLAKE2b of 12 bytes over what makes the exchange itself.

    Hashed are source_id, time, both models, system, history, prompt, response and outcome, each preceded
    by its length in bytes, so that no two rows run together. A row with neither source_id nor time hashes
    its line number too: equal rows stay apart, and the same file read twice gives the same ids.
    """
    anonymous = pl.col("source_id").is_null() & pl.col("time").is_null()
    parts = [
        pl.col("time").dt.timestamp("us").cast(pl.String) if name == "time" else pl.col(name)
        for name in (*_IDENTITY, "outcome")
    ]
    parts.append(pl.when(anonymous).then(pl.col("line").cast(pl.String)))
    lengths = [part.str.len_bytes().cast(pl.String).fill_null("-") for part in parts]
    texts = [part.fill_null("") for part in parts]
    head = pl.concat_str([*lengths, pl.lit("")], separator=",")
    identity = frame.select(pl.concat_str([head, *texts]).cast(pl.Binary)).to_series().to_list()
    blake2b = hashlib.blake2b
    ids = pl.Series("id", [blake2b(row, digest_size=12).hexdigest() for row in identity], pl.String)
    if "id" in frame.columns:  # a file that aligntax wrote keeps its ids
        return frame.with_columns(pl.coalesce("id", ids))
    return frame.with_columns(ids)
