"""How the labels of a draw are shared out: over slices, then over the strata of each, in two phases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..stats.allocation import allocate
from ..types import Stratum

AT_LEAST = 4
"""Labels that every stratum gets, or all that it holds: below it says nothing."""
RARE = 0.05
"""A stratum that expects a smaller rate has positives that are rare."""
_SCORE_WEIGHT = 10  # how many labels the score is worth beside those of the pilot
_AUDIT, _LARGE_AUDIT, _LARGE_BUDGET = 20, 30, 150

Counts = npt.NDArray[np.int64]
Slice = tuple[str | None, ...]


def slice_budgets(sizes: Sequence[int], total: int) -> list[int]:
    """`total` in equal parts, none above its size; what a small slice cannot use goes to the others."""
    given = [0] * len(sizes)
    smallest_first = sorted(range(len(sizes)), key=sizes.__getitem__)
    for turn, number in enumerate(smallest_first):
        given[number] = min(sizes[number], total // (len(sizes) - turn))
        total -= given[number]
    return given


def shares(strata: Sequence[Stratum], total: int) -> dict[Slice, int]:
    """What each slice of the strata gets of `total` labels."""
    sizes: dict[Slice, int] = {}
    for stratum in strata:
        sizes[stratum.slice] = sizes.get(stratum.slice, 0) + stratum.size
    return dict(zip(sizes, slice_budgets(list(sizes.values()), total), strict=True))


def pilot_labels(strata: Sequence[Stratum], budget: int, pilot: int) -> list[int]:
    """How many of each stratum are labelled first: `pilot` in all, at most half of the budget, 4 a stratum.

    Where the budget takes in everything, so does the pilot. Raises InputError where the budget is too small.
    """
    whole, first = shares(strata, budget), shares(strata, min(pilot, budget // 2))
    labels = np.zeros(len(strata), np.int64)
    for values, rows in _by_slice(strata):
        sizes, expected = _sizes(rows), np.array([stratum.expected for _, stratum in rows])
        least = int(np.minimum(sizes, AT_LEAST).sum())
        if whole[values] < least:
            _refuse_budget(strata)
        total = whole[values] if whole[values] == sizes.sum() else max(first[values], least)
        labels[[number for number, _ in rows]] = allocate(sizes, expected, total, at_least=AT_LEAST)
    return [int(count) for count in labels]


def whole_labels(
    strata: Sequence[Stratum], budget: int, positives: Sequence[float], labelled: Sequence[int]
) -> tuple[Stratum, ...]:
    """The strata with their final `labels`: each slice's share of the budget, by what the pilot has shown.

    The rate that a stratum is planned with is its pilot rate, drawn towards the score as if that were 10 labels.
    """
    budgets = shares(strata, budget)
    final = np.zeros(len(strata), np.int64)
    for values, rows in _by_slice(strata):
        numbers = [number for number, _ in rows]
        done = np.array([labelled[number] for number in numbers], float)
        found = np.clip([positives[number] for number in numbers], 0, done)
        expected = np.array([stratum.expected for _, stratum in rows])
        rates = (_SCORE_WEIGHT * expected + found) / (_SCORE_WEIGHT + done)
        floors = np.array(
            [max(stratum.pilot, min(labelled[number], stratum.size)) for number, stratum in rows]
        )
        floors = _audited(rows, floors, budgets[values])
        final[numbers] = _above(_sizes(rows), rates, budgets[values], floors)
    return tuple(
        msgspec.structs.replace(stratum, labels=int(count), reserve=max(stratum.reserve, int(count)))
        for stratum, count in zip(strata, final, strict=True)
    )


def _audited(rows: list[tuple[int, Stratum]], floors: Counts, budget: int) -> Counts:
    """The floors, with enough labels of the lowest scored stratum to say what may hide in it.

    20, or 30 where the slice has 150 labels or more; at most half of a small budget, and never more than there is.
    """
    lowest = next((place for place, (_, stratum) in enumerate(rows) if stratum.kind == "scored"), None)
    if lowest is None:
        return floors
    audit = _LARGE_AUDIT if budget >= _LARGE_BUDGET else min(_AUDIT, budget // 2)
    others = int(floors.sum() - floors[lowest])
    floors[lowest] = max(floors[lowest], min(audit, rows[lowest][1].size, budget - others))
    return floors


def _above(sizes: Counts, rates: npt.NDArray[np.float64], total: int, floors: Counts) -> Counts:
    """The best allocation of `total` that gives no stratum less than its floor."""
    labels = allocate(sizes, rates, total, at_least=AT_LEAST)
    held = np.zeros(len(sizes), bool)
    while (short := (labels < floors) & ~held).any():
        held |= short
        labels = np.where(held, floors, 0)
        free = ~held
        if free.any():
            labels[free] = allocate(
                sizes[free], rates[free], max(0, total - int(labels.sum())), at_least=AT_LEAST
            )
    return labels


def _by_slice(strata: Sequence[Stratum]) -> Iterator[tuple[Slice, list[tuple[int, Stratum]]]]:
    for values in dict.fromkeys(stratum.slice for stratum in strata):
        yield values, [(number, stratum) for number, stratum in enumerate(strata) if stratum.slice == values]


def _sizes(rows: list[tuple[int, Stratum]]) -> Counts:
    return np.array([stratum.size for _, stratum in rows])


def _refuse_budget(strata: Sequence[Stratum]) -> None:
    slices = [[min(stratum.size, AT_LEAST) for _, stratum in rows] for _, rows in _by_slice(strata)]
    needed = len(slices) * max(sum(least) for least in slices)
    raise InputError(
        f"the budget is too small: {AT_LEAST} labels in each stratum of each slice are the least",
        remedy=f"raise the budget to {needed}, or slice less",
    )
