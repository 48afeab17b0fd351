"""Texts of a batch in one flat buffer: folded, cut into tokens and sentences, all with array operations.

Offsets are bytes of the folded UTF-8 buffer; `Flat.characters` turns them into characters of the original
response. Folding: case; typographic apostrophes, quotes, dashes, markdown and emoji only separate tokens;
compatibility forms (full width, mathematical letters), combining marks, soft hyphens and zero-width
characters are normalised row by row, in the rare rows that hold them.
"""

from __future__ import annotations

import dataclasses
import threading
import unicodedata
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from . import native

Array = npt.NDArray[Any]

CHUNK_BYTES = 3 << 17
"""Texts are judged in chunks of about this size, so that the arrays stay in the processor's cache."""

MAX_ROW_BYTES = 1 << 17
"""Longer answers are judged by their first 128 KiB."""

GAP, WORD, END = 0, 1, 2  # classes of bytes: separator, letter or digit, possible end of a sentence

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that it has an inverse modulo 2**64
_CODE = np.uint64(0xC0DEC0DEC0DEC0DE)
_QUOTED = np.uint64(0x9007ED9007ED9007)


def _byte_classes() -> bytes:
    classes = bytearray(256)
    for byte in range(256):
        classes[byte] = WORD if byte > 127 or chr(byte).isalnum() else GAP
    for byte in b".!?\n":
        classes[byte] = END
    return bytes(classes)


def _byte_values() -> npt.NDArray[np.uint64]:
    """One random value a byte; upper case shares that of lower case, and all digits share one."""
    values = np.random.default_rng(20260302).integers(1, 2**63, 256, dtype=np.uint64)
    values[ord("A") : ord("Z") + 1] = values[ord("a") : ord("z") + 1]
    values[ord("0") : ord("9") + 1] = values[ord("0")]
    return values


CLASSES = _byte_classes()
_CLASS_TABLE = np.frombuffer(CLASSES, np.uint8)
VALUES = _byte_values()


