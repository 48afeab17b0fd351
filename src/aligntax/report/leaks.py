"""The leak of every matrix over the layers, a panel for each kind of matrix, on one logarithmic axis for all.

Positions across are percentages and positions down are pixels, as in charts.py; colours come from classes in
certificate.css. The numbers behind the dots stand in a table beside them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
from markupsafe import Markup

from ..weights.certifying.certificate import Leak, Matrix, by_kind, gravest
from ..weights.certifying.words import measure, short_kinds
from .text import clip

_TOP, _PLOT, _AXIS = 8, 120, 20  # pixels: above the plot, the plot, and the names of layers under it
_LEFT, _ACROSS = 10, 88  # percent of the width: room for the scale, and what the layers span
_LEAST = 1e-4  # leaks under this one are drawn at the bottom
_CROWDED = 40  # layers from which on the marks are smaller

_BETWEEN = Markup('<line class="between" x1="{x}%" x2="{x}%" y1="{}" y2="{}"/>')
_BAR = Markup('<svg x="{}%" y="{}" overflow="visible"><path class="calibrated" d="M-{w} 0H{w}"/></svg>')
_DIAMOND = Markup(
    '<svg x="{}%" y="{}" overflow="visible"><path class="leak-outside" d="M0 -{w}L{w} 0L0 {w}L-{w} 0Z"/></svg>'
)
_DOT = Markup('<circle class="leak-{}" cx="{}%" cy="{}" r="{}"/>')


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of matrix: its leaks over the layers, and the one that weighs most."""

    kind: str
    chart: Markup
    gravest: Matrix
    matrices: tuple[Matrix, ...]


def panels(matrices: Sequence[Matrix], *, target: float, layers: int) -> list[Panel]:
    """A panel for each kind among the changed matrices; `layers` of the model, from 0 on, are the axis of all."""
    measured = [matrix for matrix in matrices if matrix.leak]
    low, high = _ends(measured, target)
    labels = short_kinds(by_kind(matrices))
    return [
        Panel(
            kind=clip(labels[kind], 60),
            chart=_panel(clip(labels[kind], 60), found, target, layers, (low, high)),
            gravest=gravest(found),
            matrices=tuple(found),
        )
        for kind, found in by_kind(matrices).items()
    ]


def _ends(measured: Sequence[Matrix], target: float) -> tuple[float, float]:
    """The ends of the axis: 1 and the target are always on it, and whole decades under them."""
    values = [value for m in measured if m.leak for value in (m.leak.low, m.leak.calibration, m.leak.high)]
    low = max(min([target, *(value for value in values if value > 0)]), _LEAST)
    return 10 ** math.floor(math.log10(low * 0.9)), 1.25 * max(1.0, target, *values)


def _panel(
    kind: str, matrices: Sequence[Matrix], target: float, layers: int, ends: tuple[float, float]
) -> Markup:
    low, high = (math.log10(end) for end in ends)

    def down(value: float) -> float:
        return _TOP + _PLOT * (high - max(math.log10(max(value, 1e-300)), low)) / (high - low)

    drawn = [_rule(10**power, down(10**power)) for power in range(round(low), math.floor(high) + 1)]
    drawn.append(
        Markup('<line class="target" x1="{}%" x2="100%" y1="{y}" y2="{y}"/>').format(
            _LEFT - 2, y=_number(down(target))
        )
    )
    drawn += [
        Markup('<text class="tick" x="{}%" y="{}" text-anchor="middle">{}</text>').format(
            _number(_across(layer, layers)), _TOP + _PLOT + 16, layer
        )
        for layer in sorted({0, (layers - 1) // 2, layers - 1})
    ]
    small = layers > _CROWDED
    drawn += [
        _mark(matrix, matrix.leak, _across(matrix.layer, layers), down, small=small)
        for matrix in matrices
        if matrix.leak
    ]
    said = f"Held-out leak of {kind} over {layers} layers"
    return Markup(
        '<svg class="leaks" role="img" height="{}" aria-label="{said}"><title>{said}</title><desc>{}</desc>{}</svg>'
    ).format(_TOP + _PLOT + _AXIS, _in_words(matrices), Markup("").join(drawn), said=said)


def _mark(matrix: Matrix, leak: Leak, x: float, down: Callable[[float], float], *, small: bool) -> Markup:
    """The interval, the held-out leak on it by its ruling, and a bar across where the calibration leak is."""
    size, at = 2.2 if small else 3.5, _number(x)
    held_out = (
        _DIAMOND.format(at, _number(down(leak.held_out)), w=_number(size + 1))
        if matrix.ruling == "outside"
        else _DOT.format(matrix.ruling, at, _number(down(leak.held_out)), _number(size))
    )
    return Markup("<g><title>{}</title>{}{}{}</g>").format(
        f"layer {matrix.layer}: {measure(leak.held_out)} ({measure(leak.low)} to {measure(leak.high)}) held out, "
        f"{measure(leak.calibration)} on calibration data",
        _BETWEEN.format(_number(down(leak.high)), _number(down(leak.low)), x=at),
        _BAR.format(at, _number(down(leak.calibration)), w=_number(size + (0.6 if small else 2.5))),
        held_out,
    )


def _rule(value: float, y: float) -> Markup:
    """A horizontal rule with its value over it; the one at 1 is what an isotropic change has."""
    return Markup(
        '<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/><text class="tick" x="0" y="{}">{}</text>'
    ).format(_number(y - 3 if y > _TOP + 10 else y + 12), f"{value:g}", y=_number(y))


def _in_words(matrices: Sequence[Matrix]) -> str:
    worst = gravest(matrices)
    if worst.leak is None:
        return "none was measured"
    outside = sum(matrix.ruling == "outside" for matrix in matrices)
    return (
        f"{len(matrices)} changed, {outside} outside; the one that weighs most is layer {worst.layer} with "
        f"{measure(worst.leak.held_out)}"
    )


def _across(layer: int, layers: int) -> float:
    return _LEFT + _ACROSS * ((layer + 0.5) / layers)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
