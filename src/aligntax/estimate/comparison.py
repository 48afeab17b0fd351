"""Two sides compared: base and aligned models, two versions, two use cases, two weeks.

Rates are compared only where labels correct both sides: the detector errs by a different amount for each, so the
difference of raw rates may be all error. Measures of the text itself (hedge density, length) need no labels; their
intervals speak of chance alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import polars as pl

from ..errors import InputError
from ..stats.difference import mover
from ..types import CONTENT_COLUMNS, Annotation, Draw, Estimate
from .correction import corrected
from .families import CALLS, families, pairs
from .measures import FEWEST, Measured, calls_on_pairs, hedge_densities, lengths
from .rates import slice_columns

OVER_REFUSAL = "over_refusal"
HEDGE_DENSITY = "hedge_density"
LENGTH = "length"
MEASURES = ("not_complete", OVER_REFUSAL, *CALLS[1:], HEDGE_DENSITY, LENGTH)
"""What is compared, in the order in which it is shown."""

_SHARE_PAIRED = 0.5  # of each side: fewer matching prompts say little about the rest
_LISTED = 10
_PRIVATE = (*CONTENT_COLUMNS, "id", "source_id")  # values of these never stand in an error


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a comparison: verdicts, and the draw made from them with its labels, where there is one."""

    name: str  # for people
    verdicts: pl.LazyFrame
    draw: Draw | None = None
    annotations: Sequence[Annotation] = ()
    asked: Collection[str] | None = None  # ids that the draw asked for so far; None: every label counts
    where: Mapping[str, str] = dataclasses.field(default_factory=dict)  # only exchanges of these slices


def compare(base: Side, aligned: Side, *, by: Sequence[str] = (), level: float = 0.95) -> pl.DataFrame:
    """What `aligned` does otherwise than `base`: one row per slice and measure, in the order of `MEASURES`.

    Columns: those of `by`; `measure`; `unit`: "share", "per_100_words" or "ratio"; `base`, `base_low`, `base_high` and
    the same of `aligned`; `delta`, `low`, `high`: aligned - base, or aligned / base where the unit is "ratio", at
    `level`; `n_base`, `n_aligned`: exchanges, or answers that were measured; `labels_base`, `labels_aligned`;
    `pairs`: prompts on both sides that the row rests on, 0 where it does not rest on pairs; `corrected`: true where
    labels correct both sides, null for measures of the text; `calls_low`, `calls_high`, `calls_p`: where prompts match,
    how far chance moves `calls_delta`, the difference of the detector's own calls on them, whose errors it does not
    cover; `matched`: prompts that both sides were asked, null where the verdicts hold no prompts; `method`.

    Rates are those of `corrected`, over answered and provider-blocked exchanges; `over_refusal` is `not_complete`
    among what should have been answered, and has a row only where labels say so. Without labels on both sides `delta`
    is of raw rates and has no interval. Hedge density is compared over answers that gave something, length over
    complete ones: per prompt where at least half of each side's exchanges share their prompts, else within each use
    case, and pooled over use cases.

    Raises InputError for a name in `by` or `where` that cannot be sliced by, and a side without exchanges.
    """
    names = list(dict.fromkeys(by))
    chosen = [_chosen(side) for side in (base, aligned)]
    seen = [_by_slice(families(rows, names), names) for rows in chosen]
    rates = [
        _rates(side, rows, names, level=level) for side, rows in zip((base, aligned), chosen, strict=True)
    ]
    with_prompts = all("prompt" in rows.collect_schema() for rows in chosen)
    mixed = "use_case" not in {*base.where, *aligned.where}
    found: list[dict[str, Any]] = []
    for key in _in_order({*rates[0], *rates[1]}):
        here = dict(zip(names, key, strict=True))
        first, second = (side.get(key, next(iter(side.values())).clear()) for side in seen)
        together = pairs(first, second)
        used = together if _enough(together, first, second) else None
        hedging = hedge_densities(first, second, used, mixed=mixed, level=level)
        length = lengths(first, second, used, mixed=mixed, level=level)
        of_slice = (rates[0].get(key, {}), rates[1].get(key, {}))
        rows = [
            *_rate_rows((base.name, aligned.name), of_slice, used, level),
            _measure_row(HEDGE_DENSITY, "per_100_words", hedging),
            _measure_row(LENGTH, "ratio", length),
        ]
        shared = {"level": level, "matched": together.height if with_prompts else None}
        found.extend(here | row | shared for row in rows)
    keys = {name: next(iter(seen[0].values())).schema[name] for name in names}
    return pl.DataFrame(found, schema=keys | _SCHEMA)


