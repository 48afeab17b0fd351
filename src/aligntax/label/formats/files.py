"""Files of labels and of tasks: which shape a file has, reading it row by row, writing it."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ...errors import InputError
from ...types import Annotation, Item, Problem
from . import argilla, label_studio
from .rows import COLUMNS, BadRow, annotation_of, kinds_were_asked, row_of
from .tables import read_table, write_table

FORMATS = ("csv", "jsonl", "label_studio", "argilla")
_ENDINGS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "label_studio"}
_SHOWN = ("use_case", "outcome", "system", "history", "prompt", "response")
_ASKED = ("answered", "kinds", "disclaimer", "hedging", "should_answer", "skipped", "note")

Row = Mapping[str, Any] | BadRow | None  # None: a task that nobody has labelled


class _Tool(NamedTuple):
    """How the records of a labelling tool are known, and made rows."""

    fits: Callable[[Mapping[str, Any]], bool]
    rows_of: Callable[[Mapping[str, Any]], Iterator[Mapping[str, Any]]]


_TOOLS = {
    "label_studio": _Tool(label_studio.is_task, label_studio.rows_of),
    "argilla": _Tool(argilla.is_record, argilla.rows_of),
}


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a file of labels held. Whoever asked decides whether the good rows count when there are bad ones."""

    annotations: tuple[Annotation, ...]  # `exchange` is the id that the file gives: ours, or the log's own
    problems: tuple[Problem, ...]  # a row each that could not be read
    blank: int  # rows or tasks that nobody has labelled yet


def format_of(path: str | Path) -> str:
    """The format that the ending of a file to be written stands for. Raises InputError for another ending."""
    ending = Path(path).suffix.lower()
    if ending not in _ENDINGS:
        raise InputError(
            "the name does not say in which format to write",
            where=str(path),
            remedy=f"end it in {', '.join(_ENDINGS)}, or name the format",
        )
    return _ENDINGS[ending]


def read_annotations(path: str | Path, *, format: str = "auto", annotator: str | None = None) -> Reading:
    """Labels from a file; `annotator` is who made those that do not say.

    `format` is one of `FORMATS`, or "auto": recognised by what the file holds, whatever it is called. Rows that
    are no labels come back as problems with their line (or element, from 1), never with their content. Raises
    InputError when the file as a whole cannot be read.
    """
    where = str(path)
    if format not in ("auto", *FORMATS):
        raise InputError("there is no such format", where="format", remedy=f"use auto, {', '.join(FORMATS)}")
    text = _text(Path(path))
    is_json = format != "csv" and (format != "auto" or text.lstrip().startswith(("{", "[")))
    annotations: dict[tuple[str, str, bool], tuple[int, Annotation]] = {}
    problems: list[Problem] = []
    silent: set[tuple[str, str, bool]] = set()  # labels whose row says nothing of kinds
    blank = 0
    for line, row in _json_rows(text, format, where) if is_json else read_table(text, where):
        found = _labelled(row, annotator)
        if found is None:
            blank += 1
        elif isinstance(found, BadRow):
            problems.append(Problem(file=where, line=line, reason=str(found)))
        else:
            key = (found.exchange, found.annotator, found.adjudicated)
            former, _ = annotations.setdefault(key, (line, found))
            if former != line or annotations[key][1] is not found:
                reason = f"labels the same exchange by the same person as line {former}: keep one of the two"
                problems.append(Problem(file=where, line=line, reason=reason))
            elif found.kinds is None and isinstance(row, Mapping) and "adjudicated" not in row:
                silent.add(key)
    labels = {key: found for key, (_, found) in annotations.items()}
    return Reading(annotations=tuple(_kinds_filled_in(labels, silent)), problems=tuple(problems), blank=blank)


def write_annotations(path: str | Path, annotations: Iterable[Annotation], *, format: str) -> None:
    """Write finished labels, without any text of the log. Reading the file gives the same labels, grouped by
    exchange in the formats that group them. Raises InputError when the file cannot be written.
    """
    rows = list(annotations)
    if format == "label_studio":
        content = _json(label_studio.labelled_tasks(rows))
    elif format == "argilla":
        content = _json(argilla.labelled_records(rows))
    else:
        content = _plain(COLUMNS, map(row_of, rows), format)
    _write(Path(path), content)


