"""From a scanned log of a run to the answers that twins are measured on, with an account of the rest."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import InputError
from ..types import Prompt
from .quality import Quality, quality_of
from .ratings import Ratings

if TYPE_CHECKING:
    import polars as pl

NEUTRAL, SENSITIVE = "neutral", "sensitive"

_COLUMNS = (
    "prompt", "response", "outcome", "model_requested", "model_served", "prompt_tokens", "completion_tokens", "tags",
    "answered", "p_full", "p_part", "soft_refusal", "hedge_density", "disclaimer_share", "words",
)  # fmt: skip


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One judged answer to one prompt of the suite."""

    prompt: str  # id
    family: str
    side: str | None
    repeat: str
    domain: str | None
    terms: tuple[str, ...]
    quality: Quality
    value: float  # the quality that counts: a person's, a judge's, or the proxy's
    expert: float | None = None
    judge: float | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """All answers of one model to a suite."""

    model: str
    answers: tuple[Answer, ...]
    source: str  # of the values: "expert", "judge", "facts", "detector", "facts and detector"
    left_out: dict[str, int]  # why -> rows of the log
    unasked: int  # prompts of the suite without any answer

    @property
    def simulated(self) -> bool:
        """Whether the model is the simulator: its figures show how things work, and nothing of any model."""
        return self.model.startswith("fake/")


def answers_of(verdicts: pl.DataFrame, prompts: Sequence[Prompt], ratings: Ratings | None = None) -> Answers:
    """The answers in a scanned log to the prompts of a suite.

    `verdicts` has the columns of a scan with texts. A row belongs to the prompt that its tag `prompt_id` names, else to
    the prompt of the same text. The quality that counts is the experts' where they rated every answer, else a judge's
    where it rated every answer, else the proxy. Raises InputError where no row belongs to the suite.
    """
    if missing := [name for name in _COLUMNS if name not in verdicts.columns]:
        raise InputError(f"the log has no column {missing[0]}", remedy="scan it with its texts")
    by_id = {prompt.id: prompt for prompt in prompts}
    by_text = {prompt.text: prompt for prompt in prompts}
    left_out: Counter[str] = Counter()
    models: Counter[str] = Counter()
    found: list[Answer] = []
    repeats: Counter[str] = Counter()
    for row in verdicts.select(_COLUMNS).iter_rows(named=True):
        tags = _tags(row["tags"])
        prompt = by_id.get(tags.get("prompt_id", "")) or by_text.get(row["prompt"])
        if prompt is None:
            left_out["rows that answer no prompt of the suite"] += 1
            continue
        if name := row["model_requested"] or row["model_served"]:
            models[name] += 1
        quality = quality_of(prompt, row)
        if isinstance(quality, str):
            left_out[quality] += 1
            continue
        repeat = tags.get("repeat", str(repeats[prompt.id]))
        repeats[prompt.id] += 1
        found.append(_answer(prompt, repeat, quality, row, ratings))
    if not found:
        raise InputError(
            "holds no answer to a prompt of this suite", where="log", remedy="name the suite it was made with"
        )
    if len(models) > 1:
        raise InputError(
            f"holds answers of {len(models)} models", where="log", remedy="give one log for each model"
        )
    return _counted(
        found, next(iter(models), "unnamed model"), dict(left_out), len(by_id.keys() - repeats.keys())
    )


def _answer(
    prompt: Prompt, repeat: str, quality: Quality, row: Mapping[str, Any], ratings: Ratings | None
) -> Answer:
    return Answer(
        prompt=prompt.id,
        family=prompt.family or prompt.id,
        side=prompt.side,
        repeat=repeat,
        domain=prompt.domain,
        terms=prompt.terms,
        quality=quality,
        value=quality.value,
        expert=ratings.expert(prompt.id, repeat) if ratings else None,
        judge=ratings.judge(prompt.id, repeat) if ratings else None,
        tokens_in=row["prompt_tokens"],
        tokens_out=row["completion_tokens"],
    )


def _counted(found: list[Answer], model: str, left_out: dict[str, int], unasked: int) -> Answers:
    """The answers with the quality that counts: one source for all of them."""
    source = " and ".join(sorted({answer.quality.source for answer in found}, reverse=True))
    for name in ("expert", "judge"):
        if all(getattr(answer, name) is not None for answer in found):
            source = name
            found = [_rated(answer, getattr(answer, name)) for answer in found]
            break
    return Answers(model=model, answers=tuple(found), source=source, left_out=left_out, unasked=unasked)


def _rated(answer: Answer, value: float) -> Answer:
    """With a quality that somebody gave: what is worth nothing answered nothing."""
    quality = msgspec.structs.replace(answer.quality, answered=value > 0)
    return msgspec.structs.replace(answer, value=value, quality=quality)


def _tags(text: str | None) -> dict[str, str]:
    try:
        tags = json.loads(text) if text else {}
    except ValueError:
        return {}
    return (
        {key: str(value) for key, value in tags.items() if value is not None}
        if isinstance(tags, dict)
        else {}
    )
