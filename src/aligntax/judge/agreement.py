"""How far a judge agrees with people, shown before its numbers are used; and the judge as a second score for planning."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from ..errors import InputError
from ..stats import agreement as statistics
from ..types import HEDGING_GRADE, Annotation, Kind, Outcome
from .asking import Judging
from .tables import BY_JUDGE

if TYPE_CHECKING:
    import polars as pl

ENOUGH = 20
"""Exchanges with a label and a verdict from which agreement is taken at its word."""

_ANSWERED = ("full", "part", "none")
_GRADES = ("none", "fitting", "more than fits", "eats the answer")
_BINARY = ("absent", "present")
_KINDS = tuple(kind.value for kind in Kind if kind is not Kind.HEDGING)
_AXES: dict[str, tuple[str, ...]] = {
    "answered": _ANSWERED,
    **dict.fromkeys(_KINDS, _BINARY),
    "hedging": _GRADES,
    "disclaimer": _BINARY,
}
# From this value on an axis counts as positive: not complete, present, hedges more than fits.
_POSITIVE = {"hedging": HEDGING_GRADE}
_FROM_FIELD = {**dict.fromkeys(_KINDS, "kinds")}


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How a judge agrees with the labels of people.

    `table` has a row per axis: `axis`; `items`, exchanges with a label and a verdict on it; `unjudged`, labelled ones on
    which the judge gave none; `agree`, the share of items where both say the same; `alpha` (Krippendorff; nominal, for
    hedging ordinal) with `low` and `high`; `ac1` (Gwet); `positive_agreement`. What is not defined is null.
    `confusion` has a row per axis, label and verdict: `axis`, `label`, `judge`, `items`.
    """

    judge: str
    level: float
    table: pl.DataFrame
    confusion: pl.DataFrame

    def words(self, axis: str) -> str:
        """How far the judge is to be trusted on an axis, as printed beside its numbers."""
        row = self.table.row(by_predicate=_is(axis), named=True)
        if row["items"] == 0:
            return "uncorrected: no label to compare with"
        if row["alpha"] is None:
            return f"alpha not defined on {row['items']} labels, {row['agree']:.0%} agree"
        few = " (too few to tell)" if row["items"] < ENOUGH else ""
        ends = f"[{_decimals(row['low'])}, {_decimals(row['high'])}]"
        return f"alpha {_decimals(row['alpha'])} {ends} on {row['items']} labels{few}"


def agreement_with(
    judged: pl.DataFrame, annotations: Iterable[Annotation], *, level: float = 0.95, seed: int = 0
) -> Agreement:
    """How far the judge's verdicts, as `Judge.verdicts` gives them, agree with people's labels of the same exchanges.

    Labels must be settled, one for an exchange: InputError otherwise. A skipped exchange has no label. A row without a
    verdict is counted as unjudged and in nothing else: a judge that fails on the hard ones looks better than it is. Raises
    InputError for verdicts of several judges, and where there is no axis that people label.
    """
    import polars as pl

    axes = [axis for axis in _AXES if f"{_FROM_FIELD.get(axis, axis)}{BY_JUDGE}" in judged.columns]
    names = judged["judge"].unique().to_list()
    if not axes or len(names) != 1:
        what = (
            "these are verdicts of several judges"
            if len(names) > 1
            else "there is no verdict on what people label"
        )
        raise InputError(what, where="judged", remedy="give what one judge says by the rubric verdict")
    labels = _one_each(annotations)
    rows = [(labels[row["id"]], row) for row in judged.iter_rows(named=True) if row["id"] in labels]
    table, confusion = [], []
    for axis in axes:
        given = [(_labelled(label, axis), _judged(row, axis)) for label, row in rows]
        labelled = [(label, judge) for label, judge in given if label is not None]
        both = [(label, judge) for label, judge in labelled if judge is not None]
        table.append(_measured(axis, both, len(labelled) - len(both), level, seed))
        confusion += _confused(axis, both)
    text = pl.String()
    return Agreement(
        judge=names[0],
        level=level,
        table=pl.DataFrame(table, schema=_schema()),
        confusion=pl.DataFrame(
            confusion, schema={"axis": text, "label": text, "judge": text, "items": pl.Int64()}, orient="row"
        ),
    )


