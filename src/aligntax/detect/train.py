"""Train the detector: `python -m aligntax.detect.train --data DIR [--out FILE]`. Deterministic, on a CPU.

Three fits. (1) A softmax over n-grams and lexicon hits teaches what a sentence does, from the authored
sentences alone. (2) A ridge logistic model over n-grams and dense columns, and (3) symmetric trees over the
dense columns, learn the heads from labelled answers; the mean of their logits is the score. The calibration
(Platt) is fitted on predictions for sources that the weights behind them never saw.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, sparse
from scipy.special import expit, log_softmax

from ..errors import AlignTaxError
from . import examples as ex
from . import kernel
from .features import DENSE, Floats, Reading, dense, read_chunk
from .lexicon import load_lexicon
from .model import CLIP, HEADS, WEIGHTS_FILE, Model, dump, sentence_functions
from .trees import Trees, fit_trees

VERSION = "1"
SEED = 20260302
COMPOSED_PER_SOURCE = 700
TREES, TREE_RATE, TREE_PENALTY = 160, 0.08, 8.0
SENTENCE_PENALTY, SENTENCE_EXTRA_PENALTY = 0.1, 0.01
ANSWER_SHARE = 1.5  # weight of answering sentences against all others together: in logs they are the rule
GRAM_PENALTY, DENSE_PENALTY = 2.0, 5.0
_CHUNK = 200_000

CODEBOOK = ("authored", "xstest")
"""Sources whose part and none mean what docs/reference/verdicts.md means."""

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sentences:
    """What a sentence does: the weights of the first fit."""

    grams: Floats
    extras: Floats


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """The weights of the second and third fit."""

    grams: Array
    dense: Array
    center: Array
    scale: Array
    trees: Trees


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All examples as the model sees them."""

    examples: list[ex.Example]
    grams: sparse.csr_array  # (rows, 2 * BUCKETS), opening and rest divided by the root of their lengths
    dense: Floats  # (rows, DENSE)
    targets: Array  # (rows, HEADS)
    mass: Array  # (rows,)

    def rows_for(self, excluded: Array) -> Array:
        """Rows that may train when `excluded` (a mask) is held out."""
        allowed = np.asarray([e.trains for e in self.examples])
        return np.flatnonzero(allowed & ~excluded & ~np.isnan(self.targets[:, 0]))


# -- what a sentence does ------------------------------------------------------------------------------------


def fit_sentences() -> Sentences:
    """Softmax regression on the authored sentences."""
    texts = [text for _, text in ex.authored_sentences()]
    readings = [
        read_chunk(texts[at : at + 500], [""] * len(texts[at : at + 500]), load_lexicon())
        for at in range(0, len(texts), 500)
    ]
    grams = sparse.vstack([_whole_rows(reading) for reading in readings]).tocsr()
    extras = np.concatenate(
        [np.maximum.reduceat(r.extras, r.tokens.row_sentence[:-1], axis=0) for r in readings]
    )
    truth = ex.sentence_targets()
    answers = truth[:, 0] > 0.5
    mass = np.where(answers, ANSWER_SHARE * (~answers).sum() / answers.sum(), 1.0)
    ridge = np.repeat([SENTENCE_PENALTY, SENTENCE_EXTRA_PENALTY], [kernel.BUCKETS, extras.shape[1]])
    weights = _softmax_fit(sparse.hstack([grams, sparse.csr_array(extras)]).tocsr(), truth, mass, ridge)
    return Sentences(
        grams=weights[: kernel.BUCKETS].astype(np.float32),
        extras=weights[kernel.BUCKETS :].astype(np.float32),
    )


def _buckets(reading: Reading) -> npt.NDArray[np.int32]:
    return kernel.grams(reading.tokens, reading.mixed, reading.later)


def _whole_rows(reading: Reading) -> sparse.csr_array:
    """N-gram counts of rows, wherever in the row, over the root of the row's length."""
    counts = kernel.matrix(reading.tokens.row_first, _buckets(reading))
    counts = counts[:, : kernel.BUCKETS] + counts[:, kernel.BUCKETS :]
    return sparse.diags_array(1 / np.sqrt(np.diff(reading.tokens.row_first))) @ counts


def _softmax_fit(columns: sparse.csr_array, truth: Array, mass: Array, ridge: Array) -> Array:
    width, classes = columns.shape[1], truth.shape[1]
    turned = columns.T.tocsr()

    def loss(flat: Array) -> tuple[float, Array]:
        weights = flat.reshape(width, classes)
        logs = log_softmax(columns @ weights, axis=1)
        slope = turned @ ((np.exp(logs) - truth) * mass[:, None]) + ridge[:, None] * weights
        value = -(mass[:, None] * truth * logs).sum() + 0.5 * (ridge[:, None] * weights**2).sum()
        return float(value), slope.ravel()

    return _minimise(loss, width * classes).reshape(width, classes)


