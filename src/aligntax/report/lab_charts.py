"""Small multiples of the laboratory: a front a seed, and the tax over the steps of a training.

Positions across are percentages and positions down are pixels, as in charts.py; colours and marks are those of
front_chart.py, so that a method looks alike in both.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from markupsafe import Markup

from ..stats.front import FrontRow, nondominated
from ..types import Estimate
from .front_chart import STYLES, _mark, words_of
from .text import visible

_LEFT, _ACROSS = 11, 87  # percent of the width
_TOP, _HEIGHT, _BOTTOM = 10, 190, 40  # pixels
LEAST_SAFE, LEAST_USEFUL = 0.3, 0.4
"""Where the axes of a small front start: what is less safe or less useful than that is no choice anybody has."""


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """The front of one method in one panel. `place`: its colour and mark, the same in every panel of a figure."""

    place: int
    rows: tuple[FrontRow, ...]


class Path(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a curve: `css` chooses colour and dashes, points are (step, share)."""

    css: str
    said: str
    points: tuple[tuple[float, float], ...]


def small_front(fronts: Sequence[Drawn], *, title: str, floor: float) -> Markup:
    """One panel: every front as a staircase with its marks; the chosen point of each with its intervals and a ring."""
    drawn = [*_front_axes(), _upright(floor)]
    for front in fronts:
        drawn.append(_stairs(front))
        drawn += [_bars(row, front.place) for row in front.rows if row.chosen and _inside(row)]
    for front in fronts:
        drawn += [_point(row, front.place) for row in front.rows if _inside(row)]
    said = "; ".join(words_of(row) for front in fronts for row in front.rows if row.chosen)
    return _svg(drawn, title=title, said=said)


def curve(paths: Sequence[Path], *, title: str, last: float) -> Markup:
    """Shares over steps, from 0 to `last`: a line a seed."""
    drawn = [_across(share, 0.0) for share in (0.0, 0.5, 1.0)]
    for step in (0.0, last / 2, last):
        x = _number(_LEFT + _ACROSS * step / last)
        anchor = "end" if step == last else "middle"
        drawn.append(
            Markup('<text class="tick" x="{}%" y="{}" text-anchor="{}">{:g}</text>').format(
                x, _TOP + _HEIGHT + 16, anchor, step
            )
        )
    drawn.append(
        Markup('<text class="tick" x="{}%" y="{}" text-anchor="end">step</text>').format(
            _LEFT + _ACROSS, _TOP + _HEIGHT + 32
        )
    )
    for path in paths:
        joined = "L".join(
            f"{_number(100 * step / last)} {_number(100 * (1 - share))}" for step, share in path.points
        )
        drawn.append(_stretched(Markup('<path class="line {}" d="M{}"/>').format(path.css, joined)))
    return _svg(drawn, title=title, said="; ".join(path.said for path in paths))


def dots(
    values: Sequence[float | None], mean: Estimate, *, reference: float | None, start: float, title: str
) -> Markup:
    """One line of a plot: a dot a seed, the mean with its interval, an upright line where the reference's mean lies.

    The axis runs from `start` to 1; what lies below is drawn at its left end.
    """

    def across(value: float) -> str:
        return _number(1 + 98 * min(max((value - start) / (1 - start), 0.0), 1.0))

    drawn = [Markup('<line class="grid" x1="1%" x2="99%" y1="13" y2="13"/>')]
    if reference is not None:
        drawn.append(
            Markup('<line class="reference" x1="{x}%" x2="{x}%" y1="0" y2="26"/>').format(x=across(reference))
        )
    if mean.low is not None and mean.high is not None:
        ends = across(mean.low), across(mean.high)
        drawn.append(Markup('<line class="interval" x1="{}%" x2="{}%" y1="13" y2="13"/>').format(*ends))
    drawn += [
        Markup('<circle class="seed" cx="{}%" cy="13" r="3.5"/>').format(across(value))
        for value in values
        if value is not None
    ]
    if mean.value is not None:
        drawn.append(
            Markup('<line class="mean" x1="{x}%" x2="{x}%" y1="5" y2="21"/>').format(x=across(mean.value))
        )
    return Markup('<svg class="dots" role="img" aria-label="{title}"><title>{title}</title>{}</svg>').format(
        Markup("").join(drawn), title=visible(title)
    )


