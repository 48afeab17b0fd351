"""The page of a ratio search: fronts, points, areas with intervals, what can be claimed, and how to write the point."""

from __future__ import annotations

import datetime as dt
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from markupsafe import Markup

from .. import __version__
from ..stats.front import FrontRow
from ..stats.gain import RULE
from ..types import Estimate
from ..weights.searching.next_step import next_step
from ..weights.searching.search import Found
from ..weights.searching.sensitivity import Moved, evaluations_of, readings
from .front_chart import front_chart, legend, methods_of
from .sheet import environment, policy, template_text, write_page

CONVENTION = "theta = theta0 + a * (theta1 - theta0)"
_HEATS = 5  # shades on either side of no difference
_FULL = 0.5  # the difference that has the strongest shade


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One field of the heat strip: a difference to the aligned model."""

    css: str
    shown: str
    said: str


def write_front_report(
    rows: Sequence[FrontRow],
    out: str | pathlib.Path,
    *,
    title: str = "",
    found: Found | None = None,
    write: str | None = None,
    facts: Mapping[str, Any] | None = None,
    sensitivity: Sequence[Moved] = (),
) -> pathlib.Path:
    """Write the page to `out`, in one step, and return its path.

    `rows` are the points, of the report prompts. `found` adds areas, comparisons and the verdict; `write` is the command
    that writes the chosen point; `facts` say what the scores depend on; `sensitivity` is what a scan found.
    Raises InputError where `out` cannot be written.
    """
    css = Markup(template_text("page.css") + template_text("front.css"))  # noqa: S704 - our own files
    js = Markup(template_text("page.js"))  # noqa: S704 - our own file
    page = (
        environment()
        .get_template("front.html")
        .render(
            css=css, js=js, policy=policy(css, js), version=__version__, written=dt.datetime.now(dt.UTC), title=title,
            rows=rows, found=found, write=write, facts=_flat(facts or {}), convention=CONVENTION, rule=RULE,
            chart=front_chart(rows, title="Usefulness against safety", floor=found.safety if found else None),
            legend=legend(rows), methods=methods_of(rows), heat=heat_rows(sensitivity), readings=readings(sensitivity),
            scanned=evaluations_of(sensitivity) if sensitivity else 0, share=share, shift=shift,
            area=area, step=next_step(found) if found else "",
        )
    )  # fmt: skip
    return write_page(pathlib.Path(out), page)


def heat_rows(moved: Sequence[Moved]) -> list[tuple[str, str, list[Cell], str]]:
    """Part, its share, cells of safety, usefulness and over-refusal, and the reading of safety."""
    return [
        (
            row.part,
            f"{row.share:g}",
            [_cell(row.safety), _cell(row.usefulness), _cell(row.over, worse_up=True)],
            row.word,
        )
        for row in moved
    ]


def share(estimate: Estimate | None) -> str:
    """Such as 88% (80 to 93)."""
    if estimate is None or estimate.value is None:
        return ""
    value = f"{100 * estimate.value:.0f}%"
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} ({100 * estimate.low:.0f} to {100 * estimate.high:.0f})"


def shift(estimate: Estimate | None) -> str:
    """Such as +12 (+3 to +22), in points."""
    if estimate is None or estimate.value is None or estimate.low is None or estimate.high is None:
        return "–"
    ends = [100 * end for end in (estimate.value, estimate.low, estimate.high)]
    return "{:+.0f} ({:+.0f} to {:+.0f})".format(*ends).replace("-", "−")


def area(estimate: Estimate, *, sign: bool = False) -> str:
    """Such as 0.712 (0.655 to 0.768)."""
    form = "+.3f" if sign else ".3f"
    ends = [format(float(end or 0.0), form) for end in (estimate.value, estimate.low, estimate.high)]
    return f"{ends[0]} ({ends[1]} to {ends[2]})".replace("-", "−")


def _cell(estimate: Estimate | None, *, worse_up: bool = False) -> Cell:
    if estimate is None or estimate.value is None:
        return Cell(css="heat-none", shown="", said="not measured")
    better = -estimate.value if worse_up else estimate.value
    shade = min(round(_HEATS * abs(better) / _FULL), _HEATS)
    css = "heat-none" if not shade else f"heat-{'up' if better > 0 else 'down'}-{shade}"
    return Cell(css=css, shown=f"{100 * estimate.value:+.0f}".replace("-", "−"), said=shift(estimate))


def _flat(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values as text, nested ones with their names joined."""
    made: list[tuple[str, str]] = []
    for name, value in facts.items():
        words = str(name).replace("_", " ")
        if isinstance(value, Mapping):
            made += [(f"{words}: {inner}", text) for inner, text in _flat(value)]
        else:
            made.append(
                (
                    words,
                    {True: "yes", False: "no"}.get(value, str(value))
                    if isinstance(value, bool)
                    else str(value),
                )
            )
    return made
