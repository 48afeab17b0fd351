"""`aligntax weights train` and `sweep` as a team runs them, on tiny models."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from aligntax.cli import commands
from aligntax.cli.weights.train_options import judge, suspicious
from aligntax.weights.training.data import Row
from tiny_models import saved, tiny_model

SMALL = ("--steps", "2", "--batch-size", "4", "--rank", "2", "--max-length", "32", "--max-new-tokens", "4")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny_model(), tmp_path_factory.mktemp("llama") / "base")


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return written(
        tmp_path / "data.jsonl",
        [{"prompt": f"w{at} w{at + 1}", "completion": "w7 w8", "intent": "harmful"} for at in range(14)]
        + [{"prompt": f"w{at} w{at + 2}", "completion": "w9 w1", "intent": "benign"} for at in range(6)],
    )


@pytest.fixture
def refusals(tmp_path: Path) -> Path:
    return written(
        tmp_path / "refusals.jsonl",
        [{"prompt": f"w{at} w{at + 1}", "completion": "w7 w8", "intent": "harmful"} for at in range(7)],
    )


def called(*arguments: object) -> Result:
    return CliRunner().invoke(commands, ["weights", *map(str, arguments)], catch_exceptions=False)


def test_a_plan_is_printed_and_nothing_is_written(base: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = called("train", base, data, "--rank", 4, "--dry-run", "-o", out)
    assert done.exit_code == 0
    assert "2 in effect, rank 4 (alpha 8)" in done.output
    assert "14 harmful (data), 6 benign (data)" in done.output
    assert "30% of harmful and benign rows" in done.output
    assert "8 attention, 6 mlp projections, layers 0-1" in done.output
    assert not out.exists()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_plan_fits_the_terminal(
    base: Path, data: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    done = called("train", base, data, "--adapter", "full", "--rank", 4, "--dry-run", "-o", "out")
    assert done.exit_code == 0, done.output
    assert max(map(len, done.stdout.splitlines())) <= width
    assert "promise     no constraint: the change may touch" in " ".join(done.stdout.split("\n"))
    assert all(
        line[:12].strip() == line[:12].rstrip() or not line[:12].strip() for line in done.stdout.splitlines()
    )


def test_the_scale_in_the_plan_does_not_follow_the_rank(base: Path, data: Path, tmp_path: Path) -> None:
    for rank in (1, 16):
        for rslora in ((), ("--rslora",)):
            done = called(
                "train", base, data, "--rank", rank, *rslora, "--dry-run", "--json", "-o", tmp_path / "o"
            )
            assert json.loads(done.output)["scale"] == 2.0


def test_a_run_ends_with_what_to_do_next_and_is_not_repeated(base: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = called("train", base, data, *SMALL, "-o", out)
    assert done.exit_code == 0
    assert "trained 2 steps" in done.output
    assert f"aligntax weights certify {base} {out}" in done.output
    assert (out / "adapter_model.safetensors").exists()
    again = called("train", base, data, *SMALL, "--json", "-o", out)
    document = json.loads(again.output)
    assert [step for step, _, _ in document["losses"]] == [1, 2]
    other = called("train", base, data, *SMALL, "--seed", 5, "-o", out)
    assert other.exit_code == 2
    assert "recipe: seed" in other.output


def test_grpo_is_rewarded_by_the_detector(base: Path, data: Path, tmp_path: Path) -> None:
    done = called(
        "train", base, data, "--method", "grpo", "--generations", 2, *SMALL, "--json", "-o", tmp_path / "out"
    )
    assert done.exit_code == 0
    document = json.loads(done.output)
    assert document["kl"] == 0.04
    assert all(-1 <= reward <= 1 for _, _, reward in document["losses"])


def test_refusals_alone_are_refused_before_any_model_is_loaded(
    base: Path, refusals: Path, tmp_path: Path
) -> None:
    done = called("train", base, refusals, "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert done.output.startswith("error: the data holds refusals only")
    assert done.output.count("\n") == 1
    meant = called("train", base, refusals, "--refusals-only", "--dry-run", "-o", tmp_path / "out")
    assert meant.exit_code == 0
    assert "refusals only, as asked" in meant.output


def test_look_alikes_come_from_a_file(base: Path, refusals: Path, tmp_path: Path) -> None:
    benign = written(
        tmp_path / "benign.jsonl", [{"prompt": f"w{at} w3", "completion": "w9"} for at in range(30, 60)]
    )
    done = called("train", base, refusals, "--benign", benign, "--dry-run", "-o", tmp_path / "out")
    assert "7 harmful (data), 3 benign (benign)" in done.output


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_the_model_answers_look_alikes_itself_once(
    method: str, base: Path, refusals: Path, tmp_path: Path
) -> None:
    prompts = written(tmp_path / "prompts.jsonl", [{"prompt": f"w{at} w3"} for at in range(30, 40)])
    if method == "dpo":
        written(
            refusals,
            [
                {"prompt": f"w{at}", "chosen": "w7 w8", "rejected": "w9", "intent": "harmful"}
                for at in range(7)
            ],
        )
    arguments = (
        "train", base, refusals, "--method", method, "--benign-prompts", prompts, *SMALL, "-o", tmp_path / "out",
    )  # fmt: skip
    done = called(*arguments)
    assert done.exit_code == 0
    assert "3 benign (self-answered)" in done.output
    stored = next((tmp_path / "out" / "self-answered").iterdir())
    whole = stored.read_bytes()
    assert len(whole.splitlines()) == 10
    stored.write_bytes(whole[: len(whole) // 2])  # as a kill leaves it
    assert called(*arguments).exit_code == 0
    assert stored.read_bytes() == whole


def test_nothing_is_answered_into_a_folder_of_something_else(
    base: Path, refusals: Path, tmp_path: Path
) -> None:
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "mine"
    prompts.write_text('{"prompt": "w3 w4"}\n')
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    done = called("train", base, refusals, "--benign-prompts", prompts, *SMALL, "-o", out)
    assert done.exit_code == 2
    assert "not empty" in done.output
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_answers_of_one_model_are_not_taken_for_those_of_another(base: Path, tmp_path: Path) -> None:
    from aligntax.weights.training.self_answers import self_answered

    other = saved(tiny_model(seed=5), tmp_path / "other")
    for model in (base, other):
        self_answered(model, ["w3 w4"], tmp_path / "out", judge=judge, max_new_tokens=2)
    assert len(list((tmp_path / "out" / "self-answered").iterdir())) == 2


def test_inputs_are_never_written_to(base: Path, data: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in base.iterdir()}
    done = called("train", base, data, *SMALL, "-o", base / "out")
    assert done.exit_code == 2
    assert "share a folder" in done.output
    assert {path.name: path.read_bytes() for path in base.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rank", 0), "rank 0"),
        (("--multiplier", "nan"), "multiplier"),
        (("--layers", "3"), "no layer 3"),
        (("--layers", "x"), "names no layers"),
        (("--targets", "w_up"), "no module"),
        (("--benign-share", 1), "benign share"),
        (("--adapter", "null-space"), "needs null spaces"),
        (("--method", "dpo"), '"chosen"'),
        (("--method", "grpo", "--batch-size", 4), "completions"),
    ],
)
def test_what_cannot_be_done_is_said_on_one_line(
    arguments: tuple[object, ...], message: str, base: Path, data: Path, tmp_path: Path
) -> None:
    done = called("train", base, data, *arguments, "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert done.output.startswith("error: ")
    assert message in done.output
    assert done.output.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_killed_run_goes_on(base: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = [
        "weights", "train", base, data, "--steps", 60, "--batch-size", 4, "--rank", 2, "--save-every", 5, "-o", out,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(
        [sys.executable, "-m", "aligntax", *map(str, arguments)], env=environment, stdout=subprocess.DEVNULL
    )
    try:
        for _ in range(1200):
            if list(out.glob("checkpoints/*/whole.json")) or running.poll() is not None:
                break
            time.sleep(0.05)
        assert running.poll() is None, "it ended before it could be killed"
        running.send_signal(signal.SIGKILL)
    finally:
        running.kill()
        running.wait()
    assert not (out / "card.json").exists()
    done = called(*arguments[1:], "--json")
    assert done.exit_code == 0
    document = json.loads(done.output)
    assert document["resumed_from"] % 5 == 0
    assert [step for step, _, _ in document["losses"]] == list(range(1, 61))


def test_a_sweep_holds_the_scale_and_measures_on_what_was_held_out(
    base: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = (
        "sweep", base, data, "--ranks", "1,4", "--lrs", "1e-2", *SMALL[:4], *SMALL[6:], "-o", out,
    )  # fmt: skip
    done = called(*arguments)
    assert done.exit_code == 0
    assert "r4-lr0.01" in done.output
    assert "The lowest loss is not the best model" in done.output
    for rank in (1, 4):
        card = json.loads((out / f"r{rank}-lr0.01" / "card.json").read_text())
        assert card["effective_scale"] == 2.0
        assert card["data"]["rows"] == 15  # 3 of 14 and 2 of 6 prompts are held out
    table = json.loads(called(*arguments, "--json").output)["runs"]
    assert [row["name"] for row in table] == ["start", "r1-lr0.01", "r4-lr0.01"]
    planned = called(*arguments, "--lrs", "1e-3,1e-2", "--dry-run", "--json")
    assert json.loads(planned.output)["runs"] == ["r1-lr0.001", "r1-lr0.01", "r4-lr0.001", "r4-lr0.01"]
    assert all((row["n_harmful"], row["n_benign"]) == (3, 2) for row in table)
    assert table[-1]["loss_harmful"] < table[0]["loss_harmful"]


def test_the_detector_is_the_judge_and_names_rows_that_teach_the_opposite() -> None:
    refusal = "I'm sorry, but I can't help with that."
    question = "How do I boil an egg?"
    answer = "Put the egg in boiling water for eight minutes. Then cool it under cold water and peel it."
    assert judge([question] * 2, [refusal, answer]) == ["refused", "answered"]
    rows = [
        Row(texts={"prompt": question, "completion": said}, intent=intent)  # type: ignore[arg-type]
        for said, intent in ((refusal, "benign"), (answer, "harmful"), (answer, "benign"))
    ]
    assert [note.split(":")[0] for note in suspicious(rows)] == [
        "1 benign rows teach what the detector reads as a refusal",
        "1 harmful rows teach what the detector reads as an answer",
    ]