def split(
    verdicts: pl.LazyFrame,
    base: Mapping[str, str],
    aligned: Mapping[str, str],
    *,
    draw: Draw | None = None,
    annotations: Sequence[Annotation] = (),
    asked: Collection[str] | None = None,
) -> tuple[Side, Side]:
    """Two sides of one scanned log: the exchanges of the slices that `base` names, and of those of `aligned`.

    Raises InputError where an exchange is on both sides, and for names that cannot be sliced by.
    """
    schema = verdicts.collect_schema()
    both = verdicts.filter(_within(base, schema) & _within(aligned, schema)).select(pl.len())
    shared = both.collect(engine="streaming").item()
    if shared:
        raise InputError(
            f"{shared} exchanges are on both sides", remedy="choose sides that have nothing in common"
        )
    first, second = (
        Side(
            name=" · ".join(where.values()),
            verdicts=verdicts,
            draw=draw,
            annotations=annotations,
            asked=asked,
            where=where,
        )
        for where in (base, aligned)
    )
    return first, second


_SCHEMA = {
    "measure": pl.String(),
    "unit": pl.String(),
    **{f"{side}{end}": pl.Float64() for side in ("base", "aligned") for end in ("", "_low", "_high")},
    "delta": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "level": pl.Float64(),
    "n_base": pl.Int64(),
    "n_aligned": pl.Int64(),
    "labels_base": pl.Int64(),
    "labels_aligned": pl.Int64(),
    "matched": pl.Int64(),
    "pairs": pl.Int64(),
    "corrected": pl.Boolean(),
    "calls_delta": pl.Float64(),
    "calls_low": pl.Float64(),
    "calls_high": pl.Float64(),
    "calls_p": pl.Float64(),
    "method": pl.String(),
}
_Key = tuple[Any, ...]
_Rates = dict[str, dict[str, Any]]  # measure -> row of `corrected`


def _chosen(side: Side) -> pl.LazyFrame:
    """The exchanges of a side."""
    rows = side.verdicts.lazy()
    schema = rows.collect_schema()
    if side.where:
        rows = rows.filter(_within(side.where, schema))
    if not rows.select(pl.len()).collect(engine="streaming").item():
        raise _nothing_there(side, schema)
    return rows


def _within(where: Mapping[str, str], schema: pl.Schema) -> pl.Expr:
    columns = zip(slice_columns(list(where), schema), where.values(), strict=True)
    return pl.all_horizontal(
        pl.lit(value=True),
        *((column.cast(pl.String) == value).fill_null(value=False) for column, value in columns),
    )


def _nothing_there(side: Side, schema: pl.Schema) -> InputError:
    """Says which values there are, unless they may hold what people wrote."""
    asked = ", ".join(f"{name}={value}" for name, value in side.where.items())
    listed = []
    for name, column in zip(side.where, slice_columns(list(side.where), schema), strict=True):
        if name.split(".")[0] not in _PRIVATE:
            values = side.verdicts.select(column.cast(pl.String).unique().sort()).head(_LISTED + 1)
            found = values.collect(engine="streaming").to_series().drop_nulls().to_list()
            more = ", ..." if len(found) > _LISTED else ""
            listed.append(
                f"{name} is {', '.join(found[:_LISTED])}{more}" if found else f"{name} is not known"
            )
    return InputError(
        f"no exchange has {asked}" if asked else "there are no exchanges",
        where=None if asked else side.name,
        remedy=f"here {'; '.join(listed)}" if listed else None,
    )


