"""The arithmetic of averages in float32: the bits that float64 gives or its neighbours, norms, and what it must not do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aligntax.weights.averaging.arithmetic import SHORT_BLOCK, Room, double, fits_single, single
from aligntax.weights.averaging.dtypes import from_float64, to_float64
from averages import averaged, bytes_of, folder_of, packed, random_raw

NAME = "model.layers.0.mlp.up_proj.weight"


def as_raw(values: np.ndarray) -> np.ndarray:
    out = np.empty(2 * len(values), np.uint8)
    from_float64(values, "BF16", out)
    return out


def line(first: np.ndarray, second: np.ndarray, ratio: float) -> np.ndarray:
    """The average, block for block, as values."""
    out, room = np.empty_like(first), Room(2)
    with np.errstate(all="ignore"):
        for start in range(0, len(first), 2 * SHORT_BLOCK):
            part = slice(start, start + 2 * SHORT_BLOCK)
            single([first[part], second[part]], "BF16", ratio, out[part], room)
    return to_float64(out, "BF16")


def test_three_tenths_is_within_one_ulp_where_the_terms_cancel() -> None:
    mantissas = np.arange(128.0, 256.0)
    for exponent in range(-3, 4):
        first, second = (side.ravel() for side in np.meshgrid(-mantissas, mantissas * 2.0**exponent))
        exact = first + 0.3 * (second - first)
        got = line(as_raw(first), as_raw(second), 0.3)
        ulp = np.ldexp(1.0, np.frexp(np.abs(exact))[1] - 8)
        assert np.all(np.abs(got - exact) <= ulp)


@pytest.mark.parametrize("ratio", [0.001, 0.3, 0.5, 0.77, 1.0])
def test_no_value_is_further_from_float64_than_rounding_and_few_differ(ratio: float) -> None:
    generator = np.random.default_rng(0)
    values = generator.standard_normal(200_000)
    first, second = as_raw(values), as_raw(values + 0.1 * generator.standard_normal(200_000))
    base, aligned = to_float64(first, "BF16"), to_float64(second, "BF16")
    exact = base + ratio * (aligned - base)
    got, rounded = line(first, second, ratio), to_float64(as_raw(exact), "BF16")
    half_step = 2.0**-8 * np.maximum(np.abs(base), np.abs(aligned))
    assert np.all(np.abs(got - exact) <= half_step * (1 + 2.0**-12))
    assert np.count_nonzero(got != rounded) < 100


def test_differences_that_are_no_float32_are_taken_in_float64() -> None:
    first = as_raw(np.array([-3e38, 1.0, np.inf, np.nan, np.inf, 0.0]))
    second = as_raw(np.array([3e38, 2.0, np.inf, np.nan, 1.0, 0.0]))
    base, aligned = to_float64(first, "BF16"), to_float64(second, "BF16")
    got = line(first, second, 0.25)
    np.testing.assert_array_equal(got[:2], to_float64(as_raw((0.75 * base + 0.25 * aligned)[:2]), "BF16"))
    np.testing.assert_array_equal(got[2:], [np.inf, np.nan, np.nan, 0.0])


@pytest.mark.parametrize("scale", [1.0, 1e-25, 1e25])
def test_norms_in_float32_are_those_in_float64_at_every_size(scale: float) -> None:
    values = scale * np.random.default_rng(0).standard_normal(SHORT_BLOCK)
    raws = [as_raw(values), as_raw(1.01 * values)]
    room, out = Room(2), np.empty_like(raws[0])
    short, exact = single(raws, "BF16", None, out, room), double(raws, "BF16", None, out)
    assert short.norm == pytest.approx(exact.norm, rel=1e-5)
    assert short.moved == pytest.approx(exact.moved, rel=1e-5)
    assert short.strange == exact.strange == 0


def test_float32_is_for_bfloat16_between_the_ends_alone() -> None:
    assert fits_single("BF16", 0.3)
    assert not fits_single("BF16", 1.2)
    assert not any(fits_single(dtype, 0.3) for dtype in ("F16", "F32", "F64"))


def test_several_models_and_other_operations_stay_in_float64(tmp_path: Path) -> None:
    folders = [
        folder_of(tmp_path / f"m{at}", {NAME: ("BF16", (70_000,), random_raw("BF16", 70_000, at))})
        for at in range(3)
    ]
    base, first, second = (
        to_float64(np.frombuffer(bytes_of(folder)[NAME], np.uint8), "BF16") for folder in folders
    )
    averaged(tmp_path / "o", *folders, blocks=(0.3,))
    moved = 0.5 * (first - base) + 0.5 * (second - base)
    assert bytes_of(tmp_path / "o")[NAME] == as_raw(0.3 * moved + base).tobytes()


THREADS = """
import sys, threading, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from averages import recipe_of
from aligntax.weights.averaging.average import average
from aligntax.weights.averaging.plan import make_plan
before, most = len(list(Path("/proc/self/task").iterdir())), 0
def look(done, total, name):
    global most
    most = max(most, len(list(Path("/proc/self/task").iterdir())))
def spent():
    return {{int(task.name): sum(map(int, (task / "stat").read_text().rpartition(")")[2].split()[11:13]))
        for task in Path("/proc/self/task").iterdir()}}
known = set(spent())
plan = make_plan(recipe_of(*map(Path, sys.argv[1:3]), blocks=(0.3,), operation=sys.argv[4]), Path(sys.argv[3]))
began = spent()
average(plan, threads=2, progress=look)
ended = spent()
main = min(known)
print(most - before, sum(ended[task] - began[task] for task in known - {{main}}))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
@pytest.mark.parametrize("operation", ["linear", "slerp"])
def test_the_threads_are_ours_and_none_of_a_library_works_beside_them(operation: str, tmp_path: Path) -> None:
    raw = random_raw("BF16", 1 << 20, 0) * 12
    made = [tmp_path / f"{which}.safetensors" for which in range(2)]
    for turn, path in enumerate(made):
        path.write_bytes(packed({NAME: ("BF16", (12 << 20,), raw[2 * turn :] + raw[: 2 * turn])}))
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            THREADS.format(tests=str(Path(__file__).parent)),
            *made,
            tmp_path / "o",
            operation,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    added, others = map(int, done.stdout.split())
    assert added <= 2
    assert others == 0  # hundredths of a second that threads of BLAS worked
