"""HarmBench: text behaviours that should be declined. Columns: Behavior, FunctionalCategory, BehaviorID, ..."""

from __future__ import annotations

from ..types import Intent, Prompt
from .rows import Row, maybe_text, tags_of, text_in


def matches(row: Row) -> bool:
    """Whether the record is one of HarmBench's."""
    return {"Behavior", "BehaviorID"} <= row.values.keys()


def prompt_of(row: Row) -> Prompt:
    """One prompt; a contextual behaviour stands after its context, as HarmBench itself asks it."""
    context, behaviour = maybe_text(row, "ContextString"), text_in(row, "Behavior")
    name = maybe_text(row, "BehaviorID")
    return Prompt(
        id=f"harmbench:{name}" if name else "",
        text=f"{context}\n\n---\n\n{behaviour}" if context else behaviour,
        domain="harmbench",
        intent=Intent.HARMFUL,
        source="HarmBench (Mazeika et al. 2024)",
        licence="MIT",
        tags=tags_of(row, ("FunctionalCategory", "SemanticCategory", "Tags")),
    )
