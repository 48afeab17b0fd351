"""`aligntax weights average` as a person meets it: the plan, the end, what is refused, and as a program meets it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aligntax.cli import commands
from aligntax.weights.averaging.journal import NAME as JOURNAL
from aligntax.weights.averaging.operations import OPERATIONS
from aligntax.weights.averaging.recipe import Recipe, read_recipe
from aligntax.weights.ratios import POLICIES, ROLES
from averages import Tensors, bytes_of, folder_of, random_raw
from documents import text_of

NAMES = (
    "model.embed_tokens.weight",
    *(f"model.layers.{at}.{part}.weight" for at in range(4) for part in ("self_attn.q_proj", "mlp.up_proj", "input_layernorm")),
    "model.norm.weight",
    "lm_head.weight",
)  # fmt: skip


def tensors(seed: int, count: int = 500) -> Tensors:
    return {name: ("BF16", (count,), random_raw("BF16", count, seed + at)) for at, name in enumerate(NAMES)}


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.chdir(tmp_path)
    return folder_of(tmp_path / "base", tensors(0)), folder_of(tmp_path / "aligned", tensors(100))


def run(*arguments: str | Path, width: int = 80) -> Result:
    result = CliRunner(env={"COLUMNS": str(width)}).invoke(
        commands,
        ["weights", "average", *map(str, arguments)],
        auto_envvar_prefix="ALIGNTAX",
        prog_name="aligntax",
    )
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_dry_run_prints_every_roles_policy_and_writes_nothing(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    result = run(
        "base", "aligned", "--blocks", "0.9,0.7", "--role", "mlp=0.5,head=mean", "-o", "out", "--dry-run"
    )
    assert result.exit_code == 0, result.output
    shown = result.stdout
    assert "theta = theta0 + a * (theta1 - theta0)" in shown
    for role, tensors, policy, ratios in (
        ("embedding", 1, "first block's (default)", "0.9"),
        ("attention", 4, "its block's ratio (default)", "0.9, 0.7"),
        ("mlp", 4, "own ratio", "0.5"),
        ("norm", 4, "its block's ratio (default)", "0.9, 0.7"),
        ("final_norm", 1, "last block's (default)", "0.7"),
        ("head", 1, "mean of blocks", "0.8"),
    ):
        row = rf"^{role} +{tensors} +[\d.]+ k?B +{re.escape(policy)} +{re.escape(ratios)}$"
        assert re.search(row, shown, re.MULTILINE), (role, shown)
    assert "block 1   layers 0 to 1: a = 0.9" in shown
    assert "mean      a = 0.8 over blocks" in shown
    assert "dry run: nothing was written" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aligned", "base"]


def test_the_end_says_what_was_written_checked_and_moved(pair: tuple[Path, Path]) -> None:
    result = run("base", "aligned", "--ratio", "0.8", "-o", "out")
    assert result.exit_code == 0, result.output
    assert "written   out: 15.0 kB" in result.stdout
    assert "15 tensors read back" in result.stdout
    assert 'load      AutoModelForCausalLM.from_pretrained("out")' in result.stdout
    again = run("base", "aligned", "--ratio", "0.8", "-o", "out")
    assert again.exit_code == 0
    assert "nothing was done" in again.stdout
    assert max(map(len, (result.stdout + again.stdout).splitlines())) <= 80


def test_json_is_one_document_with_plan_and_result(pair: tuple[Path, Path]) -> None:
    planned = json.loads(run("base", "aligned", "--ratio", "0.8", "-o", "out", "--dry-run", "--json").stdout)
    done = json.loads(run("base", "aligned", "--ratio", "0.8", "-o", "out", "--json").stdout)
    assert planned["result"] is None
    assert [tensor["ratio"] for tensor in done["tensors"]] == [0.8] * len(NAMES)
    assert {row["role"]: row["policy"] for row in done["roles"]}["head"] == "last block's (default)"
    assert [tensor["name"] for tensor in done["result"]["tensors"]] == [*NAMES]
    assert done["result"]["recipe_sha256"] == planned["recipe_sha256"]


def test_a_recipe_alone_and_with_other_checkpoints(pair: tuple[Path, Path], tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("base: base\nmodels:\n- path: aligned\nratios:\n  blocks: [0.9, 0.7]\n", "utf-8")
    assert run("--recipe", recipe, "-o", "one").exit_code == 0
    assert run("base", "aligned", "--blocks", "0.9,0.7", "-o", "two").exit_code == 0
    assert run("aligned", "base", "--recipe", recipe, "-o", "turned").exit_code == 0
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two") != bytes_of(tmp_path / "turned")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_runs_and_says_what_it_is_with_one_task_vector(
    operation: str, pair: tuple[Path, Path]
) -> None:
    result = run("base", "aligned", "--ratio", "0.6", "--operation", operation, "-o", "out")
    assert result.exit_code == 0, result.output
    assert f"operation {operation}: " in result.stdout
    expected = {
        "ties": "pruning by magnitude",
        "task_arithmetic": "is averaging",
        "dare": "averaging with noise",
    }
    assert expected.get(operation, "") in result.stdout
    assert ("with one task vector" in result.stdout) == (operation in expected)
    two = run("base", "aligned", "base", "--ratio", "0.6", "--operation", operation, "-o", "two", "--dry-run")
    assert "with one task vector" not in two.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["base", "aligned"], "how much of ALIGNED"),
        (["base", "aligned", "--ratio", "0.5", "--blocks", "1,0"], "how much of ALIGNED"),
        (["base", "--ratio", "0.5"], "BASE and ALIGNED"),
        (["--ratio", "0.5"], "BASE and ALIGNED"),
        (["base", "aligned", "--ratio", "1.2"], "--extrapolate"),
        (["base", "aligned", "--ratio", "nan"], "out of range"),
        (["base", "aligned", "--blocks", "0.5,x"], "is not a number"),
        (["base", "aligned", "--blocks", "0.1,0.2,0.3,0.4,0.5"], "5 ratios for a model of 4 layers"),
        (["base", "aligned", "--ratio", "0.5", "--role", "mpl=0.2"], "is not ROLE=A"),
        (["base", "aligned", "--ratio", "0.5", "--role", "mlp=0.2/0.3"], "2 ratios for 1 blocks"),
        (["base", "aligned", "--ratio", "0.5", "--density", "0.5"], "belongs to ties"),
        (["base", "aligned", "--ratio", "0.5", "--weight", "1", "--weight", "2"], "2 weights for 1"),
        (["base", "aligned", "base", "--ratio", "0.5", "--operation", "slerp"], "one aligned model"),
        (["base", "nowhere", "--ratio", "0.5"], "no such checkpoint"),
        (["--recipe", "nowhere.yaml"], "cannot be read"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_remedy(
    arguments: list[str], expected: str, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    result = run(*arguments, "-o", "out")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert expected in result.stderr
    assert not (tmp_path / "out").exists()


def test_options_beside_a_recipe_are_refused_by_name(pair: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("ratios: {blocks: [0.5]}", "utf-8")
    for option in (
        ["--ratio", "0.0"],
        ["--operation", "ties"],
        ["--role", "mlp=0"],
        ["--extrapolate"],
        ["--seed", "0"],
    ):
        result = run("base", "aligned", "--recipe", "r.yaml", *option, "-o", "out")
        assert (result.exit_code, f"{option[0]} beside --recipe" in result.stderr) == (2, True), option


def test_a_name_in_a_checkpoint_cannot_steer_the_terminal(pair: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "aligned" / "config.json").write_text(json.dumps({"model_type\x1b[2J": "x"}), "utf-8")
    result = run("base", "aligned", "--ratio", "0.5", "-o", "out", "--dry-run")
    assert "configs differ" in result.stdout
    assert "\x1b" not in result.stdout


def test_ctrl_c_keeps_what_is_finished_and_says_so(tmp_path: Path) -> None:
    many = {
        f"model.layers.{at}.mlp.w": ("BF16", (200_000,), random_raw("BF16", 200_000, 0)) for at in range(120)
    }
    base, aligned = folder_of(tmp_path / "b", many), folder_of(tmp_path / "a", many)
    code = (
        "import time; from aligntax.weights.averaging.pieces import Pieces; work = Pieces.work\n"
        "Pieces.work = lambda *said: (time.sleep(0.2), work(*said))[1]\n"
        "from aligntax.cli import main; main()"
    )
    arguments = ["weights", "average", base, aligned, "--ratio", "0.3", "-o", tmp_path / "o"]
    outer, inner = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=inner,
        env={**os.environ, "COLUMNS": "80", "TERM": "xterm"},
    )
    os.close(inner)
    seen = read_until(outer, "MB/s", 60)
    running.send_signal(signal.SIGINT)
    seen += read_until(outer, "goes on from there", 30)
    assert running.wait(30) == 130
    os.close(outer)
    assert re.search(r"averaging .*of 0\.0 GB, \d+ MB/s", seen), seen
    assert "stopped: what is finished is kept" in seen
    assert (tmp_path / "o.partial" / JOURNAL).exists()
    assert "were there from before" in run(*arguments[2:]).stdout


def read_until(file: int, text: str, patience_s: float) -> str:
    seen, deadline = "", time.monotonic() + patience_s
    while text not in seen and time.monotonic() < deadline:
        if select.select([file], [], [], 0.1)[0]:
            try:
                seen += os.read(file, 65536).decode()
            except OSError:  # the other end is closed
                break
    return seen


def test_every_operation_role_and_field_of_a_recipe_is_in_the_reference() -> None:
    page = text_of("reference/weights.md")
    named = set(re.findall(r"`([^`\n]+)`", page))
    fields = {field for field in Recipe.__struct_fields__ if field not in ("version", "ratios")}
    assert {*OPERATIONS, *ROLES, *fields} - named == set()
    for role, policy in POLICIES.items():
        assert re.search(rf"^\| `{role}` \|.*\| `{policy}`", page, re.MULTILINE), role


def test_the_recipe_in_the_reference_is_one(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", text_of("reference/weights.md"), re.DOTALL)
    (tmp_path / "r.yaml").write_text(block, "utf-8")
    assert read_recipe(tmp_path / "r.yaml").ratios.blocks == (0.9, 0.7, 0.8)
