"""The page of the laboratory: answers first, then fronts, the tax over the steps, a table of methods, how to repeat."""

from __future__ import annotations

import datetime as dt
import pathlib
from collections.abc import Sequence

import msgspec
from markupsafe import Markup

from .. import __version__
from ..report.front_chart import legend
from ..report.lab_charts import LEAST_SAFE, LEAST_USEFUL, Drawn, Path, curve, dots, small_front
from ..report.sheet import environment, policy, template_text, write_page
from ..stats.front import FrontRow
from ..types import Estimate
from .answers import FAMILIES, RULE, headline, questions_of
from .experiment import FLOORS, Ground, Part, Results
from .findings import AT, METRICS, Row, ends_of, front_rows, rows_of
from .methods import METHODS
from .over_seeds import Difference, OverSeeds
from .safety import GENTLE, HARSH

_BESIDE = ("sft", "average")
"""Drawn in every figure, so that each method stands beside the plain baselines."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One group of methods: a panel a seed, and what the marks mean."""

    name: str
    panels: tuple[tuple[str, Markup], ...]
    legend: tuple[tuple[str, Markup], ...]


def write_lab_report(results: Results, out: str | pathlib.Path, *, command: str) -> pathlib.Path:
    """Write the page to `out`, in one step, and return its path. `command`: what repeats the numbers.

    Raises InputError where `out` cannot be written.
    """
    css = Markup(template_text("page.css") + template_text("front.css") + template_text("lab.css"))  # noqa: S704 - our own files
    js = Markup(template_text("page.js"))  # noqa: S704 - our own file
    rows, plan = rows_of(results), results.plan
    page = (
        environment()
        .get_template("lab.html")
        .render(
            css=css, js=js, policy=policy(css, js), version=__version__, written=dt.datetime.now(dt.UTC),
            headline=headline(results), questions=questions_of(results), rule=RULE, rows=rows, groups=groups_of(rows),
            figures=figures_of(results, rows), curves=curves_of(results), dotted=dots_of(rows), ends=ends_of(results).scores,
            results=results, plan=plan, floors=[f"{floor:g}" for floor in FLOORS], at=AT, gentle=GENTLE, harsh=HARSH,
            metrics=tuple(METRICS)[:7], families=FAMILIES, parts=parts_of(results.grounds), methods=METHODS,
            command=command, own=own, mean=mean, between=between, shift=shift, ruling=ruling, seeds=seeds_of(results),
            least_safe=LEAST_SAFE, least_useful=LEAST_USEFUL, abs=abs,
        )
    )  # fmt: skip
    return write_page(pathlib.Path(out), page)


def figures_of(results: Results, rows: Sequence[Row]) -> tuple[Figure, ...]:
    """A figure for each group that is no baseline; tuned SFT and averaging stand in each."""
    present = {row.method for row in rows}
    figures = []
    for group in groups_of(rows):
        members = [name for name in METHODS if name in present and METHODS[name].group == group]
        shown = [name for name in _BESIDE if name in present and name not in members]
        if group == "baseline":
            continue
        if group == "averaging":
            shown.append("early")
        # members first come after the baselines, so that a baseline looks alike in every figure
        order = list(dict.fromkeys([*(name for name in _BESIDE if name in present), *shown, *members]))
        panels: list[tuple[str, Markup]] = []
        legends: tuple[tuple[str, Markup], ...] = ()
        for ground in results.grounds:
            fronts = {name: front_rows(results, ground.seed, name) for name in order}
            drawn = [Drawn(place=place, rows=fronts[name]) for place, name in enumerate(order)]
            name = f"Seed {ground.seed}, base {ground.base}"
            panels.append((name, small_front(drawn, title=f"{group}, {name}", floor=AT)))
            legends = tuple(legend([row for rows_ in fronts.values() for row in rows_[:1]]))
        figures.append(Figure(name=group, panels=tuple(panels), legend=legends))
    return tuple(figures)


def dots_of(rows: Sequence[Row]) -> tuple[tuple[tuple[str, str, Markup], ...], float]:
    """Usefulness at the operating point, a line a method (label, mean in words, plot), and where the axis starts."""
    known = [value for row in rows for value in row.scores["UTIL"].values if value is not None]
    start = max(0.0, int(10 * min(known, default=0.0)) / 10)
    tuned = next((row.scores["UTIL"].mean.value for row in rows if row.method == "sft"), None)
    return tuple(
        (
            row.label,
            mean(row.scores["UTIL"]),
            dots(
                row.scores["UTIL"].values, row.scores["UTIL"].mean, reference=tuned, start=start,
                title=f"{row.label}: {mean(row.scores['UTIL'])}",
            ),
        )
        for row in rows
    ), start  # fmt: skip


def groups_of(rows: Sequence[Row]) -> tuple[str, ...]:
    """Groups of methods in the order of the table."""
    order = ("baseline", "averaging", "low rank", "null space", "data and objective", "steering")
    return tuple(group for group in order if any(row.group == group for row in rows))


def curves_of(results: Results) -> tuple[tuple[str, Markup], ...]:
    """Capability, safety and over-refusal over the steps; gentle and harsh, a line a seed."""
    made = []
    last = results.plan.steps
    for metric, name in (("CAP", "Capability"), ("SAFE", "Safety"), ("OVER", "Over-refusal")):
        of = METRICS[metric]
        paths = []
        for ground in results.grounds:
            for regime, seen in ground.curves.items():
                values = [(0.0, of(ground.untouched.scores) or 0.0)]
                values += [(float(step), of(one.scores) or 0.0) for step, one in seen]
                said = f"{regime}, seed {ground.seed}: {values[-1][1]:.0%} at step {last}"
                paths.append(Path(css=f"regime-{regime}", said=said, points=tuple(values)))
        made.append((name, curve(paths, title=f"{name} over the steps of safety training", last=last)))
    return tuple(made)


def parts_of(grounds: Sequence[Ground]) -> tuple[tuple[str, float, tuple[Part, ...]], ...]:
    """Part, share, and what each seed says of it."""
    return tuple(
        (part.part, part.share, tuple(ground.parts[at] for ground in grounds))
        for at, part in enumerate(grounds[0].parts if grounds else ())
    )


def seeds_of(results: Results) -> tuple[int, ...]:
    """The seeds of a run."""
    return tuple(ground.seed for ground in results.grounds)


def own(numbers: OverSeeds, at: int) -> str:
    """One seed's number."""
    value = numbers.values[at]
    return "none" if value is None else f"{value:.2f}"


def mean(numbers: OverSeeds, *, digits: int = 2) -> str:
    """The mean over the seeds, with how many have it where not all do."""
    if numbers.mean.value is None:
        return "none"
    lacking = "" if numbers.whole else f" ({numbers.mean.n} of {len(numbers.values)} seeds)"
    return f"{numbers.mean.value:.{digits}f}{lacking}"


def between(estimate: Estimate) -> str:
    """The interval over the seeds, kept inside what a share can be."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{max(estimate.low, 0.0):.2f} to {min(estimate.high, 1.0):.2f}"


def shift(estimate: Estimate) -> str:
    """A difference with its interval."""
    if estimate.value is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:+.2f}".replace("-", "−")
    return f"{estimate.value:+.2f} ({estimate.low:+.2f} to {estimate.high:+.2f})".replace("-", "−")


def ruling(one: Difference) -> str:
    """The class of the ruling's mark."""
    return "ruling-pass" if one.shown else ""


__all__ = ["FrontRow", "write_lab_report"]