@cache
def _powers(bits: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """2**bits powers of the multiplier, and of its inverse."""
    size = 1 << bits
    inverse = np.uint64(pow(int(_MULTIPLIER), -1, 1 << 64))
    powers, inverses = np.full(size, _MULTIPLIER), np.full(size, inverse)
    powers[0] = inverses[0] = 1
    return np.cumprod(powers, dtype=np.uint64), np.cumprod(inverses, dtype=np.uint64)


def mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Spread a polynomial hash over all its bits (the multiply-xorshift finaliser)."""
    values = values ^ (values >> np.uint64(29))
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(32)
    return values


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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The tokens of a chunk. A sentence's tokens, and a row's, lie side by side; `*_first` has one more at the end."""

    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    hash: npt.NDArray[np.uint64]
    plain: npt.NDArray[np.uint64]  # as hash, but with code and quotations left readable
    word: npt.NDArray[np.bool_]
    hidden: npt.NDArray[np.bool_] | None  # inside code or quotation marks; None: nothing is
    row_first: npt.NDArray[np.int64]  # first token of each row
    sentence_first: npt.NDArray[np.int64]  # first token of each sentence
    row_sentence: npt.NDArray[np.int64]  # first sentence of each row

    def sentence_rows(self) -> npt.NDArray[np.int64]:
        """The row of each sentence."""
        return np.repeat(np.arange(len(self.row_sentence) - 1), np.diff(self.row_sentence))


# -- folding -------------------------------------------------------------------------------------------------


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
    origin: list[int] = []
    at = 0
    while at < len(text):
        stop = at + 1
        while stop < min(len(text), at + _CLUSTER) and unicodedata.combining(text[stop]):
            stop += 1
        cluster = text[at:stop]
        folded = "" if cluster in _INVISIBLE else unicodedata.normalize("NFKC", cluster).lower()
        pieces.append(folded)
        origin += [at] * len(folded)
        at = stop
    origin.append(len(text))
    return "".join(pieces), np.asarray(origin, np.int64)


_CLUSTER = 30  # a letter and its marks; putting longer runs in order takes time that grows with their square
_INVISIBLE = frozenset("\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff")


_memory = threading.local()


def _scratch(size: int) -> npt.NDArray[np.uint64]:
    """An array of this thread's to overwrite: fresh pages for every chunk would cost more than the hashing."""
    held: npt.NDArray[np.uint64] | None = getattr(_memory, "held", None)
    if held is None or len(held) < size:
        held = _memory.held = np.empty(max(size, CHUNK_BYTES + MAX_ROW_BYTES + 2), np.uint64)
    return held[:size]


# -- tokens --------------------------------------------------------------------------------------------------


def tokenize(flat: Flat) -> Tokens:
    """Cut a chunk into words and sentence ends, hash them, and mark code and quotations."""
    library = native.load()
    if library is None:
        start, end, hashes, word, ending, row_first = _cut(flat)
    else:
        start, end, hashes, word, ending, row_first = native.tokenize(
            library,
            flat.buffer,
            flat.row_start,
            _CLASS_TABLE,
            VALUES,
            int(_MULTIPLIER),
            _END_VALUES,
            _CLOSES,
            _abbreviations(),
        )
    begins = np.empty(len(start) + 1, np.bool_)
    begins[1:] = ending
    begins[:-1] &= word
    begins[row_first] = True
    sentence_first = np.flatnonzero(begins)
    if library is None:
        hidden, masked = _hidden(flat, start, row_first, hashes)
    else:
        hidden, masked = native.hide(
            library, flat.buffer, flat.row_start, start, row_first, hashes, int(_QUOTED), int(_CODE)
        )
    return Tokens(
        start=start,
        end=end,
        hash=masked,
        plain=hashes,
        word=word,
        hidden=hidden,
        row_first=row_first,
        sentence_first=sentence_first,
        row_sentence=np.searchsorted(sentence_first, row_first),
    )


def _cut(flat: Flat) -> tuple[Array, Array, npt.NDArray[np.uint64], Array, Array, Array]:
    """Start, end, hash, whether a word, whether a sentence end, of each token; first token of each row.

    What native.c does in one pass. Hashes are differences of prefix sums of a polynomial modulo 2**64.
    """
    buffer, row_start = flat.buffer, flat.row_start
    classes = np.frombuffer(flat.raw.translate(CLASSES), np.uint8)
    change = np.empty(len(buffer) + 1, np.bool_)
    change[0] = change[-1] = True
    if not flat.ascii:
        classes = _reclass(buffer, classes)
    np.not_equal(classes[1:], classes[:-1], out=change[1:-1])
    if not flat.ascii:
        eastern = np.flatnonzero((buffer >= 0xE3) & (buffer <= 0xED) & (classes == WORD))
        change[eastern] = change[np.minimum(eastern + 3, len(buffer))] = True  # each character by itself
    change[row_start] = True
    change[row_start[1:] - 1] = True
    row_edge = np.zeros(len(buffer) + 1, np.bool_)
    row_edge[row_start] = True

    edges = np.flatnonzero(change)
    kind = classes[edges[:-1]]
    kept = np.flatnonzero(kind)
    start, end, kind = edges[kept], edges[kept + 1], kind[kept]

    powers, inverses = _powers(max(19, len(buffer).bit_length()))
    totals = _scratch(len(buffer) + 1)
    totals[0] = 0
    np.take(VALUES, buffer, out=totals[1:], mode="clip")
    totals[1:] *= powers[: len(buffer)]
    np.cumsum(totals, out=totals)
    hashes = totals[end]
    hashes -= totals[start]
    hashes *= inverses[start]
    word = kind == WORD

    ends = np.flatnonzero(~word)
    breaks, weak = _sentence_ends(buffer, start, end, word, hashes, ends, row_edge)
    if len(weak):  # points inside numbers, names and abbreviations are no tokens at all
        keep = np.ones(len(start), np.bool_)
        keep[weak] = False
        moved = np.cumsum(keep) - 1
        start, end, word, hashes = start[keep], end[keep], word[keep], hashes[keep]
        breaks = moved[breaks]
    hashes[breaks] = _END_VALUES[np.take(buffer, start[breaks])]
    ending = np.zeros(len(start), np.bool_)
    ending[breaks] = True
    return start, end, hashes, word, ending, np.searchsorted(start, row_start)


def _reclass(buffer: Array, classes: Array) -> npt.NDArray[np.uint8]:
    """Classes of the bytes of punctuation, symbols and emoji beyond ASCII."""
    classes = classes.copy()
    size = len(buffer)

    def mark(at: Array, width: int, value: int) -> None:
        for step in range(width):
            classes[np.minimum(at + step, size - 1)] = value

    two = np.flatnonzero(buffer[:-1] == 0xC2)
    mark(two, 2, GAP)
    general = np.flatnonzero(buffer[:-2] == 0xE2)
    mark(general, 3, GAP)
    mark(general[(buffer[general + 1] == 0x80) & (buffer[general + 2] == 0xA6)], 3, END)  # ellipsis
    mark(np.flatnonzero(buffer == 0xF0), 4, GAP)
    mark(np.flatnonzero((buffer[:-1] == 0xEF) & (buffer[1:] == 0xB8)), 3, GAP)  # variation selectors
    east = np.flatnonzero((buffer[:-1] == 0xE3) & (buffer[1:] == 0x80))
    mark(east, 3, GAP)
    mark(east[buffer[east + 2] == 0x82], 3, END)  # ideographic full stop
    wide = np.flatnonzero((buffer[:-1] == 0xEF) & (buffer[1:] == 0xBC))
    mark(wide, 3, GAP)
    mark(wide[np.isin(buffer[wide + 2], (0x81, 0x8E, 0x9F))], 3, END)  # full-width ! . ?
    danda = np.flatnonzero((buffer[:-2] == 0xE0) & (buffer[1:-1] == 0xA5))
    mark(danda[np.isin(buffer[danda + 2], (0xA4, 0xA5))], 3, END)  # Devanagari danda
    arabic = np.flatnonzero((buffer[:-1] == 0xD8) & np.isin(buffer[1:], (0x8C, 0x9B, 0x9F)))
    mark(arabic, 2, GAP)
    mark(arabic[buffer[arabic + 1] == 0x9F], 2, END)  # Arabic question mark
    return classes


def word_hash(word: str) -> np.uint64:
    """The hash that `tokenize` gives to one folded word."""
    raw = np.frombuffer(word.encode(), np.uint8)
    powers, _ = _powers(19)
    return np.uint64((VALUES[raw] * powers[: len(raw)]).sum(dtype=np.uint64))


_ABBREVIATIONS = [
    "mr",
    "mrs",
    "ms",
    "dr",
    "prof",
    "st",
    "vs",
    "etc",
    "eg",
    "ie",
    "e",
    "g",
    "i",
    "no",
    "fig",
    "sec",
    "art",
    "ca",
    "approx",
    "inc",
    "ltd",
    "jr",
    "sr",
    "al",
    "resp",
    "cf",
    "u",
    "s",
]


@cache
def _abbreviations() -> npt.NDArray[np.uint64]:
    return np.sort(np.asarray([word_hash(word) for word in _ABBREVIATIONS]))


def _end_values() -> npt.NDArray[np.uint64]:
    values = np.full(256, np.uint64(0xE0D0E0D0E0D0E0D1))
    values[ord("?")] = np.uint64(0xE0D0E0D0E0D0A5C3)
    values[ord("\n")] = np.uint64(0xE0D0E0D0E0D0F7A9)
    return values


_END_VALUES = _end_values()


def _sentence_ends(
    buffer: Array, start: Array, end: Array, word: Array, hashes: Array, ends: Array, row_edge: Array
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Tokens of class END: those that end a sentence, and those that do not (3.14, e.g. this, "1. Item")."""
    following = buffer[np.minimum(end[ends], len(buffer) - 1)]
    spaced = _CLOSES[following]
    first = buffer[start[ends]]
    single = (end[ends] - start[ends] == 1) & (first == ord("."))
    before = np.maximum(ends - 1, 0)
    short = single & word[before] & (end[before] == start[ends])
    known = _abbreviations()
    place = np.minimum(np.searchsorted(known, hashes[before]), len(known) - 1)
    abbreviation = short & (known[place] == hashes[before])
    digit = (buffer[start[before]] >= 48) & (buffer[start[before]] <= 57) & (end[before] - start[before] <= 2)
    previous = np.maximum(ends - 2, 0)
    opens_line = ~word[previous] | (ends <= 1) | row_edge[start[before]]
    item = short & digit & opens_line
    breaking = (buffer[np.maximum(end[ends] - 1, 0)] == ord("\n")) | (first == ord("\n")) | (first > 127)
    breaking |= spaced & ~abbreviation & ~item
    breaking |= row_edge[end[ends]]
    return ends[breaking], ends[~breaking]


def _closers() -> npt.NDArray[np.bool_]:
    closes = np.zeros(256, np.bool_)
    closes[:33] = closes[128:] = True
    closes[np.frombuffer(b"\"')*_`]}>", np.uint8)] = True
    return closes


_CLOSES = _closers()  # bytes after which a point ends a sentence


# -- code and quotations -------------------------------------------------------------------------------------


def _hidden(
    flat: Flat, start: Array, row_first: Array, hashes: Array
) -> tuple[npt.NDArray[np.bool_] | None, npt.NDArray[np.uint64]]:
    """Which tokens stand in code or in quotation marks, and the hashes with those tokens made anonymous.

    A refusal that is quoted or printed is content, not the model's own word. An answer that is one single
    quotation is read as it stands.
    """
    code = _fences(flat)
    quotes = _quotations(flat)
    if not len(code) and not len(quotes):
        return None, hashes
    masked = hashes.copy()
    hidden = np.zeros(len(start), np.bool_)
    for intervals, value in ((quotes, _QUOTED), (code, _CODE)):
        if len(intervals):
            inside = _cover(start, intervals)
            _spare_whole_rows(inside, row_first)
            masked[inside] = value
            hidden |= inside
    return hidden, masked


def _cover(start: Array, intervals: Array) -> npt.NDArray[np.bool_]:
    marks = np.zeros(len(start) + 1, np.int32)
    np.add.at(marks, np.searchsorted(start, intervals[:, 0]), 1)
    np.add.at(marks, np.searchsorted(start, intervals[:, 1]), -1)
    return np.cumsum(marks[:-1]) > 0


def _spare_whole_rows(inside: Array, row_first: Array) -> None:
    """Un-hide rows that lie almost wholly inside."""
    totals = np.concatenate(([0], np.cumsum(inside)))
    count = totals[row_first[1:]] - totals[row_first[:-1]]
    for row in np.flatnonzero(count >= 0.8 * np.maximum(np.diff(row_first) - 1, 1)).tolist():
        inside[row_first[row] : row_first[row + 1]] = False


def _pair(at: Array, group: Array) -> npt.NDArray[np.int64]:
    """Join every first and second mark of a group; a last odd one stays open and is dropped."""
    if not len(at):
        return np.empty((0, 2), np.int64)
    begins = np.concatenate(([True], group[1:] != group[:-1]))
    first = np.flatnonzero(begins)
    order = np.arange(len(at)) - np.repeat(first, np.diff(np.append(first, len(at))))
    opens = np.flatnonzero((order[:-1] % 2 == 0) & ~begins[1:])
    return np.stack([at[opens], at[opens + 1]], axis=1)


def _fences(flat: Flat) -> npt.NDArray[np.int64]:
    """Byte intervals of fenced and of inline code."""
    ticks = np.flatnonzero(flat.buffer == ord("`"))
    if not len(ticks):
        return np.empty((0, 2), np.int64)
    opening = np.concatenate(([True], np.diff(ticks) != 1))
    first = np.flatnonzero(opening)
    width = np.diff(np.append(first, len(ticks)))
    at = ticks[first]
    row = np.searchsorted(flat.row_start, at, "right") - 1
    long = width >= 3
    fenced = _pair(at[long], row[long])
    fenced_rows, fences = np.unique(row[long], return_counts=True)
    open_rows = fenced_rows[fences % 2 == 1]  # a fence that is never closed reaches to the end
    tails = [(at[long & (row == r)][-1], flat.row_start[r + 1] - 1) for r in open_rows.tolist()]
    line = _line_numbers(flat, at)
    inline = _pair(at[~long], line[~long])
    parts = [fenced, inline, *([np.asarray(tails, np.int64)] if tails else [])]
    return np.concatenate(parts)


def _line_numbers(flat: Flat, at: Array) -> npt.NDArray[np.int64]:
    lines = np.flatnonzero(flat.buffer == ord("\n"))
    return np.searchsorted(lines, at)


def _quotations(flat: Flat) -> npt.NDArray[np.int64]:
    """Byte intervals between double quotation marks on one line, and of lines quoted with '>'."""
    buffer = flat.buffer
    straight = np.flatnonzero(buffer == ord('"'))
    parts = [_pair(straight, _line_numbers(flat, straight))] if len(straight) else []
    if not flat.ascii:
        general = np.flatnonzero((buffer[:-2] == 0xE2) & (buffer[1:-1] == 0x80))
        third = buffer[general + 2]
        for opening, closing in ((0x9C, 0x9D), (0x9E, 0x9C)):  # English and German shapes
            at = general[(third == opening) | (third == closing)]
            shape = buffer[at + 2]
            line = _line_numbers(flat, at)
            pairs = np.flatnonzero((shape[:-1] == opening) & (shape[1:] == closing) & (line[1:] == line[:-1]))
            parts.append(np.stack([at[pairs], at[pairs + 1]], axis=1))
    marks = np.flatnonzero(buffer == ord(">"))
    if len(marks):
        lead = buffer[np.maximum(marks - 1, 0)]
        marks = marks[(lead == ord("\n")) | np.isin(marks, flat.row_start)]
        lines = np.flatnonzero(buffer == ord("\n"))
        stops = lines[np.minimum(np.searchsorted(lines, marks), len(lines) - 1)]
        parts.append(np.stack([marks, stops], axis=1))
    return np.concatenate(parts) if parts else np.empty((0, 2), np.int64)
