"""The detector's score fitted to the labels of a slice: for the next draw, never for the labels it was fitted to.

A better score cuts better strata, so the same labels give narrower intervals. It corrects no rate by itself.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..label.population import slice_key
from ..types import Annotation, Draw
from .cells import cells
from .counting import counting
from .targets import Category, category

_FOLDS = 5
_ENOUGH = 20  # labels of a slice from which leaving a fifth of them out says something
_BINS = 10
_NEARLY = 1e-6  # scores of 0 and 1 have no log-odds
_SLOPE_SPREAD, _INTERCEPT_SPREAD = 0.5, 2.0  # how far from the identity a fit goes without much evidence
_SLOPES = (0.05, 10.0)  # never 0 or turned round: recalibration keeps the order of the scores
_MOST_STEPS, _CLOSE = 60, 1e-9  # of Newton's method

Floats = NDArray[np.float64]


def recalibrate(
    verdicts: pl.DataFrame | pl.LazyFrame,
    draw: Draw,
    annotations: Iterable[Annotation],
    *,
    asked: Collection[str] | None = None,
) -> dict[str, tuple[float, float]]:
    """Slope and intercept on the log-odds of the score, by slice: what `label.plan` takes as `recalibration`.

    The keys are slices as JSON lists. Left out are slices with fewer than 20 labels, and those where the fit does
    not help on labels that it has not seen (`calibration` shows both). `asked` and errors as in `corrected`.
    """
    return {fit.key: fit.line for fit in _fits(verdicts, draw, annotations, asked) if fit.used}


def calibration(
    verdicts: pl.DataFrame | pl.LazyFrame,
    draw: Draw,
    annotations: Iterable[Annotation],
    *,
    asked: Collection[str] | None = None,
) -> pl.DataFrame:
    """How well the score matches the labels, per slice of the draw, before and after recalibration.

    Columns: those of `draw.by`; `labels` of scored answers; `slope` and `intercept` from all of them; `ece_before` and
    `ece_after`, calibration error over 10 bins of the score; `log_loss_before` and `log_loss_after`, nats per answer;
    `used`. Both errors speak of the whole slice (labels weigh by the inverse of their chance to be drawn) and both
    `after` are cross-fitted: each label is scored by a fit on the other four fifths. With few labels the calibration
    error of even a perfect score is some hundredths. Null under 20 labels.
    """
    rows = [
        dict(zip(draw.by, fit.slice, strict=True))
        | {"labels": fit.labels, "slope": fit.line[0], "intercept": fit.line[1]}
        | dict(zip(_ERRORS, fit.errors or [None] * len(_ERRORS), strict=True))
        | {"used": fit.used}
        for fit in _fits(verdicts, draw, annotations, asked)
    ]
    schema: dict[str, Any] = dict.fromkeys(draw.by, pl.String()) | {"labels": pl.Int64()}
    schema |= dict.fromkeys(("slope", "intercept", *_ERRORS), pl.Float64()) | {"used": pl.Boolean()}
    return pl.DataFrame(rows, schema=schema)


_ERRORS = ("ece_before", "ece_after", "log_loss_before", "log_loss_after")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Fit:
    slice: tuple[str | None, ...]
    labels: int
    line: tuple[float, float]
    errors: tuple[float, ...] | None  # in the order of _ERRORS

    @property
    def key(self) -> str:
        return slice_key(self.slice)

    @property
    def used(self) -> bool:
        return self.errors is not None and self.errors[3] < self.errors[2]


@dataclasses.dataclass(kw_only=True)
class _Sample:
    """Labelled answers of one slice."""

    ids: list[str] = dataclasses.field(default_factory=list)
    scores: list[float] = dataclasses.field(default_factory=list)
    positive: list[bool] = dataclasses.field(default_factory=list)
    strata: list[int] = dataclasses.field(default_factory=list)


def _fits(
    verdicts: pl.DataFrame | pl.LazyFrame,
    draw: Draw,
    annotations: Iterable[Annotation],
    asked: Collection[str] | None,
) -> list[_Fit]:
    notes = list(annotations)
    found = cells(verdicts, draw, [note.exchange for note in notes], by=draw.by)
    labels, _ = counting(found, notes, draw, asked)
    samples = {stratum.slice: _Sample() for stratum in draw.strata}
    for exchange in sorted(labels):
        at = found.labelled[exchange]
        where = category("not_complete", "all", labels[exchange])
        number = int(found.strata[at.slice, at.cell])
        if at.score is None or number < 0 or where not in (Category.POSITIVE, Category.NEGATIVE):
            continue
        sample = samples[draw.strata[number].slice]
        sample.ids.append(exchange)
        sample.scores.append(at.score)
        sample.positive.append(where == Category.POSITIVE)
        sample.strata.append(number)
    return [_fit(values, sample, draw) for values, sample in samples.items()]


def _fit(values: tuple[str | None, ...], sample: _Sample, draw: Draw) -> _Fit:
    """The line for all labels of a slice, and its errors on labels left out."""
    strata = np.array(sample.strata, dtype=int)
    labelled = np.bincount(strata, minlength=len(draw.strata)).astype(float)
    sizes = np.array([stratum.size for stratum in draw.strata], dtype=float)
    weights = (sizes / np.maximum(labelled, 1))[strata]
    scores = np.clip(np.array(sample.scores, dtype=float), _NEARLY, 1 - _NEARLY)
    log_odds, positive = np.log(scores / (1 - scores)), np.array(sample.positive, dtype=float)
    line = _line(log_odds, positive, weights) if len(scores) else (1.0, 0.0)
    errors = None
    if len(scores) >= _ENOUGH:
        after = _cross_fitted(sample.ids, log_odds, positive, weights)
        errors = (
            _calibration_error(scores, positive, weights),
            _calibration_error(after, positive, weights),
            _log_loss(scores, positive, weights),
            _log_loss(after, positive, weights),
        )
    return _Fit(slice=values, labels=len(scores), line=line, errors=errors)


def _line(log_odds: Floats, positive: Floats, weights: Floats) -> tuple[float, float]:
    """Slope and intercept: weighted logistic likelihood, drawn towards 1 and 0 by a normal prior.

    The weights are scaled to sum to the number of equally weighted labels that they are worth, so that a few heavy
    labels do not pass for much evidence.
    """
    worth = weights * weights.sum() / (weights**2).sum()
    lowest, highest = _SLOPES
    line = _newton(log_odds, positive, worth, slope=None)
    if (
        not lowest <= line[0] <= highest
    ):  # the loss is convex, so the best slope that is allowed is the nearest
        line = _newton(log_odds, positive, worth, slope=min(max(line[0], lowest), highest))
    return line


def _newton(log_odds: Floats, positive: Floats, worth: Floats, *, slope: float | None) -> tuple[float, float]:
    """The slope and intercept of least loss, or the intercept alone for a slope that is given.

    Newton's method with halved steps. Two unknowns need no library, whose threads cost more than the work.
    """
    at = (1.0 if slope is None else slope, 0.0)
    value = _loss(at, log_odds, positive, worth)
    for _ in range(_MOST_STEPS):
        step = _step(at, log_odds, positive, worth, slope_is_free=slope is None)
        for _ in range(_MOST_STEPS):
            there = (at[0] - step[0], at[1] - step[1])
            if (reached := _loss(there, log_odds, positive, worth)) <= value:
                break
            step = (step[0] / 2, step[1] / 2)
        else:
            break
        at, value = there, reached
        if max(abs(step[0]), abs(step[1])) < _CLOSE:
            break
    return at


def _loss(line: tuple[float, float], log_odds: Floats, positive: Floats, worth: Floats) -> float:
    slope, intercept = line
    there = slope * log_odds + intercept
    prior = (((slope - 1) / _SLOPE_SPREAD) ** 2 + (intercept / _INTERCEPT_SPREAD) ** 2) / 2
    return float((worth * (np.logaddexp(0, there) - positive * there)).sum()) + prior


def _step(
    line: tuple[float, float], log_odds: Floats, positive: Floats, worth: Floats, *, slope_is_free: bool
) -> tuple[float, float]:
    """Inverse of the second derivatives of the loss, times the first."""
    slope, intercept = line
    chance = 1 / (1 + np.exp(-(slope * log_odds + intercept)))
    wrong, curve = worth * (chance - positive), worth * chance * (1 - chance)
    by_intercept = float(wrong.sum()) + intercept / _INTERCEPT_SPREAD**2
    twice_intercept = float(curve.sum()) + 1 / _INTERCEPT_SPREAD**2
    if not slope_is_free:
        return 0.0, by_intercept / twice_intercept
    by_slope = float((wrong * log_odds).sum()) + (slope - 1) / _SLOPE_SPREAD**2
    twice_slope = float((curve * log_odds**2).sum()) + 1 / _SLOPE_SPREAD**2
    mixed = float((curve * log_odds).sum())
    determinant = (
        twice_slope * twice_intercept - mixed**2
    )  # above 0: the prior makes the loss strictly convex
    return (
        (twice_intercept * by_slope - mixed * by_intercept) / determinant,
        (twice_slope * by_intercept - mixed * by_slope) / determinant,
    )


def _cross_fitted(ids: list[str], log_odds: Floats, positive: Floats, weights: Floats) -> Floats:
    """Each score recalibrated by a fit that has not seen its label; folds by a hash of the id."""
    order = sorted(range(len(ids)), key=lambda at: hashlib.blake2b(ids[at].encode()).digest())
    fold = np.empty(len(ids), dtype=int)
    fold[order] = np.arange(len(ids)) % _FOLDS
    scores = np.empty(len(ids))
    for number in range(_FOLDS):
        out = fold == number
        slope, intercept = _line(log_odds[~out], positive[~out], weights[~out])
        scores[out] = 1 / (1 + np.exp(-(slope * log_odds[out] + intercept)))
    return scores


def _calibration_error(scores: Floats, positive: Floats, weights: Floats) -> float:
    """Mean distance of score and share of positives over bins of equal width, weighted."""
    bins = np.minimum((scores * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights * (scores - positive), minlength=_BINS)
    return float(np.abs(gaps).sum() / weights.sum())


def _log_loss(scores: Floats, positive: Floats, weights: Floats) -> float:
    inside = np.clip(scores, _NEARLY, 1 - _NEARLY)
    losses = -positive * np.log(inside) - (1 - positive) * np.log1p(-inside)
    return float(weights @ losses / weights.sum())
