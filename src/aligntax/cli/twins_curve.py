"""`aligntax twins --curve`: the tax of many checkpoints against their safety."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from .. import __version__
from ..errors import InputError
from .terminal import clean, console

if TYPE_CHECKING:
    from ..twins import Curve
    from ..twins.curve import Slope
    from ..types import Estimate, Prompt


def show_curve(
    table: Path,
    prompts: Sequence[Prompt] | None,
    *,
    task: str | None,
    svg: Path | None,
    level: float,
    as_json: bool,
) -> None:
    """Prints a slope and a chart for each measure. `prompts`: the suite that logs of the table were made with."""
    from ..twins import curve_of, measure_tax, read_points
    from .twins_answers import answers_in

    def tax_of(log: Path) -> Estimate:
        return measure_tax(answers_in(log, prompts or (), None), level=level).tax

    points = read_points(table, tax_of_log=None if prompts is None else tax_of, task=task)
    curve = curve_of(points, level=level)
    if svg is not None:
        _write_svg(svg, curve)
    if as_json:
        document = {"format": 1, "versions": {"aligntax": __version__}, **msgspec.to_builtins(curve)}
        click.echo(json.dumps(document, indent=2))
    else:
        _print(curve, svg, level)


def sentence(slope: Slope, level: float) -> str:
    """The slope in words: how the measure changes with one unit of safety."""
    value, low, high = slope.slope.value or 0.0, slope.slope.low, slope.slope.high
    ends = "too few checkpoints for an interval"
    if low is not None and high is not None:
        ends = f"{round(100 * level, 3):g} % interval {100 * low:+.1f} to {100 * high:+.1f}"
    sure = low is not None and high is not None and not low <= 0 <= high
    verb = "changes" if sure or low is None else "is not shown to change"
    if slope.monotone:
        turns = "every step goes the same way"
    else:
        turns = f"{slope.turns} of {slope.points - 1} steps go the other way"
    return (
        f"{slope.measure} {verb} with safety: {100 * value:+.1f} points for one unit of safety ({ends}; "
        f"{slope.points} checkpoints); {turns}."
    )


def _print(curve: Curve, svg: Path | None, level: float) -> None:
    from ..twins.curve_chart import chart_lines
    from .forest import writes_ascii_only

    screen = console()
    plain = writes_ascii_only(screen.encoding)
    for number, slope in enumerate(curve.slopes):
        if number:
            click.echo()
        click.echo(textwrap.fill(clean(sentence(slope, level)), min(screen.width, 120)))
        click.echo("\n".join(chart_lines(curve, slope, width=min(screen.width, 100), plain=plain)))
    caution = "Checkpoints of one run are not independent: read the interval as the least doubt there is."
    click.echo(textwrap.fill(caution, min(screen.width, 120)))
    if svg is not None:
        click.echo(f"  chart    {clean(str(svg))}")


def _write_svg(path: Path, curve: Curve) -> None:
    from ..twins.curve_chart import chart_of, svg_of

    try:
        path.write_text(svg_of(chart_of(curve, curve.slopes[0])), "utf-8")
    except OSError as error:
        raise InputError(
            "the file cannot be written", where=str(path), remedy="name another place"
        ) from error
