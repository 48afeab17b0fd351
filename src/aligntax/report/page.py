"""The report: findings, charts and examples put together into one HTML file that needs nothing else."""

from __future__ import annotations

import datetime as dt
import functools
import pathlib
from collections.abc import Sequence

import jinja2
import msgspec
import polars as pl
from markupsafe import Markup

from .. import __version__
from ..estimate import Survey
from ..types import KIND_THRESHOLD, Kind, Problem
from . import figures, rates
from .charts import bar, nice_top
from .deltas import Compared, Comparison, compared
from .examples import Example, collect_examples
from .findings import SLICES_SHOWN, Findings, find, open_verdicts
from .forest import marks
from .labels import Labels, labels_page
from .rates import Corrected, corrected_rates
from .ruling import Gate, Gated, gate_page
from .sheet import environment, policy, template_text, write_page
from .tax import PLOTTED, Taxed, taxed
from .words import Words, trigger_words

PAGE = 20  # examples at a time
PROBLEMS_SHOWN = 200
FEW = 30  # slices with fewer counted calls are marked


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What the reader of the log reported beside the rows."""

    problems: tuple[Problem, ...]
    skipped: int
    not_calls: int
    source: str


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What labels, and other measurements, add to the page; each None where there is nothing of it."""

    waiting: tuple[str, int] | None = None  # draw, and its exchanges, that nobody has labelled yet
    corrected: Corrected | None = None
    labels: Labels | None = None
    comparison: Compared | None = None
    gate: Gate | None = None
    tax: Taxed | None = None
    triggers: Words | None = None


def write_report(  # noqa: PLR0913 - each is one fact of the page, and all but two have a default
    verdicts: pl.DataFrame | pl.LazyFrame | str | pathlib.Path,
    out: str | pathlib.Path,
    *,
    by: Sequence[str] = ("use_case", "model"),
    problems: Sequence[Problem] = (),
    skipped: int = 0,
    not_calls: int = 0,
    source: str = "",
    examples: int = 400,
    survey: Survey | None = None,
    comparison: Comparison | None = None,
    decision: Gated | None = None,
    tax: str | pathlib.Path | None = None,
    triggers: str | pathlib.Path | None = None,
) -> pathlib.Path:
    """Write the report to `out`, in one step, and return its path.

    `verdicts` is a scanned log: a frame, a lazy frame, or the path of a Parquet file. A file or lazy frame is
    read about a dozen times, column by column, and never held in memory as a whole. Where it has no
    `response` column the page says so and shows no examples.

    `by` names the slices (columns, `model` for served else requested, or `tags.KEY`). `problems` are rows that
    could not be read, `skipped` how many they are in all, `not_calls` records of the log that are no model
    calls. `source` says in the title what was scanned. At most `examples` exchanges are quoted; they contain
    what people wrote, so the file deserves the care the log deserves.

    `survey` is what labels of these verdicts say: with it the page opens with the rate that can be signed, and the
    detector's own counts come after. `comparison` holds two sides of the log against each other, `decision` is what
    the gate said of these verdicts. `tax` and `triggers` are files that `aligntax twins --json` and `aligntax triggers
    --json` have printed: each adds a section of its own.

    Raises InputError for an empty or foreign frame or file, unknown names in `by`, a decision that cannot be read, or
    an `out` that cannot be written.
    """
    evidence = _evidence(survey, comparison, decision, tax, triggers)  # cheap, and may say no
    frame = open_verdicts(verdicts)
    findings = find(frame, by)
    shown = collect_examples(frame, by, examples)
    reading = Reading(
        problems=tuple(problems), skipped=max(skipped, len(problems)), not_calls=not_calls, source=source
    )
    stored = "response" in frame.collect_schema()
    return write_page(pathlib.Path(out), render(findings, shown, reading, evidence, by=by, stored=stored))


def render(
    findings: Findings,
    examples: Sequence[Example],
    reading: Reading,
    evidence: Evidence,
    *,
    by: Sequence[str],
    stored: bool,
) -> str:
    """The page as text. `stored` says whether the log holds responses at all."""
    css, js = Markup(template_text("page.css")), Markup(template_text("page.js"))  # noqa: S704 - our own files
    return (
        _environment()
        .get_template("page.html")
        .render(
            css=css,
            js=js,
            policy=policy(css, js),
            findings=findings,
            total=findings.total,
            examples=examples,
            choices=_choices(examples, len(by)),
            reading=reading,
            evidence=evidence,
            by=by,
            stored=stored,
            timeline=findings.timeline and figures.time_figure(findings.timeline),
            kinds_top=_kinds_top(findings),
            version=__version__,
            written=dt.datetime.now(dt.UTC),
        )
    )


def _evidence(
    survey: Survey | None,
    comparison: Comparison | None,
    decision: Gated | None,
    tax: str | pathlib.Path | None,
    triggers: str | pathlib.Path | None,
) -> Evidence:
    labelled = survey is not None and survey.labelled > 0
    return Evidence(
        waiting=(survey.draw.id, sum(stratum.labels for stratum in survey.draw.strata))
        if survey and survey.draw and not labelled
        else None,
        corrected=corrected_rates(survey) if survey and labelled else None,
        labels=labels_page(survey) if survey and labelled else None,
        comparison=compared(comparison) if comparison else None,
        gate=gate_page(decision) if decision else None,
        tax=taxed(tax) if tax is not None else None,
        triggers=trigger_words(triggers) if triggers is not None else None,
    )


def _choices(examples: Sequence[Example], slices: int) -> dict[str, list[str]]:
    """What the example filters offer: values that occur, verdicts in the order of the charts."""
    order = [*figures.OUTCOMES, "empty", "tool_call"]
    return {
        "verdict": sorted({example.verdict for example in examples}, key=order.index),
        "kind": [kind.value for kind in Kind if any(kind in example.kinds for example in examples)],
        **{f"slice{at}": sorted({example.slices[at] for example in examples}) for at in range(slices)},
    }


def _kinds_top(findings: Findings) -> float:
    """Where the bars of the kinds end. Thin slices have no say: one call would flatten all others."""
    sliced = (row for slices in findings.slices for row in slices.rows if row["counted"] >= FEW)
    rows = [findings.total, *sliced]
    return nice_top(max((row[kind] or 0.0 for row in rows for kind in Kind), default=0.0))


@functools.cache
def _environment() -> jinja2.Environment:
    page = environment()
    page.globals |= {
        "figures": figures,
        "rates": rates,
        "marks": marks,
        "bar": bar,
        "Kind": Kind,
        "PAGE": PAGE,
        "PLOTTED": PLOTTED,
        "FEW": FEW,
        "KIND_THRESHOLD": KIND_THRESHOLD,
        "PROBLEMS_SHOWN": PROBLEMS_SHOWN,
        "SLICES_SHOWN": SLICES_SHOWN,
    }
    return page
