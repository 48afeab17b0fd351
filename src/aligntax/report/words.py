"""Trigger words as the page shows them: how strongly and how often each goes with refusals, and which were confirmed."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

import msgspec
from markupsafe import Markup

from ..errors import InputError
from .foreign import Count, Figure, Number, read
from .tax import share
from .text import clip
from .wording import count, plural, points, slice_name, sure

SHOWN = 100  # words

_HEIGHT, _TOP, _BOTTOM = 340, 14, 46  # pixels: of the chart, and what is free above and below its points
_LEFT, _ACROSS = 9, 87  # percent of the width: room for the scale, and what the points span
_LEAST, _MOST = 0.1, 1000.0  # odds ratios at which the scale ends; what goes beyond stops at the edge
_LETTER, _LINE, _WIDTH = 7.0, 15, 1000  # pixels: of a label, and a usual width of the chart
_MARK = 8  # pixels round the middle of a point where no label may stand

Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _Swap(msgspec.Struct, frozen=True, kw_only=True):
    word: str
    substitute: str | None
    effect: Figure | None
    prompts: Count
    causes: bool
    note: str = ""


class _Trigger(msgspec.Struct, frozen=True, kw_only=True):
    words: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    odds_ratio: Figure
    q_value: Probability
    prompts: Count
    share_with: Number
    share_without: Number
    stability: Number
    swap: _Swap | None


class _File(msgspec.Struct, frozen=True, kw_only=True):
    """What `aligntax triggers --json` prints."""

    format: int
    triggers: tuple[_Trigger, ...]
    unstable: Count
    tested: Count
    prompts: Count
    families: Count
    share: Number
    labels: Count
    topics: Count
    given_topics: bool
    left_out: dict[str, Count]
    needed: Count
    q: Probability
    found: Count


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """One trigger, as text."""

    number: int
    name: str
    others: str  # words that come with it
    odds_ratio: str
    interval: str
    prompts: str
    share_with: str
    share_without: str
    stability: str
    swap: str  # what asking again without it has shown
    confirmed: bool


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the section about trigger words shows."""

    headline: str
    chart: Markup
    clipped: bool  # whether an interval goes beyond the chart
    rows: tuple[Word, ...]
    labelled: bool
    swapped: bool
    level: str
    notes: tuple[str, ...]


def trigger_words(path: str | os.PathLike[str]) -> Words:
    """The section of a file that `aligntax triggers --json` has printed. Raises InputError for any other file."""
    command = "aligntax triggers VERDICTS"
    file = read(path, _File, command)
    if file.format != 1:
        raise InputError(
            f"format {file.format} is of another version of aligntax",
            where=str(path),
            remedy=f"write it again with {command} --json > FILE",
        )
    shown = file.triggers[:SHOWN]
    drawn = [(at, each) for at, each in enumerate(shown, start=1) if _drawable(each)]
    swapped = any(each.swap is not None for each in shown)
    return Words(
        headline=_headline(file, swapped),
        chart=_chart(drawn) if drawn else Markup(""),
        clipped=any(end < _LEAST or end > _MOST for _, each in drawn for end in _ends(each)),
        rows=tuple(_word(at, each) for at, each in enumerate(shown, start=1)),
        labelled=file.labels > 0,
        swapped=swapped,
        level=sure(shown[0].odds_ratio.level if shown else 0.95),
        notes=tuple(_notes(file)),
    )


def _headline(file: _File, swapped: bool) -> str:
    if not file.triggers:
        seen = (
            f"none of {plural(file.tested, 'word')} goes with refusals"
            if file.tested
            else "no word stands in enough prompts to be tested"
        )
        return f"No trigger words found: {seen}."
    said = f"{plural(file.found, 'word')} of {file.tested:,} tested {'goes' if file.found == 1 else 'go'} with refusals"
    if not swapped:
        return f"{said}; none was put to the test, so none is shown to cause any."
    causing = sum(_confirmed(each) for each in file.triggers)
    tested = sum(each.swap is not None and each.swap.effect is not None for each in file.triggers)
    return f"{said}; {causing:,} of {tested:,} that were swapped for a neutral word cause them."