def _minimise(loss: Any, size: int) -> Array:
    found = optimize.minimize(
        loss, np.zeros(size), jac=True, method="L-BFGS-B", options={"maxiter": 150, "maxcor": 8}
    )
    return np.asarray(found.x)


# -- examples as columns -------------------------------------------------------------------------------------


def build_table(folder: Path, sentences: Sentences) -> Table:
    """Read the labelled rows, the authored answers and the compositions."""
    rows = ex.load_examples(folder) + ex.authored_answers()
    rows += ex.compose(rows, COMPOSED_PER_SOURCE, SEED)
    weights = kernel.quantise(np.concatenate([sentences.grams, sentences.grams]))
    grams, columns = [], []
    for group in ex.batches(rows, _CHUNK):
        reading = read_chunk([e.response for e in group], [e.prompt for e in group], load_lexicon())
        sums = kernel.sentence_sums(reading.tokens, reading.mixed, reading.later, weights)
        columns.append(dense(reading, sentence_functions(reading, sums, sentences.extras)))
        grams.append(_parted_rows(reading))
    return Table(
        examples=rows,
        grams=sparse.vstack(grams).tocsr(),
        dense=np.concatenate(columns),
        targets=ex.targets(rows),
        mass=ex.training_mass(rows),
    )


def _parted_rows(reading: Reading) -> sparse.csr_array:
    """As `model.gram_logits` weighs them: opening and rest, each over the root of its own length."""
    tokens = reading.tokens
    counts = kernel.matrix(tokens.row_first, _buckets(reading))
    counts.sum_duplicates()
    length = np.diff(tokens.sentence_first)
    parts = []
    for part, half in (
        (~reading.later, slice(None, kernel.BUCKETS)),
        (reading.later, slice(kernel.BUCKETS, None)),
    ):
        size = np.add.reduceat(length * part, tokens.row_sentence[:-1])
        parts.append(sparse.diags_array(1 / np.sqrt(np.maximum(size, 1))) @ counts[:, half])
    return sparse.hstack(parts).tocsr()


# -- the heads -----------------------------------------------------------------------------------------------


def fit_axes(table: Table, rows: Array) -> Axes:
    """Fit the heads on some rows of the table."""
    columns = table.dense[rows]
    center, scale = columns.mean(axis=0), columns.std(axis=0) + 1e-6
    center[-1], scale[-1] = 0.0, 1.0  # the bias column stays one
    joined = sparse.hstack([table.grams[rows], sparse.csr_array(_scaled(columns, center, scale))]).tocsr()
    ridge = np.repeat([GRAM_PENALTY, DENSE_PENALTY], [2 * kernel.BUCKETS, len(DENSE)])
    ridge[-1] = 1e-3
    weights = np.zeros((joined.shape[1], len(HEADS)))
    for head in range(len(HEADS)):
        known = ~np.isnan(table.targets[rows, head])
        weights[:, head] = _logistic_fit(
            joined[known], table.targets[rows, head][known], table.mass[rows][known], ridge
        )
    return Axes(
        grams=weights[: 2 * kernel.BUCKETS],
        dense=weights[2 * kernel.BUCKETS :],
        center=center,
        scale=scale,
        trees=fit_trees(
            columns,
            table.targets[rows],
            table.mass[rows],
            count=TREES,
            rate=TREE_RATE,
            penalty=TREE_PENALTY,
            seed=SEED,
        ),
    )


def _scaled(columns: Array, center: Array, scale: Array) -> Array:
    return np.clip((columns - center) / scale, -CLIP, CLIP)


def _logistic_fit(columns: sparse.csr_array, truth: Array, mass: Array, ridge: Array) -> Array:
    turned = columns.T.tocsr()
    sign = np.where(truth > 0.5, 1.0, -1.0)

    def loss(weights: Array) -> tuple[float, Array]:
        margin = sign * (columns @ weights)
        value = (mass * np.logaddexp(0, -margin)).sum() + 0.5 * (ridge * weights**2).sum()
        return float(value), turned @ (-sign * mass * expit(-margin)) + ridge * weights

    return _minimise(loss, columns.shape[1])


def raw_logits(table: Table, axes: Axes, rows: Array) -> Array:
    """Uncalibrated logits of some rows: (rows, HEADS)."""
    linear: Array = (
        table.grams[rows] @ axes.grams + _scaled(table.dense[rows], axes.center, axes.scale) @ axes.dense
    )
    both: Array = (linear + axes.trees.score(table.dense[rows])) / 2
    return both


