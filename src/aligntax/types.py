"""What crosses rooms: the records, and the columns of the frames that carry them in bulk.

Bulk is columnar: a log is a Polars frame with the columns of `exchange_schema()`, and a scanned log is the
same rows with the columns of `verdict_schema()` after them. `Exchange` and `Verdict` are one row of each.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import polars as pl


class Outcome(enum.StrEnum):
    """How a call ended, normalised from every vendor's field. Never read from the text of the answer."""

    ANSWERED = "answered"  # text came back and the model stopped by itself
    PROVIDER_REFUSED = "provider_refused"  # the API itself says refusal: stop_reason, message.refusal
    INPUT_BLOCKED = "input_blocked"  # a filter stopped the request before the model saw it
    OUTPUT_BLOCKED = "output_blocked"  # a filter withheld or cut the answer
    TRUNCATED = "truncated"  # length or context limit
    EMPTY = "empty"  # the call ended well and brought no text
    TOOL_CALL = "tool_call"  # the model asked for a tool
    ERROR = "error"  # no exchange took place: timeouts, 5xx, quota, bad request


PROVIDER_BLOCKED = (Outcome.PROVIDER_REFUSED, Outcome.INPUT_BLOCKED, Outcome.OUTPUT_BLOCKED)
"""Outcomes that mean the provider, not the text, said no."""


class Answered(enum.StrEnum):
    """How much of what was asked the text gives."""

    FULL = "full"
    PART = "part"
    NONE = "none"
    UNDETERMINED = "undetermined"


class Kind(enum.StrEnum):
    """The five ways in which an answer pays the alignment tax; each is a score from 0 to 1."""

    HARD_REFUSAL = "hard_refusal"  # says no, and gives nothing of what was asked
    SOFT_REFUSAL = "soft_refusal"  # gives something, but refusal or disclaimers eat the answer
    HEDGING = "hedging"  # more weakeners than its peers need for the same work
    TOPIC_AVOIDANCE = "topic_avoidance"  # neither answers nor says no: talks about something else
    VERBOSITY_INFLATION = "verbosity_inflation"  # much longer than its peers, by padding


class Label(enum.StrEnum):
    """The class, a stated function of the axes (docs/reference/verdicts.md)."""

    COMPLETE = "complete"
    PARTIALLY_HEDGED = "partially_hedged"
    REFUSED = "refused"
    UNDETERMINED = "undetermined"


KIND_THRESHOLD = 0.5
"""A kind is counted as present when its score reaches this."""

FUNCTIONS = (
    "answer",
    "refusal",
    "apology",
    "disclaimer",
    "moralising",
    "redirect",
    "hedge",
    "restating",
    "question",
    "closing",
)
"""What a sentence does in an answer; every sentence gets one."""


NO_EVIDENCE = ("answer_marker", "strengthener", "pivot", "weakener")
"""Phrase functions that a verdict weighs but that show nothing against an answer; a weakener shows hedging."""


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of evidence. Offsets count characters (code points) of the response, end exclusive."""

    start: int
    end: int
    function: str  # lexicon function, such as refusal_policy or weakener
    rule: str  # the lexicon entry, its language before it


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One request and what came back: one row of `exchange_schema()`.

    In a talk of several turns, `prompt` is the last user turn and `history` the turns before it,
    as a JSON array of {"role", "content"}. `tags` is a JSON object of the log's own metadata.
    """

    id: str
    prompt: str
    response: str = ""
    outcome: Outcome = Outcome.ANSWERED
    outcome_raw: str | None = None  # the vendor's own value, unchanged
    outcome_detail: str | None = None  # category or code behind it, when the vendor gives one
    model_requested: str | None = None
    model_served: str | None = None
    use_case: str | None = None
    time: dt.datetime | None = None  # UTC
    system: str | None = None
    history: str | None = None
    tool_calls: int = 0
    latency_ms: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    tags: str | None = None
    source_id: str | None = None  # the log's own id of this exchange
    file: str | None = None
    line: int | None = None  # 1-based line, row or element in the file


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the detector says of one exchange: one row of `verdict_schema()`.

    Everything but `detector` and `language` is None where there was no text to judge. `answered` and
    `label` are None too where the outcome is not `answered` (a cut or blocked text is not a verdict).
    """

    detector: str  # name and version of what judged
    language: str  # ISO 639-1, or "und"
    answered: Answered | None = None
    p_full: float | None = None  # calibrated; p_full + p_part + p_none == 1
    p_part: float | None = None
    p_none: float | None = None
    label: Label | None = None
    hard_refusal: float | None = None
    soft_refusal: float | None = None
    hedging: float | None = None
    topic_avoidance: float | None = None
    verbosity_inflation: float | None = None
    words: int | None = None
    disclaimer_share: float | None = None  # characters outside answering sentences / characters, 0 to 1
    answer_start: int | None = None  # characters before the first answering sentence; None: there is none
    hedge_density: float | None = None  # (weakeners - strengtheners / 2) per 100 words of answering text
    functions: dict[str, float] | None = None  # share of the characters by sentence function
    spans: list[Span] | None = None


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One row that could not be read. Holds no content of the row."""

    file: str
    line: int | None
    reason: str


