"""The compiled loops of native.c, where the installation has them; the same in array operations elsewhere.

The build compiles native.c when it finds a C compiler. `ALIGNTAX_NATIVE=0` turns it off, for comparison.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

VERSION = 5
LIBRARY = Path(__file__).with_name("_native.so")

_Words = npt.NDArray[np.uint64]
_Counts = npt.NDArray[np.int64]
_Flags = npt.NDArray[np.bool_]


@cache
def load() -> ctypes.CDLL | None:
    """The library, or None: not built here, built from an older source, or turned off."""
    if os.environ.get("ALIGNTAX_NATIVE") == "0" or not LIBRARY.exists():
        return None
    try:
        library = ctypes.CDLL(str(LIBRARY))
    except OSError:  # built for another machine: the array code serves
        return None
    library.aligntax_native_version.restype = ctypes.c_int64
    if library.aligntax_native_version() != VERSION:
        return None
    library.aligntax_tokenize.restype = ctypes.c_int64
    library.aligntax_find.restype = ctypes.c_int64
    library.aligntax_hide.restype = ctypes.c_int64
    return library


def _address(array: npt.NDArray[np.generic], kind: type[np.generic]) -> ctypes.c_void_p:
    if array.dtype != kind or not array.flags.c_contiguous:
        raise ValueError(f"the compiled loops need contiguous {kind.__name__}, not {array.dtype}")
    return ctypes.c_void_p(array.ctypes.data)


def _size(value: int) -> ctypes.c_int64:
    return ctypes.c_int64(value)


def tokenize(
    library: ctypes.CDLL,
    buffer: npt.NDArray[np.uint8],
    row_start: _Counts,
    classes: npt.NDArray[np.uint8],
    values: _Words,
    multiplier: int,
    end_values: _Words,
    closes: _Flags,
    abbreviations: _Words,
) -> tuple[_Counts, _Counts, _Words, _Flags, _Flags, _Counts]:
    """Start, end, hash, whether a word, whether a sentence end, of each token; first token of each row."""
    rows = len(row_start) - 1
    row_first = np.empty(rows + 1, np.int64)
    # Prose has a token every six bytes. Room for the worst case would be touched by nobody and cost page faults.
    for room in (len(buffer) // 4 + 2 * rows + 2, len(buffer) + 2):
        start, end = np.empty(room, np.int64), np.empty(room, np.int64)
        hashes = np.empty(room, np.uint64)
        word, ending = np.empty(room, np.bool_), np.empty(room, np.bool_)
        count = library.aligntax_tokenize(
            _address(buffer, np.uint8),
            _address(row_start, np.int64),
            _size(rows),
            _address(classes, np.uint8),
            _address(values, np.uint64),
            ctypes.c_uint64(multiplier),
            _address(end_values, np.uint64),
            _address(closes, np.bool_),
            _address(abbreviations, np.uint64),
            _size(len(abbreviations)),
            _size(room),
            _address(start, np.int64),
            _address(end, np.int64),
            _address(hashes, np.uint64),
            _address(word, np.bool_),
            _address(ending, np.bool_),
            _address(row_first, np.int64),
        )
        if count >= 0:
            break
    return start[:count], end[:count], hashes[:count], word[:count], ending[:count], row_first


def gram_sums(
    library: ctypes.CDLL,
    mixed: _Words,
    row_first: _Counts,
    sentence_first: _Counts,
    row_sentence: _Counts,
    later: _Flags,
    table: npt.NDArray[np.int8],
    bits: int,
    constants: _Words,
) -> npt.NDArray[np.int32]:
    """Weight rows of the n-grams summed by sentence: (sentences, 16)."""
    sums = np.empty((len(sentence_first) - 1, table.shape[1]), np.int32)
    library.aligntax_gram_sums(
        _address(mixed, np.uint64),
        _address(row_first, np.int64),
        _size(len(row_first) - 1),
        _address(sentence_first, np.int64),
        _address(row_sentence, np.int64),
        _address(later, np.bool_),
        _address(table, np.int8),
        _size(bits),
        _address(constants, np.uint64),
        _address(sums, np.int32),
    )
    return sums


def count_words(
    library: ctypes.CDLL, mixed: _Words, row_first: _Counts, packed: npt.NDArray[np.uint8], bits: int
) -> _Counts:
    """How many tokens of each row are in a packed table of words."""
    counts = np.empty(len(row_first) - 1, np.int64)
    library.aligntax_count_words(
        _address(mixed, np.uint64),
        _address(row_first, np.int64),
        _size(len(counts)),
        _address(packed, np.uint8),
        _size(bits),
        _address(counts, np.int64),
    )
    return counts


def find(
    library: ctypes.CDLL,
    mixed: _Words,
    singles: npt.NDArray[np.uint8],
    single_bits: int,
    begun: npt.NDArray[np.uint8],
    pairs: npt.NDArray[np.uint32],
    pair_bits: int,
    pair_constants: _Words,
    step: int,
    keys: _Words,
    key_starts: npt.NDArray[np.uint32],
    known: npt.NDArray[np.uint8],
    known_bits: int,
) -> _Counts:
    """Candidate phrases: (found, 3) of first token, last token and place in `keys`."""
    room = 2 * len(mixed) + 64
    while True:
        hits = np.empty((room, 3), np.int64)
        found = library.aligntax_find(
            _address(mixed, np.uint64),
            _size(len(mixed)),
            _address(singles, np.uint8),
            _size(single_bits),
            _address(begun, np.uint8),
            _address(pairs, np.uint32),
            _size(pair_bits),
            _address(pair_constants, np.uint64),
            ctypes.c_uint64(step),
            _address(keys, np.uint64),
            _address(key_starts, np.uint32),
            _address(known, np.uint8),
            _size(known_bits),
            _address(hits, np.int64),
            _size(room),
        )
        if found + 32 < room:
            return hits[:found]
        room *= 4


def hide(
    library: ctypes.CDLL,
    buffer: npt.NDArray[np.uint8],
    row_start: _Counts,
    start: _Counts,
    row_first: _Counts,
    hashes: _Words,
    quoted: int,
    code: int,
) -> tuple[_Flags | None, _Words]:
    """Which tokens stand in code or quotation marks (None: none does), and the hashes with those anonymous."""
    flags, masked = np.empty(len(start), np.bool_), np.empty(len(start), np.uint64)
    marked = library.aligntax_hide(
        _address(buffer, np.uint8),
        _address(row_start, np.int64),
        _size(len(row_start) - 1),
        _address(start, np.int64),
        _address(row_first, np.int64),
        _address(hashes, np.uint64),
        ctypes.c_uint64(quoted),
        ctypes.c_uint64(code),
        _address(flags, np.bool_),
        _address(masked, np.uint64),
    )
    return (flags if marked else None), masked


def counts(
    library: ctypes.CDLL,
    buffer: npt.NDArray[np.uint8],
    row_start: _Counts,
    start: _Counts,
    word: _Flags,
    hidden: _Flags | None,
    mixed: _Words,
    row_first: _Counts,
    packed: npt.NDArray[np.uint8],
    bits: int,
    byte: int,
) -> _Counts:
    """Words, hidden tokens, words of a packed table, tokens with a digit first, and one byte: (rows, 5)."""
    rows = len(row_first) - 1
    out = np.empty((rows, 5), np.int64)
    library.aligntax_counts(
        _address(buffer, np.uint8),
        _address(row_start, np.int64),
        _address(start, np.int64),
        _address(word, np.bool_),
        None if hidden is None else _address(hidden, np.bool_),
        _address(mixed, np.uint64),
        _address(row_first, np.int64),
        _size(rows),
        _address(packed, np.uint8),
        _size(bits),
        ctypes.c_uint8(byte),
        _address(out, np.int64),
    )
    return out


def overlap(
    library: ctypes.CDLL,
    asked: _Words,
    content: _Flags,
    asked_first: _Counts,
    mixed: _Words,
    word: _Flags,
    start: _Counts,
    end: _Counts,
    row_first: _Counts,
    opening: int,
) -> _Counts:
    """Prompt words covered, covered in the opening, wanted, and answer words that are the prompt's: (rows, 4)."""
    rows = len(row_first) - 1
    counts = np.empty((rows, 4), np.int64)
    library.aligntax_overlap(
        _address(asked, np.uint64),
        _address(content, np.bool_),
        _address(asked_first, np.int64),
        _address(mixed, np.uint64),
        _address(word, np.bool_),
        _address(start, np.int64),
        _address(end, np.int64),
        _address(row_first, np.int64),
        _size(rows),
        _size(opening),
        _address(counts, np.int64),
    )
    return counts


def by_row(
    library: ctypes.CDLL,
    functions: npt.NDArray[np.float32],
    phrases: npt.NDArray[np.float32],
    sentence_first: _Counts,
    row_sentence: _Counts,
    later: _Flags,
    words: npt.NDArray[np.float32],
    out: npt.NDArray[np.float32],
) -> None:
    """Fill the first columns of `out` (rows, any) with what features.py computes of each row's sentences."""
    library.aligntax_by_row(
        _address(functions, np.float32),
        _size(functions.shape[1]),
        _address(phrases, np.float32),
        _size(phrases.shape[1]),
        _address(sentence_first, np.int64),
        _address(row_sentence, np.int64),
        _address(later, np.bool_),
        _address(words, np.float32),
        _size(len(row_sentence) - 1),
        _address(out, np.float32),
        _size(out.shape[1]),
    )