def write_tasks(path: str | Path, items: Iterable[Item], *, format: str) -> None:
    """Write exchanges to label elsewhere, in their order: id, what was said, and room for the labels.

    The file holds text of the log, and neither model nor score, nor which items are planted. Raises InputError
    when it cannot be written.
    """
    if format == "label_studio":
        content = _json(label_studio.tasks_to_label(items))
    elif format == "argilla":
        content = _json(argilla.tasks_to_label(items))
    else:
        rows = (
            {"id": item.exchange, **{name: getattr(item, name) for name in _SHOWN}, **dict.fromkeys(_ASKED)}
            for item in items
        )
        content = _plain(("id", *_SHOWN, *_ASKED), rows, format)
    _write(Path(path), content)


def _plain(columns: tuple[str, ...], rows: Iterable[Mapping[str, Any]], format: str) -> bytes:
    if format == "csv":
        return write_table(columns, rows)
    if format == "jsonl":
        return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
    raise InputError("there is no such format", where="format", remedy=f"use {', '.join(FORMATS)}")


def _json(records: list[dict[str, Any]]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(records), indent=1) + b"\n"


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise InputError(
            "the file cannot be written", where=str(path), remedy="name another place"
        ) from error


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError("the file cannot be read", where=str(path), remedy="check its name") from error
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("the file is not UTF-8", where=str(path), remedy="save it as UTF-8") from error


def _labelled(row: Row, annotator: str | None) -> Annotation | BadRow | None:
    if row is None or isinstance(row, BadRow):
        return row
    try:
        return annotation_of(row, annotator)
    except BadRow as bad:
        return bad


def _kinds_filled_in(
    labels: Mapping[tuple[str, str, bool], Annotation], silent: Collection[tuple[str, str, bool]]
) -> Iterator[Annotation]:
    """The labels, with no kinds in place of nothing where somebody named kinds in other rows.

    People leave the cell of a full answer empty. Were that read as not asked, kinds would be counted among the answers
    that have one alone. Files that we wrote, which say `adjudicated`, mean what they leave empty.
    """
    name_kinds = {found.annotator for found in labels.values() if found.kinds}
    for key, found in labels.items():
        none_seen = key in silent and found.annotator in name_kinds and found.answered is not None
        yield msgspec.structs.replace(found, kinds=()) if none_seen else found


def _json_rows(text: str, format: str, where: str) -> Iterator[tuple[int, Row]]:
    for number, record in _records(text, where):
        if isinstance(record, BadRow):
            yield number, record
            continue
        tool = _tool(record) if format == "auto" else _TOOLS.get(format)
        if tool is None:
            # Label Studio's short form is silent about what was not ticked.
            yield number, kinds_were_asked(record) if "annotation_id" in record else record
        elif not tool.fits(record):
            yield number, BadRow(f"is not a record of {format}: name another format")
        else:
            yield from ((number, row) for row in _expanded(tool, record))


def _tool(record: Mapping[str, Any]) -> _Tool | None:
    return next((tool for tool in _TOOLS.values() if tool.fits(record)), None)


def _expanded(tool: _Tool, record: Mapping[str, Any]) -> list[Row]:
    try:
        return [*tool.rows_of(record)] or [None]
    except (AttributeError, KeyError, TypeError, ValueError):
        return [BadRow("is built in another way than this tool builds it: export it again as JSON")]


def _records(text: str, where: str) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    """JSON objects of an array by their place, or of lines by their line, from 1."""
    if text.lstrip().startswith("["):
        try:
            values = list(enumerate(msgspec.json.decode(text), 1))
        except (msgspec.DecodeError, RecursionError) as error:
            raise InputError("the file is not JSON", where=where, remedy="export it again") from error
    else:
        values = [(number, _decoded(line)) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    for number, value in values:
        yield number, value if isinstance(value, dict) else BadRow("is not a JSON object: write one a line")


def _decoded(line: str) -> object:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return None
