"""Suites of twins and judged answers to them, made up for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from aligntax.twins import Answer, Answers, Quality
from aligntax.types import Fact, Prompt

FACTS = (
    Fact(name="first dose", value=0.4, unit="mg"),
    Fact(name="route", aliases=("intranasal",)),
    Fact(name="watch", aliases=("two hours", "120 minutes")),
    Fact(name="antidote", aliases=("naloxone",)),
)


def suite(families: int, *, facts: tuple[Fact, ...] = FACTS) -> list[Prompt]:
    """Families of one prompt a side; domains and terms in turn."""
    found = []
    for number in range(families):
        shared: dict[str, Any] = {
            "family": f"f{number}",
            "domain": ("ward", "lab")[number % 2],
            "facts": facts,
        }
        term = ("overdose", "poison", "kill")[number % 3]
        found.append(
            Prompt(
                id=f"s{number}", text=f"Case {number}: the {term}.", side="sensitive", terms=(term,), **shared
            )
        )
        found.append(Prompt(id=f"n{number}", text=f"Case {number}: the event.", side="neutral", **shared))
    return found


def quality(value: float, *, answered: bool = True, **more: Any) -> Quality:
    return Quality(
        value=value, source="facts", answered=answered, **{"half_refused": False, "coverage": value, **more}
    )


REFUSED = quality(0.0, answered=False)


def answer(prompt: Prompt, of: Quality, repeat: int = 0, **more: Any) -> Answer:
    return Answer(
        prompt=prompt.id,
        family=prompt.family or prompt.id,
        side=prompt.side,
        repeat=str(repeat),
        domain=prompt.domain,
        terms=prompt.terms,
        quality=of,
        value=of.value,
        **more,
    )


def answers(found: Sequence[Answer], model: str = "openai/northwind-3") -> Answers:
    return Answers(model=model, answers=tuple(found), source="facts", left_out={}, unasked=0)


def verdict(asked: Prompt, response: str, **more: Any) -> dict[str, Any]:
    """One row of a scanned log."""
    row: dict[str, Any] = {
        "prompt": asked.text, "response": response, "outcome": "answered", "model_requested": "openai/northwind-3",
        "model_served": None, "prompt_tokens": 20, "completion_tokens": 80,
        "tags": json.dumps({"prompt_id": asked.id, "repeat": 0}), "answered": "full", "p_full": 0.9, "p_part": 0.06,
        "soft_refusal": 0.05, "hedge_density": 0.5, "disclaimer_share": 0.1, "words": 60,
    }  # fmt: skip
    return {**row, **more}


def frame(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), infer_schema_length=None)
