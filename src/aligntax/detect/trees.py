"""Boosted symmetric trees over the dense columns: small, deterministic, and quick for whole batches at once.

Every level of a symmetric tree asks one question of all its nodes, so a tree is three questions and eight
leaves, and the answers to all questions of all trees are a handful of array operations (Prokhorenkova and
others, CatBoost, arXiv:1706.09516). A leaf holds one value a head, fitted by Newton steps.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

DEPTH = 3
_BINS = 16


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trees:
    """T trees. A row goes to the leaf whose bits say which of its questions, column > threshold, hold."""

    column: npt.NDArray[np.int16]  # (T, DEPTH)
    threshold: npt.NDArray[np.float32]  # (T, DEPTH)
    leaf: npt.NDArray[np.float32]  # (T, 2**DEPTH, heads)

    def score(self, dense: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Sums of leaf values: (rows, heads)."""
        count, leaves, heads = self.leaf.shape
        slots = np.zeros((count, len(dense)), np.int32)
        columns = np.ascontiguousarray(dense.T)
        for level in range(DEPTH):
            asked = columns[self.column[:, level]] > self.threshold[:, level, None]
            slots += asked.astype(np.int32) << level
        slots += (np.arange(count, dtype=np.int32) * leaves)[:, None]
        flat = self.leaf.reshape(-1, heads)
        out = np.empty((len(dense), heads), np.float32)
        for head in range(heads):
            np.sum(flat[:, head][slots], axis=0, out=out[:, head])
        return out


def fit_trees(
    dense: Array,
    targets: Array,
    weights: Array,
    *,
    count: int,
    rate: float,
    penalty: float,
    seed: int,
) -> Trees:
    """Fit `count` trees to 0/1 `targets` (rows, heads), NaN where a head has no label; `weights` by row.

    `rate` is the shrinkage of each step, `penalty` the ridge on leaf values, in units of weighted rows.
    Each tree sees half of the columns, drawn with `seed`.
    """
    rng = np.random.default_rng(seed)
    edges = [np.unique(np.quantile(column, np.linspace(0, 1, _BINS + 1)[1:-1])) for column in dense.T]
    codes = np.stack([np.searchsorted(e, c, "left") for e, c in zip(edges, dense.T, strict=True)]).astype(
        np.int64
    )
    known = ~np.isnan(targets)
    truth = np.where(known, targets, 0.0)
    mass = weights[:, None] * known
    logits = np.zeros_like(truth)
    useful = np.flatnonzero([len(e) > 0 for e in edges])
    columns, thresholds, leaves = [], [], []
    for _ in range(count):
        chance = 1 / (1 + np.exp(-logits))
        slope, bend = (truth - chance) * mass, chance * (1 - chance) * mass
        drawn = np.sort(rng.choice(useful, size=max(1, len(useful) // 2), replace=False))
        chosen, slots = _grow(codes, edges, drawn, slope, bend, penalty)
        size = 1 << DEPTH
        value = np.stack(
            [
                np.bincount(slots, slope[:, head], size) / (np.bincount(slots, bend[:, head], size) + penalty)
                for head in range(truth.shape[1])
            ],
            axis=1,
        )
        value *= rate
        logits += value[slots]
        columns.append([column for column, _ in chosen])
        thresholds.append([edges[column][cut] for column, cut in chosen])
        leaves.append(value)
    return Trees(
        column=np.asarray(columns, np.int16),
        threshold=np.asarray(thresholds, np.float32),
        leaf=np.asarray(leaves, np.float32),
    )


def _grow(
    codes: Array, edges: list[Array], drawn: Array, slope: Array, bend: Array, penalty: float
) -> tuple[list[tuple[int, int]], npt.NDArray[np.int64]]:
    """The three best questions one after the other, and the leaf of each row."""
    slots = np.zeros(codes.shape[1], np.int64)
    chosen: list[tuple[int, int]] = []
    for level in range(DEPTH):
        nodes = 1 << level
        best = (-np.inf, 0, 0)
        for column in drawn.tolist():
            cells = slots * _BINS + codes[column]
            gain = np.zeros(_BINS - 1)
            for head in range(slope.shape[1]):
                steep = np.bincount(cells, slope[:, head], nodes * _BINS).reshape(nodes, _BINS)
                curve = np.bincount(cells, bend[:, head], nodes * _BINS).reshape(nodes, _BINS)
                low, low_curve = np.cumsum(steep, 1)[:, :-1], np.cumsum(curve, 1)[:, :-1]
                high = steep.sum(1, keepdims=True) - low
                high_curve = curve.sum(1, keepdims=True) - low_curve
                gain += (low**2 / (low_curve + penalty) + high**2 / (high_curve + penalty)).sum(0)
            cut = int(np.argmax(gain[: len(edges[column])]))
            if gain[cut] > best[0]:
                best = (float(gain[cut]), column, cut)
        chosen.append(best[1:])
        slots |= (codes[best[1]] > best[2]).astype(np.int64) << level
    return chosen, slots
