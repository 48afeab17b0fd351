"""CoCoNot: requests not to be complied with as they stand, and a contrast set of ones that should be."""

from __future__ import annotations

from ..types import Intent, Prompt
from .rows import Row, maybe_text, tags_of, text_in

_UNSAFE = "Requests with safety concerns"


def matches(row: Row) -> bool:
    """Whether the record is one of CoCoNot's: a prompt with category and subcategory."""
    return {"prompt", "category", "subcategory"} <= row.values.keys()


def prompt_of(row: Row) -> Prompt:
    """One prompt. Only the name of the file or set tells the contrast set, which should be answered.

    Of the others, only those of the category with safety concerns are harmful; a question that cannot be known,
    or that has a false premise, calls for another answer, not for a refusal: they are borderline.
    """
    category = maybe_text(row, "category") or ""
    expected = maybe_text(row, "expected")
    name = maybe_text(row, "id")
    if "contrast" in row.where.rpartition("/")[2].lower() or expected == "answer":
        intent = Intent.BENIGN
    else:
        intent = Intent.HARMFUL if category == _UNSAFE else Intent.BORDERLINE
    return Prompt(
        id=name if name and ":" in name else f"coconot:{name}" if name else "",
        text=text_in(row, "prompt"),
        domain="coconot",
        intent=intent,
        source="CoCoNot (Brahman et al. 2024)",
        licence="MIT",
        tags=tags_of(row, ("category", "subcategory")),
    )
