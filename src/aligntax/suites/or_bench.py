"""OR-Bench: prompts that look toxic and are safe (80k, hard-1k), and toxic ones. Columns: prompt, category."""

from __future__ import annotations

from ..types import Intent, Prompt
from .rows import Row, tags_of, text_in

CATEGORIES = frozenset(
    (
        "deception",
        "harassment",
        "harmful",
        "hate",
        "illegal",
        "privacy",
        "self-harm",
        "sexual",
        "unethical",
        "violence",
    )
)


def matches(row: Row) -> bool:
    """Whether the record is one of OR-Bench's: just the two columns, and one of its ten categories."""
    names = {name for name in row.values if name and not name.startswith("Unnamed")}
    return names == {"prompt", "category"} and row.values["category"] in CATEGORIES


def prompt_of(row: Row) -> Prompt:
    """One prompt. Only the name of the file or set says which are toxic: it holds that word."""
    return Prompt(
        id="",
        text=text_in(row, "prompt"),
        domain="or_bench",
        intent=Intent.HARMFUL if "toxic" in row.where.rpartition("/")[2].lower() else Intent.BENIGN,
        source="OR-Bench (Cui et al. 2024)",
        licence="CC BY 4.0",
        tags=tags_of(row, ("category",)),
    )
