"""Texts of a batch in one flat buffer, folded so that what reads alike is alike.

Offsets are bytes of the folded UTF-8 buffer; `Flat.characters` turns them into characters of the original
response. Case and compatibility forms (full width, mathematical letters) are folded, combining marks composed,
soft hyphens and zero-width characters dropped; that happens row by row, in the rare rows that hold such.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

CHUNK_BYTES = 3 << 17
"""Texts are judged in chunks of about this size, so that the arrays stay in the processor's cache."""

MAX_ROW_BYTES = 1 << 17
"""Longer answers are judged by their first 128 KiB."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Flat:
    """One chunk of texts. Row r owns the bytes row_start[r] to row_start[r+1], its separator included."""

    buffer: npt.NDArray[np.uint8]
    raw: bytes
    row_start: npt.NDArray[np.int64]
    ascii: bool
    origins: dict[int, npt.NDArray[np.int64]]  # rows whose characters moved when they were folded

    @property
    def rows(self) -> int:
        """Number of texts."""
        return len(self.row_start) - 1

    def characters(self, offsets: Array, rows: Array) -> npt.NDArray[np.int64]:
        """Character offsets in the original responses of byte `offsets` that lie in `rows`."""
        inside: npt.NDArray[np.int64] = offsets - self.row_start[rows]
        if self.ascii:
            return inside
        tails = np.concatenate(([0], np.cumsum((self.buffer & 0xC0) == 0x80)))
        inside = inside - (tails[offsets] - tails[self.row_start[rows]])
        for row, origin in self.origins.items():
            at = np.flatnonzero(rows == row)
            inside[at] = origin[np.minimum(inside[at], len(origin) - 1)]
        return inside


def flatten(texts: list[str]) -> Flat:
    """Join texts into one folded buffer; a long text is cut at MAX_ROW_BYTES."""
    texts = [text[:MAX_ROW_BYTES] for text in texts]
    raw, row_start = _join(texts)
    origins: dict[int, npt.NDArray[np.int64]] = {}
    plain = raw.isascii()
    if not plain:
        unusual = _unusual_rows(np.frombuffer(raw, np.uint8), row_start)
        for row in unusual.tolist():
            texts[row], origin = fold(texts[row])
            if origin is not None:
                origins[row] = origin
        if len(unusual):
            raw, row_start = _join(texts)
    return Flat(
        buffer=np.frombuffer(raw, np.uint8), raw=raw, row_start=row_start, ascii=plain, origins=origins
    )


def _join(texts: list[str]) -> tuple[bytes, npt.NDArray[np.int64]]:
    joined = "\n".join(texts) + "\n"
    if joined.isascii():
        lengths = [len(text) for text in texts]
        raw = joined.encode("ascii")
    else:
        parts = [_clipped(text.encode("utf-8", "replace")) for text in texts]
        lengths = [len(part) for part in parts]
        raw = b"\n".join(parts) + b"\n"
    row_start = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.asarray(lengths, np.int64) + 1, out=row_start[1:])
    return raw, row_start


def _clipped(raw: bytes) -> bytes:
    """At most MAX_ROW_BYTES, and no half character at the end."""
    if len(raw) <= MAX_ROW_BYTES:
        return raw
    stop = MAX_ROW_BYTES
    while raw[stop] & 0xC0 == 0x80:
        stop -= 1
    return raw[:stop]


def _unusual_rows(buffer: Array, row_start: Array) -> npt.NDArray[np.int64]:
    """Rows with letters beyond ASCII that have a case, compatibility forms or invisible characters."""
    following = np.append(buffer[1:], np.uint8(0))
    third = np.append(buffer[2:], np.zeros(2, np.uint8))
    unusual = (buffer >= 0xC3) & (buffer <= 0xDF)
    unusual |= (buffer == 0xC2) & (following == 0xAD)  # soft hyphen
    unusual |= (buffer == 0xE1) | ((buffer == 0xEF) & ((following >= 0xBB) & (following <= 0xBD)))
    unusual |= (buffer == 0xF0) & (following == 0x9D)
    unusual |= (buffer == 0xE2) & (following == 0x80) & (third >= 0x8B) & (third <= 0x8F)
    unusual |= (buffer == 0xE2) & (following == 0x81) & (third >= 0xA0)
    return np.unique(np.searchsorted(row_start, np.flatnonzero(unusual), "right") - 1)


def fold(text: str) -> tuple[str, npt.NDArray[np.int64] | None]:
    r"""Lower case and compatibility normal form, with the original offset of each character when they moved.

    >>> fold("CAFÉ")[0], fold("ｃａｎ\u200bnot")[0]
    ('café', 'cannot')
    """
    lowered = text.lower()
    letters = set(text)
    plain = not (letters & _INVISIBLE or any(unicodedata.combining(letter) for letter in letters))
    if plain and len(lowered) == len(text) and unicodedata.is_normalized("NFKC", lowered):
        return lowered, None
    pieces: list[str] = []
    origins: list[npt.NDArray[np.int64]] = []
    done = 0
    for run in _BEYOND_ASCII.finditer(text):
        start = run.start()
        if start > done and unicodedata.combining(text[start]):
            start -= 1  # the letter that the mark belongs to
        pieces.append(text[done:start].lower())
        origins.append(np.arange(done, start))
        done = run.end()
        folded, origin = _fold_run(text, start, done)
        pieces.append(folded)
        origins.append(np.asarray(origin, np.int64))
    pieces.append(text[done:].lower())
    origins.append(np.arange(done, len(text) + 1))
    return "".join(pieces), np.concatenate(origins)


def _fold_run(text: str, start: int, stop: int) -> tuple[str, list[int]]:
    """A run of characters beyond ASCII, letter by letter with its marks, and the offset each came from."""
    pieces: list[str] = []
    origin: list[int] = []
    at = start
    while at < stop:
        end = at + 1
        while end < min(stop, at + _CLUSTER) and unicodedata.combining(text[end]):
            end += 1
        cluster = text[at:end]
        folded = "" if cluster in _INVISIBLE else unicodedata.normalize("NFKC", cluster).lower()
        pieces.append(folded)
        origin += [at] * len(folded)
        at = end
    return "".join(pieces), origin


_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
_CLUSTER = 30  # a letter and its marks; putting longer runs in order takes time that grows with their square
_INVISIBLE = frozenset("\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff")
