"""Operations of averaging: what each does by hand, what they are with one task vector, and that stretches do not matter."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aligntax.errors import InputError
from aligntax.weights.averaging.operations import EXPLAINED, MEASURES, OPERATIONS, Settings, loaded
from aligntax.weights.averaging.recipe import Model, Recipe, read_recipe
from aligntax.weights.ratios import Ratios


def values(seed: int, count: int = 2000) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(count)


def made(operation: str, *tensors: np.ndarray, **said: object) -> np.ndarray:
    weights = said.pop("weights", (1.0,) * (len(tensors) - 1))
    return loaded(OPERATIONS[operation])("t", list(tensors), Settings(weights=weights, **said))


def test_linear_is_the_line_between_and_a_mean_of_several() -> None:
    base, first, second = values(0), values(1), values(2)
    np.testing.assert_allclose(made("linear", base, first, ratio=0.3), 0.7 * base + 0.3 * first, rtol=1e-12)
    both = made("linear", base, first, second, ratio=0.5, weights=(1.0, 3.0))
    np.testing.assert_allclose(both, 0.5 * base + 0.5 * (0.25 * first + 0.75 * second), rtol=1e-12)


def test_task_arithmetic_sums_and_with_one_vector_is_averaging() -> None:
    base, first, second = values(0), values(1), values(2)
    np.testing.assert_allclose(
        made("task_arithmetic", base, first, second, ratio=0.5, weights=(1.0, 2.0)),
        base + 0.5 * (first - base) + 1.0 * (second - base),
        rtol=1e-12,
    )
    one = made("task_arithmetic", base, first, ratio=0.3)
    np.testing.assert_allclose(one, made("linear", base, first, ratio=0.3), rtol=1e-12)


def test_slerp_keeps_lengths_and_cuts_the_angle_in_proportion() -> None:
    base, other = values(0), values(1)
    other *= np.linalg.norm(base) / np.linalg.norm(other)
    result = made("slerp", base, other, ratio=0.25)

    def angle(a: np.ndarray, b: np.ndarray) -> float:
        return math.acos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    assert np.linalg.norm(result) == pytest.approx(np.linalg.norm(base))
    assert angle(base, result) == pytest.approx(0.25 * angle(base, other))


@pytest.mark.parametrize("factor", [1.0, 2.0, 0.0, -1.0])
def test_slerp_of_parallel_tensors_is_the_straight_line(factor: float) -> None:
    base = values(0)
    expected = base + 0.3 * (factor * base - base)
    np.testing.assert_allclose(made("slerp", base, factor * base, ratio=0.3), expected, atol=1e-12)


def test_ties_by_hand() -> None:
    base = np.zeros(4)
    first = np.array([3.0, -1.0, 0.1, 2.0])
    second = np.array([1.0, -3.0, 2.0, -5.0])
    kept_first, kept_second = np.array([3.0, 0, 0, 2.0]), np.array([0, -3.0, 0, -5.0])
    agreeing = np.array(
        [kept_first[0], kept_second[1], 0.0, kept_second[3]]
    )  # in the last place -5 outweighs 2
    result = made("ties", base, first, second, ratio=0.5, density=0.5)
    np.testing.assert_allclose(result, 0.5 * agreeing)


@given(st.integers(1, 400), st.floats(0.001, 1), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_ties_with_one_vector_is_pruning_by_magnitude(count: int, density: float, seed: int) -> None:
    base, other = values(seed, count), values(seed + 1, count)
    change = (other - base).astype(np.float32)
    kept = round(density * count)
    limit = np.sort(np.abs(change))[-kept] if kept else np.inf
    expected = base + 0.7 * np.where(np.abs(change) >= limit, other - base, 0.0)
    np.testing.assert_allclose(made("ties", base, other, ratio=0.7, density=density), expected, atol=1e-12)


def test_dare_drops_its_share_scales_the_rest_and_keeps_the_mean() -> None:
    base, other = np.zeros(200_000), np.ones(200_000)
    result = made("dare", base, other, ratio=1.0, drop=0.75, seed=3)
    assert set(np.unique(result)) == {0.0, 4.0}
    assert np.mean(result != 0) == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 200_000))


def test_dare_follows_seed_and_name_and_treats_two_models_apart() -> None:
    base, other = np.zeros(1000), np.ones(1000)
    run = loaded(OPERATIONS["dare"])
    said = Settings(ratio=1.0, drop=0.5)
    first = run("t", [base, other], said)
    assert np.array_equal(first, run("t", [base, other], said))
    assert not np.array_equal(first, run("u", [base, other], said))
    assert not np.array_equal(first, run("t", [base, other], msgspec.structs.replace(said, seed=1)))
    two = run("t", [base, other, other], msgspec.structs.replace(said, weights=(1.0, 1.0)))
    assert set(np.unique(two)) == {0.0, 2.0, 4.0}


@pytest.mark.parametrize("operation", OPERATIONS)
@given(cuts=st.lists(st.integers(1, 1999), max_size=4), seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_stretch_by_stretch_gives_what_the_whole_gives(operation: str, cuts: list[int], seed: int) -> None:
    tensors = [values(seed), values(seed + 1)]
    said = Settings(ratio=0.4)
    run = loaded(OPERATIONS[operation])
    edges = [0, *sorted(set(cuts)), 2000]
    stretches = list(pairwise(edges))
    if operation in MEASURES:
        look = loaded(MEASURES[operation])
        found = look(lambda: ([t[start:end] for t in tensors] for start, end in stretches), said)
        said = msgspec.structs.replace(said, measured=found)
    parts = [
        run("t", [t[start:end] for t in tensors], msgspec.structs.replace(said, offset=start))
        for start, end in stretches
    ]
    np.testing.assert_array_equal(np.concatenate(parts), run("t", tensors, said))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_operation_moves_where_the_models_agree_or_changes_its_inputs(operation: str) -> None:
    base = values(0)
    before = base.copy()
    np.testing.assert_allclose(made(operation, base, base.copy(), ratio=0.6), base, rtol=1e-12)
    np.testing.assert_array_equal(made(operation, base, values(1), ratio=0.0), base)
    np.testing.assert_array_equal(base, before)
    assert operation in EXPLAINED


def test_a_recipe_is_read_as_it_was_saved(tmp_path: Path) -> None:
    recipe = Recipe(
        base="/b",
        models=(Model(path="/m", weight=2.0), Model(path="/n")),
        operation="ties",
        ratios=Ratios(blocks=(0.9, 0.7), roles={"mlp": 0.5, "head": "mean", "attention": (0.1, 0.2)}),
        density=0.3,
    )
    recipe.save(tmp_path / "r.yaml")
    assert read_recipe(tmp_path / "r.yaml") == recipe
    (tmp_path / "r.json").write_bytes(msgspec.json.encode(recipe))
    assert read_recipe(tmp_path / "r.json") == recipe


def test_paths_of_a_recipe_start_at_its_folder_and_do_not_change_its_hash(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("base: b\nmodels: [{path: m}]\nratios: {blocks: [0.8]}\n", "utf-8")
    read = read_recipe(tmp_path / "r.yaml")
    assert (read.base, read.models[0].path) == (str(tmp_path / "b"), str(tmp_path / "m"))
    assert read.sha256() == Recipe(models=(Model(path=""),), ratios=Ratios(blocks=(0.8,))).sha256()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ratios: {blocks: [1.5]}", "outside 0 to 1"),
        ("ratios: {blocks: []}", "without a ratio"),
        ("ratios: {blocks: [.nan]}", "out of range"),
        ("ratios: {blocks: [0.5], roles: {mpl: 0.2}}", "is not a recipe"),
        ("ratios: {blocks: [0.5]}\noperatoin: ties", "operatoin"),
        ("ratios: {blocks: [0.5]}\noperation: mean", "is not known"),
        ("ratios: {blocks: [0.5]}\ndensity: 0.5", "belongs to ties"),
        ("ratios: {blocks: [0.5]}\noperation: ties\ndensity: 0", "out of range"),
        ("ratios: {blocks: [0.5]}\noperation: dare\ndrop: 1", "out of range"),
        ("ratios: {blocks: [0.5]}\nversion: 2", "is not a recipe"),
        ("operation: linear", "ratios"),
        ("!!python/object/apply:os.system [true]", "neither YAML nor JSON"),
        ("[", "neither YAML nor JSON"),
        ("", "is not a recipe"),
    ],
)
def test_a_wrong_recipe_is_refused_with_its_file(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(InputError, match=expected) as caught:
        read_recipe(path)
    assert str(path) in str(caught.value)