def leave_out(table: Table, groups: list[Array]) -> Array:
    """Logits of the rows in each group (masks) from weights that saw none of that group; NaN elsewhere.

    Compositions that hold text of a held-out source are held out with it.
    """
    out = np.full(table.targets.shape, np.nan)
    sources = np.asarray([e.source for e in table.examples])
    parents = np.asarray([e.parent for e in table.examples])
    for group in groups:
        related = np.isin(parents, np.unique(sources[group])) & (parents != "")
        axes = fit_axes(table, table.rows_for(group | related))
        rows = np.flatnonzero(group)
        out[rows] = raw_logits(table, axes, rows)
    return out


def source_groups(table: Table, *, trained_only: bool = False) -> dict[str, Array]:
    """A mask for each source of labelled rows (compositions are no source)."""
    sources = np.asarray([e.source for e in table.examples])
    trains = {e.source for e in table.examples if e.trains}
    names = sorted(set(sources) - {"composed"})
    return {name: sources == name for name in names if not trained_only or name in trains}


def calibrate(table: Table, logits: Array) -> tuple[Array, Array, float]:
    """Platt scaling of held-out logits, every source with the same total weight: slopes and offsets by head.

    Sources mean different things by a part answer, so the head that tells part from none is calibrated only
    on those that mean what we mean (CODEBOOK). The last value is the probability of that head under which an
    answer counts as part, set so that as many are counted as there are: a decision at 0.5 would never say
    part, which is the rarer of the two.
    """
    sources = np.asarray([e.source for e in table.examples])
    slopes, offsets = np.ones(len(HEADS)), np.zeros(len(HEADS))
    part_below = 0.5
    for head, name in enumerate(HEADS):
        known = ~np.isnan(logits[:, head]) & ~np.isnan(table.targets[:, head])
        if name == "none":
            known &= np.isin(sources, CODEBOOK)
        known &= np.isin(sources, _large(sources[known]))
        names, place, counts = np.unique(sources[known], return_inverse=True, return_counts=True)
        columns = sparse.csr_array(np.stack([logits[known, head], np.ones(known.sum())], axis=1))
        mass = 1000.0 / counts[place] / len(names)
        truth = table.targets[known, head]
        slopes[head], offsets[head] = _logistic_fit(columns, truth, mass, np.asarray([1e-3, 1e-3]))
        if name == "none":
            chance = expit(logits[known, head] * slopes[head] + offsets[head])
            order = np.argsort(chance)
            reached = np.cumsum(mass[order]) / mass.sum()
            part_below = float(chance[order][np.searchsorted(reached, 1 - np.average(truth, weights=mass))])
    return slopes, offsets, part_below


def _large(sources: Array) -> Array:
    """Sources with rows enough to stand beside the others with the same weight."""
    names, counts = np.unique(sources, return_counts=True)
    large: Array = names[counts >= 50]
    return large


# -- the command ---------------------------------------------------------------------------------------------


def train(folder: Path) -> Model:
    """All fits, on every row that may train."""
    sentences = fit_sentences()
    table = build_table(folder, sentences)
    groups = [
        mask & ~np.isnan(table.targets[:, 0]) for mask in source_groups(table, trained_only=True).values()
    ]
    slopes, offsets, part_below = calibrate(table, leave_out(table, groups))
    axes = fit_axes(table, table.rows_for(np.zeros(len(table.examples), np.bool_)))
    return Model(
        version=VERSION,
        grams=kernel.quantise(
            np.concatenate([np.concatenate([sentences.grams, sentences.grams]), axes.grams], axis=1)
        ),
        sentence_extras=sentences.extras,
        center=axes.center.astype(np.float32),
        scale=axes.scale.astype(np.float32),
        axis_dense=axes.dense.astype(np.float32),
        trees=axes.trees,
        slope=slopes.astype(np.float32),
        offset=offsets.astype(np.float32),
        part_below=part_below,
    )


def main(arguments: list[str] | None = None) -> int:
    """Command line of the module."""
    parser = argparse.ArgumentParser(
        prog="python -m aligntax.detect.train", description="Train the detector."
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of labelled responses, one .jsonl a source"
    )
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).with_name(WEIGHTS_FILE), help="weights to write"
    )
    chosen = parser.parse_args(arguments)
    try:
        content = dump(train(chosen.data))
    except (AlignTaxError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    chosen.out.write_bytes(content)
    print(f"{chosen.out}: {len(content) / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
