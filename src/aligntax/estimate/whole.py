"""Everything that the labels of one draw say, gathered for whoever shows it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import polars as pl

from ..label.population import slice_key
from ..label.settle import disagreements
from ..types import Annotation, Draw
from .agreeing import agreement, known_accuracy
from .correction import Population, corrected, spread
from .lowest import audit
from .recalibration import calibration


@dataclasses.dataclass(frozen=True, kw_only=True)
class Survey:
    """Rates of all exchanges and of slices, with what they rest on. Without a draw the tables about labels are None."""

    by: tuple[str, ...]
    level: float
    population: Population
    random_sample: bool  # the labelled exchanges were taken for a random sample, whatever the draw asked for
    total: pl.DataFrame  # rows of `corrected`, of all exchanges
    slices: pl.DataFrame  # the same by slice; those of `total` where `by` is empty
    groups: pl.DataFrame  # the same by the first of `by` alone
    draw: Draw | None
    labelled: int  # exchanges with a label, skipped ones too
    annotators: tuple[str, ...]
    disagreements: int  # exchanges on which people differ, and nobody has settled it
    agreement: pl.DataFrame | None
    known: pl.DataFrame | None  # accuracy on planted items, per annotator and axis
    audit: pl.DataFrame | None
    spread: pl.DataFrame | None  # of all exchanges, with each annotator's labels alone
    calibration: pl.DataFrame | None  # of the score, before and after a recalibration for the next draw
    recalibration: dict[str, tuple[float, float]]  # what the next draw may take; {}: nothing helps


def survey(  # noqa: PLR0913 - as `corrected`
    verdicts: pl.LazyFrame,
    draw: Draw | None,
    annotations: Sequence[Annotation],
    *,
    by: Sequence[str],
    level: float = 0.95,
    population: Population = "future",
    random_sample: bool = False,
    known: Iterable[Annotation] = (),
) -> Survey:
    """All that `annotations`, the labels of `draw`, say of `verdicts`; errors as in `corrected`.

    `known` are the right labels of the planted items.
    """
    planned = draw is not None and not random_sample
    planted = list(known)
    own = [note for note in annotations if note.exchange not in {right.exchange for right in planted}]

    def rates(names: Sequence[str]) -> pl.DataFrame:
        return corrected(
            verdicts,
            draw,
            own,
            by=names,
            level=level,
            population=population,
            random_sample=random_sample,
        )

    by = tuple(dict.fromkeys(by))
    total = rates(())
    fitted = calibration(verdicts, draw, own) if draw and planned and own else None
    slices = rates(by) if by else total
    return Survey(
        by=by,
        level=level,
        population=population,
        random_sample=random_sample,
        total=total,
        slices=slices,
        groups=rates(by[:1]) if len(by) > 1 else slices,
        draw=draw,
        labelled=len({note.exchange for note in own}),
        annotators=tuple(sorted({note.annotator for note in own if not note.adjudicated})),
        disagreements=len(disagreements(own)),
        agreement=agreement(own) if own else None,
        known=known_accuracy(annotations, planted) if planted else None,
        audit=audit(verdicts, draw, own, level=level) if draw and planned else None,
        spread=_spread(verdicts, draw, own, level, population) if planned and own else None,
        calibration=fitted,
        recalibration={} if draw is None or fitted is None else _recalibration(fitted, draw.by),
    )


def _recalibration(fitted: pl.DataFrame, by: Sequence[str]) -> dict[str, tuple[float, float]]:
    """What `recalibrate` would return, without fitting everything again."""
    used = fitted.filter("used").iter_rows(named=True)
    return {slice_key(row[name] for name in by): (row["slope"], row["intercept"]) for row in used}


def _spread(
    verdicts: pl.LazyFrame,
    draw: Draw | None,
    annotations: Sequence[Annotation],
    level: float,
    population: Population,
) -> pl.DataFrame:
    return spread(
        verdicts,
        draw,
        annotations,
        by=(),
        level=level,
        population=population,
        targets=["not_complete"],
    )
