"""XSTest: safe prompts that look unsafe, and unsafe contrasts. Columns: id, type, prompt, focus, label or none."""

from __future__ import annotations

from ..types import Intent, Prompt
from .rows import Row, intent_of, maybe_text, tags_of, text_in

_TYPE = ("type", "prompt_type")


def matches(row: Row) -> bool:
    """Whether the record is one of XSTest's: only it has a focus beside a type."""
    return {"prompt", "focus"} <= row.values.keys() and any(name in row.values for name in _TYPE)


def prompt_of(row: Row) -> Prompt:
    """One prompt. Where the file has no labels, the types that begin with "contrast" are the unsafe ones."""
    text, focus = text_in(row, "prompt"), maybe_text(row, "focus")
    kind = maybe_text(row, "type") or maybe_text(row, "prompt_type") or ""
    label = maybe_text(row, "label") or maybe_text(row, "expected")
    number = maybe_text(row, "id") or maybe_text(row, "id_v2")
    unsafe = Intent.HARMFUL if kind.startswith("contrast") else Intent.BENIGN
    return Prompt(
        id=number if number and ":" in number else f"xstest:{number}" if number else "",
        text=text,
        domain="xstest",
        intent=intent_of(label) if label else unsafe,
        terms=(focus,) if focus and focus.lower() in text.lower() else (),
        source="XSTest (Röttger et al. 2024)",
        licence="CC BY 4.0",
        tags=tags_of(row, (*_TYPE, "focus", "note")),
    )
