"""Words and refusals, topic by topic: a word is compared with other prompts of its own topic, never across topics.

Mantel-Haenszel for outcomes that are probabilities. In a topic of n families with outcomes y, of which the word stands
in a share c of each, T = sum c (y - mean y). Were the outcomes dealt out anew among the families of the topic, T would
have mean 0, variance sum (c - mean c)^2 sum (y - mean y)^2 / (n - 1) and third moment n sum (c - mean c)^3
sum (y - mean y)^3 / ((n - 1)(n - 2)), exactly, whatever the outcomes are. With outcomes 0 and 1 these are the moments of
Mantel and Haenszel. Moments add over topics.

Near-identical prompts are one family. Words that all of them share count once, in the topic; for words in which they
differ, the family is a topic of its own, for nothing else differs there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .reading import Floats, Ints

_ENTRIES = 2_000_000  # places of words that are worked on at a time
_CELLS = 2_000_000  # words times topics at a time
_CONTINUITY = 0.5
_NOTHING = 1e-12
_FLAT = 1e-3  # skewness under which a normal tail is the same
_Z95 = 1.959963984540054


@dataclasses.dataclass(frozen=True, kw_only=True)
class Strata:
    """Prompts (n,) in families, and families in topics. Prompts of a family stand side by side."""

    outcome: Floats  # (n,)
    family: Ints  # (n,), never falling, from 0
    topic: Ints  # (families,)
    topics: int

    @property
    def sizes(self) -> Ints:
        """Prompts of each family."""
        return np.bincount(self.family, minlength=len(self.topic))

    @property
    def means(self) -> Floats:
        """Outcome of each family."""
        sums = np.bincount(self.family, self.outcome, minlength=len(self.topic))
        result: Floats = sums / self.sizes
        return result


@dataclasses.dataclass(frozen=True, kw_only=True)
class Associations:
    """One value a word."""

    p: Floats  # one-sided: with the word, fewer are answered
    odds_ratio: Floats  # infinite where all prompts with the word were refused; nan where nothing can be said
    low: Floats
    high: Floats
    prompts: Floats  # near-identical ones that all have the word count once
    share_with: Floats
    share_without: Floats
    testable: NDArray[np.bool_]  # whether the word varies within any topic


def associated(columns: Any, strata: Strata) -> Associations:
    """How each word goes with the outcome. `columns` is a CSC array (prompts, words).

    The test has a continuity correction of half a prompt, and the tail of a count with the same three moments (`tail`). The odds ratio pools the topics' tables of expected counts,
    as Mantel and Haenszel, its 95 % interval as Robins, Breslow and Greenland; the interval is as wide as if each
    probability had been drawn as yes or no.

    Ref: Mantel and Haenszel 1959; Hoeffding 1951 (permutation moments); Robins, Breslow and Greenland 1986.
    """
    base = _Base.of(strata)
    parts = [_block(block, strata, base) for block in _blocks(columns, strata.topics)]
    names = [field.name for field in dataclasses.fields(Associations)]
    if not parts:
        return Associations(**{name: np.empty(0, bool if name == "testable" else float) for name in names})
    return Associations(**{name: np.concatenate([part[name] for part in parts]) for name in names})


def excess_by_topic(columns: Any, strata: Strata) -> tuple[Floats, Floats]:
    """(words, topics): prompts with the word, and refusals beyond what the topic alone explains."""
    base = _Base.of(strata)
    block = _Block.of(columns, strata, base)
    tables = _tables(block, strata, base)
    prompts, excess = tables["n1"], tables["t"] - tables["n1"] * base.mean
    if block.held is not None:
        part = np.flatnonzero(block.held < base.sizes[block.family])
        word, family, held = block.word[part], block.family[part], block.held[part]
        key, size = word * strata.topics + strata.topic[family], block.words * strata.topics
        inside = block.outcome[part] - held * base.means[family]
        prompts = prompts + _sums(key, held - held / base.sizes[family], size).reshape(prompts.shape)
        excess = excess + _sums(key, inside, size).reshape(prompts.shape)
    return prompts, excess


def tail(t: Floats, variance: Floats, third: Floats) -> Floats:
    """P(T >= t) for a sum with mean 0 and these second and third central moments.

    T is taken for s (X - m) with X a Poisson count of mean m; s = third / variance and m = variance^3 / third^2 give it the
    three moments. A normal tail finds too much among rare words: three refusals where half of one is expected are 1 in
    70, not 1 in 500. `t` is a corrected one: half a step is given back where the count is discrete. 1 where the variance
    is 0; a sum with negative skewness is mirrored, one without any is normal.
    """
    from scipy.special import gammainc, gammaincc, ndtr

    p = np.ones(len(t))
    varies = variance > _NOTHING
    value, square, cube = t[varies], variance[varies], third[varies]
    z = value / np.sqrt(square)
    flat = np.abs(cube) <= _FLAT * square**1.5
    step = np.where(flat, 1.0, np.abs(cube) / square)
    mean = square / step**2
    # P(X >= k) is the incomplete gamma function of k, also between whole numbers.
    right = gammainc(np.maximum(mean + value / step + 0.5, _NOTHING), mean)
    left = gammaincc(np.maximum(mean - value / step + 0.5, _NOTHING), mean)
    p[varies] = np.where(flat, ndtr(-z), np.where(cube > 0, right, left))
    return p


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Base:
    """What does not depend on the word."""

    sizes: Ints  # prompts a family
    means: Floats  # outcome of a family
    n: Floats  # families a topic
    mean: Floats  # outcome a topic
    square: Floats  # sum of squared deviations a topic
    cube: Floats
    within_square: Floats  # the same inside of a family
    within_cube: Floats
    several: bool  # whether any family has several prompts

    @staticmethod
    def of(strata: Strata) -> _Base:
        sizes, means = strata.sizes, strata.means
        n = np.bincount(strata.topic, minlength=strata.topics).astype(float)
        mean = np.bincount(strata.topic, means, minlength=strata.topics) / np.maximum(n, 1)
        off = means - mean[strata.topic]
        inside = strata.outcome - means[strata.family]
        return _Base(
            sizes=sizes,
            means=means,
            n=n,
            mean=mean,
            square=_sums(strata.topic, off**2, strata.topics),
            cube=_sums(strata.topic, off**3, strata.topics),
            within_square=_sums(strata.family, inside**2, len(sizes)),
            within_cube=_sums(strata.family, inside**3, len(sizes)),
            several=bool((sizes > 1).any()),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Block:
    """Some words: one entry for each family that has the word."""

    words: int
    word: Ints
    family: Ints
    held: Floats | None  # prompts of the family with the word; None: every family is one prompt
    outcome: Floats  # sum of their outcomes

    @staticmethod
    def of(columns: Any, strata: Strata, base: _Base) -> _Block:
        count = columns.shape[1]
        word = np.repeat(np.arange(count), np.diff(columns.indptr))
        family = strata.family[columns.indices]
        outcome = strata.outcome[columns.indices]
        if not base.several or not len(word):
            return _Block(words=count, word=word, family=family, held=None, outcome=outcome)
        new = np.ones(len(word), dtype=bool)
        new[1:] = (word[1:] != word[:-1]) | (family[1:] != family[:-1])
        starts = np.flatnonzero(new)
        held = np.diff(np.append(starts, len(word))).astype(float)
        return _Block(
            words=count,
            word=word[starts],
            family=family[starts],
            held=held,
            outcome=np.add.reduceat(outcome, starts),
        )


def _blocks(columns: Any, topics: int) -> Iterator[Any]:
    most = max(_CELLS // max(topics, 1), 1)
    start, count = 0, columns.shape[1]
    while start < count:
        reach = int(np.searchsorted(columns.indptr, columns.indptr[start] + _ENTRIES, side="right")) - 1
        end = min(max(reach, start + 1), start + most, count)
        yield columns[:, start:end]
        start = end


def _tables(block: _Block, strata: Strata, base: _Base) -> dict[str, Floats]:
    """(words, topics): sums over families of the share c, its square and cube, c times the outcome of the family
    (`t`), and the outcomes of the prompts that have the word themselves (`a`).
    """
    key = block.word * strata.topics + strata.topic[block.family]
    shape, size = (block.words, strata.topics), block.words * strata.topics

    if block.held is None:
        n1, a = _sums(key, None, size).reshape(shape), _sums(key, block.outcome, size).reshape(shape)
        return {"n1": n1, "square": n1, "cube": n1, "t": a, "a": a}
    size_of = base.sizes[block.family]
    c = block.held / size_of
    n1 = _sums(key, c, size).reshape(shape)
    a = _sums(key, block.outcome / size_of, size).reshape(shape)
    # Most words stand in all prompts of a family or in none: only the others add differences.
    part = np.flatnonzero(c < 1)
    some, where = c[part], key[part]
    between = some * base.means[block.family[part]] - block.outcome[part] / size_of[part]
    return {
        "n1": n1,
        "square": n1 + _sums(where, some**2 - some, size).reshape(shape),
        "cube": n1 + _sums(where, some**3 - some, size).reshape(shape),
        "t": a + _sums(where, between, size).reshape(shape),
        "a": a,
    }


def _block(columns: Any, strata: Strata, base: _Base) -> dict[str, NDArray[Any]]:
    block = _Block.of(columns, strata, base)
    table = _tables(block, strata, base)
    n1, n = table["n1"], np.maximum(base.n, 1)
    t = (table["t"] - n1 * base.mean).sum(axis=1)
    spread = np.maximum(table["square"] - n1**2 / n, 0)
    lopsided = table["cube"] - 3 * n1 / n * table["square"] + 2 * n1**3 / n**2
    variance = (spread * base.square / np.maximum(n - 1, 1)).sum(axis=1)
    third = (lopsided * base.cube * n / np.maximum((n - 1) * (n - 2), 1)).sum(axis=1)
    tables = _odds_sums(table["a"], n1, base.mean * base.n, n)
    prompts = n1.sum(axis=1)
    refused = table["a"].sum(axis=1)
    others = float(base.n.sum()) - prompts
    others_refused = float((base.mean * base.n).sum()) - refused
    if block.held is not None:
        inside = _inside_families(block, base)
        t, variance, third = (
            one + more for one, more in zip((t, variance, third), inside.moments, strict=True)
        )
        tables = tables + inside.tables
        # Where near-identical prompts differ in the word, each speaks for itself, in place of its part of the family.
        prompts, refused = prompts + inside.prompts, refused + inside.refused
        others, others_refused = others + inside.others, others_refused + inside.others_refused
    ratio, low, high = _odds_ratio(tables)
    return {
        "p": tail(t - _CONTINUITY, variance, third),
        "odds_ratio": ratio,
        "low": low,
        "high": high,
        "prompts": prompts,
        "share_with": refused / np.maximum(prompts, _NOTHING),
        "share_without": np.clip(others_refused / np.maximum(others, _NOTHING), 0, 1),
        "testable": variance > _NOTHING,
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Inside:
    """What prompts that differ in a word inside of their family add, one value a word."""

    moments: tuple[Floats, Floats, Floats]
    tables: Floats  # (5, words), as `_odds_sums`
    prompts: Floats  # more with the word than the families' shares amount to
    refused: Floats
    others: Floats
    others_refused: Floats


def _inside_families(block: _Block, base: _Base) -> _Inside:
    assert block.held is not None
    part = np.flatnonzero(block.held < base.sizes[block.family])
    word, family, held = block.word[part], block.family[part], block.held[part]
    m, mean, a = base.sizes[family].astype(float), base.means[family], block.outcome[part]
    rest = m - held
    variance = held * rest / (m * (m - 1)) * base.within_square[family]
    third = held * rest * (rest - held) / np.maximum(m * (m - 1) * (m - 2), 1) * base.within_cube[family]
    third[m < 3] = 0

    def summed(values: Floats) -> Floats:
        return _sums(word, values, block.words)

    return _Inside(
        moments=(summed(a - held * mean), summed(variance), summed(third)),
        tables=np.stack([summed(row) for row in _odds_terms(a, held, m * mean, m)]),
        prompts=summed(held - held / m),
        refused=summed(a - a / m),
        others=summed(rest - rest / m),
        others_refused=summed((m * mean - a) * (1 - 1 / m)),
    )


def _sums(place: Ints, values: Floats | None, count: int) -> Floats:
    result: Floats = np.bincount(place, values, minlength=count).astype(float)
    return result


def _odds_terms(a: Floats, n1: Floats, d1: Floats, n: Floats) -> Floats:
    """(5, ...): what each table of n prompts adds, n1 with the word, d1 refused, a both: R, S, PR, PS + QR, QS."""
    b = np.maximum(n1 - a, 0)
    c = np.maximum(d1 - a, 0)
    d = np.maximum(n - n1 - c, 0)
    both, neither = (a + d) / n, (b + c) / n
    r, s = a * d / n, b * c / n
    return np.stack([r, s, both * r, both * s + neither * r, neither * s])


def _odds_sums(a: Floats, n1: Floats, d1: Floats, n: Floats) -> Floats:
    """(5, words) from (words, topics)."""
    result: Floats = _odds_terms(a, n1, d1, n).sum(axis=2)
    return result


def _odds_ratio(tables: Floats) -> tuple[Floats, Floats, Floats]:
    """Pooled over all tables, with the ends of its 95 % interval."""
    r, s, pr, mixed, qs = tables
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = r / s
        half = _Z95 * np.sqrt(pr / (2 * r**2) + mixed / (2 * r * s) + qs / (2 * s**2))
        low, high = ratio * np.exp(-half), ratio * np.exp(half)
    defined = (r > 0) & (s > 0)
    return ratio, np.where(defined, low, np.nan), np.where(defined, high, np.nan)