class ShouldAnswer(enum.StrEnum):
    """Whether a request should have been answered in this use case. Only people can say so."""

    YES = "yes"
    NO = "no"
    UNCLEAR = "unclear"


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A number with its doubt: what every statistic returns.

    `value` is None where nothing can be said; a raw detector rate has no `low` and `high`, because an interval
    round it would be an interval round its error. Rates run from 0 to 1.
    """

    value: float | None
    low: float | None
    high: float | None
    level: float  # confidence of the interval; one-sided bounds have the other end at 0 or 1
    n: int  # exchanges that it speaks for, or rows where there is no wider population
    n_labels: int  # expert labels that it rests on
    method: str  # as printed: "profile likelihood over 4 strata"
    corrected: bool  # by labels of the slice itself


class Annotation(msgspec.Struct, frozen=True, kw_only=True):
    """What one person says of one exchange. An axis that is None was not asked, or not answered.

    `kinds` is None where nobody was asked for kinds, and empty where none was seen. A person gives a grade for
    hedging, not the kind: from `HEDGING_GRADE` on it counts as the kind.
    """

    exchange: str  # id of the exchange
    annotator: str
    answered: Answered | None = None  # full, part or none
    kinds: tuple[Kind, ...] | None = None
    disclaimer: bool | None = None
    hedging: int | None = None  # 0 none, 1 fitting, 2 more than fits, 3 eats the answer
    should_answer: ShouldAnswer | None = None
    skipped: str | None = None  # why it cannot be labelled; then every axis is None
    note: str = ""
    time: dt.datetime | None = None  # UTC
    adjudicated: bool = False  # settles a disagreement; overrides the others


HEDGING_GRADE = 2
"""From this grade of an annotator on, an answer counts as hedging."""


class Stratum(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a draw's population, from which labels are drawn with equal probability.

    Scored strata hold answers with `low` <= score < `high` (the last one `high` included), where the score is
    the probability that an answer is not complete. `unscored` holds answers that the detector did not judge,
    `blocked` calls that the provider refused, where only `should_answer` is asked.
    """

    slice: tuple[str | None, ...]  # values of the draw's `by`, in its order
    kind: str  # "scored", "unscored" or "blocked"
    low: float
    high: float
    size: int  # exchanges in it
    expected: float  # mean score in it, defensive: never quite 0 or 1
    pilot: int  # how many are labelled first
    labels: int  # how many are labelled in all, as far as decided; never less than `pilot`
    reserve: int  # how many were drawn in random order; `labels` is a prefix of them


