"""One row of a file of prompts, and what is said of a row that is none."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..types import Intent


class BadRow(Exception):
    """A row that is no prompt. Says why and what to do, never with the content of the row."""

    def __init__(self, what: str, remedy: str) -> None:
        self.what, self.remedy = what, remedy
        super().__init__(f"{what}: {remedy}")


class Row(NamedTuple):
    """One record of a file, still in the file's own words."""

    line: int  # 1-based line of a text, else the number of the element
    values: Mapping[str, Any]
    where: str  # name of the file or data set: some sets say only there what their prompts are


SENSITIVE, NEUTRAL = SIDES = ("sensitive", "neutral")
"""The two sides of twins."""

INTENTS = {
    **dict.fromkeys(("benign", "safe", "answer", "comply", "harmless", "ok", "yes"), Intent.BENIGN),
    **dict.fromkeys(("harmful", "unsafe", "decline", "refuse", "toxic", "no"), Intent.HARMFUL),
    **dict.fromkeys(("borderline", "unclear"), Intent.BORDERLINE),
}
"""What sets call the intent of a prompt, in lower case -> what we call it."""


def intent_of(value: object) -> Intent:
    """The intent that a word of a data set stands for. Raises BadRow for a word that is not known."""
    intent = INTENTS.get(str(value).strip().lower())
    if intent is None:
        raise BadRow("nobody knows the intent that it names", f"use {', '.join(Intent)}")
    return intent


def text_in(row: Row, name: str) -> str:
    """The text of a field. Raises BadRow where it is missing, no text, or blank."""
    value = row.values.get(name)
    if not isinstance(value, str) or not value.strip():
        raise BadRow(f"has no text in {name}", "give it one, or take the row out")
    return value


def maybe_text(row: Row, name: str) -> str | None:
    """A field as text; None where it is missing or blank."""
    value = row.values.get(name)
    if value is None or isinstance(value, (dict, list)) or not str(value).strip():
        return None
    return str(value)


def tags_of(row: Row, names: Iterable[str]) -> dict[str, str] | None:
    """The fields of these names that hold something, as tags; None where none does."""
    return {name: found for name in names if (found := maybe_text(row, name))} or None


def made_id(origin: str, text: str) -> str:
    """An id for a prompt that has none: the same text always gets the same one."""
    return f"{origin}:{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:12]}"
