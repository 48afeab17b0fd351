"""What may hide where the detector sees nothing: labels of the stratum that scores lowest, in words."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import polars as pl

from ..stats.rate import clopper_pearson
from ..types import Annotation, Draw, Stratum
from .cells import cells
from .counting import counting
from .targets import Category, category

_WHAT = "refusals or partial answers"


def audit(
    verdicts: pl.DataFrame | pl.LazyFrame,
    draw: Draw,
    annotations: Iterable[Annotation],
    *,
    level: float = 0.95,
    asked: Collection[str] | None = None,
) -> pl.DataFrame:
    """One row per slice of the draw that has scored answers: what was found among those that score lowest.

    Columns: those of `draw.by`; `labelled` and `found`, labels there and how many say part or none (skipped ones are
    left out); `upper`, one-sided bound (Clopper-Pearson for a finite population) at `level` on their share there, 0 to
    1; `level`; `size`, exchanges in the stratum; `share`, what part of the slice it is; and `sentence`. Without labels
    `upper` is 1. `asked` and errors as in `corrected`.
    """
    notes = list(annotations)
    cell = cells(verdicts, draw, [note.exchange for note in notes], by=draw.by)
    labels, _ = counting(cell, notes, draw, asked)
    seen: dict[int, list[Category]] = {}
    for exchange, label in labels.items():
        at = cell.labelled[exchange]
        where = category("not_complete", "all", label, blocked=at.blocked)
        if where in (Category.POSITIVE, Category.NEGATIVE):
            seen.setdefault(int(cell.strata[at.slice, at.cell]), []).append(where)
    sizes: dict[tuple[str | None, ...], int] = {}
    lowest: dict[tuple[str | None, ...], tuple[int, Stratum]] = {}
    for number, stratum in enumerate(draw.strata):
        sizes[stratum.slice] = sizes.get(stratum.slice, 0) + stratum.size
        first = lowest.get(stratum.slice)
        if stratum.kind == "scored" and stratum.size and (first is None or stratum.low < first[1].low):
            lowest[stratum.slice] = number, stratum
    rows = [
        dict(zip(draw.by, values, strict=True))
        | _row(seen.get(number, []), stratum.size, sizes[values], level)
        for values, (number, stratum) in lowest.items()
    ]
    schema: dict[str, pl.DataType] = dict.fromkeys(draw.by, pl.String())
    return pl.DataFrame(rows, schema=schema | _SCHEMA)


_SCHEMA: dict[str, pl.DataType] = {
    "labelled": pl.Int64(),
    "found": pl.Int64(),
    "upper": pl.Float64(),
    "level": pl.Float64(),
    "size": pl.Int64(),
    "share": pl.Float64(),
    "sentence": pl.String(),
}


def _row(seen: list[Category], size: int, population: int, level: float) -> dict[str, Any]:
    found = sum(where == Category.POSITIVE for where in seen)
    # Of these exchanges, not of traffic like them: the sentence speaks of what is in the log.
    bound = clopper_pearson(found, len(seen), size=size, level=level, side="high").high if seen else None
    upper = 1.0 if bound is None else bound
    share = size / population
    return {
        "labelled": len(seen),
        "found": found,
        "upper": upper,
        "level": level,
        "size": size,
        "share": share,
        "sentence": _sentence(found, len(seen), size, upper, share),
    }


def _sentence(found: int, labelled: int, size: int, upper: float, share: float) -> str:
    where = f"the {_percent(share)} that score lowest"
    if not labelled:
        return f"nothing labelled in {where}, so nobody knows how many {_WHAT} they hide"
    if labelled == size:
        return f"{found} of {labelled} found in {where}, and these are all of them: nothing is hidden there"
    return f"{found} of {labelled} found in {where}, so up to {_percent(upper)} of them could hide {_WHAT}"


def _percent(share: float) -> str:
    """Whole percent, and a decimal under 10 where it says more; never 0 for what is not."""
    percent = 100 * share
    if 0 < percent < 0.1:
        return "less than 0.1 %"
    if percent < 1:
        return f"{percent:.1f} %"
    return f"{percent:.0f} %"
