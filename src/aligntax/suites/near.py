"""Prompts that say nearly the same: Jaccard similarity of their word pairs."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

NEAR = 0.7
"""From this share of common word pairs on, two prompts are nearly the same."""

_COMMON = 40
"""Texts that may share a pair of words before it stops telling which of them are alike."""


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


def _likeness(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> float:
    return len(one & other) / max(len(one | other), 1)


def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    """Neighbouring words, in lower case and without signs; of one word, that word."""
    words = re.findall(r"\w+", text.casefold())
    return frozenset(pairwise(words)) or frozenset([tuple(words)])
