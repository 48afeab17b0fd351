"""CSV: read whatever a spreadsheet makes of it, write what a spreadsheet opens safely."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...errors import InputError
from .rows import SYNONYMS, BadRow, names_exchange, plain_name, says_something

_DELIMITERS = (",", ";", "\t", "|")
_LONGEST_CELL = 2**31 - 1
# A spreadsheet runs a cell that begins so as a formula, and these texts come from anybody's chat.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
_KNOWN = {name for names in SYNONYMS.values() for name in names}


def read_table(text: str, where: str) -> Iterator[tuple[int, Mapping[str, Any] | BadRow]]:
    """Rows of a CSV text with the line on which each begins. Raises InputError when its header is of no use."""
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
                yield line, BadRow("is not CSV from here on: a quote is not closed or stands alone")
                return
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = cells
                _refuse_header(header, where)
            elif len(cells) != len(header):
                more = "more" if len(cells) > len(header) else "fewer"
                yield (
                    line,
                    BadRow(f"has {more} fields than the header: put quotes round a field with the separator"),
                )
            else:
                yield line, dict(zip(header, map(_unguarded, cells), strict=True))


def write_table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """CSV with a header, in UTF-8 with the mark by which spreadsheets know it."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([_guarded(_cell(row.get(name))) for name in columns] for row in rows)
    return out.getvalue().encode("utf-8-sig")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "|".join(map(str, value)) or "none"
    return str(value)


def _guarded(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _unguarded(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell


def _delimiter(text: str) -> str:
    """The one that makes the most known columns of the first line."""
    first = text.lstrip().partition("\n")[0]
    return max(
        _DELIMITERS,
        key=lambda each: sum(plain_name(cell.strip('"\r ')) in _KNOWN for cell in first.split(each)),
    )


def _refuse_header(header: list[str], where: str) -> None:
    names = [plain_name(name) for name in header]
    if not names_exchange(names):
        raise InputError(
            "no column says which exchange a row labels", where=where, remedy="name the column of the ids: id"
        )
    if not says_something(names):
        raise InputError(
            "no column holds labels", where=where, remedy="name it answered, kinds, should_answer, ..."
        )
    if len({*names}) < len(names):
        raise InputError("two columns have the same name", where=where, remedy="take one of them out")


@contextlib.contextmanager
def _long_cells() -> Iterator[None]:
    former = csv.field_size_limit(_LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(former)
