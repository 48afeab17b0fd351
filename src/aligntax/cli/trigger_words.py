"""Trigger words on a terminal, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from .. import __version__
from .terminal import clean, console, cut

if TYPE_CHECKING:
    from rich.table import Table

    from ..triggers import Found, Span, Swap, Trigger

_ALONE = "associated only"
_ROUND = 30  # characters of an example on either side of the word
_WIDEST = 28


def to_json(
    *,
    found: Found | None = None,
    swaps: Sequence[Swap] | None = None,
    span: Span | None = None,
    top: int | None = None,
) -> str:
    """One document, ASCII. Words are of the prompts, examples are ids; no other text of the log, but for a span."""
    if span is not None:
        return json.dumps({"format": 1, "aligntax": __version__, "span": msgspec.to_builtins(span)}, indent=2)
    assert found is not None
    body = msgspec.to_builtins(found)
    rows = body.pop("triggers")[:top]
    for row in rows:
        row.pop("sample")
    by_place = dict(enumerate(msgspec.to_builtins(list(swaps or ()))))
    for at, row in enumerate(rows):
        row["swap"] = by_place.get(at)
        row["status"] = _status(None if swaps is None or at >= len(swaps) else swaps[at])
    document = {"format": 1, "aligntax": __version__, **body, "found": len(found.triggers), "triggers": rows}
    return json.dumps(document, indent=2)


def print_found(found: Found, swaps: Sequence[Swap] | None, top: int, examples: Mapping[str, str]) -> str:
    """The table with its notes, as lines."""
    screen = console()
    with screen.capture() as printed:
        screen.print(_head(found), soft_wrap=True)
        if found.triggers:
            screen.print()
            screen.print(_table(found.triggers[:top], screen.width, given=found.given_topics))
            screen.print()
            for at, trigger in enumerate(found.triggers[:top]):
                for line in _below(trigger, swaps[at] if swaps and at < len(swaps) else None, examples):
                    screen.print(line, soft_wrap=True)
            screen.print()
        for note in _notes(found, swaps, top):
            screen.print(note, soft_wrap=True)
    return "\n".join(line.rstrip() for line in printed.get().splitlines())


def print_span(span: Span) -> str:
    """The words that flip the outcome."""
    if not span.words:
        return f"Nothing to cut: {clean(span.note)} ({span.calls} calls)."
    words = " … ".join(clean(" ".join(group)) for group in _pieces(span))
    note = f"\nNote: {clean(span.note)}." if span.note else ""
    return f"Without “{words}” the prompt is answered ({span.calls} calls).\nLeft: {cut(clean(span.without), 500)}{note}"


def _pieces(span: Span) -> list[list[str]]:
    """Words by the piece that they stand in."""
    groups: list[list[str]] = []
    left = list(span.words)
    for start, end in span.pieces:
        group: list[str] = []
        length = 0
        while left and length + len(left[0]) <= end - start:
            length += len(left[0])
            group.append(left.pop(0))
        groups.append(group)
    return groups


def _head(found: Found) -> str:
    kind = "topic" if found.given_topics else "cluster of prompts as topic"
    where = (
        f"1 {kind}"
        if found.topics == 1
        else f"{found.topics} {kind.replace('topic', 'topics').replace('cluster ', 'clusters ')}"
    )
    return (
        f"{found.exchanges:,} exchanges, {found.prompts:,} distinct prompts ({found.families:,} with near-identical "
        f"ones as one), {where}. {found.tested:,} words and phrases tested; {_percent(found.share)} not answered in full."
    )


def _table(triggers: Sequence[Trigger], width: int, *, given: bool) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("word", max_width=_WIDEST, overflow="ellipsis", no_wrap=True)
    for name in ("odds ratio", "95 %", "prompts", "with", "without", "kept"):
        table.add_column(name, justify="right", no_wrap=True)
    if not given and width >= 90:
        table.add_column("rank at other topics", justify="right", no_wrap=True)
    for rank, trigger in enumerate(triggers, 1):
        ratio = trigger.odds_ratio
        cells = [
            cut(clean(trigger.words[0]), _WIDEST),
            "all refused" if ratio.value is None else f"{ratio.value:.1f}",
            f"{ratio.low:.1f} to {ratio.high:.1f}"
            if ratio.low is not None and ratio.high is not None
            else "",
            f"{trigger.prompts:,}",
            _percent(trigger.share_with),
            _percent(trigger.share_without),
            f"{100 * trigger.stability:.0f} %",
        ]
        if not given and width >= 90:
            other = [f"{one.rank} ({one.topics})" for one in trigger.sensitivity]
            cells.append(f"{rank}; {', '.join(other)}")
        table.add_row(*cells)
    return table


def _below(trigger: Trigger, swap: Swap | None, examples: Mapping[str, str]) -> list[str]:
    """What a row has no room for: what the swap showed, where it happens, an example."""
    word = cut(clean(trigger.words[0]), _WIDEST)
    lines = [f"{word}: {_verdict(swap)}"]
    if trigger.words[1:]:
        others = ", ".join(cut(clean(one), _WIDEST) for one in trigger.words[1:5])
        more = f", and {len(trigger.words) - 5} more" if len(trigger.words) > 5 else ""
        lines.append(f"  with it: {others}{more}")
    carrying = [cut(clean(one.topic), 40) for one in trigger.topics[:3] if one.excess > 0]
    if carrying:
        lines.append(f"  mostly in: {'; '.join(carrying)}")
    check = trigger.labelled
    if check is not None and check.with_word and check.share_with is not None:
        rest = f", {_percent(check.share_without)} without" if check.share_without is not None else ""
        lines.append(
            f"  by labels alone: {_percent(check.share_with)} of {check.with_word} labelled with it{rest}"
        )
    text = examples.get(trigger.examples[0]) if trigger.examples else None
    if text:
        lines.append(f"  such as: {_round(text, trigger.words[0])}")
    return lines


def _verdict(swap: Swap | None) -> str:
    if swap is None:
        return _ALONE
    if swap.effect is None or swap.effect.value is None:
        return f"{_ALONE} ({clean(swap.note) or 'not tested'})"
    ends = ""
    if swap.effect.low is not None and swap.effect.high is not None:
        ends = f" [{100 * swap.effect.low:+.0f}, {100 * swap.effect.high:+.0f}]"
    measured = f"{100 * swap.effect.value:+.0f} points{ends}"
    against = f"“{cut(clean(swap.word), _WIDEST)}” against “{cut(clean(swap.substitute or ''), _WIDEST)}” in {swap.prompts} prompts"
    failed = f", {swap.failed} of {swap.calls} calls failed" if swap.failed else ""
    note = f"; {clean(swap.note)}" if swap.note else ""
    start = f"causes refusals: {measured}" if swap.causes else f"{_ALONE}: {measured}"
    return f"{start}, {against}{failed}{note}"


def _status(swap: Swap | None) -> str:
    return "causes refusals" if swap is not None and swap.causes else _ALONE


def _notes(found: Found, swaps: Sequence[Swap] | None, top: int) -> list[str]:
    notes = []
    if not found.triggers:
        seen = (
            "no word stands in enough prompts to be tested"
            if not found.tested
            else f"none of {found.tested:,} words goes with refusals"
        )
        notes.append(
            f"No trigger words found: {seen}. A word in 2 % of the prompts that doubles refusals shows in about "
            f"{found.needed:,} distinct prompts; here are {found.families:,}."
        )
    else:
        notes.append(
            f"Of the words shown, about {100 * found.q:.0f} % or fewer are expected to be false (Benjamini-Hochberg)."
        )
        if swaps is None:
            notes.append("These go with refusals; --confirm --model NAME shows which of them cause any.")
        else:
            notes.append("Swaps are as the detector sees the answers: UNCORRECTED by labels.")
    if len(found.triggers) > top:
        notes.append(f"{len(found.triggers) - top} more were found: --top {len(found.triggers)}.")
    if found.unstable:
        notes.append(
            f"{found.unstable} left out: half of the prompts do not keep them beside the other words."
        )
    if not found.labels:
        notes.append(
            "Outcomes are the detector's probabilities: UNCORRECTED. Label some exchanges before publishing a word."
        )
    else:
        moved = ", which also moved the detector's scores" if found.recalibrated else ""
        notes.append(
            f"{found.labels:,} of the outcomes are expert labels{moved}; the others are the detector's probabilities."
        )
    if found.left_out:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in found.left_out.items())
        notes.append(f"Left out: {counts}.")
    return notes


def _round(text: str, phrase: str) -> str:
    """What stands around a word in a prompt."""
    from ..triggers.substitutes import pattern

    found = pattern(phrase).search(text)
    at, end = found.span() if found else (0, 0)
    start, stop = max(at - _ROUND, 0), end + 2 * _ROUND
    return f"{'…' if start else ''}{clean(text[start:stop])}{'…' if stop < len(text) else ''}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"
