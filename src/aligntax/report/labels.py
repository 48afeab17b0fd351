"""What the rates rest on: how far people agree, who labelled, and how the exchanges were drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..estimate import Survey
from ..types import Draw, Stratum
from .text import clip
from .wording import (
    count,
    day,
    decimals,
    interval,
    left_out,
    percent,
    plural,
    sentence,
    slice_name,
    sure,
    words,
)

Rates = dict[str, Any]

PEOPLE_SHOWN = 50
_WAYS = {
    "scored": "score {low:.3f} to {high:.3f}",
    "unscored": "not judged",
    "blocked": "blocked by provider",
}
_AXES = {"answered": "how much was answered", "should_answer": "whether it should be answered"}
_PHASES = {"pilot": "the pilot is being labelled", "whole": "pilot done, the rest drawn by what it showed"}


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """One axis, and how far people agree on it."""

    axis: str
    items: str
    alpha: str
    interval: str
    ac1: str
    positive: str
    verdict: str
    css: str


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """One annotator: what the rates would be by their labels alone, and how they did on planted items."""

    name: str
    labels: str
    over: str
    whole: str
    planted: str


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One stratum of the draw."""

    slice: tuple[str, ...]
    where: str
    size: str
    asked: str
    chance: str  # that an exchange was drawn
    expected: str  # share that is not complete, by the score; a blocked call is not complete for sure


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the section about the labels shows."""

    state: tuple[str, ...]
    agreement: tuple[Agreement, ...]
    measured: bool  # whether any axis has enough items
    people: tuple[Person, ...]
    facts: tuple[tuple[str, str], ...]
    by: tuple[str, ...]
    strata: tuple[Part, ...]


def labels_page(survey: Survey) -> Labels | None:
    """The labels of a survey as the page shows them; None where there is no draw."""
    draw = survey.draw
    if draw is None:
        return None
    agreement = tuple(_agreement(survey))
    return Labels(
        state=tuple(_state(survey, draw)),
        agreement=agreement,
        measured=any(row.verdict != "not measured" for row in agreement),
        people=tuple(_people(survey)),
        facts=tuple(_facts(draw)),
        by=tuple(map(words, draw.by)),
        strata=tuple(_part(stratum) for stratum in draw.strata),
    )


def _state(survey: Survey, draw: Draw) -> Iterator[str]:
    asked = sum(stratum.labels for stratum in draw.strata)
    people = ", ".join(clip(name, 80) for name in survey.annotators[:PEOPLE_SHOWN]) or "nobody"
    yield f"{survey.labelled:,} of {plural(asked, 'exchange')} labelled, by {people}."
    if survey.disagreements:
        yield (
            f"{plural(survey.disagreements, 'disagreement')} not settled. Until someone adjudicates, the majority "
            "counts, and of two the one who labelled first."
        )


def _agreement(survey: Survey) -> Iterator[Agreement]:
    if survey.agreement is None:
        return
    for row in survey.agreement.to_dicts():
        if row["items"]:
            yield Agreement(
                axis=sentence(_AXES.get(row["axis"], words(row["axis"]))),
                items=count(row["items"]),
                alpha=decimals(row["alpha"]),
                interval=f"{decimals(row['low'])} to {decimals(row['high'])}"
                if row["low"] is not None and row["high"] is not None
                else "",
                ac1=decimals(row["ac1"]),
                positive=decimals(row["positive_agreement"]),
                verdict=row["verdict"],
                css=row["verdict"].replace(" ", "-"),
            )


def _people(survey: Survey) -> Iterator[Person]:
    """Annotators with enough labels for a rate of their own, or with planted items; nobody where there is one alone."""
    own: dict[str, dict[str, Rates]] = {}
    for row in survey.spread.to_dicts() if survey.spread is not None else ():
        own.setdefault(row["annotator"], {})[row["domain"]] = row
    planted: dict[str, tuple[int, int]] = {}
    for row in survey.known.to_dicts() if survey.known is not None else ():
        right, items = planted.get(row["annotator"], (0, 0))
        planted[row["annotator"]] = right + row["right"], items + row["items"]
    if len(own) < 2 and not planted:  # their rates are those of the survey
        return
    for name in sorted({*own, *planted})[:PEOPLE_SHOWN]:
        rates = own.get(name, {})
        right, items = planted.get(name, (0, 0))
        yield Person(
            name=clip(name, 80),
            labels=count(max((row["n_labels"] for row in rates.values()), default=None)),
            over=_alone(rates.get("should_answer")),
            whole=_alone(rates.get("all")),
            planted=f"{right:,} of {items:,}" if items else "–",
        )


def _alone(row: Rates | None) -> str:
    if row is None or row["value"] is None:
        return "–"
    return f"{percent(row['value'])} ({interval(row)})"


def _facts(draw: Draw) -> Iterator[tuple[str, str]]:
    asked = sum(stratum.labels for stratum in draw.strata)
    facts = (
        ("Draw", f"{draw.id}, made {day(draw.created)} from {draw.source or 'verdicts'}"),
        ("Seed", str(draw.seed)),
        ("Population", plural(draw.population, "exchange")),
        ("Left out", left_out(draw.left_out) or "none"),
        ("Slices", ", ".join(map(words, draw.by)) or "none"),
        ("Budget", f"{plural(draw.budget, 'label')}; {asked:,} asked for so far"),
        ("Phase", _PHASES.get(draw.phase, draw.phase)),
        ("Two labels", f"{percent(draw.double_share)} of the exchanges, where two people label"),
        ("Planned at", f"{sure(draw.level)} confidence"),
        ("Detector", draw.detector),
        (
            "Recalibrated",
            f"{plural(len(draw.recalibration), 'slice')}, by labels of an earlier draw"
            if draw.recalibration
            else "no",
        ),
        ("Codebook", f"version {draw.codebook}"),
        ("Fingerprint", draw.fingerprint),
    )
    return ((name, clip(value, 300)) for name, value in facts)


def _part(stratum: Stratum) -> Part:
    return Part(
        slice=tuple(slice_name(value) for value in stratum.slice),
        where=_WAYS.get(stratum.kind, words(stratum.kind)).format(low=stratum.low, high=stratum.high),
        size=count(stratum.size),
        asked=count(stratum.labels),
        chance=percent(stratum.labels / stratum.size) if stratum.size else "–",
        expected="–" if stratum.kind == "blocked" else percent(stratum.expected),
    )
