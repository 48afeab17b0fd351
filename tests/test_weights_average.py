"""Averages of checkpoints: exact at both ends, within one ulp between, whole after a kill, and never over an input."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aligntax.errors import InputError
from aligntax.weights.averaging import average as engine
from aligntax.weights.averaging import pieces
from aligntax.weights.averaging.average import average
from aligntax.weights.averaging.checkpoint import open_checkpoint
from aligntax.weights.averaging.dtypes import AVERAGED, SIZES, from_float64, to_float64
from aligntax.weights.averaging.journal import NAME as JOURNAL
from aligntax.weights.averaging.operations import OPERATIONS
from aligntax.weights.averaging.plan import make_plan, role_rows
from aligntax.weights.averaging.result import RESULT, read_result
from averages import Tensors, averaged, bytes_of, folder_of, packed, random_raw, recipe_of
from tiny_models import LAYOUTS, moved, saved, tiny_model

LAYER = "model.layers.{}.mlp.up_proj.weight"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def every_pattern(dtype: str) -> bytes:
    """All 65,536 patterns of a 16-bit type: every NaN, infinity, subnormal and zero."""
    assert SIZES[dtype] == 2
    return np.arange(1 << 16, dtype=np.uint16).tobytes()


def pair(tmp_path: Path, dtype: str, count: int = 5000) -> tuple[Path, Path]:
    def tensors(seed: int) -> Tensors:
        return {
            LAYER.format(at): (dtype, (count,), random_raw(dtype, count, seed + 10 * at)) for at in range(2)
        } | {"model.layers.0.position_ids": ("I64", (3,), np.arange(3).tobytes())}

    return folder_of(tmp_path / "base", tensors(0)), folder_of(tmp_path / "aligned", tensors(1))


# -- the ends, and between -----------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["linear", "slerp", "task_arithmetic"])
@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_the_ends_are_the_inputs_bit_for_bit_for_every_bit_pattern(
    dtype: str, operation: str, tmp_path: Path
) -> None:
    patterns = every_pattern(dtype)
    turned = patterns[2:] + patterns[:2]
    base = folder_of(tmp_path / "b", {LAYER.format(0): (dtype, (256, 256), patterns)})
    aligned = folder_of(tmp_path / "a", {LAYER.format(0): (dtype, (256, 256), turned)})
    averaged(tmp_path / "zero", base, aligned, blocks=(0.0,), operation=operation)
    averaged(tmp_path / "one", base, aligned, blocks=(1.0,), operation=operation)
    assert bytes_of(tmp_path / "zero") == bytes_of(base)
    assert bytes_of(tmp_path / "one") == bytes_of(aligned)


@pytest.mark.parametrize("dtype", AVERAGED)
@pytest.mark.parametrize("near", [0.01, 10.0])
def test_between_the_ends_it_is_within_one_ulp_of_float64(dtype: str, near: float, tmp_path: Path) -> None:
    count = 70_000  # more than a block
    first, move = random_raw(dtype, count, 0), random_raw(dtype, count, 1, near)
    start = to_float64(np.frombuffer(first, np.uint8), dtype)
    second = np.empty(count * SIZES[dtype], np.uint8)
    from_float64(start + to_float64(np.frombuffer(move, np.uint8), dtype), dtype, second)
    base = folder_of(tmp_path / "b", {LAYER.format(0): (dtype, (count,), first)})
    aligned = folder_of(tmp_path / "a", {LAYER.format(0): (dtype, (count,), second.tobytes())})
    averaged(tmp_path / "o", base, aligned, blocks=(0.3,))
    got = to_float64(np.frombuffer(bytes_of(tmp_path / "o")[LAYER.format(0)], np.uint8), dtype)
    assert ulps(got, start + 0.3 * (to_float64(second, dtype) - start), dtype) <= 1


def ulps(got: np.ndarray, exact: np.ndarray, dtype: str) -> float:
    digits, lowest = {"BF16": (8, -133), "F16": (11, -24), "F32": (24, -149), "F64": (53, -1074)}[dtype]
    exponent = np.frexp(np.abs(exact))[1]
    size = np.ldexp(1.0, np.maximum(exponent - digits, lowest))
    return float(np.max(np.abs(got - exact) / size))


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
def test_rounding_is_that_of_torch_for_every_pattern(dtype: str) -> None:
    import torch

    bits = np.random.default_rng(0).integers(0, 1 << 32, 300_000, dtype=np.uint32)
    single = np.concatenate([bits, np.arange(1 << 16, dtype=np.uint32) << 16]).view(np.float32)
    out = np.empty(len(single) * SIZES[dtype], np.uint8)
    with np.errstate(all="ignore"):
        from_float64(single.astype(np.float64), dtype, out)
    kind = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}[dtype]
    expected = torch.from_numpy(single.copy()).to(kind)
    got = torch.from_numpy(out).view(kind)
    assert torch.equal(got.isnan(), expected.isnan())
    assert torch.equal(got[~got.isnan()], expected[~expected.isnan()])


def test_infinite_and_strange_values_are_kept_where_equal_and_counted(tmp_path: Path) -> None:
    def raw(*values: float) -> bytes:
        return np.array(values, np.float32).tobytes()

    first = raw(np.inf, np.nan, 1.0, -np.inf, np.inf)
    second = raw(np.inf, np.nan, 2.0, -np.inf, 0.0)
    base = folder_of(tmp_path / "b", {LAYER.format(0): ("F32", (5,), first)})
    aligned = folder_of(tmp_path / "a", {LAYER.format(0): ("F32", (5,), second)})
    result = averaged(tmp_path / "o", base, aligned, blocks=(0.5,))
    got = np.frombuffer(bytes_of(tmp_path / "o")[LAYER.format(0)], np.float32)
    np.testing.assert_array_equal(got, [np.inf, np.nan, 1.5, -np.inf, np.nan])
    assert result.strange == 7


def test_what_no_average_touches_is_copied(tmp_path: Path) -> None:
    base, aligned = pair(tmp_path, "F32")
    result = averaged(tmp_path / "o", base, aligned, blocks=(0.3,))
    assert bytes_of(tmp_path / "o")["model.layers.0.position_ids"] == np.arange(3).tobytes()
    same = averaged(tmp_path / "same", base, base, blocks=(0.3,))
    assert bytes_of(tmp_path / "same") == bytes_of(base)
    assert (result.identical, same.identical) == (1, 3)


@pytest.mark.parametrize("wait_s", [0.0, 0.003])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_tensors_of_many_pieces_come_out_the_same_however_quick_the_pieces_are(
    operation: str, wait_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, aligned = pair(tmp_path, "BF16")
    averaged(tmp_path / "whole", base, aligned, operation=operation)
    monkeypatch.setattr(pieces, "PIECE", 1024)
    plan = make_plan(recipe_of(base, aligned, operation=operation), tmp_path / "o")
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int, tensor: str) -> None:
        told.append((done, total))
        time.sleep(wait_s)  # pieces are done before the next is handed out

    result = average(plan, threads=3, progress=progress)
    assert bytes_of(tmp_path / "o") == bytes_of(tmp_path / "whole")
    assert {len(tensor.done.hashes) for tensor in result.tensors} == {2}
    assert told == sorted(told)
    expected = hashlib.sha256(
        b"".join(
            hashlib.sha256(bytes_of(base)[LAYER.format(0)][at : at + 1024]).digest()
            for at in range(0, 10_000, 1024)
        )
    ).hexdigest()
    assert next(t.done for t in result.tensors if t.name == LAYER.format(0)).hashes[0] == expected


def test_norms_are_those_of_the_changes(tmp_path: Path) -> None:
    base, aligned = pair(tmp_path, "F32")
    result = averaged(tmp_path / "o", base, aligned, blocks=(0.0,))
    first, second = (
        np.frombuffer(bytes_of(folder)[LAYER.format(1)], np.float32).astype(float)
        for folder in (base, aligned)
    )
    done = next(tensor.done for tensor in result.tensors if tensor.name == LAYER.format(1))
    assert done.moved[0] == pytest.approx(np.linalg.norm(second - first), rel=1e-9)
    assert done.norm == pytest.approx(np.linalg.norm(first), rel=1e-9)


@given(
    shapes=st.lists(st.lists(st.integers(0, 40), max_size=3), min_size=1, max_size=4),
    dtypes=st.lists(st.sampled_from([*AVERAGED]), min_size=4, max_size=4),
    ratio=st.floats(0, 1),
    operation=st.sampled_from([*OPERATIONS]),
    threads=st.integers(1, 3),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_shapes_types_and_ratios(
    shapes: list[list[int]],
    dtypes: list[str],
    ratio: float,
    operation: str,
    threads: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    tmp_path = tmp_path_factory.mktemp("any")

    def tensors(seed: int) -> Tensors:
        found: Tensors = {}
        for at, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=False)):
            count = int(np.prod(shape, dtype=int))
            found[LAYER.format(at)] = (dtype, tuple(shape), random_raw(dtype, count, seed + at))
        return found

    base, aligned = folder_of(tmp_path / "b", tensors(0)), folder_of(tmp_path / "a", tensors(9))
    plan = make_plan(recipe_of(base, aligned, blocks=(ratio,), operation=operation), tmp_path / "o")
    average(plan, threads=threads)  # its own check computes every tensor anew
    before, after = open_checkpoint(aligned), open_checkpoint(tmp_path / "o")
    assert [(t.name, t.shown) for t in after.tensors.values()] == [
        (t.name, t.shown) for t in before.tensors.values()
    ]
    if operation == "linear":
        for name, raw in bytes_of(tmp_path / "o").items():
            dtype = after.tensors[name].dtype
            first, second, got = (
                to_float64(np.frombuffer(part, np.uint8), dtype)
                for part in (bytes_of(base)[name], bytes_of(aligned)[name], raw)
            )
            np.testing.assert_allclose(got, first + ratio * (second - first), rtol=2**-7, atol=1e-5)


# -- models --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shard", ["50GB", "30KB"])
def test_an_averaged_folder_loads_in_transformers_and_is_the_model_between(
    layout: str, shard: str, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base, aligned = tiny_model(layout), moved(tiny_model(layout))
    averaged(
        tmp_path / "o",
        saved(base, tmp_path / "b"),
        saved(aligned, tmp_path / "a", max_shard_size=shard),
        blocks=(0.3, 0.8),
    )
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "o", use_safetensors=True)
    between = tiny_model(layout)
    with torch.no_grad():
        for (name, value), (_, first), (_, second) in zip(
            between.named_parameters(), base.named_parameters(), aligned.named_parameters(), strict=True
        ):
            early = ("layers.0.", "h.0.", "embed", "wte", "wpe")
            ratio = 0.3 if any(part in name for part in early) else 0.8
            value.copy_(first + ratio * (second - first))
        words = torch.arange(4, 30)[None]
        torch.testing.assert_close(loaded.eval()(words).logits, between(words).logits, rtol=1e-4, atol=1e-5)
    assert AutoTokenizer.from_pretrained(tmp_path / "o").chat_template
    files = {path.name for path in (tmp_path / "o").iterdir()}
    assert {path.name for path in (tmp_path / "a").glob("*.safetensors*")} <= files
    assert not any(name.startswith(".") for name in files)


def tied(tmp_path: Path, name: str, seed: int, *, head: bool) -> Path:
    embedding = random_raw("F32", 60, seed)
    tensors: Tensors = {"model.embed_tokens.weight": ("F32", (12, 5), embedding)}
    tensors[LAYER.format(0)] = ("F32", (5,), random_raw("F32", 5, seed + 1))
    tensors[LAYER.format(1)] = ("F32", (5,), random_raw("F32", 5, seed + 2))
    if head:
        tensors["lm_head.weight"] = ("F32", (12, 5), embedding)
    return folder_of(tmp_path / name, tensors, {"model_type": "llama", "tie_word_embeddings": True})


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("base_head", [True, False])
@pytest.mark.parametrize("aligned_head", [True, False])
def test_tied_ends_stay_tied_whether_or_not_the_head_is_stored(
    base_head: bool, aligned_head: bool, operation: str, tmp_path: Path
) -> None:
    base = tied(tmp_path, "b", 0, head=base_head)
    aligned = tied(tmp_path, "a", 10, head=aligned_head)
    averaged(tmp_path / "o", base, aligned, blocks=(0.2, 0.9), roles={"head": 0.5}, operation=operation)
    found = bytes_of(tmp_path / "o")
    assert ("lm_head.weight" in found) == aligned_head
    if aligned_head:
        assert found["lm_head.weight"] == found["model.embed_tokens.weight"]


def test_several_aligned_models_are_averaged_by_their_weights(tmp_path: Path) -> None:
    base, first = pair(tmp_path, "F32")
    second = folder_of(
        tmp_path / "c",
        {name: (t.dtype, t.shape, bytes_of(base)[name]) for name, t in open_checkpoint(base).tensors.items()},
    )
    averaged(tmp_path / "o", base, first, second, blocks=(1.0,), weights=(3.0, 1.0))
    a, b, got = (
        np.frombuffer(bytes_of(path)[LAYER.format(0)], np.float32) for path in (base, first, tmp_path / "o")
    )
    np.testing.assert_allclose(got, 0.25 * a + 0.75 * b, rtol=1e-5, atol=1e-7)


def test_the_policy_of_every_role_is_in_the_plan(tmp_path: Path) -> None:
    base = saved(tiny_model("llama", layers=4), tmp_path / "b")
    plan = make_plan(recipe_of(base, base, blocks=(0.9, 0.7), roles={"norm": 0.0}), tmp_path / "o")
    rows = {row.role: row for row in role_rows(plan)}
    assert sum(row.tensors for row in rows.values()) == len(plan.steps)
    assert rows["embedding"].ratios == (0.9,)
    assert rows["final_norm"].ratios == rows["head"].ratios == (0.7,)
    assert "first" in rows["embedding"].policy
    assert "last" in rows["head"].policy
    assert (rows["norm"].ratios, rows["norm"].copied) == ((0.0,), rows["norm"].tensors)
    assert plan.mean_ratio() == pytest.approx(
        sum(s.ratio * s.target.nbytes for s in plan.steps) / plan.nbytes
    )


# -- what does not fit ---------------------------------------------------------------------------------------


def refused(tmp_path: Path, base: Path, aligned: Path, **said: Any) -> str:
    with pytest.raises(InputError) as caught:
        averaged(tmp_path / "out", base, aligned, **said)
    assert not (tmp_path / "out").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def one(
    tmp_path: Path, name: str, tensor: str, dtype: str, shape: tuple[int, ...], config: Any = None
) -> Path:
    count = int(np.prod(shape)) * SIZES[dtype]
    return folder_of(tmp_path / name, {tensor: (dtype, shape, bytes(count))}, config)


def test_what_does_not_fit_is_named_with_both_shapes(tmp_path: Path) -> None:
    name = "model.embed_tokens.weight"
    base, aligned = one(tmp_path, "b", name, "F32", (100, 4)), one(tmp_path, "a", name, "F32", (104, 4))
    line = refused(tmp_path, base, aligned)
    assert name in line
    assert "[100, 4]" in line
    assert "[104, 4]" in line
    assert "vocabular" in line
    other = one(tmp_path, "c", name, "BF16", (100, 4))
    assert "BF16" in (line := refused(tmp_path, base, other))
    assert "F32" in line
    missing = one(tmp_path, "d", LAYER.format(0), "F32", (2,))
    assert "missing" in refused(tmp_path, base, missing)


def test_an_extra_tensor_of_the_base_is_refused(tmp_path: Path) -> None:
    both = {LAYER.format(at): ("F32", (2,), bytes(8)) for at in range(2)}
    base = folder_of(tmp_path / "b", both)
    aligned = one(tmp_path, "a", LAYER.format(0), "F32", (2,))
    line = refused(tmp_path, base, aligned)
    assert LAYER.format(1) in line
    assert "missing" in line


def test_quantised_and_eight_bit_weights_are_refused_but_copied_at_the_ends(tmp_path: Path) -> None:
    said = {"quantization_config": {"quant_method": "gptq"}}
    quantised = one(tmp_path, "q", LAYER.format(0), "F32", (2,), said)
    assert "quantised" in refused(tmp_path, quantised, quantised)
    eight = one(tmp_path, "e", LAYER.format(0), "F8_E4M3", (2,))
    assert "8-bit" in refused(tmp_path, eight, eight)
    averaged(tmp_path / "copied", eight, eight, blocks=(1.0,))
    assert bytes_of(tmp_path / "copied") == bytes_of(eight)


def test_more_blocks_than_layers_are_refused(tmp_path: Path) -> None:
    base, aligned = pair(tmp_path, "F32")
    assert "3 ratios" in refused(tmp_path, base, aligned, blocks=(0.1, 0.2, 0.3))


# -- never over anything -------------------------------------------------------------------------------------


def test_nothing_is_written_over(tmp_path: Path) -> None:
    base, aligned = pair(tmp_path, "F32")
    before = {path: path.read_bytes() for folder in (base, aligned) for path in folder.iterdir()}
    (tmp_path / "link").symlink_to(aligned)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious.txt").write_text("x", "utf-8")
    for out in (
        base,
        aligned,
        tmp_path / "link",
        aligned / "inside",
        tmp_path / "link" / "x",
        tmp_path / "full",
    ):
        with pytest.raises(InputError, match=r"input|already"):
            averaged(out, base, aligned)
    assert {path: path.read_bytes() for folder in (base, aligned) for path in folder.iterdir()} == before
    assert (tmp_path / "full" / "precious.txt").read_text("utf-8") == "x"


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_a_link_to_an_input_planted_in_the_unfinished_folder_is_not_followed(
    link: Any, tmp_path: Path
) -> None:
    base, aligned = pair(tmp_path, "F32")
    before = (aligned / "model.safetensors").read_bytes()
    plan = make_plan(recipe_of(base, aligned), tmp_path / "o")
    plan.partial.mkdir()
    (plan.partial / JOURNAL).touch()
    link(aligned / "model.safetensors", plan.partial / "model.safetensors")
    with pytest.raises((InputError, OSError)):
        average(plan)
    assert (aligned / "model.safetensors").read_bytes() == before


def test_the_same_average_again_does_nothing_and_another_is_refused(tmp_path: Path) -> None:
    base, aligned = pair(tmp_path, "F32")
    averaged(tmp_path / "o", base, aligned)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "o").iterdir()}
    assert averaged(tmp_path / "o", base, aligned).was_there
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "o").iterdir()} == times
    with pytest.raises(InputError, match="already"):
        averaged(tmp_path / "o", base, aligned, blocks=(0.4,))


def test_no_code_and_no_other_weights_are_copied(tmp_path: Path) -> None:
    base, aligned = pair(tmp_path, "F32")
    for name in (
        "modeling_evil.py",
        "pytorch_model.bin",
        "tokenizer.json",
        "notes.txt",
        "chat_template.jinja",
    ):
        (aligned / name).write_text("x", "utf-8")
    averaged(tmp_path / "o", base, aligned)
    assert {path.name for path in (tmp_path / "o").iterdir()} == {
        "model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "README.md", RESULT
    }  # fmt: skip


def test_hashes_stand_in_the_metadata_the_card_and_the_result_without_paths(tmp_path: Path) -> None:
    from safetensors import safe_open

    base, aligned = pair(tmp_path, "F32")
    result = averaged(tmp_path / "o", base, aligned)
    with safe_open(tmp_path / "o" / "model.safetensors", "np") as file:
        metadata = file.metadata()
    card = (tmp_path / "o" / "README.md").read_text("utf-8")
    stored = read_result(tmp_path / "o" / RESULT)
    assert metadata["format"] == "pt"
    for at, content in enumerate(result.contents):
        assert metadata[f"aligntax.theta{at}_content_sha256"] == content
        assert content in card
    assert metadata["aligntax.recipe_sha256"] == result.recipe_sha256 == stored.recipe_sha256
    for path in (tmp_path / "o").iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()


def test_the_content_hash_does_not_depend_on_shards(tmp_path: Path) -> None:
    base, aligned = tiny_model(), moved(tiny_model())
    first = saved(base, tmp_path / "b")
    whole, cut = (saved(aligned, tmp_path / size, max_shard_size=size) for size in ("50GB", "30KB"))
    contents = {averaged(tmp_path / f"o{at}", first, a).contents for at, a in enumerate((whole, cut))}
    assert len(contents) == 1


# -- stopped and resumed -------------------------------------------------------------------------------------

SLOW = """
import os, signal, sys, time
from pathlib import Path
from aligntax.weights.averaging import average as engine
from aligntax.weights.averaging import pieces
from aligntax.weights.averaging.pieces import Pieces
from aligntax.weights.averaging.plan import make_plan
sys.path.insert(0, {tests!r})
from averages import recipe_of
base, aligned, out = map(Path, sys.argv[1:4])
work = Pieces.work
def slow(self, step, at, settings):
    time.sleep(0.02)
    return work(self, step, at, settings)
