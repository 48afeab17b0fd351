"""Words that cannot be told apart: those that come together in nearly the same prompts, and phrases with their parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .reading import Floats

_ALIKE = 0.5  # correlation over prompts from which two words are one finding


def grouped(columns: Any, words: Sequence[tuple[str, ...]], p: Floats) -> list[list[int]]:
    """Positions of words in groups, the smallest `p` first in each and over all. `columns` is CSC (prompts, words).

    A word joins the first group whose lead holds it, is held by it as a phrase, or is correlated with it at .5 or more.
    Only leads count: a common word between two triggers does not make one of them.
    """
    together = (columns.T.astype(np.int32) @ columns.astype(np.int32)).toarray().astype(float)
    count, prompts = np.diag(together), columns.shape[0]
    spread = np.sqrt(np.maximum(count * (1 - count / prompts), 1e-12))
    alike = (together - np.outer(count, count) / prompts) / np.outer(spread, spread)
    groups: list[list[int]] = []
    for at in np.argsort(p, kind="stable").tolist():
        for group in groups:
            lead = group[0]
            if alike[lead, at] >= _ALIKE or nested(words[lead], words[at]):
                group.append(at)
                break
        else:
            groups.append([at])
    return groups


def nested(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether the shorter phrase stands in the longer one, word for word."""
    short, long = sorted((tuple(one), tuple(other)), key=len)
    return any(long[at : at + len(short)] == short for at in range(len(long) - len(short) + 1))
