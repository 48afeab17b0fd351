"""Topics of prompts where nobody has named them: clusters of what they are about, rather more than there are.

A topic split in two costs a little power; two topics in one let the words of the worse one pass for triggers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .reading import Ints

FEWEST, MOST = 4, 64
_DIMENSIONS = 1 << 13
_SAMPLE = 20_000  # prompts from which the centres are found
_ROUNDS = 12
_COMMON = 0.2  # words in more prompts than this say nothing about the topic
_ROWS = 1 << 16
_NAMES = 3


def usual_number(prompts: int) -> int:
    """How many topics are made of so many prompts: sqrt(n) / 2.5, from 4 to 64."""
    return int(np.clip(round(prompts**0.5 / 2.5), FEWEST, MOST))


def hashed_tf_idf(columns: Any) -> Any:
    """A CSR array (prompts, dimensions) of unit rows from where the words stand (CSC, prompts x words).

    The topic is told by which words a prompt has, so each counts once in it; words hash into 8,192 dimensions.
    """
    from scipy.sparse import csr_array

    rows = columns.tocsr()
    count = rows.shape[0]
    documents = np.diff(columns.indptr)
    weight = np.log(count / np.maximum(documents, 1)).astype(np.float32)
    weight[documents > _COMMON * count] = 0
    hashed = csr_array(
        (weight[rows.indices], (rows.indices % _DIMENSIONS).astype(np.int32), rows.indptr),
        shape=(count, _DIMENSIONS),
    )
    squares = np.concatenate([[0.0], np.cumsum(hashed.data.astype(np.float64) ** 2)])
    lengths = np.sqrt(np.maximum(squares[hashed.indptr[1:]] - squares[hashed.indptr[:-1]], 1e-12))
    hashed.data /= np.repeat(lengths, np.diff(hashed.indptr)).astype(np.float32)
    return hashed


def clustered(vectors: Any, topics: int, seed: int) -> Ints:
    """The topic of each row (n,), 0 to `topics` - 1; rows without any telling word have a topic of their own, `topics`.

    Spherical k-means: centres are found on 20,000 rows at most, and all rows go to the nearest.

    Ref: Dhillon and Modha 2001, Concept decompositions for large sparse text data.
    """
    random = np.random.default_rng(seed)
    telling = np.flatnonzero(vectors.sum(axis=1) > 0)
    topics = min(topics, len(telling))
    found: Ints = np.full(vectors.shape[0], topics, dtype=np.int64)
    if topics < 1:
        return found
    sample = vectors[random.choice(telling, min(len(telling), _SAMPLE), replace=False)]
    centres = _centres(sample, topics, random)
    for start in range(0, len(telling), _ROWS):
        rows = telling[start : start + _ROWS]
        found[rows] = (vectors[rows] @ centres.T).argmax(axis=1)
    return found


def _centres(sample: Any, topics: int, random: np.random.Generator) -> NDArray[np.float32]:
    from scipy.sparse import csr_array

    centres = _spread(sample, topics, random)
    before = None
    for _ in range(_ROUNDS):
        scores = sample @ centres.T
        place = scores.argmax(axis=1)
        if before is not None and (place == before).all():
            break
        before = place
        members = csr_array(
            (np.ones(len(place), dtype=np.float32), (place, np.arange(len(place)))),
            shape=(topics, len(place)),
        )
        sums = (members @ sample).toarray()
        empty = np.flatnonzero(~sums.any(axis=1))
        if len(empty):  # an empty topic begins anew where the centres fit worst
            worst = np.argsort(scores.max(axis=1))[: len(empty)]
            sums[empty] = sample[worst].toarray()
        centres = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return centres.astype(np.float32)


def _spread(sample: Any, topics: int, random: np.random.Generator) -> NDArray[np.float32]:
    """First centres, each far from the ones before (k-means++)."""
    chosen = [int(random.integers(sample.shape[0]))]
    nearest = np.zeros(sample.shape[0])
    while len(chosen) < topics:
        row = sample[[chosen[-1]]].toarray()[0]
        nearest = np.maximum(nearest, sample @ row)
        distance = np.maximum(1 - nearest, 0)
        total = distance.sum()
        if total <= 0:
            chosen.append(int(random.integers(sample.shape[0])))
        else:
            chosen.append(int(random.choice(len(distance), p=distance / total)))
    return np.asarray(sample[chosen].toarray(), dtype=np.float32)


def topic_names(columns: Any, words: pl.Series, topic: Ints, count: int) -> tuple[str, ...]:
    """Three words that tell each topic from the rest, joined; topic `count` is that of prompts without any."""
    from scipy.sparse import csr_array

    prompts = columns.shape[0]
    members = csr_array(
        (np.ones(prompts, dtype=np.float32), (topic, np.arange(prompts))), shape=(count + 1, prompts)
    )
    inside = (members @ columns.astype(np.float32)).toarray()
    sizes = np.maximum(np.bincount(topic, minlength=count + 1), 1)[:, None]
    overall = inside.sum(axis=0) / prompts
    # Frequent inside and rarer outside: the difference of square roots weighs both.
    telling = np.sqrt(inside / sizes) - np.sqrt(overall)
    names = []
    for row in telling[:count]:
        best = np.argsort(-row)[:_NAMES]
        names.append(" ".join(words[int(at)] for at in best if row[at] > 0) or "mixed")
    return (*names, "no telling words")
