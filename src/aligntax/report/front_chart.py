"""Usefulness against safety as inline SVG: every point with its intervals, a staircase a method, baselines by their marks.

Positions across are percentages and positions down are pixels, as in charts.py; colours come from classes in front.css.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from ..stats.front import FrontRow, nondominated
from .text import visible

_HEIGHT, _TOP, _BOTTOM = 380, 14, 46  # pixels: of the plot, above it, below it for the scale and its name
_LEFT, _ACROSS = 7, 91  # percent of the width
_MARKS = (
    "M0-6A6 6 0 1 1 0 6A6 6 0 1 1 0-6Z",  # circle
    "M-5.5-5.5H5.5V5.5H-5.5Z",  # square
    "M0-7.5L7.5 0L0 7.5L-7.5 0Z",  # diamond
    "M0-7L7 5.5H-7Z",  # triangle
    "M0 7L7-5.5H-7Z",  # triangle on its tip
    "M-2-7H2V-2H7V2H2V7H-2V2H-7V-2H-2Z",  # plus
)
STYLES = 6
"""Methods that have a colour of their own; more take them again, with another mark."""


def front_chart(rows: Sequence[FrontRow], *, title: str, floor: float | None = None) -> Markup:
    """All points, each with its interval in both directions; empty where there are none.

    Methods keep the order in which they first come, and so their colours and marks (`legend`). Baselines are hollow.
    `floor`: the safety at which methods are compared, an upright line.
    """
    if not rows:
        return Markup("")
    start = _start(rows)
    drawn = [*_axes(start), *(_floor(floor, start) if floor is not None and floor > start else ())]
    for place, method in enumerate(methods_of(rows)):
        own = [row for row in rows if row.method == method]
        drawn += [_stairs(own, place, start), *(_bars(row, place, start) for row in own)]
    for place, method in enumerate(methods_of(rows)):
        drawn += [_point(row, place, start) for row in rows if row.method == method]
    said = "; ".join(words_of(row) for row in rows)
    return Markup(
        '<svg class="front" role="img" height="{}" aria-label="{title}"><title>{title}</title><desc>{}</desc>{}</svg>'
    ).format(_TOP + _HEIGHT + _BOTTOM, said, Markup("").join(drawn), title=visible(title))


def methods_of(rows: Sequence[FrontRow]) -> list[str]:
    """The methods, each once, in their order."""
    return list(dict.fromkeys(row.method for row in rows))


def legend(rows: Sequence[FrontRow]) -> list[tuple[str, Markup]]:
    """Method and its mark."""
    made = []
    for place, method in enumerate(methods_of(rows)):
        hollow = next(row.baseline for row in rows if row.method == method)
        made.append(
            (method, Markup('<svg class="mark" aria-hidden="true">{}</svg>').format(_mark(place, hollow)))
        )
    return made


def words_of(row: FrontRow) -> str:
    """Such as "blocks 0.90 0.70: safety 88% (80 to 93), usefulness 71% (65 to 77)"."""
    parts = []
    for name, estimate in (("safety", row.safety), ("usefulness", row.usefulness)):
        value, low, high = (100 * float(end or 0.0) for end in (estimate.value, estimate.low, estimate.high))
        parts.append(f"{name} {value:.0f}% ({low:.0f} to {high:.0f})")
    return f"{visible(row.method)} {visible(row.label)}: {', '.join(parts)}"


def _start(rows: Sequence[FrontRow]) -> float:
    """Where both axes start: 0, or a round share under every interval."""
    ends = [
        end
        for row in rows
        for estimate in (row.safety, row.usefulness)
        for end in (estimate.low, estimate.value)
    ]
    least = min((end for end in ends if end is not None), default=0.0)
    return min(max(math.floor(least * 5) / 5, 0.0), 0.8)


def _axes(start: float) -> list[Markup]:
    step = 0.2 if start < 0.4 else 0.1 if start < 0.8 else 0.05
    drawn = []
    for at in range(round((1 - start) / step) + 1):
        share = start + at * step
        x, y = _x(share, start), _y(share, start)
        drawn.append(
            Markup(
                '<line class="grid" x1="{left}%" x2="{right}%" y1="{y}" y2="{y}"/>'
                '<text class="tick" x="{name}%" y="{below}" text-anchor="end">{share}</text>'
                '<line class="grid" x1="{x}%" x2="{x}%" y1="{top}" y2="{base}"/>'
                '<text class="tick" x="{x}%" y="{under}" text-anchor="middle">{share}</text>'
            ).format(
                left=_LEFT,
                right=_LEFT + _ACROSS,
                y=y,
                below=float(y) + 4,
                x=x,
                top=_TOP,
                base=_TOP + _HEIGHT,
                under=_TOP + _HEIGHT + 17,
                share=f"{share:.0%}",
                name=_LEFT - 1,
            )
        )
    drawn.append(
        Markup(
            '<text class="axis" x="{}%" y="{}" text-anchor="end">safety</text>'
            '<text class="axis" x="{}%" y="{}">usefulness</text>'
        ).format(_LEFT + _ACROSS, _TOP + _HEIGHT + 38, _LEFT + 0.6, _TOP + 14)
    )
    return drawn


def _floor(floor: float, start: float) -> list[Markup]:
    x = _x(floor, start)
    return [
        Markup(
            '<line class="floor" x1="{x}%" x2="{x}%" y1="{top}" y2="{base}"/>'
            '<text class="change-name" x="{x}%" y="{name}" text-anchor="middle">floor</text>'
        ).format(x=x, top=_TOP, base=_TOP + _HEIGHT, name=_TOP - 3)
    ]


def _stairs(rows: Sequence[FrontRow], place: int, start: float) -> Markup:
    """The edge of what the method's points dominate, in a stretched inner frame."""
    points = [(row.safety.value or 0.0, row.usefulness.value or 0.0) for row in rows]
    kept = sorted({point for point, best in zip(points, nondominated(points), strict=True) if best})
    if len(kept) < 2:
        return Markup("")
    path = [f"M{_cut(kept[0][0], start)} {_down(kept[0][1], start)}"]
    for safety, usefulness in kept[1:]:
        path.append(f"V{_down(usefulness, start)}H{_cut(safety, start)}")
    return Markup(
        '<svg x="{}%" y="{}" width="{}%" height="{}" viewBox="0 0 100 100" preserveAspectRatio="none" overflow="visible">'
        '<path class="line stroke-{}" d="{}"/></svg>'
    ).format(_LEFT, _TOP, _ACROSS, _HEIGHT, place % STYLES, "".join(path))


