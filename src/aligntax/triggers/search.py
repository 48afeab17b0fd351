"""Verdicts to trigger words: candidates, topics, the test in each topic, and what stays beside the others."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import InputError
from ..stats.multiple import benjamini_hochberg
from ..types import Annotation, Draw, Estimate
from .association import Associations, Strata, associated, excess_by_topic
from .collinear import grouped
from .counting import FEWEST, Candidates, counted
from .outcomes import outcomes
from .reading import Floats, Ints, Prompts, positions, read_prompts
from .records import Found, LabelledCheck, Sensitivity, TopicShare, Trigger
from .stability import selected
from .templates import near_identical
from .topics import clustered, hashed_tf_idf, topic_names, usual_number

Q = 0.1
STABLE = 0.5
_MOST_FOUND = 300  # words that are looked at beside one another
_LISTED = 5
_EXAMPLES = 3
_SAMPLED = 200
_TELLING = 4.0
_USUAL_SHARE, _USUAL_RATIO = 0.02, 2.0
_METHOD = "Mantel-Haenszel over {} topics"


def find(  # noqa: PLR0913 - each is one decision, and most have a default
    verdicts: pl.LazyFrame | pl.DataFrame,
    *,
    by: Sequence[str] = (),
    draw: Draw | None = None,
    annotations: Sequence[Annotation] = (),
    asked: Collection[str] | None = None,
    topics: int | None = None,
    q: float = Q,
    fewest: int = FEWEST,
    seed: int = 0,
) -> Found:
    """Words and phrases of the prompts with which fewer requests are answered, within topics.

    Topics are the values of `by`, else clusters of the prompts, as many as `topics` or a number that grows with
    their count; then half and twice as many are tried too. Words are kept while Benjamini-Hochberg, weighted by how much
    a word can show, holds the share of false ones at `q`, and at least half of 50 half-samples keep them beside the others. Outcomes: `outcomes`.
    The same rows and settings give the same words.

    Raises InputError for settings out of range, verdicts without prompts, and names that cannot be sliced by.
    """
    _refuse(topics, q, fewest)
    known = outcomes(verdicts.lazy(), draw, annotations, asked=asked)
    prompts = read_prompts(known.rows, by)
    kept, strata_of, near = _in_families(prompts)
    candidates = counted(kept, fewest=fewest)
    words = candidates[0].columns
    if by:
        topic, names = kept.topic[near.first], kept.topics
        vectors = None
    else:
        vectors = hashed_tf_idf(words)
        count = usual_number(len(near.first)) if topics is None else topics
        by_prompt = clustered(vectors, count, seed)
        topic = by_prompt[near.first]
        spelled = kept.vocabulary.gather(candidates[0].words[:, 0])
        names = topic_names(words, spelled, by_prompt, int(min(count, max(by_prompt.max(), 1))))
    strata = dataclasses.replace(strata_of, topic=topic, topics=int(max(topic.max() + 1, len(names))))
    tested = _Tested.of(candidates, strata, fewest)
    table = tested.table
    q_values = np.ones(len(table.p))
    expected = table.prompts[tested.counts] * float(strata.means.mean())
    q_values[tested.counts] = weighted_benjamini_hochberg(table.p[tested.counts], expected)
    order = np.flatnonzero((q_values <= q) & (table.odds_ratio > 1))
    order = order[np.argsort(table.p[order], kind="stable")][:_MOST_FOUND]
    columns = tested.columns(order)
    spellings = [tested.spelled(int(at), kept.vocabulary) for at in order]
    groups = grouped(columns, spellings, table.p[order]) if len(order) else []
    stable = _stability(columns, groups, strata, seed)
    stays = [at for at in range(len(groups)) if stable[at] >= STABLE]
    leads = np.array([groups[at][0] for at in stays], dtype=int)
    picked = columns[:, leads]
    excess = excess_by_topic(picked, strata) if len(leads) else (np.empty((0, 0)), np.empty((0, 0)))
    other = _with_other_topics(picked, strata, vectors, near.first, len(names) if by else count, seed)
    checks = _checks(known.labels, known.rows, [spellings[at] for at in leads]) if len(leads) else []
    triggers = tuple(
        Trigger(
            words=tuple(" ".join(spellings[member]) for member in groups[at]),
            odds_ratio=_estimate(table, int(order[groups[at][0]]), len(kept.ids), strata.topics),
            p_value=float(table.p[order[groups[at][0]]]),
            q_value=float(q_values[order[groups[at][0]]]),
            prompts=round(float(table.prompts[order[groups[at][0]]])),
            share_with=float(table.share_with[order[groups[at][0]]]),
            share_without=float(table.share_without[order[groups[at][0]]]),
            stability=float(stable[at]),
            topics=_shares(excess[0][place], excess[1][place], names),
            sensitivity=tuple(rows[place] for rows in other),
            labelled=checks[place] if checks else None,
            examples=_examples(picked, place, strata.outcome, kept.ids),
            sample=_sample(picked, place, strata.family, kept.ids, seed),
        )
        for place, at in enumerate(stays)
    )
    share = float(strata.means.mean())
    return Found(
        triggers=triggers,
        unstable=len(groups) - len(stays),
        tested=int(tested.counts.sum()),
        exchanges=int(prompts.exchanges.sum()),
        prompts=len(prompts.ids),
        families=len(near.first),
        share=share,
        labels=known.labels.height,
        recalibrated=known.recalibrated,
        topics=len(np.unique(topic)),
        given_topics=bool(by),
        left_out=prompts.left_out
        | ({"should not have been answered": known.deserved} if known.deserved else {}),
        needed=prompts_needed(share, int(tested.counts.sum()), q=q),
        q=q,
    )


def prompts_needed(share: float, tested: int, *, q: float = Q, power: float = 0.8) -> int:
    """Prompts with which a word in 2 % of them that doubles the odds of a refusal is found with this chance.

    `share` (0 to 1) of all are not answered. At the threshold of the first find among `tested` words, q / tested, by
    the normal approximation. At least 10 / 2 %.
    """
    from scipy.special import ndtri

    base = min(max(share, 1e-3), 0.5)
    raised = _USUAL_RATIO * base / (1 - base + _USUAL_RATIO * base)
    z = -float(ndtri(q / max(tested, 1))) + float(ndtri(power))
    spread = math.sqrt(raised * (1 - raised))
    with_word = (z * max(spread, math.sqrt(base * (1 - base))) / (raised - base)) ** 2
    return math.ceil(max(with_word, FEWEST) / _USUAL_SHARE)


def weighted_benjamini_hochberg(p: Floats, expected: Floats) -> Floats:
    """Adjusted p-values where words that can show something weigh more: by their expected refusals, up to 4.

    A word in ten prompts of which half a one would be refused anyway shows nothing short of the extreme, and there are
    many of them. How many prompts a word stands in says nothing of whether they were refused, so the weights, whose mean
    is 1, keep the rate of false finds.

    Ref: Genovese, Roeder and Wasserman 2006, False discovery control with p-value weighting.
    """
    weights = np.minimum(expected, _TELLING)
    if not len(p) or weights.sum() <= 0:
        return benjamini_hochberg(p)
    return benjamini_hochberg(np.minimum(p * weights.mean() / np.maximum(weights, 1e-12), 1.0))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Families:
    first: Ints  # the first prompt of each family


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Tested:
    """All candidates of all lengths as one table."""

    candidates: list[Candidates]
    table: Associations
    counts: NDArray[np.bool_]  # in enough prompts, and able to say something

    @staticmethod
    def of(candidates: list[Candidates], strata: Strata, fewest: int) -> _Tested:
        parts = [associated(part.columns, strata) for part in candidates]
        names = [field.name for field in dataclasses.fields(Associations)]
        table = Associations(
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        )
        return _Tested(
            candidates=candidates, table=table, counts=table.testable & (table.prompts >= fewest - 1e-9)
        )

    def _place(self, at: int) -> tuple[Candidates, int]:
        for part in self.candidates:
            if at < len(part):
                return part, at
            at -= len(part)
        raise IndexError(at)

    def columns(self, order: NDArray[Any]) -> Any:
        """CSC (prompts, words) of some candidates, in their order."""
        from scipy.sparse import csc_array, hstack

        parts = [self._place(int(at)) for at in order]
        if not parts:
            return csc_array((self.candidates[0].columns.shape[0], 0), dtype=bool)
        return csc_array(hstack([part.columns[:, [at]] for part, at in parts], format="csc"))

    def spelled(self, at: int, vocabulary: pl.Series) -> tuple[str, ...]:
        part, place = self._place(at)
        return tuple(vocabulary.gather(part.words[place].astype(np.int64)).to_list())


def _refuse(topics: int | None, q: float, fewest: int) -> None:
    if topics is not None and topics < 1:
        raise InputError(f"{topics} topics", remedy="use 1 or more")
    if not 0 < q < 1:
        raise InputError(
            f"a false discovery rate of {q:g}", remedy="use a number between 0 and 1, such as 0.1"
        )
    if fewest < 2:
        raise InputError(f"words in {fewest} prompts", remedy="ask for 2 or more; 10 is usual")


def _in_families(prompts: Prompts) -> tuple[Prompts, Strata, _Families]:
    """The prompts with near-identical ones side by side, their families, and the first of each."""
    family = near_identical(prompts.words, prompts.first)
    if len(prompts.topics) > 1:  # the user's topics are never mixed in a family
        _, family = np.unique(family * len(prompts.topics) + prompts.topic, return_inverse=True)
    order = np.argsort(family, kind="stable")
    if not (order[1:] > order[:-1]).all():
        prompts = dataclasses.replace(
            prompts,
            ids=prompts.ids.gather(order),
            words=prompts.words[positions(prompts.first, order)],
            first=np.concatenate([[0], np.cumsum(np.diff(prompts.first)[order])]),
            outcome=prompts.outcome[order],
            exchanges=prompts.exchanges[order],
            topic=prompts.topic[order],
        )
        family = family[order]
    first = np.flatnonzero(np.diff(family, prepend=-1))
    strata = Strata(
        outcome=prompts.outcome, family=family, topic=np.zeros(len(first), dtype=np.int64), topics=1
    )
    return prompts, strata, _Families(first=first)


def _stability(columns: Any, groups: list[list[int]], strata: Strata, seed: int) -> list[float]:
    if not groups:
        return []
    kept = selected(columns, strata.outcome, strata.topic[strata.family], strata.topics, seed=seed)
    return [float(kept[:, group].any(axis=1).mean()) for group in groups]


def _with_other_topics(
    columns: Any, strata: Strata, vectors: Any, first: Ints, count: int, seed: int
) -> list[list[Sensitivity]]:
    """The same words with half and with twice as many clusters."""
    if vectors is None or not columns.shape[1]:
        return []
    found = []
    for number in (max(count // 2, 1), 2 * count):
        topic = clustered(vectors, number, seed)[first]
        table = associated(columns, dataclasses.replace(strata, topic=topic, topics=number + 1))
        rank = np.empty(len(table.p), dtype=int)
        rank[np.argsort(table.p, kind="stable")] = np.arange(1, len(table.p) + 1)
        found.append(
            [
                Sensitivity(
                    topics=number,
                    odds_ratio=_number(table.odds_ratio[at]),
                    p_value=float(table.p[at]),
                    rank=int(rank[at]),
                )
                for at in range(len(table.p))
            ]
        )
    return found


def _estimate(table: Associations, at: int, prompts: int, topics: int) -> Estimate:
    return Estimate(
        value=_number(table.odds_ratio[at]),
        low=_number(table.low[at]),
        high=_number(table.high[at]),
        level=0.95,
        n=prompts,
        n_labels=0,
        method=_METHOD.format(topics),
        corrected=False,
    )


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _shares(prompts: Floats, excess: Floats, names: Sequence[str]) -> tuple[TopicShare, ...]:
    order = [int(at) for at in np.argsort(-excess)[:_LISTED] if prompts[at] > 0]
    return tuple(
        TopicShare(topic=names[at], prompts=float(prompts[at]), excess=float(excess[at])) for at in order
    )


def _examples(columns: Any, at: int, outcome: Floats, ids: pl.Series) -> tuple[str, ...]:
    rows = columns.indices[columns.indptr[at] : columns.indptr[at + 1]]
    surest = rows[np.argsort(-outcome[rows], kind="stable")[:_EXAMPLES]]
    return tuple(ids.gather(surest).to_list())


def _sample(columns: Any, at: int, family: Ints, ids: pl.Series, seed: int) -> tuple[str, ...]:
    rows = columns.indices[columns.indptr[at] : columns.indptr[at + 1]]
    random = np.random.default_rng((seed, at))
    rows = random.permutation(rows)
    _, one_each = np.unique(family[rows], return_index=True)
    return tuple(ids.gather(rows[np.sort(one_each)][:_SAMPLED]).to_list())


def _checks(
    labels: pl.DataFrame, rows: pl.LazyFrame, words: Sequence[tuple[str, ...]]
) -> list[LabelledCheck]:
    """Each word among the labelled prompts alone."""
    if not labels.height:
        return []
    from .reading import words_of

    drawn = rows.filter(pl.col("id").is_in(labels["id"].implode())).select(
        "id", text=pl.lit(" ") + words_of("prompt").list.join(" ") + pl.lit(" ")
    )
    found = drawn.collect(engine="streaming").join(labels, on="id")
    checks = []
    for word in words:
        has = found["text"].str.contains(f" {' '.join(word)} ", literal=True)
        sides = [found.filter(has), found.filter(~has)]
        shares = [
            float(np.average(side["y"].to_numpy(), weights=side["weight"].to_numpy()))
            if side.height
            else None
            for side in sides
        ]
        checks.append(
            LabelledCheck(
                with_word=sides[0].height,
                without_word=sides[1].height,
                share_with=shares[0],
                share_without=shares[1],
            )
        )
    return checks
