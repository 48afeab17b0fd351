"""Plain Parquet, one exchange a row: whole columns at a time, no Python value a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl
import polars.selectors as cs

from ..types import exchange_schema
from .plain import Facts, PlainRecords, ended, plan
from .rows import frames, to_frame
from .source import BadRow, Source
from .values import as_time

MAX_SLICE_ROWS = 32_768
MAX_SLICE_BYTES = 64 * 2**20
_FIRST_SLICE_ROWS = 1024  # until the size of a row is known
_PART_ROWS = 16_384  # fewer rows pay more for each pass over columns, more leave the processor's cache


def read(source: Source) -> Iterator[pl.DataFrame]:
    """Frames of exchanges. Columns that hold nested values or messages as JSON are read row by row."""
    path = source.on_disk()
    try:
        schema = pl.scan_parquet(path, glob=False).collect_schema()
        names = plan(schema.names(), source.settings.columns)
    except BadRow as reason:
        source.problem(None, str(reason))
        return
    except pl.exceptions.PolarsError:
        source.problem(None, "broken Parquet: the file is damaged or was cut off")
        return
    flat = all(name in schema and not schema[name].is_nested() for name in names.values())
    if not flat:
        yield from frames(source, PlainRecords(source.settings.columns))
        return
    keep = "id" if {"id", "source_id"} <= set(schema.names()) else None
    number = 0
    for frame in slices(source, [*dict.fromkeys([*names.values(), *([keep] if keep else [])])]):
        for part in frame.iter_slices(_PART_ROWS):
            lines = pl.Series("line", range(number + 1, number + part.height + 1), pl.Int64)
            number += part.height
            yield _exchanges(part, names, keep, lines, source)


def _exchanges(
    part: pl.DataFrame, names: Mapping[str, str], keep: str | None, lines: pl.Series, source: Source
) -> pl.DataFrame:
    """The part as exchanges: as whole columns, but for the rows whose prompt is a talk of several turns."""
    talks = _are_talks(part[names["prompt"]])
    if not talks.any():
        return exchanges(part, names, keep, lines)
    convert = PlainRecords(source.settings.columns)
    rows = [row for record in part.filter(talks).iter_rows(named=True) for row in convert(record, source)]
    read_apart = to_frame(rows, lines.filter(talks).to_list())
    whole = exchanges(part.filter(~talks), names, keep, lines.filter(~talks))
    return pl.concat([read_apart, whole], how="diagonal").sort("line")


def _are_talks(prompts: pl.Series) -> pl.Series:
    """Which prompts are messages in JSON, or a talk written out."""
    if prompts.dtype != pl.String:
        return pl.repeat(False, len(prompts), eager=True)
    messages = prompts.str.contains(r"^\s*[\[{]") & prompts.str.contains('"role"', literal=True)
    return (messages | prompts.str.contains(r"(?i)^\s*(user|human)\s*:")).fill_null(False)


def slices(source: Source, columns: list[str] | None = None) -> Iterator[pl.DataFrame]:
    """The file's rows in frames of bounded size.

    Slices are collected one by one because a streamed scan holds a whole row group: 1 GB for 900,000
    answers written as one group, where slices need 230 MB and a quarter more CPU time. What is held whole
    is a row group's dictionary: large only where long texts repeat and the writer set no limit to it.
    """
    path = source.on_disk()
    scan = pl.scan_parquet(path, glob=False)
    if columns is not None:
        scan = scan.select(columns)
    total = _count(path, source)
    at, rows = 0, _FIRST_SLICE_ROWS
    while at < total:
        try:
            frame = scan.slice(at, rows).collect(engine="in-memory")
        except pl.exceptions.PolarsError:
            source.problem(at + 1, "broken Parquet: the file is damaged; the rest of it was not read")
            return
        yield frame
        at += frame.height
        source.read_so_far(at / total)
        row_bytes = max(1, int(frame.estimated_size()) // frame.height)
        rows = max(1, min(MAX_SLICE_ROWS, MAX_SLICE_BYTES // row_bytes))


def _count(path: Path, source: Source) -> int:
    try:
        return int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())
    except pl.exceptions.PolarsError:
        source.problem(None, "broken Parquet: the file is damaged or was cut off")
        return 0


def exchanges(
    frame: pl.DataFrame, names: Mapping[str, str], keep: str | None, lines: pl.Series
) -> pl.DataFrame:
    """The columns of a plain frame as exchange columns, the outcome worked out from them."""
    columns = [_typed(frame[name], column).alias(column) for column, name in names.items()]
    if keep:
        columns.append(pl.col(keep).cast(pl.String).alias("id"))
    columns.append(pl.lit(lines))
    found = frame.select(columns)
    if "refusal" in names:
        found = _with_refusals(found)
    return _with_outcomes(found).select(cs.by_name(*exchange_schema(), require_all=False))


_TEXTS = ("prompt", "response")
_WHOLE = ("tool_calls", "prompt_tokens", "completion_tokens", "status")
_MAX_MARKER_BYTES = 320


def _typed(values: pl.Series, column: str) -> pl.Expr:
    """The column in its exchange type; what cannot be cast is null."""
    if column == "time":
        return pl.lit(_times(values))
    own = pl.col(values.name)
    if column == "latency_ms" or column in _WHOLE:
        number = own.cast(pl.Float64, strict=False).fill_nan(None)
        return number.cast(pl.Int64, strict=False) if column in _WHOLE else number
    text = own.cast(pl.String, strict=False)
    return text.fill_null("") if column in _TEXTS else pl.when(text != "").then(text)


def _times(values: pl.Series) -> pl.Series:
    """UTC times from datetimes, dates, ISO 8601 text, or Unix times in s, ms, us or ns."""
    dtype = values.dtype
    if isinstance(dtype, pl.Datetime) or dtype == pl.Date:
        moments = values.cast(pl.Datetime("us", getattr(dtype, "time_zone", None)))
        if moments.dtype == pl.Datetime("us", None):
            return moments.dt.replace_time_zone("UTC")
        return moments.dt.convert_time_zone("UTC")
    if dtype == pl.String:
        moments = values.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
        if moments.null_count() == values.null_count():
            return moments
    return pl.Series([as_time(value) for value in values], dtype=pl.Datetime("us", "UTC"))


def _with_refusals(frame: pl.DataFrame) -> pl.DataFrame:
    """The text of a refusal column joined to the response."""
    refusal = pl.col("refusal").fill_null("")
    joined = pl.when(pl.col("response") == "").then(refusal).otherwise(pl.col("response") + "\n\n" + refusal)
    return frame.with_columns(response=pl.when(refusal == "").then(pl.col("response")).otherwise(joined))


def _with_outcomes(frame: pl.DataFrame) -> pl.DataFrame:
    """Outcome, raw value and detail, worked out once for each combination of what they depend on."""
    have = set(frame.columns)

    def column(name: str) -> pl.Expr:
        return pl.col(name) if name in have else pl.lit(None, pl.String)

    response = pl.col("response")
    short = response.str.len_bytes() <= _MAX_MARKER_BYTES
    blank = ~response.str.contains(r"[^\s\x1c-\x1f]")
    keys = frame.select(
        own=column("outcome"),
        raw=column("outcome_raw"),
        detail=column("outcome_detail"),
        # all that matters of a text: is there one, and is it a filter's marker
        text=pl.when(blank)
        .then(pl.lit(""))
        .when(short & response.str.contains(r"^\s*[\[<(*_]"))
        .then(response)
        .otherwise(pl.lit("text")),
        refused=(column("refusal").is_not_null()) if "refusal" in have else pl.lit(False),
        tool_calls=(pl.col("tool_calls").fill_null(0) > 0).cast(pl.Int64)
        if "tool_calls" in have
        else pl.lit(0, pl.Int64),
        status=pl.col("status") if "status" in have else pl.lit(None, pl.Int64),
        error=column("error"),
    )
    kinds = keys.unique(maintain_order=True)
    endings = pl.DataFrame(
        [ended(Facts(**kind)) for kind in kinds.iter_rows(named=True)],
        schema=dict.fromkeys(("outcome", "outcome_raw", "outcome_detail"), pl.String),
        orient="row",
    )
    joined = keys.join(
        kinds.hstack(endings), on=keys.columns, how="left", nulls_equal=True, maintain_order="left"
    )
    return frame.with_columns(joined.select(endings.columns))
