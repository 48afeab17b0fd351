"""Data sets of Inspect: input, target, and if there are some choices, id and metadata."""

from __future__ import annotations

from typing import Any

import msgspec

from ..types import Fact, Intent, Prompt
from .rows import BadRow, Row, intent_of, maybe_text

_LONGEST_FACT = 80
"""A longer target is a reference answer, which no right answer repeats word for word."""


def matches(row: Row) -> bool:
    """Whether the record is one of Inspect's."""
    return {"input", "target"} <= row.values.keys()


def prompt_of(row: Row) -> Prompt:
    """One prompt; a short target becomes a required fact, choices stand under the question as A), B), ...

    Raises BadRow for a talk of several turns: a prompt is one request.
    """
    text, system = _asked(_opened(row.values["input"]))
    choices = [str(choice) for choice in _list(_opened(row.values.get("choices")))]
    targets = [str(target) for target in _list(_opened(row.values.get("target")))]
    if choices:
        text = "\n".join((text, "", *(f"{_letter(n)}) {choice}" for n, choice in enumerate(choices))))
        named = {_letter(n): choice for n, choice in enumerate(choices)}
        targets = [named.get(target, target) for target in targets]
    short = tuple(target for target in targets if target.strip() and len(target) <= _LONGEST_FACT)
    metadata = _opened(row.values.get("metadata"))
    tags = {str(key): str(value) for key, value in metadata.items()} if isinstance(metadata, dict) else {}
    intent = next((tags[name] for name in ("intent", "expected") if name in tags), None)
    return Prompt(
        id=maybe_text(row, "id") or "",
        text=text,
        system=system,
        intent=intent_of(intent) if intent else Intent.BENIGN,
        facts=(Fact(name="target", aliases=short),) if short else (),
        tags=tags or None,
    )


def _letter(number: int) -> str:
    return chr(ord("A") + number)


def _opened(value: Any) -> Any:
    """In a CSV, lists and messages are JSON inside the field."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        try:
            return msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            return value
    return value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _asked(asked: Any) -> tuple[str, str | None]:
    """Text and system prompt of an input, which is a text or a list of messages."""
    messages = asked if isinstance(asked, list) else [{"role": "user", "content": asked}]
    if not all(isinstance(message, dict) for message in messages):
        raise BadRow("its input is neither a text nor messages", "write messages with role and content")
    by_role = [(message.get("role"), message.get("content")) for message in messages]
    systems = [content for role, content in by_role if role == "system" and isinstance(content, str)]
    others = [(role, content) for role, content in by_role if role != "system"]
    if len(others) != 1 or others[0][0] != "user":
        raise BadRow("its input is a talk of several turns", "keep the last request of the user only")
    text = others[0][1]
    if not isinstance(text, str) or not text.strip():
        raise BadRow("its input holds no text", "give it one, or take the row out")
    return text, "\n\n".join(systems) or None
