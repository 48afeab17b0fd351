"""How far the annotators agree with one another, and with the planted items whose answer is known.

Agreement is measured before anything is settled: labels that adjudicate are left out. Where it is too low on an
axis, no rate is given for what rests on that axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..label.settle import alone
from ..stats import agreement as statistics
from ..types import HEDGING_GRADE, Annotation, Kind
from .targets import AXES, rating

TOO_LOW = 0.67
"""Below this alpha an axis gives no rate."""
GOOD = 0.8
"""Below this alpha what rests on an axis is provisional."""
ENOUGH_ITEMS = 20
"""Doubly labelled exchanges from which alpha is taken at its word."""

_VALUES = {
    "answered": ("full", "part", "none"),
    "should_answer": ("yes", "unclear", "no"),
    Kind.HEDGING.value: ("none", "fitting", "more than fits", "eats the answer"),
}
_BINARY = ("absent", "present")
# From this rating on an axis counts as positive: not complete, present, should not have been answered.
_POSITIVE = {"answered": 1, "should_answer": 2, Kind.HEDGING.value: HEDGING_GRADE}
_RATERS_FOR_CONSENSUS = 3


def agreement(annotations: Iterable[Annotation]) -> pl.DataFrame:
    """One row per axis, all axes: how far people agree on exchanges that two or more of them labelled.

    Columns: `axis`; `items`, exchanges with two labels or more on it; `raters`, people behind these; `alpha` with
    `low` and `high` (95 %, bootstrap over items; Krippendorff, nominal, for hedging ordinal over the grades); `ac1`
    (Gwet); `positive_agreement`, the chance that another one says so too where one says not complete, present,
    or should not have been answered; and `verdict`: "good" from .80, "provisional" from .67, "too low" below, "not
    measured" under 20 items or where everybody gave one value. Numbers that are not defined are null.
    """
    given = alone(annotations)
    return pl.DataFrame([_measured(given, axis) for axis in AXES], schema=_SCHEMA)


def withheld_axes(annotations: Iterable[Annotation]) -> dict[str, str]:
    """The axes on which people disagree too much for any rate, each with the reason in words."""
    table = agreement(annotations).filter(pl.col("verdict") == "too low")
    return {
        axis: f"annotators disagree on {axis} (alpha {_decimals(alpha)} on {items} items)"
        for axis, alpha, items in table.select("axis", "alpha", "items").iter_rows()
    }


def known_accuracy(annotations: Iterable[Annotation], known: Iterable[Annotation]) -> pl.DataFrame:
    """How often each annotator got the planted items right: one row per annotator and axis.

    Columns: `annotator`, `axis`, `items` labelled, `right`, `share` (0 to 1). An item counts on the axes that its known
    label has; a grade of hedging is right when it lies on the right side of what counts as hedging.
    """
    answers = {label.exchange: label for label in known}
    rows = [
        (note.annotator, axis, _positive(axis, said) if axis == Kind.HEDGING else said, truth)
        for theirs in alone(annotations).values()
        for note in theirs
        if note.exchange in answers
        for axis in AXES
        if (said := rating(note, axis)) is not None
        and (truth := _truth(answers[note.exchange], axis)) is not None
    ]
    table = pl.DataFrame(
        rows,
        schema={"annotator": pl.String, "axis": pl.String, "said": pl.Int64, "truth": pl.Int64},
        orient="row",
    )
    return (
        table.group_by("annotator", "axis")
        .agg(
            pl.len().cast(pl.Int64).alias("items"),
            (pl.col("said") == pl.col("truth")).sum().cast(pl.Int64).alias("right"),
        )
        .with_columns(share=pl.col("right") / pl.col("items"))
        .sort("annotator", pl.col("axis").cast(pl.Enum(AXES)))
    )


def confusion(annotations: Iterable[Annotation]) -> pl.DataFrame:
    """What each annotator says where the others, weighed by how reliable they are, see what is true.

    Dawid-Skene over exchanges with two labels or more, for each axis on which three people or more share such items;
    no rows for the others. Columns: `axis`, `annotator`, `truth`, `said` (both in words) and `chance` (0 to 1; sums to 1
    over `said`).
    """
    given = alone(annotations)
    rows: list[tuple[str, str, str, str, float]] = []
    for axis in AXES:
        people, ratings = _shared(given, axis)
        if len(people) < _RATERS_FOR_CONSENSUS:
            continue
        consensus = statistics.dawid_skene(ratings)
        words = [_VALUES.get(axis, _BINARY)[int(value)] for value in consensus.values]
        rows += [
            (axis, person, truth, said, float(consensus.confusion[who, row, column]))
            for who, person in enumerate(people)
            for row, truth in enumerate(words)
            for column, said in enumerate(words)
        ]
    text = pl.String()
    schema = {"axis": text, "annotator": text, "truth": text, "said": text, "chance": pl.Float64()}
    return pl.DataFrame(rows, schema=schema, orient="row")


_SCHEMA = {
    "axis": pl.String(),
    "items": pl.Int64(),
    "raters": pl.Int64(),
    "alpha": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "ac1": pl.Float64(),
    "positive_agreement": pl.Float64(),
    "verdict": pl.String(),
}


def _measured(given: dict[str, list[Annotation]], axis: str) -> dict[str, object]:
    people, ratings = _shared(given, axis)
    row: dict[str, object] = {"axis": axis, "items": ratings.shape[1], "raters": len(people)}
    if not ratings.size:
        return row | {"verdict": "not measured"}
    alpha = statistics.alpha(ratings, "ordinal" if axis == Kind.HEDGING else "nominal")
    positive = np.where(np.isnan(ratings), np.nan, ratings >= _POSITIVE.get(axis, 1))
    return row | {
        "alpha": alpha.value,
        "low": alpha.low,
        "high": alpha.high,
        "ac1": _defined(statistics.ac1(ratings, len(_VALUES.get(axis, _BINARY)))),
        "positive_agreement": _defined(statistics.positive_agreement(positive)),
        "verdict": _verdict(alpha.value, ratings.shape[1]),
    }


def _verdict(alpha: float | None, items: int) -> str:
    if alpha is None or items < ENOUGH_ITEMS:
        return "not measured"
    if alpha < TOO_LOW:
        return "too low"
    return "good" if alpha >= GOOD else "provisional"


def _shared(given: dict[str, list[Annotation]], axis: str) -> tuple[list[str], NDArray[np.float64]]:
    """People, and what they said (raters, items) of exchanges with two labels or more on an axis."""
    said: dict[str, dict[str, int]] = {}  # exchange -> annotator -> rating
    for person, theirs in given.items():
        for note in theirs:
            value = rating(note, axis)
            if value is not None:
                said.setdefault(note.exchange, {})[person] = value
    shared = [by_person for by_person in said.values() if len(by_person) > 1]
    people = sorted({person for by_person in shared for person in by_person})
    ratings = np.array(
        [[by_person.get(person, math.nan) for by_person in shared] for person in people], dtype=np.float64
    )
    return people, ratings.reshape(len(people), len(shared))


def _truth(known: Annotation, axis: str) -> int | None:
    value = rating(known, axis)
    return _positive(axis, value) if axis == Kind.HEDGING and value is not None else value


def _positive(axis: str, value: int) -> int:
    return int(value >= _POSITIVE[axis])


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def _decimals(alpha: float) -> str:
    """As statistics print it: .41."""
    return f"{alpha:.2f}".replace("0.", ".", 1)
