"""Words and phrases that enough prompts hold, counted once a prompt, however often the prompt says them.

A phrase can be frequent only where both of its shorter parts are, so each length is counted among what the length
before has left: the rare phrases, which are most of them, never take memory.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .reading import NUMBER, Ints, Prompts

FEWEST = 10
"""Prompts that a candidate stands in."""
LONGEST_PHRASE = 3
_MOST = 400_000  # candidates of one length; the most frequent are kept
_BUCKETS = 24  # bits
_PLACES = 8_000_000  # words that are worked on at a time


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidates:
    """Words or phrases of one length. `columns` is a CSC array (prompts, candidates) of where they stand."""

    length: int
    columns: Any
    words: NDArray[np.int32]  # (candidates, length): positions in the vocabulary

    def __len__(self) -> int:
        return len(self.words)


def counted(prompts: Prompts, *, fewest: int = FEWEST) -> list[Candidates]:
    """Words, then phrases of two and three words, that stand in at least `fewest` distinct prompts."""
    document = np.repeat(np.arange(len(prompts.first) - 1, dtype=np.int32), np.diff(prompts.first))
    counts = np.bincount(prompts.words, minlength=len(prompts.vocabulary))
    number = np.flatnonzero(prompts.vocabulary.to_numpy() == NUMBER)
    frequent = counts >= fewest
    at = np.where(frequent, np.cumsum(frequent) - 1, -1).astype(np.int32)[prompts.words]
    meaning = np.flatnonzero(frequent).astype(np.int32)[:, None]
    single = meaning[:, 0]
    found, part = [], at  # part: the number of the phrase that starts at each word; -1: none
    for length in range(1, LONGEST_PHRASE + 1):
        if length > 1:
            part, meaning = _longer(part, meaning, (at, single), document, length, fewest)
        columns, kept = _columns(part, document, len(meaning), len(prompts.first) - 1, fewest)
        words = meaning[kept]
        only_numbers = np.isin(words, number).all(axis=1)
        if only_numbers.any():
            columns, words = columns[:, ~only_numbers], words[~only_numbers]
        found.append(Candidates(length=length, columns=columns, words=words))
        if not len(meaning):
            break
    return found


def _longer(
    part: NDArray[np.int32],
    meaning: NDArray[np.int32],
    singles: tuple[NDArray[np.int32], NDArray[np.int32]],
    document: NDArray[np.int32],
    length: int,
    fewest: int,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Phrases of one word more: the number at each word, and the words of each number."""
    at, single = singles  # the number of the word at each place, and the word of each number
    step = length - 1
    if len(part) <= step or not len(meaning):
        return np.full(len(part), -1, dtype=np.int32), np.empty((0, length), dtype=np.int32)
    where, keys = _often(part, at, document, step, fewest)
    values, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    frequent = counts >= fewest
    number = np.where(frequent, np.cumsum(frequent) - 1, -1).astype(np.int32)
    starts = np.full(len(part), -1, dtype=np.int32)
    starts[where] = number[inverse]
    values = values[frequent]
    before = (values >> np.uint64(32)).astype(np.int64)
    last = single[(values & np.uint64(0xFFFFFFFF)).astype(np.int64)]
    return starts, np.column_stack([meaning[before], last])


def _often(
    part: NDArray[np.int32],
    at: NDArray[np.int32],
    document: NDArray[np.int32],
    step: int,
    fewest: int,
) -> tuple[Ints, NDArray[np.uint64]]:
    """Where a phrase may stand that is frequent, and its name: phrases share 16 million counters, so a few too many."""

    def names(start: int) -> tuple[Ints, NDArray[np.uint64]]:
        end = min(start + _PLACES, len(part) - step)
        fits = (part[start:end] >= 0) & (part[start + 1 : end + 1] >= 0)
        fits &= (at[start + step : end + step] >= 0) & (
            document[start:end] == document[start + step : end + step]
        )
        where = np.flatnonzero(fits) + start
        return where, part[where].astype(np.uint64) << np.uint64(32) | at[where + step].astype(np.uint64)

    def counters(keys: NDArray[np.uint64]) -> Ints:
        return ((keys * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - _BUCKETS)).astype(np.int64)

    starts = range(0, len(part) - step, _PLACES)
    counts = np.zeros(1 << _BUCKETS, dtype=np.int32)
    for start in starts:
        counts += np.bincount(counters(names(start)[1]), minlength=1 << _BUCKETS).astype(np.int32)
    frequent = counts >= fewest
    found = []
    for start in starts:
        where, keys = names(start)
        enough = frequent[counters(keys)]
        found.append((where[enough], keys[enough]))
    return np.concatenate([one for one, _ in found]), np.concatenate([one for _, one in found])


def _columns(
    part: NDArray[np.int32], document: NDArray[np.int32], count: int, prompts: int, fewest: int
) -> tuple[Any, Ints]:
    """Where each phrase stands, and which of them stand in enough prompts."""
    from scipy.sparse import coo_array

    there = part >= 0
    places = (document[there], part[there])
    columns = coo_array((np.ones(len(places[0]), dtype=bool), places), shape=(prompts, count)).tocsc()
    del there, places
    columns.sum_duplicates()
    documents = np.diff(columns.indptr)
    kept = np.flatnonzero(documents >= fewest)
    if len(kept) > _MOST:
        kept = np.sort(kept[np.argsort(-documents[kept], kind="stable")[:_MOST]])
    return (columns if len(kept) == count else columns[:, kept]), kept