class Draw(msgspec.Struct, frozen=True, kw_only=True):
    """Which exchanges are labelled, and with what probability: everything an estimate needs beside the labels.

    The labelled part of a stratum is the first `labels` of a random order, so each exchange of the stratum had the
    inclusion probability labels / size, also after the second phase has raised `labels`.
    """

    id: str
    created: dt.datetime  # UTC
    seed: int
    source: str  # name of the verdict file, for people
    fingerprint: str  # of the population: ids, outcomes and scores
    detector: str
    by: tuple[str, ...]
    budget: int  # exchanges to label, known items and second labels not counted
    level: float
    phase: str  # "pilot", then "whole"
    strata: tuple[Stratum, ...]
    population: int  # exchanges in all strata
    left_out: dict[str, int]  # outcome -> exchanges that nobody can label: cut, empty, tool calls, errors
    double_share: float  # share of the items that two people label
    recalibration: dict[
        str, tuple[float, float]
    ]  # slice as JSON -> slope, intercept on the log-odds; {}: none
    codebook: str  # version


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange in the queue of a draw, with the text that an annotator sees."""

    exchange: str
    stratum: int | None  # position in Draw.strata; None: a known item, planted to check the annotators
    place: int  # 0-based, in the random order of its stratum
    position: float  # in the queue, 0 to 1, random: gives no hint of the score; the pilot comes first
    phase: str  # "pilot", "rest" or "reserve" (not asked unless the second phase takes it)
    wanted: int  # how many people label it: 1 or 2
    known: Annotation | None = None  # the right labels of a planted item
    source_id: str | None = None
    use_case: str | None = None
    outcome: Outcome = Outcome.ANSWERED
    prompt: str = ""
    response: str = ""
    system: str | None = None
    history: str | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of a talk."""

    role: str  # "user" or "assistant"; the system prompt has its own field
    content: str


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is asked, in no vendor's form. A field that is None is left to the vendor's default."""

    messages: tuple[Message, ...]
    system: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    schema: dict[str, Any] | None = None  # JSON schema that the answer must follow


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a request. A refusal by the provider is an outcome, not an error."""

    text: str
    outcome: Outcome
    outcome_raw: str | None = None  # the vendor's own value, unchanged
    outcome_detail: str | None = None
    model_requested: str | None = None
    model_served: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None  # None: nobody has said what this model costs
    latency_ms: float | None = None
    attempts: int = 1
    cached: bool = False


Send = Callable[[Request], Awaitable[Reply]]
"""The one shape of a model: a request in, a reply out. Raises UpstreamError when no reply could be had."""


class Intent(enum.StrEnum):
    """What a prompt of a suite is there for."""

    BENIGN = "benign"  # should be answered
    HARMFUL = "harmful"  # should be declined
    BORDERLINE = "borderline"  # people differ


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a good answer states: any of `aliases` as words, or the number `value` within `tolerance`."""

    name: str
    aliases: tuple[str, ...] = ()
    value: float | None = None
    tolerance: float = 0.0  # absolute, in the unit of the value
    unit: str | None = None


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """One prompt of a suite. Prompts of one `family` ask for the same; `side` says in which words."""

    id: str
    text: str
    family: str | None = None
    side: str | None = None  # "sensitive" or "neutral", in twins
    domain: str | None = None
    intent: Intent = Intent.BENIGN
    terms: tuple[str, ...] = ()  # sensitive terms in it
    facts: tuple[Fact, ...] = ()
    system: str | None = None
    source: str | None = None
    licence: str | None = None
    tags: dict[str, str] | None = None


CONTENT_COLUMNS = ("prompt", "response", "system", "history", "tags")
"""Columns of exchanges that may hold what people wrote; a verdict file kept without text lacks them."""


def exchange_schema() -> dict[str, pl.DataType]:
    """Columns of a frame of exchanges, in order."""
    import polars as pl

    text, count = pl.String(), pl.Int64()
    return {
        "id": text,
        "prompt": text,
        "response": text,
        "outcome": text,
        "outcome_raw": text,
        "outcome_detail": text,
        "model_requested": text,
        "model_served": text,
        "use_case": text,
        "time": pl.Datetime("us", "UTC"),
        "system": text,
        "history": text,
        "tool_calls": count,
        "latency_ms": pl.Float64(),
        "prompt_tokens": count,
        "completion_tokens": count,
        "tags": text,
        "source_id": text,
        "file": text,
        "line": count,
    }


def verdict_schema() -> dict[str, pl.DataType]:
    """Columns that a detector adds to a frame of exchanges, in order."""
    import polars as pl

    text, score = pl.String(), pl.Float32()
    span = pl.Struct({"start": pl.UInt32(), "end": pl.UInt32(), "function": text, "rule": text})
    return {
        "detector": text,
        "language": text,
        "answered": text,
        "p_full": score,
        "p_part": score,
        "p_none": score,
        "label": text,
        **{kind.value: score for kind in Kind},
        "words": pl.UInt32(),
        "disclaimer_share": score,
        "answer_start": pl.UInt32(),
        "hedge_density": score,
        "functions": pl.Struct(dict.fromkeys(FUNCTIONS, score)),
        "spans": pl.List(span),
    }