def _bars(row: FrontRow, place: int, start: float) -> Markup:
    x, y = _x(row.safety.value or 0.0, start), _y(row.usefulness.value or 0.0, start)
    drawn = []
    if row.safety.low is not None and row.safety.high is not None:
        drawn.append(
            Markup('<line class="bars stroke-{}" x1="{}%" x2="{}%" y1="{y}" y2="{y}"/>').format(
                place % STYLES, _x(row.safety.low, start), _x(row.safety.high, start), y=y
            )
        )
    if row.usefulness.low is not None and row.usefulness.high is not None:
        drawn.append(
            Markup('<line class="bars stroke-{}" x1="{x}%" x2="{x}%" y1="{}" y2="{}"/>').format(
                place % STYLES, _y(row.usefulness.low, start), _y(row.usefulness.high, start), x=x
            )
        )
    return Markup("").join(drawn)


def _point(row: FrontRow, place: int, start: float) -> Markup:
    return Markup(
        '<svg x="{}%" y="{}" width="1" height="1" overflow="visible"><g><title>{}</title>{}{}</g></svg>'
    ).format(
        _x(row.safety.value or 0.0, start), _y(row.usefulness.value or 0.0, start), words_of(row),
        Markup('<circle class="ring" r="11"/>') if row.chosen else "", _mark(place, row.baseline),
    )  # fmt: skip


def _mark(place: int, hollow: bool) -> Markup:
    mark = _MARKS[(place + place // STYLES) % len(_MARKS)]
    css = f"stroke-{place % STYLES} " + ("hollow" if hollow else f"paint-{place % STYLES}")
    return Markup('<path class="point {}" d="{}"/>').format(css, mark)


def _inside(share: float, start: float) -> float:
    return min(max((share - start) / (1 - start), 0.0), 1.0)


def _x(share: float, start: float) -> str:
    return _number(_LEFT + _ACROSS * _inside(share, start))


def _y(share: float, start: float) -> str:
    return _number(_TOP + _HEIGHT * (1 - _inside(share, start)))


def _cut(share: float, start: float) -> str:
    return _number(100 * _inside(share, start))


def _down(share: float, start: float) -> str:
    return _number(100 * (1 - _inside(share, start)))


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
