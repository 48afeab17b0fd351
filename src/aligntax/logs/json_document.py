"""JSON documents read as a stream: the elements of arrays, however large, one at a time.

Exports often are one JSON value: an array of records, or an object with the array inside
({"results": {"results": [...]}}). Whole objects one after another, pretty-printed, are read too.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from .source import MAX_ROW_BYTES, Source

WRAPPERS = frozenset(
    {
        *(
            "data",
            "items",
            "logs",
            "observations",
            "records",
            "requests",
            "results",
            "rows",
            "samples",
            "traces",
        ),
        *("resourceLogs", "resourceSpans"),
    }
)
"""Keys whose arrays hold the records of a document."""

_CHUNK = 2**20


class Broken(Exception):
    """The document cannot be read on from here."""


class _Cursor:
    """A position in a growing, trimmed window over the decoded stream."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._decode = json.JSONDecoder().raw_decode
        self._window = ""
        self._at = 0
        self._ended = False

    def _more(self, wanted: int = _CHUNK) -> bool:
        """Read on; False at the end of the stream."""
        if self._ended:
            return False
        data = self._stream.read(wanted)
        self._ended = not data
        try:
            text = self._decoder.decode(data, final=self._ended)
        except UnicodeDecodeError:
            raise Broken("not UTF-8: convert the file, for example with iconv -f latin1 -t utf-8") from None
        self._window = self._window[self._at :] + text
        self._at = 0
        return not self._ended

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            while self._at < len(self._window):
                character = self._window[self._at]
                if character not in " \t\r\n\ufeff":
                    return character
                self._at += 1
            if not self._more():
                return ""

    def take(self, character: str) -> None:
        if self.peek() != character:
            raise Broken(
                "broken JSON: the document is cut off"
                if not self.peek()
                else f"broken JSON: no {character!r}"
            )
        self._at += 1

    def value(self) -> tuple[Any, int]:
        """The next whole value and its length in characters."""
        self.peek()
        while True:
            try:
                value, end = self._decode(self._window, self._at)
            except json.JSONDecodeError as error:
                held = len(self._window) - self._at
                if held > MAX_ROW_BYTES:
                    raise Broken(
                        f"an element is longer than {MAX_ROW_BYTES // 2**20} MiB or broken"
                    ) from None
                if not self._more(max(_CHUNK, held)):
                    raise Broken(f"broken JSON: {error.msg}") from None
                continue
            except RecursionError:
                raise Broken("the JSON is nested too deeply") from None
            if end == len(self._window) and self._more():  # a number may go on in the next chunk
                continue
            length = end - self._at
            self._at = end
            return value, length


def elements(source: Source) -> Iterator[tuple[int, int, Any]]:
    """(number, size, record) for each record of the document; what follows a break is not read."""
    number = 0
    try:
        for value, size in walk(source.stream):
            number += 1
            if isinstance(value, dict):
                yield number, size, value
            else:
                source.problem(number, "the element is not an object")
    except Broken as reason:
        source.problem(number + 1, f"{reason}; the rest of the file was not read")


def walk(stream: BinaryIO) -> Iterator[tuple[Any, int]]:
    """Records of all top-level values: elements of arrays, found under wrapper keys, or the value itself."""
    cursor = _Cursor(stream)
    while cursor.peek():
        yield from _records(cursor)
        if cursor.peek() == ",":
            cursor.take(",")


def _records(cursor: _Cursor) -> Iterator[tuple[Any, int]]:
    if cursor.peek() == "[":
        yield from _array(cursor)
    elif cursor.peek() == "{":
        yield from _object(cursor)
    else:
        yield cursor.value()


def _array(cursor: _Cursor) -> Iterator[tuple[Any, int]]:
    cursor.take("[")
    while cursor.peek() != "]":
        yield cursor.value()
        if cursor.peek() != "]":
            cursor.take(",")
    cursor.take("]")


def _object(cursor: _Cursor) -> Iterator[tuple[Any, int]]:
    """The elements under wrapper keys; an object that has none is a record itself."""
    own: dict[str, Any] = {}
    size = 0
    wrapped = False
    cursor.take("{")
    while cursor.peek() != "}":
        key, _ = cursor.value()
        cursor.take(":")
        if key in WRAPPERS and cursor.peek() in {"[", "{"}:
            wrapped = True
            yield from _records(cursor)
        else:
            own[str(key)], length = cursor.value()
            size += length
        if cursor.peek() != "}":
            cursor.take(",")
    cursor.take("}")
    if not wrapped:
        yield own, size