def _confirmed(trigger: _Trigger) -> bool:
    return trigger.swap is not None and trigger.swap.causes


def _word(number: int, trigger: _Trigger) -> Word:
    ratio, first = trigger.odds_ratio, trigger.words[0]
    return Word(
        number=number,
        name=slice_name(first),
        others=clip(", ".join(trigger.words[1:]), 120),
        odds_ratio=_ratio(ratio.value),
        interval="no interval"
        if ratio.low is None or ratio.high is None
        else f"{_ratio(ratio.low)} to {_ratio(ratio.high)}",
        prompts=count(trigger.prompts),
        share_with=share(trigger.share_with),
        share_without=share(trigger.share_without),
        stability=f"{trigger.stability:.0%}",
        swap=_swap(trigger.swap),
        confirmed=_confirmed(trigger),
    )


def _swap(swap: _Swap | None) -> str:
    if swap is None:
        return "–"
    note = clip(swap.note, 120)
    if swap.effect is None or swap.effect.value is None:
        return note or "not tested"
    ends = (
        ""
        if swap.effect.low is None or swap.effect.high is None
        else f" ({points(swap.effect.low)} to {points(swap.effect.high)})"
    )
    by = f" for “{clip(swap.substitute, 60)}”" if swap.substitute else ""
    return f"{points(swap.effect.value)} points{ends}{by}, {plural(swap.prompts, 'prompt')}{f'; {note}' if note else ''}"


def _ratio(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _notes(file: _File) -> Iterator[str]:
    if file.triggers:
        yield (
            f"Of the words that were found, about {file.q:.0%} or fewer are expected to be false (Benjamini-Hochberg)."
        )
    else:
        yield (
            f"A word in 2% of the prompts that doubles refusals shows in about {plural(file.needed, 'distinct prompt')}; "
            f"here are {file.families:,}."
        )
    by = "the columns given" if file.given_topics else "clusters of the prompts"
    yield (
        f"{plural(file.prompts, 'distinct prompt')}, {share(file.share)} not answered in full, compared within "
        f"{plural(file.topics, 'topic')}, by {by}. Near-identical prompts count once."
    )
    hidden = file.found - min(len(file.triggers), SHOWN)
    if hidden > 0:
        yield f"{plural(hidden, 'word')} more found and not shown."
    if file.unstable:
        yield f"{file.unstable:,} left out: half of the prompts do not keep them beside the other words."
    if file.labels:
        yield f"{file.labels:,} of the outcomes are expert labels; the others are the detector's probabilities."
    if file.left_out:
        yield (
            "Left out: "
            + ", ".join(f"{number:,} {clip(why, 80)}" for why, number in list(file.left_out.items())[:20])
            + "."
        )


def _drawable(trigger: _Trigger) -> bool:
    """On a log scale there is no place for nothing."""
    value = trigger.odds_ratio.value
    return value is not None and value > 0 and trigger.prompts > 0


def _ends(trigger: _Trigger) -> list[float]:
    ratio = trigger.odds_ratio
    return [end for end in (ratio.value, ratio.low, ratio.high) if end is not None]


def _chart(drawn: Sequence[tuple[int, _Trigger]]) -> Markup:
    """Odds ratio upwards, prompts to the right, both on log scales; the table under it says the same."""
    ratios = [min(max(end, _LEAST), _MOST) for _, each in drawn for end in _ends(each)]
    low, high = _padded(min([1.0, *ratios]), max([2.0, *ratios]))
    least, most = _padded(min(each.prompts for _, each in drawn), max(each.prompts for _, each in drawn))

    def down(value: float) -> float:
        part = math.log(min(max(value, low), high) / low) / math.log(high / low)
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - part)

    def across(value: float) -> float:
        return _LEFT + _ACROSS * math.log(value / least) / math.log(most / least)

    parts = [_down_tick(value, down(value)) for value in _ticks(low, high)]
    parts += [_across_tick(value, across(value)) for value in _ticks(least, most) if value >= 1]
    parts.append(
        Markup('<text class="tick" x="{}%" y="{}" text-anchor="middle">prompts with the word</text>').format(
            _LEFT + _ACROSS / 2, _HEIGHT - 4
        )
    )
    taken = [
        (at - _MARK, at + _MARK, down(each.odds_ratio.value or 1.0))
        for _, each in drawn
        for at in [across(each.prompts) / 100 * _WIDTH]
    ]
    for number, trigger in drawn:
        value = trigger.odds_ratio.value or 1.0
        parts.append(_point(number, trigger, across(trigger.prompts), down, down(value), taken))
    title = f"{plural(len(drawn), 'trigger word')}: odds ratio of not being answered in full, against prompts with the word"
    return Markup(
        '<svg class="scatter" role="img" height="{}" aria-label="{title}"><title>{title}</title>{}</svg>'
    ).format(_HEIGHT, Markup("").join(parts), title=title)


