"""What a file holds, told from its first bytes and records, never from its name."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import msgspec

from ..json_text import NOT_JSON
from .containers import decoded, delimiter
from .formats import format_of
from .json_document import WRAPPERS, Broken, walk
from .plain import plan
from .source import BadRow, Source

HEAD_BYTES = 2**20
_ENOUGH_RECORDS = 50
_SHORTEST_PROOF = 4096


class Found(NamedTuple):
    """`container` says how records are held, `format` is a name in READERS; else `reason` says why not."""

    container: str
    format: str
    requests_only: bool = False  # a batch input: to be read before its results
    undecided: bool = False  # no record lies whole in the head: a longer one may say more
    reason: str | None = None


def sniff(head: bytes, *, whole: bool, forced: str = "auto") -> Found:
    """The format of a file that starts with `head` (decompressed UTF-8); `whole` says that this is all."""
    container = container_of(head, forced)
    if container is None:
        return Found("", "", reason=_why_not(head))
    if container == "zip":
        return Found("zip", "inspect")
    if container == "parquet":
        return Found("parquet", forced)  # its columns are looked at where the file can be sought
    first = first_records(head, container, whole=whole)
    if container == "jsonl" and first and _only_wraps(first[0]):
        container = "json"
        first = first_records(head, container, whole=whole)
    requests = bool(first) and all(is_batch_request(record) for record in first)
    name = forced if forced != "auto" else format_of(first) or ("csv" if container == "csv" else "jsonl")
    return Found(container, name, requests, undecided=not first and not whole)


def container_of(head: bytes, forced: str = "auto") -> str | None:
    """zip, parquet, jsonl, json or csv; None for what is no log."""
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head.startswith(b"PAR1"):
        return "parquet"
    text = head.lstrip(b" \t\r\n\0")
    if text[:1] in {b"{", b"["}:
        return _json_container(text)
    if not text or _is_binary(head):
        return None
    line = text.split(b"\n", 1)[0].decode("utf-8", "replace")
    if forced == "csv" or line.count(delimiter(line)) > 0:
        return "csv"
    second = text.split(b"\n", 2)[1:2]
    return "jsonl" if second and second[0][:1] == b"{" else None  # a broken first line


def _json_container(text: bytes) -> str:
    if text[:1] == b"[":
        return "json"
    lines = text[:HEAD_BYTES].split(b"\n")
    complete = lines[:-1] or lines
    if any(_is_object(line) for line in complete[:20]):
        return "jsonl"
    if len(lines) > 1:  # no line stands on its own: one object over many lines, unless every line is broken
        return (
            "jsonl"
            if all(line[:1] in {b"{", b""} for line in complete[:20]) and len(complete) > 1
            else "json"
        )
    wrapped = any(b'"' + key.encode() + b'"' in text[:_SHORTEST_PROOF] for key in WRAPPERS)
    return "json" if wrapped else "jsonl"


def _only_wraps(record: dict[str, Any]) -> bool:
    """Whether the records lie inside this object, which is none itself: a document written on one line."""
    inner = [value for key, value in record.items() if key in WRAPPERS]
    if not any(isinstance(value, dict) or (isinstance(value, list) and value) for value in inner):
        return False
    if format_of([record]) is not None:
        return False
    try:
        plan(record, {})
    except BadRow:
        return True
    return False


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(line), dict) if line[:1] == b"{" else False
    except NOT_JSON:
        return False


def first_records(head: bytes, container: str, *, whole: bool) -> list[dict[str, Any]]:
    """Records that lie whole in the head of the file; those of a CSV have their JSON fields decoded."""
    if container == "csv":
        return _csv_records(head)
    found: list[dict[str, Any]] = []
    if container == "jsonl":
        lines = head.split(b"\n")
        for line in lines if whole else lines[:-1]:
            if _is_object(line.strip()):
                found.append(msgspec.json.decode(line))
            if len(found) >= _ENOUGH_RECORDS:
                break
        return found
    try:
        for record, _ in walk(io.BytesIO(head)):
            if isinstance(record, dict):
                found.append(record)
            if len(found) >= _ENOUGH_RECORDS:
                break
    except Broken:  # the head ends inside a record; those before it are enough
        return found
    return found


def _csv_records(head: bytes) -> list[dict[str, Any]]:
    import csv

    text = head.decode("utf-8", "replace")
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter(text.split("\n", 1)[0]))
    try:
        names = next(rows, [])
        return [decoded(dict(zip(names, row, strict=False))) for _, row in zip(range(20), rows, strict=False)]
    except csv.Error:
        return []


def parquet_format(source: Source) -> str:
    """The record format whose fields a Parquet file holds in its columns, or "parquet" for a plain one."""
    import polars as pl

    path = source.on_disk()
    try:
        first = pl.scan_parquet(path, glob=False).head(20).collect(engine="in-memory").to_dicts()
    except pl.exceptions.PolarsError:
        return "parquet"  # whose reader says what is wrong with it
    return format_of([decoded(record) for record in first]) or "parquet"


def is_batch_request(record: dict[str, Any]) -> bool:
    """Whether this is a line of a batch input file: a request whose result lies elsewhere."""
    return "custom_id" in record and (
        "params" in record or (isinstance(record.get("body"), dict) and "url" in record)
    )


def _is_binary(head: bytes) -> bool:
    sample = head[:8192]
    controls = sum(sample.count(byte) for byte in range(32) if byte not in {9, 10, 12, 13, 27})
    return b"\0" in sample or controls > len(sample) // 3


def _why_not(head: bytes) -> str:
    if not head.strip(b" \t\r\n\0"):
        return "the file is empty"
    if _is_binary(head):
        return (
            "binary data, not a log: aligntax reads JSON, CSV, Parquet and .eval files, plain, gzip or zstd"
        )
    return "neither JSON, CSV, Parquet nor an .eval file: export the log as one of these"
