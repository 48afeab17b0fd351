"""Inline SVG for the page: stacked bars, single bars, lines over time, histograms.

Positions across are percentages and positions down are pixels, so a chart fills any width while its text and
strokes keep their size. Colours come from classes in page.css, because the page forbids inline styles.
Every chart has a title; the numbers behind it stand in a table beside it, which is what a screen reader reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from markupsafe import Markup, escape

_HEAD, _PLOT, _STRIP = 26, 176, 44  # pixels from the top: names of changes, rates, volumes
_LEFT, _ACROSS = 7, 91  # percent of the width: room for the scale, and what the points span
_NICE_TOPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One moment on the time axis."""

    at: float  # 0 to 1
    calls: int
    thin: bool  # too few calls to read much into: drawn hollow
    label: str = ""  # under the axis
    change: str = ""  # name of a rule drawn here


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One rate per point; None leaves a gap."""

    css: str
    values: tuple[float | None, ...]


def stacked_bar(parts: Iterable[tuple[str, float]], *, title: str) -> Markup:
    """One bar over the full width; `parts` are (CSS class, share) with shares that sum to 1."""
    at, rects = 0.0, []
    for css, share in parts:
        if share > 0:
            rects.append(
                Markup('<rect class="fill-{}" x="{}%" width="{}%" height="100%"/>').format(
                    css, _number(at * 100), _number(share * 100)
                )
            )
        at += share
    return _svg("stack", title, rects)


def bar(share: float | None, css: str) -> Markup:
    """One thin bar beside a number that says the same, so it is hidden from screen readers."""
    width = _number(100 * min(max(share or 0.0, 0.0), 1.0))
    return Markup(
        '<svg class="bar" aria-hidden="true"><rect class="track" width="100%" height="100%"/>'
        '<rect class="fill-{}" width="{}%" height="100%"/></svg>'
    ).format(css, width)


def lines(series: Sequence[Line], points: Sequence[Point], *, title: str, desc: str) -> Markup:
    """Rates over time, above a strip of volumes."""
    top = nice_top(max((value or 0.0 for line in series for value in line.values), default=0.0))
    drawn = [*_scale(top), *_time_axis(points)]
    for line in series:
        drawn.extend(_line(line, points, top))
    return _svg("lines", title, drawn, desc=desc)


def histogram(
    shares: Sequence[float], reference: Sequence[float], *, css: str, top: float, title: str
) -> Markup:
    """Bars of `shares`, with the outline of `reference` (complete answers) drawn over them."""
    height, step = 96, 100 / len(shares)
    drawn: list[Markup] = []
    for place, share in enumerate(shares):
        tall = height * share / top
        drawn.append(
            Markup(
                '<rect class="fill-{}" x="{}%" y="{}" width="{}%" height="{}"><title>{}</title></rect>'
            ).format(
                css,
                _number(place * step + step * 0.08),
                _number(height - tall),
                _number(step * 0.84),
                _number(tall),
                _tick(share),
            )
        )
    outline = " ".join(
        f"{_number(x * step)},{_number(100 * (1 - share / top))}"
        for place, share in enumerate(reference)
        for x in (place, place + 1)
    )
    drawn.append(Markup('<line class="grid" x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(height))
    if reference:
        drawn.append(
            Markup(
                '<svg width="100%" height="{}" viewBox="0 0 100 100" preserveAspectRatio="none">'
                '<polyline class="outline" points="{}"/></svg>'
            ).format(height, outline)
        )
    return _svg("histogram", title, drawn)


def nice_top(value: float) -> float:
    """The smallest round share that is at least `value`."""
    return next((top for top in _NICE_TOPS if top >= value), 1.0)


def _scale(top: float) -> list[Markup]:
    """Three horizontal rules, each with its share written above it."""
    drawn = []
    for share in (0.0, top / 2, top):
        y = _HEAD + _PLOT * (1 - share / top)
        drawn.append(
            Markup(
                '<line class="grid" x1="0" x2="100%" y1="{0}" y2="{0}"/><text class="tick" x="0" y="{1}">{2}</text>'
            ).format(_number(y), _number(y - 4), _tick(share))
        )
    return drawn


def _time_axis(points: Sequence[Point]) -> list[Markup]:
    """Volumes, labels and changes: everything that belongs to the axis and not to one line."""
    most, base = max(point.calls for point in points), _HEAD + _PLOT + _STRIP
    wide = min(0.5 * _ACROSS / len(points), 3)
    drawn = []
    for point in points:
        x, tall = _number(_inset(point.at)), max((_STRIP - 12) * point.calls / max(most, 1), 1)
        drawn.append(
            Markup('<rect class="fill-volume" x="{}%" width="{}%" y="{}" height="{}"/>').format(
                _number(_inset(point.at) - wide / 2), _number(wide), _number(base - tall), _number(tall)
            )
        )
        if point.label:
            drawn.append(
                Markup('<text class="tick" x="{}%" y="{}" text-anchor="{}">{}</text>').format(
                    x, base + 16, _anchor(point.at), point.label
                )
            )
        if point.change:
            drawn.append(
                Markup(
                    '<line class="change" x1="{0}%" x2="{0}%" y1="16" y2="{1}"/>'
                    '<text class="change-name" x="{0}%" y="12" text-anchor="middle">{2}</text>'
                ).format(x, base, point.change)
            )
    return drawn


def _line(line: Line, points: Sequence[Point], top: float) -> list[Markup]:
    """The path in a stretched inner frame, so that it follows the width, and round dots outside of it."""
    path: list[str] = []
    dots: list[Markup] = []
    pen = "M"
    for point, value in zip(points, line.values, strict=True):
        if value is None:
            pen = "M"
            continue
        x, down = _number(_inset(point.at)), 1 - value / top
        path.append(f"{pen}{x} {_number(100 * down)}")
        pen = "L"
        dots.append(
            Markup('<circle class="dot dot-{}{}" cx="{}%" cy="{}" r="3.5"/>').format(
                line.css, " thin" if point.thin else "", x, _number(_HEAD + _PLOT * down)
            )
        )
    inner = Markup(
        '<svg y="{}" width="100%" height="{}" viewBox="0 0 100 100" preserveAspectRatio="none" overflow="visible">'
        '<path class="line line-{}" d="{}"/></svg>'
    ).format(_HEAD, _PLOT, line.css, " ".join(path))
    return [inner, *dots]


def _anchor(at: float) -> str:
    """Labels at the ends grow inwards, so that none is cut off."""
    return "start" if at < 0.05 else "end" if at > 0.95 else "middle"


def _svg(css: str, title: str, drawn: Sequence[Markup], *, desc: str = "") -> Markup:
    return Markup('<svg class="{}" role="img" aria-label="{}"><title>{}</title>{}{}</svg>').format(
        css, title, title, Markup("<desc>{}</desc>").format(desc) if desc else "", Markup("").join(drawn)
    )


def _inset(x: float) -> float:
    """Percent across, leaving room for the axis labels at the left and half a point at the right."""
    return _LEFT + _ACROSS * x


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _tick(share: float) -> str:
    return str(escape(f"{share:.1%}".replace(".0%", "%")))
