"""Sentence functions against sentence-level facts that people labelled: the rule-based rewards gold data."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import optimize
from scipy.special import expit

import metrics as m
from aligntax.detect.features import DENSE
from holdout import Answers
from metrics import Array

SOURCE = "openai_rbr_gold"
PAIRS = {  # proposition of the set -> the function that means it
    "apology": "apology",
    "disclaimer": "disclaimer",
    "judgement": "moralising",
    "inability_to_comply": "refusal",
    "encourage_professional_help": "redirect",
}
FOLDS, RIDGE = 5, 10.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Proposition:
    """One proposition: rows where it holds, and AUCs."""

    name: str
    function: str
    true: int
    unseen: float  # highest probability of the function over the sentences; the set is never trained on
    low: float
    high: float
    trained: float  # a model of the dense columns that was trained on the other folds of the set
    peer: float  # the phrase regex


def measure_propositions(answers: Answers, matched: Array) -> list[Proposition]:
    """Every pair of PAIRS; nothing where the set is not there."""
    rows = np.flatnonzero(answers.known & (answers.source == SOURCE))
    return [_measure(answers, matched, rows, name) for name in PAIRS] if len(rows) else []


def _measure(answers: Answers, matched: Array, rows: Array, name: str) -> Proposition:
    truth, columns = answers.axis(name, rows), answers.table.dense[rows]
    score = columns[:, DENSE.index(f"most {PAIRS[name]}")]
    low, high = m.interval(m.auc, truth, score, answers.prompt[rows])
    return Proposition(
        name=name,
        function=PAIRS[name],
        true=int(truth.sum()),
        unseen=m.auc(truth, score),
        low=low,
        high=high,
        trained=m.auc(truth, _cross_validated(columns, truth)),
        peer=m.auc(truth, matched[rows]),
    )


def _cross_validated(columns: Array, truth: Array) -> Array:
    """Held-out scores of a ridge logistic model, in folds with the same share of true rows."""
    rng = np.random.default_rng(20260302)
    fold = np.empty(len(truth), np.int64)
    for value in (False, True):
        mine = np.flatnonzero(truth == value)
        fold[rng.permutation(mine)] = np.arange(len(mine)) % FOLDS
    out = np.empty(len(truth))
    for at in range(FOLDS):
        held = fold == at
        center, scale = columns[~held].mean(0), columns[~held].std(0) + 1e-6
        scaled = np.clip((columns - center) / scale, -4, 4)
        out[held] = scaled[held] @ _logistic(scaled[~held], truth[~held])
    return out


def _logistic(columns: Array, truth: Array) -> Array:
    """Weights of a ridge logistic regression; the offset, which does not change an order, is left to the end."""
    sign = np.where(truth, 1.0, -1.0)
    joined = np.column_stack([columns, np.ones(len(columns))])
    ridge = np.append(np.full(columns.shape[1], RIDGE), 1e-3)

    def loss(weights: Array) -> tuple[float, Array]:
        margin = sign * (joined @ weights)
        value = np.logaddexp(0, -margin).sum() + 0.5 * (ridge * weights**2).sum()
        return float(value), joined.T @ (-sign * expit(-margin)) + ridge * weights

    found = optimize.minimize(loss, np.zeros(joined.shape[1]), jac=True, method="L-BFGS-B")
    return np.asarray(found.x[:-1])