def summarise(judged: pl.DataFrame, agreement: Agreement | None = None) -> pl.DataFrame:
    """What the judge says in all: a row per axis and value, never without how far it is to be trusted.

    Columns: `axis`, `value`, `items` judged, `share` of them (0 to 1, the judge's own: no label corrects it), `unjudged`,
    rows without a verdict, and `trust`: "uncorrected" until `agreement` is given, then how far this judge agrees with
    people on the axis. Raises InputError for the agreement of another judge.
    """
    import polars as pl

    if agreement is not None and judged["judge"].unique().to_list() != [agreement.judge]:
        raise InputError(
            "the agreement is that of another judge, model or rubric",
            where="agreement",
            remedy="measure this one's",
        )
    axes = [axis for axis in _AXES if f"{_FROM_FIELD.get(axis, axis)}{BY_JUDGE}" in judged.columns]
    rows = []
    for axis in axes:
        given = [value for row in judged.iter_rows(named=True) if (value := _judged(row, axis)) is not None]
        trust = "uncorrected" if agreement is None else agreement.words(axis)
        rows += [
            (
                axis,
                name,
                len(given),
                given.count(value) / len(given) if given else None,
                len(judged) - len(given),
                trust,
            )
            for value, name in enumerate(_AXES[axis])
        ]
    count, text = pl.Int64(), pl.String()
    schema = {
        "axis": text,
        "value": text,
        "items": count,
        "share": pl.Float64(),
        "unjudged": count,
        "trust": text,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def with_second_score(verdicts: pl.LazyFrame, judged: pl.DataFrame) -> pl.LazyFrame:
    """Scanned rows whose score is the mean of the detector's and the judge's: to plan labels by, with `label.plan`.

    Where the judge gave a verdict, `p_full` becomes the mean of p_full and of 1 - `score` (the latter alone where the
    detector gave none), and `p_part` and `p_none` share the
    rest as before. `detector` names the judge after the detector, in all rows, so that nobody takes the scores for the
    detector's. Nothing else changes: no axis, no class, no label. Raises InputError where an id was judged twice.
    """
    import polars as pl

    kept = judged.filter(pl.col("judging") == Judging.JUDGED.value)
    if "score" not in judged.columns or kept["id"].is_duplicated().any():
        raise InputError(
            "no single score for an id",
            where="judged",
            remedy="judge each once, by a rubric that asks for answered",
        )
    second = kept.lazy().select("id", (1 - pl.col("score")).alias("__second"))
    names = ", ".join(sorted(judged["judge"].unique().to_list()))
    takes_part = (pl.col("outcome").cast(pl.String) == Outcome.ANSWERED.value) & pl.col(
        "__second"
    ).is_not_null()
    mean = (pl.col("p_full").fill_null(pl.col("__second")) + pl.col("__second")) / 2
    full = pl.when(takes_part).then(mean).otherwise(pl.col("p_full"))
    rest = (1 - full) / (pl.col("p_part") + pl.col("p_none"))
    shares = [
        pl.when(takes_part & rest.is_finite())
        .then(pl.col(name) * rest)
        .otherwise(pl.when(takes_part).then((1 - full) / 2).otherwise(pl.col(name)))
        for name in ("p_part", "p_none")
    ]
    return (
        verdicts.join(second, on="id", how="left", maintain_order="left")
        .with_columns(
            full.cast(pl.Float32).alias("p_full"),
            *(
                share.cast(pl.Float32).alias(name)
                for share, name in zip(shares, ("p_part", "p_none"), strict=True)
            ),
            pl.concat_str(pl.col("detector").cast(pl.String), pl.lit(f" + {names}")).alias("detector"),
        )
        .drop("__second")
    )


def _one_each(annotations: Iterable[Annotation]) -> dict[str, Annotation]:
    labels: dict[str, Annotation] = {}
    for note in annotations:
        if note.exchange in labels:
            raise InputError(
                "several people labelled one exchange",
                where="annotations",
                remedy="settle them: aligntax.label.settle.settled",
            )
        labels[note.exchange] = note
    return {exchange: note for exchange, note in labels.items() if not note.skipped}


def _labelled(label: Annotation, axis: str) -> int | None:
    """What people say on an axis as a position in its values; None: they were not asked."""
    if axis == "answered":
        return _ANSWERED.index(label.answered) if label.answered in _ANSWERED else None
    if axis == "disclaimer":
        return None if label.disclaimer is None else int(label.disclaimer)
    if axis == "hedging":
        seen = HEDGING_GRADE if Kind.HEDGING in (label.kinds or ()) else 0
        return None if label.hedging is None and label.kinds is None else max(label.hedging or 0, seen)
    return None if label.kinds is None else int(Kind(axis) in label.kinds)


def _judged(row: Mapping[str, Any], axis: str) -> int | None:
    value = row[f"{_FROM_FIELD.get(axis, axis)}{BY_JUDGE}"]
    if value is None:
        return None
    if axis == "answered":
        return _ANSWERED.index(value) if value in _ANSWERED else None
    return int(axis in value) if axis in _FROM_FIELD else int(value)


def _measured(
    axis: str, both: list[tuple[int, int]], unjudged: int, level: float, seed: int
) -> dict[str, Any]:
    row: dict[str, Any] = {"axis": axis, "items": len(both), "unjudged": unjudged}
    if not both:
        return row
    ratings = np.array(both, dtype=np.float64).T
    alpha = statistics.alpha(ratings, "ordinal" if axis == "hedging" else "nominal", seed=seed, level=level)
    return row | {
        "agree": float((ratings[0] == ratings[1]).mean()),
        "alpha": alpha.value,
        "low": alpha.low,
        "high": alpha.high,
        "ac1": _defined(statistics.ac1(ratings, len(_AXES[axis]))),
        "positive_agreement": _defined(statistics.positive_agreement(ratings >= _POSITIVE.get(axis, 1))),
    }


def _confused(axis: str, both: list[tuple[int, int]]) -> list[tuple[str, str, str, int]]:
    values = _AXES[axis]
    return [
        (axis, label, judge, both.count((row, column)))
        for row, label in enumerate(values)
        for column, judge in enumerate(values)
    ]


def _schema() -> dict[str, pl.DataType]:
    import polars as pl

    count, number = pl.Int64(), pl.Float64()
    numbers = dict.fromkeys(("agree", "alpha", "low", "high", "ac1", "positive_agreement"), number)
    return {"axis": pl.String(), "items": count, "unjudged": count, **numbers}


def _is(axis: str) -> pl.Expr:
    import polars as pl

    return pl.col("axis") == axis


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def _decimals(alpha: float) -> str:
    """As statistics print it: .41."""
    return f"{alpha:.2f}".replace("0.", ".", 1)
