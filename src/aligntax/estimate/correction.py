"""Verdicts, a draw and its labels to rates that are true: what people found, spread over what they did not read.

The detector's score says how the population is cut into strata, never what the rate is: where it is wrong, the
interval is wider. Formulae: `stats.profile`; what each number speaks of: docs/reference/estimates.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import InputError
from ..label.settle import alone
from ..types import Annotation, Draw
from .agreeing import withheld_axes
from .cells import Cells, cells
from .counting import category_counts, counting, tally
from .ends import Care, interval_ends
from .targets import TARGETS, Category, axes_of, known_when_blocked

Population = Literal["future", "log"]

_ENOUGH_ALONE = 20  # labels of one person from which their estimate alone says something


def corrected(  # noqa: PLR0913 - each is one choice about what the rates speak for, and all have a default
    verdicts: pl.DataFrame | pl.LazyFrame,
    draw: Draw | None,
    annotations: Iterable[Annotation],
    *,
    by: Sequence[str] | None = None,
    level: float = 0.95,
    population: Population = "future",
    targets: Iterable[str] = TARGETS,
    asked: Collection[str] | None = None,
    random_sample: bool = False,
    careful: Care = "few",
) -> pl.DataFrame:
    """Rates corrected by labels: one row per slice, target and domain, sorted by slice.

    Columns: those of `by`; `target`, `domain`; `value`, `low`, `high` (0 to 1) at `level`; `n`, exchanges of the
    population in the slice; `n_labels`, labelled exchanges that the row rests on; of these, `in_domain` are in
    the domain and `positives` of those positive; `method`, in words; `corrected`; `raw`, what the detector alone says of the same population, and `bias`, raw - value (null where the
    detector says nothing, as in the domain `should_answer`); `skipped`, exchanges that nobody could label;
    `ignored`, labelled exchanges that no draw asked for.

    The population are the answered and the provider-blocked exchanges. `by` takes what `summarise` takes, and may
    differ from the slices of the draw, which it is by default; a slice then holds parts of strata, and a part
    without labels is unknown and widens the interval. A draw that is not finished gives wider intervals that hold.
    A slice without labels, for a target, has the raw rate as value, no interval and `corrected` false. An axis on
    which annotators disagree (alpha below .67 on 20 doubly labelled exchanges or more) gives no value.

    `asked` are the ids that the draw asked for so far; without it every label of the population counts, as long as
    no stratum has more of them than the draw asked for. `random_sample` takes all labelled exchanges for a simple
    random sample, whatever the draw asked for, and needs no draw. `population`: "future" speaks of traffic like
    this, "log" of these exchanges only. `careful`: the ends of a likelihood promise too much where few were found;
    "few" widens them where fewer than `ends.FEW` labelled exchanges of the domain are positive, or negative, and
    "always" everywhere, for whoever decides by a single bound, as the gate does.

    Raises InputError for an unknown target or column, an unknown option, verdicts that the draw was not made from, and labels that
    nobody asked for.
    """
    names = _checked(targets)
    notes = list(annotations)
    by = _slices(by, draw)
    found = cells(verdicts, draw, [note.exchange for note in notes], by=by, random_sample=random_sample)
    labels, ignored = counting(found, notes, draw, asked, random_sample=random_sample)
    withheld = withheld_axes([note for note in notes if note.exchange in labels])
    setting = _Setting(
        level=level,
        population=population,
        random_sample=random_sample,
        careful=careful,
        withheld=withheld,
    )
    skipped = [exchange for exchange, label in labels.items() if label.skipped]
    return _table(found, labels, names, setting).with_columns(
        skipped=_per_slice(found, skipped, len(names)), ignored=_per_slice(found, ignored, len(names))
    )


def spread(  # noqa: PLR0913 - as `corrected`
    verdicts: pl.DataFrame | pl.LazyFrame,
    draw: Draw | None,
    annotations: Iterable[Annotation],
    *,
    by: Sequence[str] | None = None,
    level: float = 0.95,
    population: Population = "future",
    targets: Iterable[str] = TARGETS,
    asked: Collection[str] | None = None,
    random_sample: bool = False,
) -> pl.DataFrame:
    """What the rates would be with the labels of each annotator alone: how far people, not chance, move them.

    One row per annotator, slice, target and domain, where the annotator gave 20 labels or more that count: columns
    `annotator`, those of `by`, `target`, `domain`, `value`, `low`, `high`, `level`, `n`, `n_labels`. Adjudicated labels
    are nobody's alone. Options and errors as in `corrected`.
    """
    names = _checked(targets)
    notes = list(annotations)
    by = _slices(by, draw)
    found = cells(verdicts, draw, [note.exchange for note in notes], by=by, random_sample=random_sample)
    labels, _ = counting(found, notes, draw, asked, random_sample=random_sample)
    setting = _Setting(
        level=level, population=population, random_sample=random_sample, careful="few", withheld={}
    )
    columns = ["annotator", *by, "target", "domain", "value", "low", "high", "level", "n", "n_labels"]
    tables = [
        _table(found, {note.exchange: note for note in theirs}, names, setting).select(
            pl.lit(annotator).alias("annotator"), pl.all()
        )
        for annotator, theirs in alone(note for note in notes if note.exchange in labels).items()
    ]
    empty = _table(found, {}, names, setting).select(pl.lit("").alias("annotator"), pl.all()).clear()
    return pl.concat([empty, *tables]).filter(pl.col("n_labels") >= _ENOUGH_ALONE).select(columns)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Setting:
    level: float
    population: Population
    random_sample: bool
    careful: Care
    withheld: Mapping[str, str]  # axis -> why


def _checked(targets: Iterable[str]) -> list[tuple[str, str]]:
    """Every target with each of its domains."""
    names = list(dict.fromkeys(targets))
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        raise InputError(f"there is no target {unknown[0]!r}", remedy=f"choose from {', '.join(TARGETS)}")
    return [(name, domain) for name in names for domain in TARGETS[name].domains]


def _slices(by: Sequence[str] | None, draw: Draw | None) -> list[str]:
    return list(dict.fromkeys((draw.by if draw else ()) if by is None else by))


def _table(
    found: Cells, labels: Mapping[str, Annotation], names: list[tuple[str, str]], setting: _Setting
) -> pl.DataFrame:
    """All slices x targets x domains, solved in one batch."""
    patterns = tally(found, labels)
    counted = [category_counts(found, patterns, *name) for name in names]
    slices, _ = found.sizes.shape
    counts = np.stack([counts for counts, _ in counted], axis=1)  # (slices, names, cells, 3)
    labelled = np.stack([labelled for _, labelled in counted], axis=1)  # (slices, names, 3)
    sizes = np.broadcast_to(found.sizes[:, None, :], counts.shape[:3])
    value, low, high = (np.full(labelled.shape[:2], np.nan) for _ in range(3))
    careful = np.zeros(labelled.shape[:2], dtype=bool)
    use = labelled.any(axis=2)
    if use.any():
        solved, careful[use] = interval_ends(
            counts[use],
            sizes[use],
            labelled[use][:, :2],
            careful=setting.careful,
            level=setting.level,
            population=setting.population,
        )
        value[use], low[use], high[use] = solved.value, solved.low, solved.high
    rows = [
        _row(
            found,
            setting,
            at,
            name,
            _Solved(
                counts=counts[at, number],
                labelled=labelled[at, number],
                value=value[at, number],
                low=low[at, number],
                high=high[at, number],
                careful=bool(careful[at, number]),
            ),
        )
        for at in range(slices)
        for number, name in enumerate(names)
    ]
    table = pl.DataFrame(rows, schema=_SCHEMA)
    repeated = found.slices[np.repeat(np.arange(slices), len(names))] if found.slices.width else None
    return table if repeated is None else pl.concat([repeated, table], how="horizontal")


_SCHEMA = {
    "target": pl.String(),
    "domain": pl.String(),
    "value": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "level": pl.Float64(),
    "n": pl.Int64(),
    "n_labels": pl.Int64(),
    "in_domain": pl.Int64(),
    "positives": pl.Int64(),
    "method": pl.String(),
    "corrected": pl.Boolean(),
    "raw": pl.Float64(),
    "bias": pl.Float64(),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Solved:
    """What the labels say for one row; `value`, `low` and `high` are not numbers where there are none."""

    counts: NDArray[np.float64]  # (cells, 3)
    labelled: NDArray[np.int64]  # (3,): labels by Category
    value: float
    low: float
    high: float
    careful: bool


def _row(found: Cells, setting: _Setting, at: int, name: tuple[str, str], solved: _Solved) -> dict[str, Any]:
    target, domain = name
    raw = found.raw[target][at] if domain == "all" and target in found.raw else None
    positives, negatives, outside = (int(solved.labelled[category]) for category in Category)
    row: dict[str, Any] = {"target": target, "domain": domain, "level": setting.level, "raw": raw}
    row |= {"n": int(found.sizes[at].sum()), "corrected": False}
    row |= {
        "n_labels": positives + negatives + outside,
        "in_domain": positives + negatives,
        "positives": positives,
    }
    if np.isnan(solved.low):
        return row | {"value": raw, "method": "UNCORRECTED: no labels"}
    reasons = [setting.withheld[axis] for axis in axes_of(target, domain) if axis in setting.withheld]
    if reasons:
        return row | {"method": f"withheld: {'; '.join(reasons)}"}
    value = None if np.isnan(solved.value) else float(solved.value)
    return row | {
        "value": value,
        "low": float(solved.low),
        "high": float(solved.high),
        "method": _method(found, setting, at, name, solved),
        "corrected": True,
        "bias": None if raw is None or value is None else raw - value,
    }


def _method(found: Cells, setting: _Setting, at: int, name: tuple[str, str], solved: _Solved) -> str:
    """How the number came about, as printed."""
    there = found.sizes[at] > 0
    strata = int(there.sum())
    silent = int((there & (solved.counts.sum(axis=1) == 0)).sum())
    what = "post-strata" if setting.random_sample else "strata"
    words = [f"profile likelihood over {strata} {what if strata > 1 else what.replace('strata', 'stratum')}"]
    if silent:
        words.append(f"{silent} of them without labels")
    if setting.population == "log":
        words.append("finite population")
    if known_when_blocked(*name) is None and not solved.counts[:, :2].any():
        words.append("no label in the domain")
    elif solved.careful:
        words.append("careful ends" if setting.careful == "always" else "careful ends: few found")
    return ", ".join(words)


def _per_slice(found: Cells, exchanges: Iterable[str], repeat: int) -> pl.Series:
    """How many of these exchanges each slice has, repeated for every row of the slice."""
    counts = np.zeros(len(found.sizes), dtype=np.int64)
    for exchange in exchanges:
        counts[found.labelled[exchange].slice] += 1
    return pl.Series(np.repeat(counts, repeat))
