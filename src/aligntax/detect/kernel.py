"""Hashed word 1- to 3-grams of a chunk, and their weighted sums by sentence: the learned half of the detector.

Every n-gram falls into one of 2**14 buckets. Sentences that begin within the first 40 words of an answer use
one table of weights, later sentences another. A bucket holds one row of weights, for all heads at once.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from . import native
from .text import Array
from .tokens import Tokens

BITS = 14
BUCKETS = 1 << BITS
ORDERS = 3
OPENING_WORDS = 40

_TWO = (np.uint64(0x9DDFEA08EB382D69), np.uint64(0xC2B2AE3D27D4EB4F))
_THREE = (np.uint64(0x8CB92BA72F3D8DD7), np.uint64(0x165667B19E3779F9))
_BEFORE = np.uint64(0x5EEDBEF05EEDBEF1)  # stands for what precedes the first word of an answer


def later_sentences(tokens: Tokens) -> npt.NDArray[np.bool_]:
    """Whether each sentence begins after the opening of its answer."""
    row = tokens.sentence_rows()
    return tokens.sentence_first[:-1] - tokens.row_first[row] >= OPENING_WORDS


def grams(
    tokens: Tokens, mixed: npt.NDArray[np.uint64], later: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int32]:
    """Buckets of the three n-grams that end at each token, three side by side; `mixed` is mix(tokens.hash)."""
    count = len(mixed)
    before = np.empty(count + 2, np.uint64)
    before[2:] = mixed
    before[:2] = _BEFORE
    one, two = before[1:-1].copy(), before[:-2].copy()
    first = tokens.row_first[:-1]
    one[first] = two[first] = _BEFORE
    second = first + 1
    two[second[second < tokens.row_first[1:]]] = _BEFORE
    shift = np.uint64(64 - BITS)
    buckets = np.empty((count, ORDERS), np.int32)
    one *= _TWO[0]
    one += mixed
    buckets[:, 0] = mixed >> shift
    buckets[:, 1] = one * _TWO[1] >> shift
    two *= _THREE[0]
    two += one
    two *= _THREE[1]
    buckets[:, 2] = two >> shift
    if later.any():
        buckets[np.repeat(later, np.diff(tokens.sentence_first))] += BUCKETS
    return buckets.ravel()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """N-gram weights of all heads in eight bits: one row of 16 a bucket, one scale a head."""

    table: npt.NDArray[np.int8]  # (2 * BUCKETS, 16), zero beyond the heads
    scale: npt.NDArray[np.float32]  # (heads,)


def quantise(weights: npt.NDArray[np.floating[Any]]) -> Weights:
    """Eight bits a weight: n-gram weights are many and small. `weights`: (2 * BUCKETS, heads)."""
    scale = np.maximum(np.abs(weights).max(axis=0), 1e-9) / 127
    table = np.zeros((len(weights), 16), np.int8)
    table[:, : weights.shape[1]] = np.rint(weights / scale)
    return Weights(table=table, scale=scale.astype(np.float32))


def sentence_sums(
    tokens: Tokens, mixed: npt.NDArray[np.uint64], later: npt.NDArray[np.bool_], weights: Weights
) -> npt.NDArray[np.float32]:
    """Sum of the weight rows of each sentence's n-grams: (sentences, heads)."""
    library = native.load()
    if library is None:
        counts = matrix(tokens.sentence_first, grams(tokens, mixed, later))
        sums = counts @ weights.table.astype(np.int32)
    else:
        sums = native.gram_sums(
            library,
            mixed,
            tokens.row_first,
            tokens.sentence_first,
            tokens.row_sentence,
            later,
            weights.table,
            BITS,
            np.asarray([*_TWO, *_THREE, _BEFORE], np.uint64),
        )
    scaled: npt.NDArray[np.float32] = sums[:, : len(weights.scale)].astype(np.float32) * weights.scale
    return scaled


def matrix(first: Array, buckets: npt.NDArray[np.int32]) -> sparse.csr_array:
    """Counts of n-grams by sentence (or by row, by what `first` cuts), one entry an occurrence."""
    pointers = (first * ORDERS).astype(np.int32)
    ones = np.ones(len(buckets), np.int32)
    return sparse.csr_array((ones, buckets, pointers), shape=(len(first) - 1, 2 * BUCKETS))
