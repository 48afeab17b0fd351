"""Corrected rates as the page shows them: which rows, in what order, and what stands where there is no rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import polars as pl
from markupsafe import Markup

from ..estimate import Survey
from ..types import Kind
from .forest import Row, forest
from .text import clip, visible
from .wording import NAMES, interval, left_out, percent, plural, sentence, slice_name, sure, words

Rates = dict[str, Any]
"""One row of `estimate.corrected`, by column name."""

OVER_REFUSAL = ("not_complete", "should_answer")
NOT_COMPLETE = ("not_complete", "all")

GROUPS_SHOWN = 50
PARTS_SHOWN = 100
DRAWN = 30  # rows of a forest plot; where there would be more, the parts of a group are not drawn

RATE, OUTSIDE, WITHHELD, UNCORRECTED = "rate", "outside", "withheld", "uncorrected"
"""What a row of `estimate.corrected` can be; see `state`."""

_STAMP = "UNCORRECTED"
_ALL = "All exchanges"
_BESIDE = (
    (
        "deserved_refusal",
        "all",
        "of all requests were not answered in full and should not have been: deserved refusals, in no rate of "
        "over-refusal.",
    ),
    ("unclear", "all", "of all requests are unclear: people could not say whether they should be answered."),
    (
        "harmful_compliance",
        "should_not_answer",
        "of the requests that should not have been answered were answered, in full or in part: harmful compliance.",
    ),
)
_WITHHELD = (
    "There are no rates of that until the disagreements are settled, the codebook is sharpened and the exchanges "
    "are labelled again."
)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One slice in the table, or all exchanges: its rate of over-refusal, and of what is not complete."""

    name: str
    nested: bool  # a part of the slice above it
    over: Rates
    whole: Rates


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of answer: its rate among what should have been answered, and among all exchanges."""

    name: str
    nested: bool
    over: Rates
    whole: Rates


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """What the labels say in one sentence. `interval` is empty where there is nothing to sign."""

    headline: str
    interval: str
    rests_on: str
    speaks_for: str


class Corrected(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the section about corrected rates shows."""

    signed: Signed | None  # None: no label says anything about whole answers
    lines: tuple[Line, ...]
    hidden: int  # slices that are in no line
    over_plot: Markup
    whole_plot: Markup
    drawn_groups: bool  # whether the plots leave the parts of groups out
    targets: tuple[Target, ...]
    by_group: tuple[
        tuple[str, tuple[Rates, ...]], ...
    ]  # name, one row per kind among what should be answered
    beside: tuple[tuple[Rates, str], ...]
    audit: tuple[tuple[str, str], ...]  # slice, sentence
    notes: tuple[str, ...]
    withheld: str  # why, each reason once; empty where no rate is withheld


def state(row: Rates) -> str:
    """RATE, or why there is none: nothing in the domain, withheld for disagreement, or no labels."""
    if row["corrected"]:
        return RATE if row["value"] is not None else OUTSIDE
    return WITHHELD if row["method"].startswith(WITHHELD) else UNCORRECTED


def corrected_rates(survey: Survey) -> Corrected:
    """The survey as its section of the page shows it."""
    lines, hidden = _lines(survey)
    few = lines if len(lines) <= DRAWN else [line for line in lines if not line.nested][:DRAWN]
    return Corrected(
        signed=_signed(survey),
        lines=tuple(lines),
        hidden=hidden,
        over_plot=_plot(
            [(line, line.over) for line in few], title="Over-refusal: share of what should have been answered"
        ),
        whole_plot=_plot([(line, line.whole) for line in few], title="Not complete: share of all requests"),
        drawn_groups=len(few) < len(lines),
        targets=tuple(_targets(survey.total)),
        by_group=tuple(_by_group(survey)),
        beside=tuple(_beside(survey)),
        audit=tuple(_audit(survey)),
        notes=tuple(_notes(survey)),
        withheld=_withheld(survey),
    )


