"""Near-identical prompts: one template sent fifty times says no more than one prompt."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .reading import Ints, mixed_bits

_HASHES, _BANDS = 16, 4
_AGREE = 13  # of the hashes: a Jaccard similarity of about .8
_SEED = 20260302


def near_identical(words: NDArray[np.int32], first: Ints) -> Ints:
    """A number for the family of each prompt (n,), from 0; prompts of one family share most of their distinct words.

    MinHash of 16 values in 4 bands: prompts that agree in a band are compared with the first of it, and join when 13 of
    the values agree, which estimates a Jaccard similarity of .8. A word changed in a prompt of ten still joins them.

    Ref: Broder 1997, On the resemblance and containment of documents.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(first) - 1
    marks = _minima(words, first)
    left, right = [], []
    for band in range(_BANDS):
        rows = marks[band * _HASHES // _BANDS : (band + 1) * _HASHES // _BANDS].astype(np.uint64)
        key = mixed_bits(rows[0] << np.uint64(32) | rows[1]) ^ (rows[2] << np.uint64(32) | rows[3])
        _, start, inverse = np.unique(key, return_index=True, return_inverse=True)
        head = start[inverse]
        other = np.flatnonzero(head != np.arange(count))
        alike = np.zeros(len(other), dtype=np.int8)
        for row in marks:
            alike += row[other] == row[head[other]]
        other = other[alike >= _AGREE]
        left.append(other)
        right.append(head[other])
    one, two = np.concatenate(left), np.concatenate(right)
    if not len(one):
        return np.arange(count)
    links = coo_array((np.ones(len(one), dtype=bool), (one, two)), shape=(count, count))
    found: Ints = connected_components(links, directed=False)[1].astype(np.int64)
    return found


def _minima(words: NDArray[np.int32], first: Ints) -> NDArray[np.uint32]:
    """(hashes, n): the smallest value of each prompt's words under each hash."""
    random = np.random.default_rng(_SEED)
    factors = random.integers(0, 2**31, _HASHES, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    shifts = random.integers(0, 2**32, _HASHES, dtype=np.uint64).astype(np.uint32)
    marks = np.empty((_HASHES, len(first) - 1), dtype=np.uint32)
    step = 1 << 16  # prompts at a time: the hashes of all words never stand in memory together
    for start in range(0, marks.shape[1], step):
        end = min(start + step, marks.shape[1])
        here = words[first[start] : first[end]].astype(np.uint64)
        base = (mixed_bits(here + np.uint64(1)) >> np.uint64(32)).astype(np.uint32)
        edges = first[start:end] - first[start]
        for number in range(_HASHES):
            np.minimum.reduceat(base * factors[number] ^ shifts[number], edges, out=marks[number, start:end])
    return marks
