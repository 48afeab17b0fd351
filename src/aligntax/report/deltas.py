"""Two sides compared, as the page shows them: a sentence, plots, tables, and what the differences rest on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import polars as pl
from markupsafe import Markup

from ..estimate.comparison import HEDGE_DENSITY, LENGTH, OVER_REFUSAL
from ..types import Kind
from .forest import Row, forest
from .text import visible
from .wording import NAMES, count, percent, plural, points, sentence, signed, slice_name, sure, words

Rates = dict[str, Any]
"""One row of `estimate.compare`, by column name."""

SLICES_COMPARED = 25

_MEASURES = {  # in the order of the table
    "not_complete": "Not complete",
    "refused": sentence(NAMES["refused"]),
    "partially_hedged": sentence(NAMES["partially_hedged"]),
    OVER_REFUSAL: "Over-refusal",
    **{kind.value: sentence(words(kind.value)) for kind in Kind},
    HEDGE_DENSITY: "Hedges per 100 words",
    LENGTH: "Words, if complete",
}
_NESTED = ("refused", "partially_hedged")
_STAMP = "UNCORRECTED"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two sides and what `estimate.compare` says of them: of all exchanges, and of each slice."""

    base: str  # names of the sides, for people
    aligned: str
    total: pl.DataFrame
    by: tuple[str, ...] = ()
    slices: pl.DataFrame | None = None  # by `by`


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One measure of one slice in words."""

    name: str
    nested: bool
    base: str
    aligned: str
    change: str
    interval: str  # empty where there is none
    stamped: bool  # a difference that nothing corrects
    shown: bool  # the interval leaves no difference out
    rests_on: str


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the section about the comparison shows."""

    base: str
    aligned: str
    headline: str
    over_refusal: str  # one sentence, or empty
    plots: tuple[tuple[str, Markup], ...]
    total: tuple[Cell, ...]
    sizes: tuple[str, str]
    slices: tuple[tuple[str, tuple[Cell, ...]], ...]
    hidden: int
    notes: tuple[str, ...]
    corrected: bool


def compared(comparison: Comparison) -> Compared:
    """The comparison as its section of the page shows it."""
    groups, hidden = _groups(comparison)
    total = comparison.total.to_dicts()
    whole = _row_of(total, "not_complete")
    return Compared(
        base=slice_name(comparison.base),
        aligned=slice_name(comparison.aligned),
        headline=_headline(comparison, whole),
        over_refusal=_over_refusal(_row_of(total, OVER_REFUSAL)),
        plots=tuple(_plots(total, groups)),
        total=tuple(_cells(total)),
        sizes=(count(whole["n_base"]), count(whole["n_aligned"])) if whole else ("–", "–"),
        slices=tuple((name, tuple(_cells(rows))) for name, rows in groups),
        hidden=hidden,
        notes=tuple(_notes(comparison, total)),
        corrected=bool(whole and whole["corrected"]),
    )


def _headline(comparison: Comparison, row: Rates | None) -> str:
    base, aligned = slice_name(comparison.base), slice_name(comparison.aligned)
    if row is None or row["delta"] is None:
        why = visible(row["method"]) if row else "nothing to count"
        return f"No difference can be given between {base} and {aligned}: {why}."
    if not row["corrected"]:
        more = "more" if row["delta"] >= 0 else "fewer"
        return (
            f"{_STAMP}: the detector calls {abs(100 * row['delta']):.1f} points {more} of {aligned} not complete than "
            f"of {base}. It errs by a different amount on each side, so the difference may be its error."
        )
    labels = plural(row["labels_base"] + row["labels_aligned"], "label")
    change = (
        f"{points(row['delta'])} points not complete ({sure(row['level'])} interval {_ends(row)}), corrected by "
        f"{labels}"
    )
    if not _shown(row):
        return f"No difference shown between {base} and {aligned}: {change}."
    return f"{aligned} refuses or hedges {'more' if row['delta'] > 0 else 'less'} than {base}: {change}."


def _over_refusal(row: Rates | None) -> str:
    if row is None or row["low"] is None:
        return ""
    said = "" if _shown(row) else "no difference shown, "
    return (
        f"Among requests that should have been answered: {said}{points(row['delta'])} points ({_ends(row)})."
    )


def _groups(comparison: Comparison) -> tuple[list[tuple[str, list[Rates]]], int]:
    """Slices with most exchanges first, and how many are left out."""
    if comparison.slices is None or not comparison.by:
        return [], 0
    found: dict[tuple[Any, ...], list[Rates]] = {}
    for row in comparison.slices.to_dicts():
        found.setdefault(tuple(row[name] for name in comparison.by), []).append(row)
    ranked = sorted(found.items(), key=lambda item: -_size(item[1]))
    named = [(" · ".join(slice_name(value) for value in key), rows) for key, rows in ranked]
    return named[:SLICES_COMPARED], len(named) - len(named[:SLICES_COMPARED])


def _size(rows: Sequence[Rates]) -> int:
    row = _row_of(rows, "not_complete")
    return 0 if row is None else (row["n_base"] or 0) + (row["n_aligned"] or 0)


