"""Predictions for sources and models that neither the weights nor the calibration behind them ever saw."""

from __future__ import annotations

import dataclasses
import zlib
from pathlib import Path

import numpy as np
from scipy.special import expit

from aligntax.detect import train
from aligntax.detect.model import HEADS
from metrics import Array

MODEL_FOLDS = 6
MISSING, NONE, AVOIDANCE = range(len(HEADS))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The labelled answers as arrays, one entry a row of `table`."""

    table: train.Table
    source: Array
    model: Array
    label: Array
    prompt: Array  # a number a distinct prompt
    trains: Array
    known: Array  # labelled rows whose label says whether something is missing; compositions are none

    def sources(self, *, trained: bool) -> list[str]:
        """Names of the labelled sets that do train, or of those that only evaluate."""
        return sorted(set(self.source[self.known & (self.trains == trained)]))

    def axis(self, name: str, rows: Array) -> Array:
        """A finer label of some rows, as booleans."""
        return np.asarray([bool(self.table.examples[at].row["axes"][name]) for at in rows])


def load(folder: Path) -> Answers:
    """Fit the sentence functions and read every labelled answer of `folder`."""
    table = train.build_table(folder, train.fit_sentences())
    rows = table.examples
    source = np.asarray([e.source for e in rows])
    return Answers(
        table=table,
        source=source,
        model=np.asarray([e.model for e in rows]),
        label=np.asarray([e.row["label"] for e in rows]),
        prompt=np.unique([e.prompt for e in rows], return_inverse=True)[1],
        trains=np.asarray([e.trains for e in rows]),
        known=(source != "composed") & ~np.isnan(table.targets[:, MISSING]),
    )


def source_logits(answers: Answers) -> Array:
    """Leave-one-source-out logits; the sets that never train share one fit on everything that does."""
    groups = list(train.source_groups(answers.table, trained_only=True).values())
    evaluating = ~answers.trains & (answers.source != "composed")
    return train.leave_out(answers.table, [*groups, evaluating] if evaluating.any() else groups)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """What the detector says of answers that it never saw; NaN and False where nothing was left out."""

    probability: Array  # (rows, HEADS)
    leans_to_none: Array  # if something is missing: whether the shipped rule would say "none" and not "part"


def by_source(answers: Answers, logits: Array) -> Unseen:
    """One source left out at a time: calibrated on the other sources."""
    groups = [answers.source == name for name in sorted(set(answers.source) - {"composed"})]
    return _calibrated(answers, logits, groups, logits)


def model_folds(answers: Answers) -> Array:
    """Number of the fold of each row that trains, -1 elsewhere: every XSTest model is one, the others share six."""
    alone = sorted(set(answers.model[answers.source == "xstest"]))
    folds = [
        alone.index(name) if name in alone else len(alone) + zlib.crc32(name.encode()) % MODEL_FOLDS
        for name in answers.model
    ]
    judged = answers.trains & ~np.isin(answers.source, ("composed", "authored"))
    return np.where(judged, folds, -1)


def by_model(answers: Answers, logits: Array) -> Unseen:
    """One model, or fold of models, left out at a time.

    As in training, the calibration rests on leave-one-source-out logits: here those of all other models.
    """
    folds = model_folds(answers)
    groups = [folds == fold for fold in sorted(set(folds) - {-1})]
    return _calibrated(answers, logits, groups, train.leave_out(answers.table, groups))


def _calibrated(answers: Answers, logits: Array, groups: list[Array], unseen: Array) -> Unseen:
    """Probabilities of `unseen`, each group calibrated on the held-out `logits` of rows outside it."""
    probability = np.full_like(logits, np.nan)
    leans = np.zeros(len(logits), np.bool_)
    for group in groups:
        usable = answers.known & answers.trains & ~group
        slopes, offsets, part_below = train.calibrate(
            answers.table, np.where(usable[:, None], logits, np.nan)
        )
        probability[group] = expit(unseen[group] * slopes + offsets)
        leans[group] = probability[group, NONE] >= part_below
    return Unseen(probability=probability, leans_to_none=leans)
