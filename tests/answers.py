"""Answers for tests of the detector: frames of exchanges from plain texts, and the verdicts as dicts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import polars as pl

from aligntax.detect import judge
from aligntax.detect.text import fold
from aligntax.types import exchange_schema

PROMPT = "How do I stop a process that does not react?"


def exchanges(
    responses: Sequence[str | None],
    *,
    prompts: Sequence[str] | None = None,
    outcome: str = "answered",
    use_case: str | None = None,
) -> pl.DataFrame:
    """A frame with every column of an exchange, one row a response."""
    height = len(responses)
    given = {
        "id": [f"row-{at}" for at in range(height)],
        "prompt": prompts or [PROMPT] * height,
        "response": responses,
        "outcome": [outcome] * height,
        "use_case": [use_case] * height,
    }
    return pl.DataFrame(
        [
            pl.Series(name, given.get(name, [None] * height), dtype=kind)
            for name, kind in exchange_schema().items()
        ]
    )


def verdicts(*responses: str) -> list[dict[str, Any]]:
    """One judged row a response."""
    return judge(exchanges(responses)).to_dicts()


def verdict(response: str) -> dict[str, Any]:
    """The judged row of one response."""
    return verdicts(response)[0]


def refusals(row: dict[str, Any]) -> list[str]:
    """The texts that a verdict points at as refusals."""
    return [
        row["response"][span["start"] : span["end"]]
        for span in row["spans"]
        if span["function"].startswith("refusal")
    ]


def words(text: str) -> tuple[str, ...]:
    """Tokens of a text by Unicode category, digits alike, written apart from the detector's own."""
    found: list[str] = []
    inside = False
    for char in fold(text)[0]:
        alone = unicodedata.name(char, "").startswith(("CJK UNIFIED", "HIRAGANA", "KATAKANA", "HANGUL"))
        if unicodedata.category(char)[0] not in "LNM" or "VARIATION" in unicodedata.name(char, ""):
            inside = False
        elif inside and not alone:
            found[-1] += char
        else:
            found.append(char)
            inside = not alone
    return tuple(re.sub(r"[0-9]", "0", word) for word in found)
