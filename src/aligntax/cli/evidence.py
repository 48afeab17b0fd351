"""The piece of an answer that shows best why it was judged as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from ..types import NO_EVIDENCE, Kind
from .terminal import clean

_TELLING = {  # how the functions begin that say most about a kind, in this order
    Kind.HARD_REFUSAL: ("refusal", "contests"),
    Kind.SOFT_REFUSAL: ("refusal", "disclaimer", "redirect", "ai_identity"),
    Kind.HEDGING: ("weakener", "hedge", "disclaimer"),
    Kind.TOPIC_AVOIDANCE: ("redirect", "refusal", "question", "clarifying"),
    Kind.VERBOSITY_INFLATION: ("restating", "closing", "disclaimer", "moralising"),
}


def evidence(row: Mapping[str, Any], *, length: int, marks: bool) -> Text:
    """About `length` characters of a response around its strongest span, the span set off.

    `marks` sets the span between «» as well, for where styles do not show.
    """
    response, span = row["response"], _strongest(row["spans"], row["kind"])
    inside = clean(response[span["start"] : span["end"]])
    around = max(length - len(inside), 40)
    start = max(span["start"] - around // 3, 0)
    end = min(span["end"] + around - (span["start"] - start), len(response))
    before, after = response[start : span["start"]], response[span["end"] : end]
    return Text.assemble(
        "…" if start else "",
        _joined(before, at_end=True),
        (f"«{inside}»" if marks else inside, "bold underline red"),
        _joined(after, at_end=False),
        "…" if end < len(response) else "",
    )


def _strongest(spans: Sequence[Mapping[str, Any]], kind: str) -> Mapping[str, Any]:
    """The span that says most about `kind`: by function, then the longest, then the first."""
    telling = _TELLING[Kind(kind)]

    def rank(span: Mapping[str, Any]) -> tuple[int, int, int]:
        places = [place for place, function in enumerate(telling) if span["function"].startswith(function)]
        return (min(places, default=len(telling)), span["start"] - span["end"], span["start"])

    shown = [span for span in spans if span["function"] not in NO_EVIDENCE]
    return min(shown or spans, key=rank) if kind != Kind.HEDGING else min(spans, key=rank)


def _joined(text: str, *, at_end: bool) -> str:
    """Clean text that keeps the one space between it and the span beside it."""
    if at_end:
        return clean(text) + " " * text[-1:].isspace()
    return " " * text[:1].isspace() + clean(text)
