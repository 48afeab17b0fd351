"""`aligntax weights moments` as a person meets it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

pytest.importorskip("transformers")

import torch
from click.testing import CliRunner, Result

from aligntax.cli import commands
from aligntax.weights.null_space.adapter import Bases
from aligntax.weights.null_space.moments import Moments
from tiny_models import saved, tiny_model

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny_model(), tmp_path_factory.mktemp("cli") / "model")


def data(path: Path, seed: int = 0, rows: int = 60) -> Path:
    drawn = random.Random(seed)
    words = [f"w{at}" for at in range(6)]
    lines = [
        json.dumps({"prompt": " ".join(drawn.choices(words, k=3)), "completion": drawn.choice(words)})
        for _ in range(rows)
    ]
    path.write_text("\n".join(lines))
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(commands, ["weights", "moments", *map(str, arguments)], env={"COLUMNS": "80"})


def test_it_prints_null_directions_by_layer_and_writes_both_files(folder: Path, tmp_path: Path):
    out, bases = tmp_path / "moments.safetensors", tmp_path / "bases.safetensors"
    done = run(folder, "--data", data(tmp_path / "general.jsonl"), "-o", out, "--bases", bases)
    assert done.exit_code == 0, done.output
    chosen, moments = Bases.load(bases), Moments.load(out)
    size, n_in = chosen.dimensions["model.layers.1.self_attn.q_proj"]
    assert f"{size} of {n_in}" in done.output
    assert f"{moments.tokens} calibration" in done.output
    assert max(map(len, done.output.splitlines())) <= 80 + len(str(tmp_path))
    assert "Few tokens" in done.output
    assert "ask for less (--leak) than you will certify." in " ".join(done.output.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bases.safetensors",
        "general.jsonl",
        "moments.safetensors",
    ]


def test_batches_change_no_more_than_rounding_does(folder: Path, tmp_path: Path):
    file = data(tmp_path / "general.jsonl")
    documents = [
        json.loads(run(folder, "--data", file, "--json", "--batch-size", str(size)).stdout)
        for size in (2, 30)
    ]
    assert documents[0]["calibration"] == documents[1]["calibration"]
    for name, one in documents[0]["linears"].items():
        assert abs(one["null"] - documents[1]["linears"][name]["null"]) <= 1
        assert one["largest_leak"]["held_out"] <= 0.1


def test_a_file_of_its_own_is_held_out_without_prompts_of_the_first(folder: Path, tmp_path: Path):
    first, second = data(tmp_path / "a.jsonl"), data(tmp_path / "b.jsonl", seed=1)
    done = run(folder, "--data", first, "--held-out", second, "--json")
    assert done.exit_code == 0, done.output
    assert "left out" in done.stderr
    assert run(folder, "--data", first, "--held-out", first).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--held-out", "2"], "no share"),
        (["--bases", "none/bases"], "does not exist"),
        (["--data", "absent.jsonl"], "cannot be read"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder: Path, tmp_path: Path, arguments: list[str], words: str):
    done = run(folder, "--data", data(tmp_path / "general.jsonl"), *arguments)
    assert done.exit_code == 2
    assert words in done.output
