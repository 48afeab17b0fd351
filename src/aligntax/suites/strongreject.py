"""StrongREJECT: forbidden prompts that should be declined. Columns: category, source, forbidden_prompt."""

from __future__ import annotations

from ..types import Intent, Prompt
from .rows import Row, tags_of, text_in


def matches(row: Row) -> bool:
    """Whether the record is one of StrongREJECT's."""
    return "forbidden_prompt" in row.values


def prompt_of(row: Row) -> Prompt:
    """One prompt; where the set itself took it from is a tag."""
    return Prompt(
        id="",
        text=text_in(row, "forbidden_prompt"),
        domain="strongreject",
        intent=Intent.HARMFUL,
        source="StrongREJECT (Souly et al. 2024)",
        licence="MIT",
        tags=tags_of(row, ("category", "source")),
    )