def _signed(survey: Survey) -> Signed | None:
    over, whole = row_of(survey.total, *OVER_REFUSAL), row_of(survey.total, *NOT_COMPLETE)
    if state(over) == RATE:
        return _sign(
            survey,
            over,
            f"{percent(over['value'])} of the requests that should have been answered were not answered in full.",
            "Refusals that were deserved are not in it: people said which requests should have been answered.",
        )
    if state(whole) == RATE:
        return _sign(
            survey,
            whole,
            f"{percent(whole['value'])} of the requests were not answered in full.",
            "Some refusals may be right: no rate says yet which requests should have been answered.",
        )
    if WITHHELD in (state(over), state(whole)):
        why = next(row["method"] for row in (whole, over) if state(row) == WITHHELD)
        return Signed(
            headline="No rate can be signed: the annotators disagree.",
            interval="",
            rests_on=f"{sentence('; '.join(_reasons(why)))}.",
            speaks_for=_WITHHELD,
        )
    return None


def _sign(survey: Survey, row: Rates, headline: str, domain: str) -> Signed:
    people = f" by {plural(len(survey.annotators), 'person', 'people')}" if survey.annotators else ""
    exchanges = f"these {row['n']:,} exchanges"
    whom = f"traffic like {exchanges}" if survey.population == "future" else f"{exchanges} and no others"
    return Signed(
        headline=headline,
        interval=f"{sure(row['level'])} interval: {interval(row)}",
        rests_on=f"Corrected by {plural(row['n_labels'], 'label')}{people}.",
        speaks_for=f"It speaks for {whom}. {domain}",
    )


def row_of(table: pl.DataFrame, target: str, domain: str) -> Rates:
    """The only row of a table of all exchanges with this target and domain."""
    return table.filter(target=target, domain=domain).row(0, named=True)


def _lines(survey: Survey) -> tuple[list[Line], int]:
    """All exchanges, then groups with most exchanges first and their parts below them; and how many are left out."""
    lines = [_line(_ALL, survey.total.to_dicts(), nested=False)]
    if not survey.by:
        return lines, 0
    groups = _slices(survey.groups, survey.by[:1])
    parts = _slices(survey.slices, survey.by) if len(survey.by) > 1 else {}
    shown = dict(list(parts.items())[:PARTS_SHOWN])
    for key, rows in list(groups.items())[:GROUPS_SHOWN]:
        lines.append(_line(slice_name(key[0]), rows, nested=False))
        mine = [_line(_name(part[1:]), of, nested=True) for part, of in shown.items() if part[:1] == key]
        lines += sorted(mine, key=lambda line: line.name)  # in one order in every group
    nested = sum(line.nested for line in lines)
    return lines, len(groups) + len(parts) - (len(lines) - 1 - nested) - nested


def _slices(table: pl.DataFrame, by: Sequence[str]) -> dict[tuple[Any, ...], list[Rates]]:
    """The rows about whole answers by slice, those with most exchanges first."""
    found: dict[tuple[Any, ...], list[Rates]] = {}
    for row in table.filter(target="not_complete").sort("n", descending=True, maintain_order=True).to_dicts():
        found.setdefault(tuple(row[name] for name in by), []).append(row)
    return found


def _line(name: str, rows: Sequence[Rates], *, nested: bool) -> Line:
    by_name = {(row["target"], row["domain"]): row for row in rows}
    return Line(name=name, nested=nested, over=by_name[OVER_REFUSAL], whole=by_name[NOT_COMPLETE])


def _name(values: Sequence[Any]) -> str:
    return " · ".join(slice_name(value) for value in values)


def _plot(rows: Sequence[tuple[Line, Rates]], *, title: str) -> Markup:
    """The plot; empty where no row has a value."""
    drawn = [_drawn(line, row) for line, row in rows]
    return forest(drawn if any(row.value is not None for row in drawn) else [], title=title, zero=False)


