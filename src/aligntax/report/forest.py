"""A forest plot as inline SVG: one row an estimate, its interval as a bar, all on one axis.

Positions across are percentages and positions down are pixels, as in charts.py; colours come from classes in
page.css. Each row says its numbers in words too, for screen readers and for who points at it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import msgspec
from markupsafe import Markup

from .text import visible

_ROW, _LINE, _AXIS = 38, 24, 26  # pixels: height of a row, from its top to its bar, and of the axis below
_EDGE = 4  # percent of the width that stays free at both ends, for markers and numbers of the axis
_LONGEST = 48  # characters of a label
_NAME = 60  # percent of the width that a name may take; what is longer is clipped
_NESTED = 16  # pixels by which a nested name is set in
_TICKS = 5  # about so many


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One estimate. Without `corrected` it is a raw detector rate, and no interval is drawn whatever is given."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    corrected: bool = True
    raw: float | None = None  # what the detector alone says: a hollow diamond beside the estimate
    limit: float | None = None  # what the value is held against: an upright bar
    nested: bool = False  # a part of the row above: its name is set in
    note: str = ""  # why there is no value; stands instead of it


def forest(rows: Sequence[Row], *, title: str, zero: bool, percent: bool = True) -> Markup:
    """All `rows` on one axis; empty where there are none.

    `zero`: values are differences, so a line marks no difference and numbers bear a sign. Otherwise the axis
    starts at 0. `percent`: values are shares (differences of them are points), not plain numbers.
    """
    if not rows:
        return Markup("")
    low, high, ticks = _scale(rows, zero=zero)

    def across(value: float) -> str:
        return _number(_EDGE + (100 - 2 * _EDGE) * (value - low) / (high - low))

    bottom = _ROW * len(rows)
    words = [_in_words(row, zero=zero, percent=percent) for row in rows]
    said = [f"{visible(row.label)}: {value}" for row, value in zip(rows, words, strict=True)]
    drawn = [_tick(tick, across(tick), bottom, zero=zero, percent=percent) for tick in ticks]
    drawn += [
        Markup("<g><title>{}</title>{}{}</g>").format(
            said[place],
            _name(row, words[place], place * _ROW + 14),
            _marks(row, across, place * _ROW + _LINE),
        )
        for place, row in enumerate(rows)
    ]
    return Markup(
        '<svg class="forest" role="img" height="{}" aria-label="{title}"><title>{title}</title>'
        "<desc>{}</desc>{}</svg>"
    ).format(bottom + _AXIS, "; ".join(said), Markup("").join(drawn), title=visible(title))


def marks(plots: Iterable[Markup]) -> tuple[str, ...]:
    """The marks that some plots have, for a legend: "estimate", "raw", "limit", "uncorrected"."""
    drawn = "".join(plots)
    return tuple(mark for mark in ("estimate", "raw", "limit", "uncorrected") if f'class="{mark}"' in drawn)


def _scale(rows: Sequence[Row], *, zero: bool) -> tuple[float, float, list[float]]:
    """The ends of the axis and its ticks: round numbers that take in every mark, and 0 always."""
    marks = [
        mark
        for row in rows
        for mark in (row.value, row.raw, row.limit, *((row.low, row.high) if row.corrected else ()))
        if mark is not None
    ]
    low, high = min([0.0, *marks]), max([0.0, *marks])
    if high - low < 1e-9:
        low, high = (-0.01 if zero else 0.0), 0.01
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return first * step, last * step, [step * place for place in range(first, last + 1)]


def _tick(value: float, x: str, bottom: int, *, zero: bool, percent: bool) -> Markup:
    css = "zero" if zero and abs(value) < 1e-12 else "grid"
    return Markup(
        '<line class="{}" x1="{x}%" x2="{x}%" y1="0" y2="{}"/>'
        '<text class="tick" x="{x}%" y="{}" text-anchor="middle">{}</text>'
    ).format(css, bottom, bottom + 17, _short(value, zero=zero, percent=percent), x=x)


def _name(row: Row, words: str, y: int) -> Markup:
    stamp = "" if row.corrected else " stamp"
    label = visible(row.label)
    if len(label) > _LONGEST:
        half = _LONGEST // 2
        label = f"{label[:half]}…{label[1 - half :]}"
    return Markup(
        '<svg class="clip" width="{}%" height="{}"><text class="row-name{}" x="{}" y="{y}">{}</text></svg>'
        '<text class="row-value{}" x="100%" y="{y}" text-anchor="end">{}</text>'
    ).format(
        _NAME,
        y + 8,
        " nested" if row.nested else "",
        _NESTED if row.nested else 0,
        label,
        stamp,
        words,
        y=y,
    )


def _marks(row: Row, across: Callable[[float], str], y: int) -> Markup:
    """The interval with the estimate on it, or a hollow dot where nothing corrects it; the raw rate beside."""
    drawn = []
    if row.corrected and row.low is not None and row.high is not None:
        drawn.append(
            Markup('<line class="interval" x1="{}%" x2="{}%" y1="{y}" y2="{y}"/>').format(
                across(row.low), across(row.high), y=y
            )
        )
    if row.limit is not None:
        drawn.append(
            Markup('<line class="limit" x1="{x}%" x2="{x}%" y1="{}" y2="{}"/>').format(
                y - 6, y + 9, x=across(row.limit)
            )
        )
    if row.raw is not None and row.corrected:
        drawn.append(
            Markup(
                '<svg x="{}%" y="{}" width="1" height="1" overflow="visible">'
                '<path class="raw" d="M0-5.5L5.5 0L0 5.5L-5.5 0Z"/></svg>'
            ).format(across(row.raw), y)
        )
    if row.value is not None:
        drawn.append(
            Markup('<circle class="{}" cx="{}%" cy="{}" r="5"/>').format(
                "estimate" if row.corrected else "uncorrected", across(row.value), y
            )
        )
    return Markup("").join(drawn)


def _in_words(row: Row, *, zero: bool, percent: bool) -> str:
    """12.0% (9.1 to 15.3), or why there is no interval."""
    if row.value is None:
        return row.note or "no estimate"
    value = _long(row.value, zero=zero, percent=percent)
    if not row.corrected:
        return f"{value}, UNCORRECTED"
    if row.low is None or row.high is None:
        return value
    ends = [_long(end, zero=zero, percent=percent).rstrip("%") for end in (row.low, row.high)]
    return f"{value} ({ends[0]} to {ends[1]})"


def _long(value: float, *, zero: bool, percent: bool) -> str:
    """With one decimal for shares and two for plain numbers. Points bear a sign and no percent mark."""
    sign = "+" if zero else ""
    if not percent:
        return f"{value:{sign}.2f}".replace("-", "−")
    return f"{100 * value:{sign}.1f}{'' if zero else '%'}".replace("-", "−")


def _short(value: float, *, zero: bool, percent: bool) -> str:
    """On the axis: without the decimals that are not needed, and 0 without a sign."""
    shown = round(100 * value if percent else value, 6)
    number = f"{shown:{'+' if zero and shown else ''}g}".replace("-", "−")
    return f"{number}%" if percent and not zero else number


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
