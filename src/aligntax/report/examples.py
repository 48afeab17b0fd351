"""Examples as the page shows them: clipped, their evidence marked, the reason in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import polars as pl
from markupsafe import escape

from ..types import KIND_THRESHOLD, PROVIDER_BLOCKED, Kind, Label, Outcome
from .draw import draw, fetch
from .text import Piece, clip, pieces, visible
from .wording import count, day, percent, reason, slice_name, words

TEXT_BUDGET = 900_000  # characters of all examples together, so that the page stays small
MOST_EVIDENCE = 40
MOST_TURNS = 6

_LIMITS = (4000, 2000, 1000, 500, 250)  # characters of one response; the largest that fits the budget is used
_GROUPS = {  # what a function does to an answer, by how its name begins; also the CSS classes
    "refusal": "no",
    "apology": "no",
    "ai_identity": "no",
    "disclaimer": "caution",
    "moralising": "caution",
    "redirect": "caution",
    "hedge": "hedge",
    "weakener": "hedge",
    "restating": "padding",
    "question": "padding",
    "closing": "padding",
}


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One numbered span: what it does, the rule that found it, and its words."""

    function: str
    rule: str
    words: str
    css: str


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange as the page shows it; all texts are still unescaped."""

    verdict: str  # complete, partially_hedged, refused, undetermined, provider_blocked, or the outcome
    kinds: tuple[str, ...]
    slices: tuple[str, ...]
    reason: str
    meta: tuple[str, ...]
    prompt: str
    system: str
    history: tuple[tuple[str, str], ...]  # role, text
    response: tuple[Piece, ...]
    evidence: tuple[Evidence, ...]
    scores: tuple[tuple[str, str], ...]


def collect_examples(verdicts: pl.LazyFrame, by: Sequence[str], most: int) -> tuple[Example, ...]:
    """At most `most` examples; none where the log was stored without its responses.

    Memory is bounded by their number, not by the length of a text.
    """
    if "response" not in verdicts.collect_schema() or most < 1:
        return ()
    rows = fetch(verdicts, by, draw(verdicts, by, most))
    for limit in _LIMITS:
        shown = tuple(_example(row, len(by), limit) for row in rows)
        if sum(map(_size, shown)) <= TEXT_BUDGET:
            break
    return shown


def _example(row: dict[str, Any], slices: int, limit: int) -> Example:
    spans = (row["spans"] or [])[:MOST_EVIDENCE]
    where = visible(row["file"]) if row["file"] else ""
    return Example(
        verdict=_verdict(row),
        kinds=tuple(kind.value for kind in Kind if (row[kind.value] or 0) >= KIND_THRESHOLD),
        slices=tuple(slice_name(row[f"slice_{at}"]) for at in range(slices)),
        reason=visible(reason(row)),
        meta=tuple(
            item
            for item in (
                f"{day(row['time'])}, {row['time']:%H:%M}" if row["time"] else "",
                f"{where}:{row['line']}" if where and row["line"] else where,
            )
            if item
        ),
        prompt=clip(row["prompt"], limit),
        system=clip(row["system"], limit // 2),
        history=_turns(row["history"], limit),
        response=pieces(row["response"], spans, offset=row["offset"], length=row["length"], limit=limit),
        evidence=tuple(_evidence(span, row) for span in spans),
        scores=_scores(row),
    )


def _verdict(row: dict[str, Any]) -> str:
    if row["outcome"] in PROVIDER_BLOCKED:
        return "provider_blocked"
    return str(row["outcome"] if row["outcome"] != Outcome.ANSWERED else row["label"] or Label.UNDETERMINED)


def _turns(history: str, limit: int) -> tuple[tuple[str, str], ...]:
    """The last turns before the prompt, oldest first. A history that is no JSON array is shown as it stands."""
    if not history:
        return ()
    try:
        turns = msgspec.json.decode(history, type=list[dict[str, Any]])
    except msgspec.DecodeError:
        return (("history", clip(history, limit)),)
    last = [
        (visible(str(turn.get("role", "?")))[:40], clip(_content(turn.get("content")), limit // 2))
        for turn in turns[-MOST_TURNS:]
    ]
    if len(turns) > MOST_TURNS:
        last.insert(0, ("", f"[{len(turns) - MOST_TURNS} earlier turns]"))
    return tuple(last)


def _content(content: object) -> str:
    return content if isinstance(content, str) else msgspec.json.encode(content).decode()


def _evidence(span: dict[str, Any], row: dict[str, Any]) -> Evidence:
    start, end = span["start"] - row["offset"], span["end"] - row["offset"]
    return Evidence(
        function=visible(words(span["function"])),
        rule=clip(span["rule"], 80),
        words=clip(row["response"][max(start, 0) : max(end, 0)], 160),
        css=group(span["function"]),
    )


def group(function: str) -> str:
    """What a sentence function does to an answer, as a CSS class."""
    return next((css for name, css in _GROUPS.items() if function.startswith(name)), "else")


def _scores(row: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Names and values of what the detector measured, where it measured."""
    scores = [(words(kind.value), row[kind.value]) for kind in Kind]
    shares = [("outside the answer", row["disclaimer_share"])]
    return (
        *((name, f"{score:.2f}") for name, score in scores if score is not None),
        *((name, percent(share)) for name, share in shares if share is not None),
        *((("words", count(row["words"])),) if row["words"] is not None else ()),
    )


def _size(example: Example) -> int:
    """Bytes of its texts on the page."""
    texts = [example.prompt, example.system, *(text for _, text in example.history)]
    texts += [piece.text for piece in example.response] + [item.words for item in example.evidence]
    return sum(len(escape(text).encode()) for text in texts)
