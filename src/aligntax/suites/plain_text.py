"""A prompt a line of a text file. Nothing says what they are there for: benign is assumed."""

from __future__ import annotations

from ..types import Prompt
from .rows import Row, text_in


def matches(row: Row) -> bool:
    """Whether the row is a line of a text file."""
    return row.values.keys() == {"line"}


def prompt_of(row: Row) -> Prompt:
    """One prompt."""
    return Prompt(id="", text=text_in(row, "line"))