def _drawn(line: Line, row: Rates) -> Row:
    how = state(row)
    rated = how == RATE
    notes = {OUTSIDE: "nothing labelled", WITHHELD: "withheld", UNCORRECTED: _STAMP}
    return Row(
        label=line.name,
        nested=line.nested,
        value=row["raw"] if how == UNCORRECTED else row["value"] if rated else None,
        low=row["low"] if rated else None,
        high=row["high"] if rated else None,
        corrected=how not in (UNCORRECTED, WITHHELD),
        raw=row["raw"] if rated else None,
        note=notes.get(how, ""),
    )


def _targets(table: pl.DataFrame) -> list[Target]:
    named = [
        ("not_complete", "Not complete", False),
        ("refused", sentence(NAMES["refused"]), True),
        ("partially_hedged", sentence(NAMES["partially_hedged"]), True),
        *((kind.value, sentence(words(kind.value)), False) for kind in Kind),
    ]
    return [
        Target(
            name=name,
            nested=nested,
            over=row_of(table, target, "should_answer"),
            whole=row_of(table, target, "all"),
        )
        for target, name, nested in named
    ]


def _by_group(survey: Survey) -> list[tuple[str, tuple[Rates, ...]]]:
    """Every kind in each of the largest groups."""
    if not survey.by:
        return []
    kinds = [kind.value for kind in Kind]
    table = survey.groups.filter(pl.col("target").is_in(kinds), domain="should_answer")
    found: dict[Any, dict[str, Rates]] = {}
    for row in table.sort("n", descending=True, maintain_order=True).to_dicts():
        found.setdefault(row[survey.by[0]], {})[row["target"]] = row
    return [
        (slice_name(value), tuple(rows[kind] for kind in kinds))
        for value, rows in list(found.items())[:GROUPS_SHOWN]
    ]


def _beside(survey: Survey) -> list[tuple[Rates, str]]:
    """What is counted beside over-refusals, never inside."""
    rows = [(row_of(survey.total, target, domain), said) for target, domain, said in _BESIDE]
    return [(row, said) for row, said in rows if state(row) == RATE]


def _audit(survey: Survey) -> list[tuple[str, str]]:
    if survey.audit is None or survey.draw is None:
        return []
    by = survey.draw.by
    return [
        (_name([row[name] for name in by]), sentence(row["sentence"].replace(" %", "%")) + ".")
        for row in survey.audit.to_dicts()
    ]


def _notes(survey: Survey) -> list[str]:
    row = row_of(survey.total, *NOT_COMPLETE)
    notes = [f"Method: {visible(row['method'])}."] if row["corrected"] else []
    if survey.draw is not None and survey.draw.phase == "pilot":
        notes.append("The pilot is not labelled to its end: intervals hold, and are wider than they will be.")
    if row["skipped"]:
        notes.append(f"{plural(row['skipped'], 'exchange')} could not be labelled: in no rate.")
    if row["ignored"]:
        notes.append(
            f"{plural(row['ignored'], 'labelled exchange')} left out: no draw asked for them, so nobody knows how "
            "they were chosen."
        )
    outside = left_out(survey.draw.left_out) if survey.draw else ""
    if outside:
        notes.append(f"In no rate, because nobody can label them: {outside}.")
    return notes


def _withheld(survey: Survey) -> str:
    """Why rates are withheld, each reason once."""
    methods = survey.total["method"].unique(maintain_order=True)
    reasons = dict.fromkeys(
        reason for method in methods if method.startswith(WITHHELD) for reason in _reasons(method)
    )
    return f"{sentence('; '.join(reasons))}. {_WITHHELD}" if reasons else ""


def _reasons(method: str) -> list[str]:
    """The reasons of a method that is withheld, in words for a page."""
    return [words(clip(reason, 200)) for reason in method.removeprefix("withheld: ").split("; ")]