def _front_axes() -> list[Markup]:
    drawn = [_across(share, LEAST_USEFUL) for share in (0.4, 0.6, 0.8, 1.0)]
    for share in (0.4, 0.6, 0.8, 1.0):
        x = _x(share)
        drawn.append(
            Markup(
                '<line class="grid" x1="{x}%" x2="{x}%" y1="{top}" y2="{base}"/>'
                '<text class="tick" x="{x}%" y="{under}" text-anchor="{anchor}">{share:.0%}</text>'
            ).format(
                x=x, top=_TOP, base=_TOP + _HEIGHT, under=_TOP + _HEIGHT + 16, share=share,
                anchor="end" if share == 1 else "middle",
            )
        )  # fmt: skip
    drawn.append(
        Markup(
            '<text class="tick" x="{}%" y="{}" text-anchor="end">safety</text><text class="tick" x="{}%" y="{}">usefulness</text>'
        ).format(_LEFT + _ACROSS, _TOP + _HEIGHT + 32, _LEFT + 1, _TOP + _HEIGHT - 6)
    )
    return drawn


def _across(share: float, start: float) -> Markup:
    y = _number(_TOP + _HEIGHT * (1 - (share - start) / (1 - start)))
    return Markup(
        '<line class="grid" x1="{}%" x2="{}%" y1="{y}" y2="{y}"/><text class="tick" x="{}%" y="{}" text-anchor="end">{:.0%}</text>'
    ).format(_LEFT, _LEFT + _ACROSS, _LEFT - 1.5, float(y) + 4, share, y=y)


def _upright(floor: float) -> Markup:
    return Markup('<line class="floor" x1="{x}%" x2="{x}%" y1="{}" y2="{}"/>').format(
        _TOP, _TOP + _HEIGHT, x=_x(floor)
    )


def _stairs(front: Drawn) -> Markup:
    points = [(row.safety.value or 0.0, row.usefulness.value or 0.0) for row in front.rows]
    kept = sorted({point for point, best in zip(points, nondominated(points), strict=True) if best})
    if not kept:
        return Markup("")
    path = [f"M{_cut(kept[0][0])} {_down(kept[0][1])}"]
    for safety, usefulness in kept[1:]:
        path.append(f"V{_down(usefulness)}H{_cut(safety)}")
    return _stretched(
        Markup('<path class="line stroke-{}" d="{}"/>').format(front.place % STYLES, "".join(path))
    )


def _bars(row: FrontRow, place: int) -> Markup:
    x, y = _x(row.safety.value or 0.0), _y(row.usefulness.value or 0.0)
    lows = [
        max(float(one.low or 0.0), least)
        for one, least in ((row.safety, LEAST_SAFE), (row.usefulness, LEAST_USEFUL))
    ]
    return Markup(
        '<line class="bars stroke-{place}" x1="{}%" x2="{}%" y1="{y}" y2="{y}"/>'
        '<line class="bars stroke-{place}" x1="{x}%" x2="{x}%" y1="{}" y2="{}"/>'
    ).format(
        _x(lows[0]), _x(float(row.safety.high or 1.0)), _y(lows[1]), _y(float(row.usefulness.high or 1.0)),
        place=place % STYLES, x=x, y=y,
    )  # fmt: skip


def _point(row: FrontRow, place: int) -> Markup:
    return Markup('<svg x="{}%" y="{}" width="1" height="1" overflow="visible"><g class="small"><title>{}</title>{}{}</g></svg>').format(
        _x(row.safety.value or 0.0), _y(row.usefulness.value or 0.0), words_of(row),
        Markup('<circle class="ring" r="11"/>') if row.chosen else "", _mark(place, row.baseline),
    )  # fmt: skip


def _inside(row: FrontRow) -> bool:
    return (row.safety.value or 0.0) >= LEAST_SAFE and (row.usefulness.value or 0.0) >= LEAST_USEFUL


def _stretched(inner: Markup) -> Markup:
    return Markup(
        '<svg x="{}%" y="{}" width="{}%" height="{}" viewBox="0 0 100 100" preserveAspectRatio="none">{}</svg>'
    ).format(_LEFT, _TOP, _ACROSS, _HEIGHT, inner)


def _svg(drawn: Sequence[Markup], *, title: str, said: str) -> Markup:
    return Markup(
        '<svg class="front" role="img" height="{}" aria-label="{title}"><title>{title}</title><desc>{}</desc>{}</svg>'
    ).format(_TOP + _HEIGHT + _BOTTOM, said, Markup("").join(drawn), title=visible(title))


def _x(safety: float) -> str:
    return _number(_LEFT + _ACROSS * (safety - LEAST_SAFE) / (1 - LEAST_SAFE))


def _y(useful: float) -> str:
    return _number(_TOP + _HEIGHT * (1 - (useful - LEAST_USEFUL) / (1 - LEAST_USEFUL)))


def _cut(safety: float) -> str:
    return _number(100 * (safety - LEAST_SAFE) / (1 - LEAST_SAFE))


def _down(useful: float) -> str:
    return _number(100 * (1 - (useful - LEAST_USEFUL) / (1 - LEAST_USEFUL)))


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
