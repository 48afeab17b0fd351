"""Which words stay when all others are there too: L1 logistic regression on many halves of the prompts.

A word that only comes along with a trigger goes with refusals by itself, and not beside the trigger.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .reading import Floats, Ints

HALVES = 50
_PENALTY = 1.5  # in standard errors of a word's coefficient in a half, at the null
_MOST_ROWS = 40_000  # prompts with any of the words
_NEWTON, _SWEEPS = 12, 12
_FARTHEST = 1.5  # log-odds in one step: a word with which all is refused would throw the next one back
_RIDGE = 1e-3  # on topics, so that one without refusals has a finite level
_LARGEST = 12.0  # log-odds
_SETTLED = 0.05


def selected(
    columns: Any, outcome: Floats, topic: Ints, topics: int, *, seed: int, halves: int = HALVES
) -> NDArray[np.bool_]:
    """(halves, words): whether each word is kept in each half. `columns` is a CSC array (prompts, words).

    Logistic regression on topics, without a penalty, and on the words, with one of 1.5 standard errors each; a word is
    kept when its coefficient is above 0. Halves come in complementary pairs. Prompts with none of the words are
    summed up by topic; of those with any, at most 40,000 are drawn.

    Ref: Meinshausen and Buehlmann 2010; Shah and Samworth 2013 (complementary pairs).
    """
    random = np.random.default_rng(seed)
    words = columns.shape[1]
    if not words:
        return np.zeros((halves, 0), dtype=bool)
    rows = columns.tocsr()
    any_word = np.flatnonzero(np.diff(rows.indptr))
    none = np.diff(rows.indptr) == 0
    base = np.bincount(topic[none], minlength=topics).astype(float)
    base_refused = np.bincount(topic[none], outcome[none], minlength=topics).astype(float)
    if len(any_word) > _MOST_ROWS:
        drawn = np.sort(random.choice(any_word, _MOST_ROWS, replace=False))
        share = _MOST_ROWS / len(any_word)
        base, base_refused = base * share, base_refused * share
        any_word = drawn
    chosen = np.zeros((halves, words), dtype=bool)
    data = rows[any_word].astype(np.float64)
    y, where = outcome[any_word], topic[any_word]
    for number in range(0, halves, 2):
        order = random.permutation(len(any_word))
        middle = len(order) // 2
        for half, at in enumerate((order[:middle], order[middle:])):
            if number + half < halves:
                at.sort()
                chosen[number + half] = _kept(data[at], y[at], where[at], base / 2, base_refused / 2)
    return chosen


def _kept(data: Any, y: Floats, topic: Ints, base: Floats, base_refused: Floats) -> NDArray[np.bool_]:
    """Words with a positive coefficient, by Newton steps on the likelihood and coordinate descent inside of each."""
    topics, words = len(base), data.shape[1]
    sizes = base + np.bincount(topic, minlength=topics)
    refused = base_refused + np.bincount(topic, y, minlength=topics)
    share = np.clip((refused + 0.5) / (sizes + 1), 1e-4, 1 - 1e-4)
    level, effect = np.log(share / (1 - share)), np.zeros(words)
    penalty = None
    for _ in range(_NEWTON):
        p = _logistic(level[topic] + data @ effect)
        weight = np.maximum(p * (1 - p), 1e-6)
        base_p = _logistic(level)
        base_weight = base * np.maximum(base_p * (1 - base_p), 1e-6)
        # The levels of the topics have no penalty, so they are solved for and leave the quadratic form.
        by_topic = _by_topic(data, weight, topic, topics)  # (topics, words)
        topic_weight = base_weight + np.bincount(topic, weight, minlength=topics) + _RIDGE
        hessian = (data.T @ data.multiply(weight[:, None]).tocsr()).toarray()
        hessian -= by_topic.T @ (by_topic / topic_weight[:, None])
        topic_slope = base_refused - base * base_p + np.bincount(topic, y - p, minlength=topics)
        slope = data.T @ (y - p) - by_topic.T @ (topic_slope / topic_weight)
        diagonal = np.maximum(np.diag(hessian).copy(), 1e-9)
        if penalty is None:  # at the null, where all coefficients are 0
            penalty = _PENALTY * np.sqrt(diagonal)
        step = _descended(hessian, diagonal, slope + hessian @ effect, effect, penalty) - effect
        step = np.clip(step, -_FARTHEST, _FARTHEST)
        level += np.clip((topic_slope - by_topic @ step) / topic_weight, -_FARTHEST, _FARTHEST)
        effect = np.clip(effect + step, -_LARGEST, _LARGEST)
        if np.abs(step).max() < _SETTLED:
            break
    return effect > 0


def _descended(hessian: Floats, diagonal: Floats, target: Floats, start: Floats, penalty: Floats) -> Floats:
    """Coordinate descent on b'Hb / 2 - target'b + penalty'|b|."""
    b = start.copy()
    gradient = hessian @ b
    for _ in range(_SWEEPS):
        moved = 0.0
        for at in np.flatnonzero((b != 0) | (np.abs(target - gradient) > penalty)).tolist():
            free = target[at] - gradient[at] + diagonal[at] * b[at]
            new = np.sign(free) * max(abs(free) - penalty[at], 0.0) / diagonal[at]
            if new != b[at]:
                gradient += hessian[:, at] * (new - b[at])
                moved = max(moved, abs(new - b[at]))
                b[at] = new
        if moved < 1e-3:
            break
    return b


def _by_topic(data: Any, weight: Floats, topic: Ints, topics: int) -> Floats:
    from scipy.sparse import csr_array

    members = csr_array((weight, (topic, np.arange(len(topic)))), shape=(topics, len(topic)))
    result: Floats = (members @ data).toarray()
    return result


def _logistic(value: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-np.clip(value, -30, 30)))
    return result
