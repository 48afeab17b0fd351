"""Prompts that say nearly the same: word pairs for a suite, MinHash of three words for a log."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

NEAR = 0.7
"""From this share of common word pairs on, two prompts are nearly the same."""

NEAR_COPY = 0.6
"""From this share of common runs of three words on, a prompt of a log repeats another: a word or two differ."""

_COMMON = 40
"""Texts that may share a pair of words before it stops telling which of them are alike."""

# At a likeness of 0.6 two texts share one of 32 bands of 4 hashes with probability 1 - (1 - 0.6**4)**32 = 0.99.
_BANDS, _ROWS = 32, 4
_CROWD = 8  # leaders of one bucket that a text is compared with
_CHUNK = 1 << 16  # hashes at a time: they stay in the processor's cache

_CJK = r"\p{Han}\p{Hiragana}\p{Katakana}"
_WORD = rf"[{_CJK}]|\p{{N}}+|[[\p{{L}}\p{{M}}]--[{_CJK}]]+(?:'[[\p{{L}}\p{{M}}]--[{_CJK}]]+)*"


def near_pairs(texts: Sequence[str], near: float = NEAR) -> Iterator[tuple[int, int]]:
    """Positions of texts that are nearly the same, the earlier one first; each text with its nearest earlier one.

    Pairs of words that very many texts share are not looked up, so texts made of nothing else are only found
    when they are equal.
    """
    shingles = [_shingles(text) for text in texts]
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    equal: dict[frozenset[tuple[str, ...]], int] = {}
    for position, mine in enumerate(shingles):
        if mine in equal:
            yield equal[mine], position
            continue
        equal[mine] = position
        shared = Counter(other for each in mine if len(holders[each]) <= _COMMON for other in holders[each])
        best = max(shared, key=lambda other: (_likeness(shingles[other], mine), -other), default=None)
        if best is not None and _likeness(shingles[best], mine) >= near:
            yield best, position
        for each in mine:
            if len(holders[each]) <= _COMMON:
                holders[each].append(position)


def leaders(texts: Sequence[str], near: float = NEAR_COPY, *, seed: int = 0) -> NDArray[np.int64]:
    """For each text (n,) the position of an earlier one that it nearly repeats; its own where there is none.

    Likeness is Jaccard's of runs of three words; case, numbers and signs between words make no difference. Pairs
    come from MinHash with bands (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, 3.4), and
    each is then compared exactly, so whoever stays is near to all that it stands for. About 1 % of pairs just at
    `near` are missed; so is a text with more than 8 unlike leaders in each bucket that would lead it there.
    """
    import numpy as np

    found = np.arange(len(texts), dtype=np.int64)
    if not len(texts):
        return found
    hashes, first = _run_hashes(texts)
    keys = _bucket_keys(_signatures(hashes, first, seed))
    sets: dict[int, frozenset[int]] = {}

    def runs(row: int) -> frozenset[int]:
        if row not in sets:
            sets[row] = frozenset(hashes[first[row] : first[row + 1]].tolist())
        return sets[row]

    holders: dict[int, list[int]] = defaultdict(list)
    for row in np.flatnonzero(_shared(keys)).tolist():
        mine: list[int] = keys[row].tolist()
        seen = dict.fromkeys(leader for key in mine for leader in holders.get(key, ()))
        found[row] = next((leader for leader in seen if _likeness(runs(leader), runs(row)) >= near), row)
        if found[row] != row:
            del sets[row]
            continue
        for key in mine:
            if len(holders[key]) < _CROWD:
                holders[key].append(row)
    return found


def words_of(column: str) -> pl.Expr:
    """The words of a text column as lists: letters, one Chinese or Japanese character, or a number, which reads 0."""
    import polars as pl

    folded = (
        pl.col(column)
        .str.normalize("NFKC")
        .str.replace_all(r"\p{Cf}+", "")
        .str.to_lowercase()
        .str.replace_all(r"[’ʼ＇]", "'")
        .str.replace_all(r"\p{N}+", "0")
    )
    return folded.str.extract_all(_WORD)


def _run_hashes(texts: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hashes of all runs of three words, text after text, and where those of each text start (n + 1).

    A text of fewer words is one run; one without words is a run of its own signs.
    """
    import numpy as np
    import polars as pl

    frame = pl.DataFrame({"text": pl.Series([*texts], dtype=pl.String)}).with_columns(words=words_of("text"))
    frame = frame.select(
        pl.when(pl.col("words").list.len() > 0).then("words").otherwise(pl.concat_list("text")).alias("words")
    )
    words = frame["words"].explode().hash(seed=1).to_numpy()
    lengths = frame["words"].list.len().to_numpy().astype(np.int64)
    word_start = np.cumsum(lengths) - lengths
    counts = np.maximum(lengths - 2, 1)
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    at = np.repeat(word_start - first[:-1], counts) + np.arange(first[-1])
    last = np.repeat(word_start + lengths - 1, counts)
    hashes = np.zeros(len(at), dtype=np.uint64)
    for step in range(3):
        hashes = _mixed(hashes ^ words[np.minimum(at + step, last)])
    return hashes, first


def _signatures(hashes: NDArray[np.uint64], first: NDArray[np.int64], seed: int) -> NDArray[np.uint32]:
    """The least value of each of 128 random functions over the runs of each text, (n, 128)."""
    import numpy as np

    random = np.random.default_rng(seed)
    functions = _BANDS * _ROWS
    factors = random.integers(0, 1 << 63, functions, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    shifts = random.integers(0, 1 << 63, functions, dtype=np.uint64)
    signatures = np.empty((len(first) - 1, functions), dtype=np.uint32)
    begin = 0
    while begin < len(first) - 1:
        end = max(int(np.searchsorted(first, first[begin] + _CHUNK, side="right")) - 1, begin + 1)
        part = hashes[first[begin] : first[end]]
        starts = first[begin:end] - first[begin]
        for number in range(functions):
            values = ((part * factors[number] + shifts[number]) >> np.uint64(32)).astype(np.uint32)
            signatures[begin:end, number] = np.minimum.reduceat(values, starts)
        begin = end
    return signatures


def _bucket_keys(signatures: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """The bucket of each text in each band, (n, bands); no two bands share one."""
    import numpy as np

    keys = np.broadcast_to(np.arange(1, _BANDS + 1, dtype=np.uint64), (len(signatures), _BANDS))
    for row in range(_ROWS):
        keys = _mixed(keys ^ signatures[:, row::_ROWS].astype(np.uint64))
    return keys


def _shared(keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Texts (n,) that have a bucket in common with another one."""
    import numpy as np

    shared = np.zeros(len(keys), dtype=bool)
    for band in keys.T:
        _, place, counts = np.unique(band, return_inverse=True, return_counts=True)
        shared |= counts[place] > 1
    return shared


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread over all 64 bits (the finaliser of SplitMix64)."""
    import numpy as np

    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _likeness(one: frozenset[Any], other: frozenset[Any]) -> float:
    return len(one & other) / max(len(one | other), 1)


def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    """Neighbouring words, in lower case and without signs; of one word, that word."""
    words = re.findall(r"\w+", text.casefold())
    return frozenset(pairwise(words)) or frozenset([tuple(words)])
