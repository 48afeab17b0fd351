"""Text from logs made fit to show: nothing invisible acts on the page, nothing huge gets in."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

_CONTROL = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"}
_INVISIBLE = dict.fromkeys(
    [0x7F, *range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xE0000, 0xE0080)],
    0xFFFD,
)
_VISIBLE = _CONTROL | _INVISIBLE

CONTEXT = 240  # characters kept on each side of a piece of evidence in a long text


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of a response. `evidence` are the 1-based numbers of the spans that cover it."""

    text: str
    evidence: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()  # those of them that end with this piece
    function: str = ""  # of the narrowest span
    left_out: int = 0  # characters that stand here in the log and are not shown; `text` is empty then


def visible(text: str) -> str:
    """The text with control, bidirectional-override and tag characters shown as marks.

    One character becomes one character, so offsets into the text stay true.
    """
    return text.translate(_VISIBLE)


def clip(text: str, limit: int) -> str:
    """At most `limit` characters, saying how many are left out."""
    text = visible(text)
    return text if len(text) <= limit else f"{text[:limit]}… [{len(text) - limit:,} more characters]"


def pieces(
    text: str, spans: Sequence[Mapping[str, Any]], *, offset: int, length: int, limit: int
) -> tuple[Piece, ...]:
    """The response cut at the borders of its evidence, clipped to about `limit` characters around it.

    `text` is the part of a response of `length` characters that starts at `offset`; spans count from the
    start of the whole response. Spans outside of `text`, or ill-formed, mark nothing.
    """
    inside = []
    for number, span in enumerate(spans, start=1):
        start, end = max(span["start"] - offset, 0), min(span["end"] - offset, len(text))
        if start < end:
            inside.append((start, end, number, span["function"]))
    kept = _kept(len(text), inside, limit)
    shown: list[Piece] = []
    before = -offset
    for start, end in kept:
        if start > before:
            shown.append(Piece(text="", left_out=start - before))
        shown.extend(_cut(text, start, end, inside))
        before = end
    rest = length - offset - before
    return (*shown, Piece(text="", left_out=rest)) if rest > 0 else tuple(shown)


def _kept(length: int, inside: list[tuple[int, int, int, str]], limit: int) -> list[tuple[int, int]]:
    """The stretches to show: everything, or the opening and what surrounds the evidence while room lasts."""
    if length <= limit:
        return [(0, length)]
    wanted = [(0, limit // 3)]
    wanted += [(max(start - CONTEXT, 0), min(end + CONTEXT, length)) for start, end, *_ in inside]
    if not inside:
        wanted = [(0, limit)]
    kept: list[tuple[int, int]] = []
    room = limit
    for start, end in sorted(wanted):
        begin = max(start, kept[-1][1]) if kept else start
        stop = min(max(end, begin), begin + room)
        room -= stop - begin
        if kept and begin == kept[-1][1]:
            kept[-1] = (kept[-1][0], stop)
        elif stop > begin:
            kept.append((begin, stop))
    return kept


def _cut(text: str, start: int, end: int, inside: list[tuple[int, int, int, str]]) -> list[Piece]:
    """One stretch as pieces that are each covered by the same spans from end to end."""
    borders = {start, end}
    for low, high, *_ in inside:
        borders.update(at for at in (low, high) if start < at < end)
    cuts = sorted(borders)
    found = []
    for low, high in itertools.pairwise(cuts):
        covering = sorted(
            (span for span in inside if span[0] <= low and span[1] >= high),
            key=lambda span: (span[1] - span[0], span[2]),
        )
        found.append(
            Piece(
                text=visible(text[low:high]),
                evidence=tuple(number for _, _, number, _ in covering),
                ends=tuple(number for _, stop, number, _ in covering if high in (stop, end)),
                function=covering[0][3] if covering else "",
            )
        )
    return found
