"""What the search for trigger words hands back."""

from __future__ import annotations

import msgspec

from ..types import Estimate


class TopicShare(msgspec.Struct, frozen=True, kw_only=True):
    """What one topic adds to an association."""

    topic: str
    prompts: float  # with the word; near-identical ones together count once
    excess: float  # prompts not answered beyond what the topic alone explains; may be negative


class Sensitivity(msgspec.Struct, frozen=True, kw_only=True):
    """The same word with another number of topics."""

    topics: int
    odds_ratio: float | None
    p_value: float
    rank: int  # among the words that were found, 1 the strongest


class LabelledCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The word on labelled prompts alone, each weighted by the inverse of its chance to be drawn.

    Shares of prompts that were not answered in full, as people say; None where nothing was labelled.
    """

    with_word: int  # labelled prompts
    without_word: int
    share_with: float | None
    share_without: float | None


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """A word, or words that come together, with which requests are answered less. An association, no cause."""

    words: tuple[str, ...]  # the strongest first; the others contain it, are in it, or come with it
    odds_ratio: Estimate  # Mantel-Haenszel over topics, Robins-Breslow-Greenland interval; of the first word
    p_value: float  # one-sided
    q_value: float  # Benjamini-Hochberg over all words that were tested
    prompts: int  # with the first word; near-identical ones together count once
    share_with: float  # not answered in full, among prompts with the word, 0 to 1
    share_without: float
    stability: float  # share of half-samples that keep it beside all other words, 0 to 1
    topics: tuple[TopicShare, ...]  # the largest excess first
    sensitivity: tuple[Sensitivity, ...]  # empty where the topics were given
    labelled: LabelledCheck | None  # None: there are no labels
    examples: tuple[str, ...]  # ids of exchanges, the surest refusals first
    sample: tuple[str, ...]  # ids of exchanges with the first word, drawn at random, one a family: for swaps


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Triggers with what they rest on."""

    triggers: tuple[Trigger, ...]  # the smallest p-value first
    unstable: int  # words, or words together, left out: half-samples do not keep them beside the others
    tested: int  # words and phrases in enough prompts
    exchanges: int  # that the outcomes speak of
    prompts: int  # distinct ones
    families: int  # with near-identical prompts together
    share: float  # not answered in full, over families, 0 to 1
    labels: int  # expert labels among the outcomes
    recalibrated: bool  # whether labels moved the detector's scores
    topics: int
    given_topics: bool  # by the user's own columns, rather than clusters of the prompts
    left_out: dict[str, int]  # reason -> exchanges
    needed: int  # prompts with which a word in 2 % of them that doubles the refusals is found 4 times in 5
    q: float  # false discovery rate that was asked for


class Swap(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger put to the test: the same prompts with a neutral substitute."""

    word: str
    substitute: str | None  # None: there is none, so nothing was tested
    effect: Estimate | None  # share not answered with the word - with the substitute, over prompts
    prompts: int  # pairs that were measured
    calls: int
    failed: int  # calls without a reply
    p_value: float | None  # one-sided
    q_value: float | None  # Benjamini-Hochberg over all words that were tested
    causes: bool
    note: str = ""


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """The smallest part of one prompt without which it is answered."""

    words: tuple[str, ...]  # in their order
    pieces: tuple[tuple[int, int], ...]  # character offsets in the prompt, end exclusive
    without: str  # the prompt without them
    calls: int
    finished: bool  # False: the budget ended first, and a smaller part may do
    note: str = ""