def _plots(total: list[Rates], groups: list[tuple[str, list[Rates]]]) -> Iterator[tuple[str, Markup]]:
    """One plot a measure over the slices; without slices one of all measures that are shares."""
    if not groups:
        rows = [(name, row) for measure, name in _MEASURES.items() if (row := _share(total, measure))]
        yield "Change in points", _plot("Change of every rate, in points", rows)
        return
    everything = [("All exchanges", total), *groups]
    for measure, title in ((OVER_REFUSAL, "Over-refusal"), ("not_complete", "Not complete")):
        rows = [(name, row) for name, of in everything if (row := _share(of, measure))]
        if rows:
            yield f"{title}, change in points", _plot(f"{title}: change in points", rows)


def _share(rows: Sequence[Rates], measure: str) -> Rates | None:
    row = _row_of(rows, measure)
    return row if row is not None and row["unit"] == "share" else None


def _plot(title: str, rows: Sequence[tuple[str, Rates]]) -> Markup:
    drawn = [
        Row(
            label=name,
            value=row["delta"],
            low=row["low"],
            high=row["high"],
            corrected=row["corrected"] is not False,
            note="UNCORRECTED" if row["method"].startswith(_STAMP) else "no difference to give",
        )
        for name, row in rows
    ]
    return forest(drawn, title=title, zero=True)


def _cells(rows: Sequence[Rates]) -> Iterator[Cell]:
    for measure, name in _MEASURES.items():
        row = _row_of(rows, measure)
        if row is None:
            continue
        yield Cell(
            name=name,
            nested=measure in _NESTED,
            base=_value(row["base"], row["unit"]),
            aligned=_value(row["aligned"], row["unit"]),
            change=_change(row["delta"], row["unit"]),
            interval=_ends(row) if row["low"] is not None else "",
            stamped=row["delta"] is not None and row["corrected"] is False,
            shown=_shown(row),
            rests_on=_rests_on(row),
        )


def _row_of(rows: Sequence[Rates], measure: str) -> Rates | None:
    return next((row for row in rows if row["measure"] == measure), None)


def _shown(row: Rates) -> bool:
    """Whether the interval leaves no difference out."""
    same = 1.0 if row["unit"] == "ratio" else 0.0
    return row["low"] is not None and not row["low"] <= same <= row["high"]


def _ends(row: Rates) -> str:
    return f"{_change(row['low'], row['unit'])} to {_change(row['high'], row['unit'])}"


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    return percent(value) if unit == "share" else f"{value:.2f}" if unit == "per_100_words" else count(value)


def _change(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    if unit == "share":
        return points(value)
    return signed(value, 2) if unit == "per_100_words" else f"{signed(100 * (value - 1), 0)}%"


def _rests_on(row: Rates) -> str:
    if row["unit"] == "share":
        labels = (row["labels_base"] or 0) + (row["labels_aligned"] or 0)
        return plural(labels, "label") if row["corrected"] else ""
    if row["pairs"]:
        return plural(row["pairs"], "pair")
    return plural((row["n_base"] or 0) + (row["n_aligned"] or 0), "answer")


def _notes(comparison: Comparison, total: list[Rates]) -> Iterator[str]:
    row = _row_of(total, "not_complete")
    if row is not None and row["corrected"]:
        yield f"Rates: {visible(row['method'])}."
    yield from _pairing(total)
    if row is not None and not row["corrected"] and row["calls_low"] is not None:
        ends = f"{points(row['calls_low'])} to {points(row['calls_high'])}"
        yield (
            f"On matching prompts the detector's own calls of not complete change by {points(row['calls_delta'])} "
            f"({ends}). {_STAMP}: its errors are not in this interval."
        )
    tables = [comparison.total] if comparison.slices is None else [comparison.total, comparison.slices]
    intervals = sum(table["low"].count() for table in tables)
    if intervals:
        level = comparison.total["level"][0]
        missing = round(intervals * (1 - level))
        chance = f": of so many, about {missing} may miss by chance" if missing else ""
        yield f"{plural(intervals, 'interval')}, each at {sure(level)} by itself{chance}."


def _pairing(total: list[Rates]) -> Iterator[str]:
    """Whether prompts match, and what that changes."""
    rows = [row for measure in (HEDGE_DENSITY, LENGTH) if (row := _row_of(total, measure))]
    if not rows:
        return
    told = "; ".join(
        f"{'hedges' if row['measure'] == HEDGE_DENSITY else 'words'}: {row['method']}" for row in rows
    )
    matched = rows[0]["matched"]
    if matched is None:
        why = "The verdicts hold no prompts, so nothing is paired."
    elif any(row["pairs"] for row in rows):
        why = f"{plural(matched, 'prompt')} came up on both sides."
    elif matched:
        why = f"{plural(matched, 'prompt')} came up on both sides, too few to speak for the rest: not paired."
    else:
        why = "No prompt came up on both sides, so nothing is paired."
    yield f"{why} {sentence(visible(told))}."
