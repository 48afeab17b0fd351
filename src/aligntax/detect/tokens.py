"""Words and sentences of a chunk, hashed: in one compiled pass, or in array operations that give the same.

A word is a run of letters or digits, or one Chinese, Japanese or Korean character. Apostrophes of any shape,
quotes, dashes, markdown and emoji only separate words.
"""

from __future__ import annotations

import dataclasses
import threading
from functools import cache

import numpy as np
import numpy.typing as npt

from . import native
from .quotes import CODE, QUOTED, hidden_tokens
from .text import CHUNK_BYTES, MAX_ROW_BYTES, Array, Flat

GAP, WORD, END = 0, 1, 2  # classes of bytes: separator, letter or digit, possible end of a sentence

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that it has an inverse modulo 2**64


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


_memory = threading.local()


def _scratch(size: int) -> npt.NDArray[np.uint64]:
    """An array of this thread's to overwrite: fresh pages for every chunk would cost more than the hashing."""
    held: npt.NDArray[np.uint64] | None = getattr(_memory, "held", None)
    if held is None or len(held) < size:
        held = _memory.held = np.empty(max(size, CHUNK_BYTES + MAX_ROW_BYTES + 2), np.uint64)
    return held[:size]


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
    begins[_after_blanks(word, row_first)] = False
    begins[row_first] = True
    sentence_first = np.flatnonzero(begins)
    if library is None:
        hidden, masked = hidden_tokens(flat, start, row_first, hashes)
    else:
        hidden, masked = native.hide(
            library, flat.buffer, flat.row_start, start, row_first, hashes, int(QUOTED), int(CODE)
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


def _after_blanks(word: Array, row_first: Array) -> npt.NDArray[np.int64]:
    """First words of rows that open with line ends: no sentence ended there, so none begins anew."""
    blank = row_first[:-1][~word[row_first[:-1]]]
    if not len(blank):
        return blank
    words = np.append(np.flatnonzero(word), len(word))
    first: npt.NDArray[np.int64] = words[np.searchsorted(words, blank)]
    return first


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