def _point(
    number: int,
    trigger: _Trigger,
    x: float,
    down: Callable[[float], float],
    y: float,
    taken: list[tuple[float, float, float]],
) -> Markup:
    ratio, name = trigger.odds_ratio, slice_name(trigger.words[0])
    interval = Markup("")
    if ratio.low is not None and ratio.high is not None:
        interval = Markup(
            '<line class="interval thin" x1="{x:.2f}%" x2="{x:.2f}%" y1="{:.1f}" y2="{:.1f}"/>'
        ).format(down(ratio.low), down(ratio.high), x=x)
    label, left = _label(number, name, x, y, taken)
    row = _word(number, trigger)
    return Markup(
        "<g><title>{}</title>{}"
        '<circle class="{}" cx="{x:.2f}%" cy="{y:.1f}" r="6"/>'
        '<text class="point-name" x="{x:.2f}%" dx="{}" y="{:.1f}" text-anchor="{}">{}{}</text></g>'
    ).format(
        f"{name}: odds ratio {row.odds_ratio} ({row.interval}), {row.prompts} prompts, "
        f"{'confirmed' if row.confirmed else 'associated only'}",
        interval,
        "estimate" if row.confirmed else "associated",
        -10 if left else 10,
        y + 4,
        "end" if left else "start",
        number,
        Markup('<tspan class="point-word"> {}</tspan>').format(label) if label else "",
        x=x,
        y=y,
    )


def _label(
    number: int, name: str, x: float, y: float, taken: list[tuple[float, float, float]]
) -> tuple[str, bool]:
    """The word beside its number where no other label stands, and whether it stands on the left."""
    name = name if len(name) <= 24 else f"{name[:23]}…"
    at, left = x / 100 * _WIDTH, x > 75
    for text in (name, ""):
        wide = _LETTER * (len(text) + len(str(number)) + 1)
        start = at - 10 - wide if left else at + 10
        if not text or all(
            abs(y - other) >= _LINE or start + wide <= begin or start >= end for begin, end, other in taken
        ):
            taken.append((start, start + wide, y))
            return text, left
    raise AssertionError("a number alone always stands")  # pragma: no cover


def _down_tick(value: float, y: float) -> Markup:
    return Markup(
        '<line class="{}" x1="{}%" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>'
        '<text class="tick" x="{}%" dx="-6" y="{:.1f}" text-anchor="end">{:g}</text>'
    ).format("zero" if value == 1 else "grid", _LEFT, _LEFT, y + 4, value, y=y)


def _across_tick(value: float, x: float) -> Markup:
    return Markup('<text class="tick" x="{:.2f}%" y="{}" text-anchor="middle">{:,.0f}</text>').format(
        x, _HEIGHT - _BOTTOM + 20, value
    )


def _padded(low: float, high: float) -> tuple[float, float]:
    """Some room at both ends, and at least a factor of two."""
    room = max((high / low) ** 0.06, 1.2)
    return low / room, high * room


def _ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10 and so on between the ends; powers of ten alone where that is too many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
    inside = [value for value in found if low <= value <= high]
    return inside if len(inside) <= 8 else [value for value in inside if math.log10(value) % 1 == 0]