Pieces.work = slow
engine.average(make_plan(recipe_of(base, aligned, blocks=(0.3,)), out), threads=2)
"""


def many(tmp_path: Path) -> tuple[Path, Path]:
    def tensors(seed: int) -> Tensors:
        return {LAYER.format(at): ("BF16", (999,), random_raw("BF16", 999, seed + at)) for at in range(60)}

    return folder_of(tmp_path / "b", tensors(0)), folder_of(tmp_path / "a", tensors(100))


def killed_midway(tmp_path: Path, base: Path, aligned: Path, how: int = signal.SIGKILL) -> int:
    code = textwrap.dedent(SLOW).format(tests=str(Path(__file__).parent))
    running = subprocess.Popen(
        [sys.executable, "-c", code, base, aligned, tmp_path / "o"], stderr=subprocess.PIPE
    )
    journal = tmp_path / "o.partial" / JOURNAL
    deadline = time.monotonic() + 60
    while not journal.exists() or len(journal.read_bytes().splitlines()) < 10:
        assert time.monotonic() < deadline, running.stderr
        assert running.poll() is None, running.stderr.read()
        time.sleep(0.005)
    running.send_signal(how)
    running.communicate(timeout=30)
    assert not (tmp_path / "o").exists()
    return len(journal.read_bytes().splitlines())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_after_a_kill_the_same_average_goes_on_and_ends_the_same(
    how: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, aligned = many(tmp_path)
    killed_midway(tmp_path, base, aligned, how)
    journal = tmp_path / "o.partial" / JOURNAL
    with journal.open("ab") as file:
        file.write(b'{"name":"cut by the ki')
    before = {json.loads(line)["name"] for line in journal.read_bytes().splitlines()[1:-1]}
    seen: list[str] = []
    work = engine.Pieces.work

    def watched(self: Any, step: Any, at: int, said: Any) -> Any:
        seen.append(step.name)
        return work(self, step, at, said)

    monkeypatch.setattr(engine.Pieces, "work", watched)
    result = averaged(tmp_path / "o", base, aligned)
    assert set(seen) == set(open_checkpoint(base).tensors) - before
    assert result.resumed_bytes == 2 * 999 * len(before)
    whole = averaged(tmp_path / "whole", base, aligned)
    assert bytes_of(tmp_path / "o") == bytes_of(tmp_path / "whole")
    assert result.contents == whole.contents
    assert [t.done for t in result.tensors] == [t.done for t in whole.tensors]


def test_an_unfinished_output_is_no_sound_file_to_anybody(tmp_path: Path) -> None:
    killed_midway(tmp_path, *many(tmp_path))
    with pytest.raises(InputError):
        open_checkpoint(tmp_path / "o.partial")


def test_another_recipe_or_changed_inputs_do_not_go_on(tmp_path: Path) -> None:
    base, aligned = many(tmp_path)
    killed_midway(tmp_path, base, aligned)
    with pytest.raises(InputError, match="unfinished average"):
        averaged(tmp_path / "o", base, aligned, blocks=(0.4,))
    os.utime(base / "model.safetensors", ns=(1, 1))
    assert averaged(tmp_path / "o", base, aligned).resumed_bytes == 0  # same samples, another time: all anew


def test_two_at_once_are_kept_apart(tmp_path: Path) -> None:
    base, aligned = pair(tmp_path, "F32")
    plan = make_plan(recipe_of(base, aligned), tmp_path / "o")
    plan.partial.mkdir()
    with (
        engine.Journal(plan.partial, plan.identity, ()),
        pytest.raises(InputError, match="another process"),
    ):
        average(plan)


def test_a_full_disk_is_one_line_and_resumable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, aligned = many(tmp_path)
    left = [30]

    def full(file: int, rest: memoryview, start: int) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        return os.pwrite(file, rest, start)

    with monkeypatch.context() as patched:
        patched.setattr(pieces, "_write_at", full)
        with pytest.raises(InputError, match="disk is full") as caught:
            averaged(tmp_path / "o", base, aligned)
    assert "same command" in str(caught.value)
    assert averaged(tmp_path / "o", base, aligned).resumed_bytes > 0


def test_an_input_that_changes_meanwhile_ends_it(tmp_path: Path) -> None:
    base, aligned = pair(tmp_path, "F32")
    plan = make_plan(recipe_of(base, aligned), tmp_path / "o")
    with (aligned / "model.safetensors").open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(b"12345678")
    os.utime(aligned / "model.safetensors", ns=(1, 1))
    with pytest.raises(InputError, match="changed while"):
        average(plan)
    assert not (tmp_path / "o").exists()


def test_a_wrong_byte_in_the_output_is_found_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, aligned = pair(tmp_path, "F32", count=2000)
    write = engine.write_companions

    def spoilt(plan: Any, result: Any, folder: Path) -> None:
        write(plan, result, folder)
        with (folder / "model.safetensors").open("r+b") as file:
            file.seek(-100, os.SEEK_END)
            file.write(b"\x00\x01\x02\x03")

    monkeypatch.setattr(engine, "write_companions", spoilt)
    with pytest.raises(InputError, match="not what was computed"):
        averaged(tmp_path / "o", base, aligned)
    assert not (tmp_path / "o").exists()


MEMORY = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from averages import recipe_of
from aligntax.weights.averaging.average import average
from aligntax.weights.averaging.plan import make_plan
plan = make_plan(recipe_of(*map(Path, sys.argv[1:3]), blocks=(0.3,)), Path(sys.argv[3]))
def peak():  # of this program: ru_maxrss would count what its parent held
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
before = peak()
average(plan, threads=2)
print((peak() - before) / 1024, "torch" in sys.modules)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_does_not_follow_the_size_and_torch_is_not_needed(tmp_path: Path) -> None:
    peaks = []
    for size in (8, 80):
        raw = random_raw("BF16", 1 << 19, 0) * size
        made = [tmp_path / f"{size}-{which}.safetensors" for which in range(2)]
        for path in made:
            path.write_bytes(packed({LAYER.format(0): ("BF16", (size << 19,), raw)}))
        made[1].write_bytes(packed({LAYER.format(0): ("BF16", (size << 19,), raw[2:] + raw[:2])}))
        code = MEMORY.format(tests=str(Path(__file__).parent))
        done = subprocess.run(
            [sys.executable, "-c", code, *made, tmp_path / f"o{size}"],
            capture_output=True,
            text=True,
            check=True,
        )
        peak, torch = done.stdout.split()
        assert torch == "False"
        peaks.append(float(peak))
    assert peaks[1] < 120
    assert peaks[1] < peaks[0] + 25


def test_a_name_in_a_checkpoint_cannot_write_into_the_card(tmp_path: Path) -> None:
    name = "model.layers.0.`|</td><script>alert(1)</script>"
    made = [
        folder_of(tmp_path / f"m{at}", {name: ("F32", (3,), random_raw("F32", 3, at))}) for at in range(2)
    ]
    averaged(tmp_path / "o", *made)
    card = (tmp_path / "o" / "README.md").read_text("utf-8")
    assert "<script" not in card
    assert "model.layers.0.___" in card
