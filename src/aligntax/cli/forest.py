"""A forest plot for a terminal: one line an estimate, its interval as a bar, all on one axis with a zero line."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from .terminal import clean, cut_middle

_LEAST_PLOT = 16  # characters; in less room a bar says nothing
_WIDEST_LABEL = 30


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One estimate. Without `low` and `high` it is drawn hollow: nothing says how far off it is."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    note: str = ""  # stands behind the plot


class _Signs(msgspec.Struct, frozen=True, kw_only=True):
    left: str
    right: str
    rule: str
    estimate: str
    hollow: str
    zero: str


_UNICODE = _Signs(left="├", right="┤", rule="─", estimate="●", hollow="○", zero="│")
_ASCII = _Signs(left="[", right="]", rule="-", estimate="*", hollow="o", zero="|")


def forest_lines(
    bars: Sequence[Bar], *, width: int, number: Callable[[float], str], plain: bool = False
) -> list[str]:
    """The plot in lines of at most `width` characters; none where there is nothing to draw, or no room.

    `number` writes a value for the axis. `plain` keeps to ASCII, for terminals that show no more.
    """
    if not bars:
        return []
    signs = _ASCII if plain else _UNICODE
    ends = [end for bar in bars for end in (bar.value, bar.low, bar.high) if end is not None]
    low, high = min(0.0, *ends), max(0.0, *ends)
    if low == high:
        low, high = -1.0, 1.0
    labels, notes = max(len(clean(bar.label)) for bar in bars), max(len(bar.note) for bar in bars)
    labels = min(labels, _WIDEST_LABEL, max(width // 3, 8))
    room = width - labels - 2 - (notes + 1 if notes else 0)
    if room < _LEAST_PLOT:
        return []

    def place(value: float) -> int:
        return round((room - 1) * (value - low) / (high - low))

    lines = [
        f"{cut_middle(clean(bar.label), labels):<{labels}}  {_drawn(bar, place, room, signs)} {bar.note}".rstrip()
        for bar in bars
    ]
    return [*lines, f"{'':<{labels}}  {_axis(low, high, place, room, number)}".rstrip()]


def writes_ascii_only(encoding: str | None) -> bool:
    """Whether a stream of this encoding cannot show the lines of a plot."""
    try:
        "".join((_UNICODE.left, _UNICODE.right, _UNICODE.rule, _UNICODE.estimate, _UNICODE.hollow)).encode(
            encoding or "ascii"
        )
    except (UnicodeEncodeError, LookupError):
        return True
    return False


def _drawn(bar: Bar, place: Callable[[float], int], room: int, signs: _Signs) -> str:
    """One line: the zero line first, the interval over it, the estimate over both."""
    line = [" "] * room
    line[place(0.0)] = signs.zero
    if bar.low is not None and bar.high is not None:
        first, last = place(bar.low), place(bar.high)
        for at in range(first, last + 1):
            line[at] = signs.rule
        line[first], line[last] = signs.left, signs.right
        # Zero inside of an interval is what it must show: the line goes on through the bar.
        if first < place(0.0) < last:
            line[place(0.0)] = "+" if signs is _ASCII else "┼"
        line[place(bar.value)] = signs.estimate
    else:
        line[place(bar.value)] = signs.hollow
    return "".join(line)


def _axis(
    low: float, high: float, place: Callable[[float], int], room: int, number: Callable[[float], str]
) -> str:
    """The ends and zero, each under its place; an end that would touch zero's is left out."""
    line = [" "] * room
    for value in (0.0, low, high):
        text = number(value)
        at = min(max(place(value) - len(text) // 2, 0), room - len(text))
        around = line[max(at - 1, 0) : at + len(text) + 1]
        if all(sign == " " for sign in around):
            line[at : at + len(text)] = text
    return "".join(line)