def _rates(side: Side, rows: pl.LazyFrame, names: list[str], *, level: float) -> dict[_Key, _Rates]:
    table = corrected(
        rows, side.draw, side.annotations, by=names, level=level, targets=CALLS, asked=side.asked
    )
    found: dict[_Key, _Rates] = {}
    for row in table.iter_rows(named=True):
        measures = found.setdefault(tuple(row[name] for name in names), {})
        if row["domain"] == "all":
            measures[row["target"]] = row
        elif row["target"] == "not_complete" and row["n_labels"]:
            measures[OVER_REFUSAL] = row
    return found


def _in_order(keys: set[_Key]) -> list[_Key]:
    return sorted(keys, key=lambda key: [(value is None, value) for value in key])


def _by_slice(frame: pl.DataFrame, names: list[str]) -> dict[_Key, pl.DataFrame]:
    return frame.partition_by(names, as_dict=True) if names else {(): frame}


def _enough(together: pl.DataFrame, base: pl.DataFrame, aligned: pl.DataFrame) -> bool:
    """Whether the prompts that match speak for the slice."""
    return together.height >= FEWEST and all(
        int(together[f"exchanges_{side}"].sum()) >= _SHARE_PAIRED * int(frame["exchanges"].sum())
        for side, frame in (("base", base), ("aligned", aligned))
    )


def _rate_rows(
    sides: tuple[str, str], rates: tuple[_Rates, _Rates], together: pl.DataFrame | None, level: float
) -> list[dict[str, Any]]:
    rows = []
    for measure in MEASURES:
        of_base, of_aligned = (side.get(measure) for side in rates)
        if of_base is None and of_aligned is None:
            continue
        row = _rate_row(sides, of_base, of_aligned)
        if together is not None and measure in CALLS:
            calls, p = calls_on_pairs(together, measure, level=level)
            row |= {
                "calls_delta": calls.value,
                "calls_low": calls.low,
                "calls_high": calls.high,
                "calls_p": p,
            }
        rows.append({"measure": measure, "unit": "share", "pairs": 0} | row)
    return rows


def _rate_row(
    sides: tuple[str, str], of_base: dict[str, Any] | None, of_aligned: dict[str, Any] | None
) -> dict[str, Any]:
    """A rate on both sides, and their difference: of corrected rates, else of raw ones, never of one and the other."""
    row: dict[str, Any] = {"corrected": False}
    both = [side for side in (of_base, of_aligned) if side is not None]
    true = all(side["corrected"] for side in both)
    for name, side in (("base", of_base), ("aligned", of_aligned)):
        if side is not None:
            value = "value" if true or side["raw"] is None else "raw"
            ends = ("low", "high") if value == "value" else ()
            row |= {name: side[value], **{f"{name}_{end}": side[end] for end in ends}}
            row |= {f"n_{name}": side["n"], f"labels_{name}": side["n_labels"]}
    if of_base is None or of_aligned is None:
        return row | {"corrected": true, "method": f"only on the side {sides[of_base is None]}"}
    withheld = [side["method"] for side in both if not side["corrected"] and side["n_labels"]]
    if withheld:
        return row | {"base": None, "aligned": None, "method": withheld[0]}
    if true and all(side["value"] is not None for side in both):
        found = mover(_estimate(of_aligned), _estimate(of_base))
        return row | {
            "delta": found.value, "low": found.low, "high": found.high, "corrected": True, "method": found.method
        }  # fmt: skip
    if true:
        return row | {"corrected": True, "method": "a side has nothing in the domain"}
    lacking = [name for name, side in zip(sides, both, strict=True) if not side["n_labels"]]
    raw = [side["raw"] for side in both]
    return row | {
        "delta": None if None in raw else raw[1] - raw[0],
        "method": f"UNCORRECTED: no labels of {' and '.join(lacking)}",
    }


def _estimate(row: Mapping[str, Any]) -> Estimate:
    return Estimate(**{name: row[name] for name in Estimate.__struct_fields__})


def _measure_row(measure: str, unit: str, found: Measured) -> dict[str, Any]:
    row: dict[str, Any] = {"measure": measure, "unit": unit, "base": found.base, "aligned": found.aligned}
    row |= {
        "n_base": found.n_base,
        "n_aligned": found.n_aligned,
        "pairs": found.pairs,
        "method": found.method,
    }
    if found.change is not None:
        row |= {"delta": found.change.value, "low": found.change.low, "high": found.change.high}
    return row
