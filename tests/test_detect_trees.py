"""Boosted symmetric trees: what a line cannot learn, the same score as a slow walk, the same trees twice."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aligntax.detect.trees import DEPTH, Trees, fit_trees

ROWS = 600
NAN = float("nan")


def exclusive_or() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Columns of which two decide together and neither alone, and targets: the same for two heads."""
    rng = np.random.default_rng(3)
    columns = rng.normal(size=(ROWS, 5)).astype(np.float32)
    target = ((columns[:, 1] > 0) != (columns[:, 3] > 0)).astype(float)
    return columns, np.stack([target, 1 - target], axis=1)


def fitted(columns: npt.NDArray[np.float32], targets: npt.NDArray[np.float64], *, seed: int = 1) -> Trees:
    return fit_trees(columns, targets, np.ones(len(columns)), count=60, rate=0.3, penalty=2.0, seed=seed)


def accuracy(logits: npt.NDArray[np.float32], target: npt.NDArray[np.float64]) -> float:
    return float(((logits > 0) == (target > 0.5)).mean())


def test_trees_learn_what_a_line_cannot() -> None:
    columns, targets = exclusive_or()
    half = ROWS // 2
    scores = fitted(columns[:half], targets[:half]).score(columns[half:])
    design = np.column_stack([columns, np.ones(ROWS)])
    line = np.linalg.lstsq(design[:half], targets[:half, 0] - 0.5, rcond=None)[0]
    assert accuracy(design[half:] @ line, targets[half:, 0]) < 0.6
    assert accuracy(scores[:, 0], targets[half:, 0]) > 0.85
    assert accuracy(scores[:, 1], targets[half:, 1]) > 0.85


def test_a_score_is_the_sum_of_the_leaves_that_a_row_reaches() -> None:
    columns, targets = exclusive_or()
    trees = fitted(columns, targets)
    slow = np.zeros((ROWS, 2))
    for row in range(ROWS):
        for tree in range(len(trees.leaf)):
            place = sum(
                (columns[row, trees.column[tree, level]] > trees.threshold[tree, level]) << level
                for level in range(DEPTH)
            )
            slow[row] += trees.leaf[tree, place]
    np.testing.assert_allclose(trees.score(columns), slow, atol=1e-4)


def test_a_row_scores_the_same_in_any_batch() -> None:
    columns, targets = exclusive_or()
    trees = fitted(columns, targets)
    alone = np.concatenate([trees.score(columns[row : row + 1]) for row in range(20)])
    np.testing.assert_allclose(trees.score(columns)[:20], alone, atol=1e-5)


def test_the_same_seed_grows_the_same_trees() -> None:
    columns, targets = exclusive_or()
    one, two, other = fitted(columns, targets), fitted(columns, targets), fitted(columns, targets, seed=2)
    for name in ("column", "threshold", "leaf"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert not np.array_equal(one.column, other.column)


def test_a_head_learns_only_from_rows_that_have_its_label() -> None:
    columns, targets = exclusive_or()
    unknown = targets.copy()
    unknown[100:, 1] = NAN
    scores = fitted(columns, unknown).score(columns)
    assert np.isfinite(scores).all()
    assert accuracy(scores[:, 0], targets[:, 0]) > 0.85
    assert accuracy(scores[:100, 1], targets[:100, 1]) > 0.85
    unknown[:, 1] = NAN
    np.testing.assert_array_equal(fitted(columns, unknown).score(columns)[:, 1], np.zeros(ROWS))


def test_columns_that_never_vary_ask_no_question() -> None:
    columns, targets = exclusive_or()
    columns[:, 0] = 1.0
    trees = fitted(columns, targets)
    assert np.isfinite(trees.score(columns)).all()
    assert accuracy(trees.score(columns)[:, 0], targets[:, 0]) > 0.85


def test_weightless_rows_teach_nothing() -> None:
    columns, targets = exclusive_or()
    noisy = targets.copy()
    noisy[300:] = 1 - noisy[300:]
    weights = np.ones(ROWS)
    weights[300:] = 0
    trees = fit_trees(columns, noisy, weights, count=60, rate=0.3, penalty=2.0, seed=1)
    assert accuracy(trees.score(columns)[:, 0], targets[:, 0]) > 0.85
