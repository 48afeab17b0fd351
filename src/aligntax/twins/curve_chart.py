"""The curve as a drawing: places in pixels, as records, and an SVG made of them that stands by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
from markupsafe import Markup

from .curve import TAX, Curve, Point, Slope

WIDTH, HEIGHT = 640, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 24, 48


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """One checkpoint, in pixels from the left and from the top; the whisker is its interval."""

    name: str
    x: float
    y: float
    low: float | None
    high: float | None


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """One label of an axis, in pixels along it."""

    at: float
    text: str


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """One measure against safety."""

    title: str
    marks: tuple[Mark, ...]
    line: tuple[float, float, float, float]  # x and y of both ends of the fitted line
    across: tuple[Tick, ...]
    down: tuple[Tick, ...]


def chart_of(curve: Curve, slope: Slope) -> Chart:
    """The drawing of one measure of the curve, WIDTH by HEIGHT pixels."""
    points = [point for point in curve.points if getattr(point, slope.measure) is not None]
    values = [getattr(point, slope.measure) for point in points]
    ends = [end for point in points for end in _ends(point, slope.measure) if end is not None]
    x_low, x_high = _padded([point.safety for point in points])
    y_low, y_high = _padded([*values, *ends])

    def across(value: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (value - x_low) / (x_high - x_low)

    def down(value: float) -> float:
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * (value - y_low) / (y_high - y_low)

    first, last = points[0].safety, points[-1].safety
    line = [slope.intercept + (slope.slope.value or 0.0) * x for x in (first, last)]
    return Chart(
        title=f"{slope.measure} against safety, {len(points)} checkpoints",
        marks=tuple(
            Mark(
                name=point.name,
                x=across(point.safety),
                y=down(value),
                **{
                    name: None if end is None else down(end)
                    for name, end in zip(("low", "high"), _ends(point, slope.measure), strict=True)
                },
            )
            for point, value in zip(points, values, strict=True)
        ),
        line=(across(first), down(line[0]), across(last), down(line[1])),
        across=tuple(Tick(at=across(value), text=f"{value:g}") for value in _ticks(x_low, x_high)),
        down=tuple(Tick(at=down(value), text=f"{value:.3g}") for value in _ticks(y_low, y_high)),
    )


def svg_of(chart: Chart) -> str:
    """The drawing as one SVG file, readable on light and on dark ground."""
    drawn = [Markup("<title>{}</title>").format(chart.title)]
    bottom = HEIGHT - _BOTTOM
    drawn.append(
        Markup('<path d="M{0},{1} V{2} H{3}" fill="none" stroke="#888"/>').format(
            _LEFT, _TOP, bottom, WIDTH - _RIGHT
        )
    )
    label = Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>')
    drawn += [label.format(tick.at, bottom + 18, "middle", tick.text) for tick in chart.across]
    drawn += [label.format(_LEFT - 8, tick.at + 4, "end", tick.text) for tick in chart.down]
    drawn.append(
        Markup('<text x="{}" y="{}" text-anchor="middle">safety</text>').format(
            (_LEFT + WIDTH) // 2, HEIGHT - 8
        )
    )
    drawn.append(Markup('<text x="{}" y="14">{}</text>').format(_LEFT, chart.title))
    drawn.append(
        Markup(
            '<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="#d55e00" stroke-width="2"/>'
        ).format(*chart.line)
    )
    for mark in chart.marks:
        if mark.low is not None and mark.high is not None:
            drawn.append(
                Markup('<line x1="{0:.1f}" x2="{0:.1f}" y1="{1:.1f}" y2="{2:.1f}" stroke="#0072b2"/>').format(
                    mark.x, mark.low, mark.high
                )
            )
        drawn.append(
            Markup('<circle cx="{:.1f}" cy="{:.1f}" r="4" fill="#0072b2"><title>{}</title></circle>').format(
                mark.x, mark.y, mark.name
            )
        )
    body = Markup("").join(drawn)
    return str(
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {0} {1}" width="{0}" height="{1}" '
            'font-family="sans-serif" font-size="12" fill="#777">{2}</svg>\n'
        ).format(WIDTH, HEIGHT, body)
    )


def chart_lines(
    curve: Curve, slope: Slope, *, width: int, height: int = 12, plain: bool = False
) -> list[str]:
    """The same for a terminal: points as marks, the fitted line as dots, at most `width` characters a line."""
    points = [point for point in curve.points if getattr(point, slope.measure) is not None]
    values = [float(getattr(point, slope.measure)) for point in points]
    x_low, x_high = _padded([point.safety for point in points])
    y_low, y_high = _padded(values)
    scale = 8
    room = max(width - scale - 1, 16)
    rows = [[" "] * room for _ in range(height)]

    def place(x: float, y: float) -> tuple[int, int]:
        column = round((room - 1) * (x - x_low) / (x_high - x_low))
        return round((height - 1) * (y_high - y) / (y_high - y_low)), column

    for column in range(room):
        x = x_low + (x_high - x_low) * column / (room - 1)
        if points[0].safety <= x <= points[-1].safety:
            row, _ = place(x, slope.intercept + (slope.slope.value or 0.0) * x)
            if 0 <= row < height:
                rows[row][column] = "." if plain else "·"
    for point, value in zip(points, values, strict=True):
        row, column = place(point.safety, value)
        rows[row][column] = "*" if plain else "●"
    percent = slope.measure == TAX
    labels = {0: y_high, height - 1: y_low}
    lines = []
    for number, row_of_signs in enumerate(rows):
        label = labels.get(number)
        written = "" if label is None else f"{label:.1%}" if percent else f"{label:.3g}"
        lines.append(f"{written:>{scale}}{'|' if plain else '│'}{''.join(row_of_signs)}".rstrip())
    left, right = f"{x_low:.3g}", f"{x_high:.3g}"
    lines.append(f"{'':>{scale}} {left}{'safety':^{max(room - len(left) - len(right), 8)}}{right}")
    return lines


def _ends(point: Point, measure: str) -> tuple[float | None, float | None]:
    if measure == TAX:
        return point.tax_low, point.tax_high
    if point.capability is None or point.capability_error is None:
        return None, None
    return point.capability - 1.96 * point.capability_error, point.capability + 1.96 * point.capability_error


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * 0.05 or 0.5
    return low - room, high + room


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers between the ends."""
    step = 10 ** math.floor(math.log10((high - low) / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 6)
    first = math.ceil(low / step)
    return [round(number * step, 12) for number in range(first, math.floor(high / step) + 1)]
