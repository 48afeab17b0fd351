"""`aligntax lab run`: what it prints, what it refuses, and that it goes on after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from aligntax.cli import commands
from aligntax.lab.methods import METHODS
from lab_runs import cache_of
from pages import parse

RUN = ("lab", "run", "--quick", "--seeds", "1", "--methods", "lora-8")


def invoke(*words: str, width: int = 100) -> Result:
    return CliRunner(env={"COLUMNS": str(width), "NO_COLOR": "1"}).invoke(commands, list(words))


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float, Result]:
    """A run that was killed without warning after its first results, and the same command again."""
    root = tmp_path_factory.mktemp("lab")
    cache = cache_of(root / "cache")
    words = [
        *RUN,
        "--cache",
        str(cache),
        "-o",
        str(root / "report.html"),
        "--json",
        str(root / "results.json"),
    ]
    killed = subprocess.Popen(
        [sys.executable, "-m", "aligntax", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 240
        while not list(cache.glob("runs/*/seed0-sft.json")):
            assert killed.poll() is None, "ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
    (first,) = cache.glob("runs/*/seed0-sft.json")
    written = first.stat().st_mtime
    torch.set_num_threads(1)
    return root, written, invoke(*words)


def test_after_a_kill_the_same_command_goes_on(resumed: tuple[Path, float, Result]) -> None:
    root, written, result = resumed
    assert result.exit_code == 0, result.output
    (kept,) = (root / "cache").glob("runs/*/seed0-sft.json")
    assert kept.stat().st_mtime == written
    assert "results from an earlier run" in result.output
    assert not list((root / "cache").glob("runs/*/*.tmp"))


def test_the_summary_the_page_and_the_document_say_the_same(resumed: tuple[Path, float, Result]) -> None:
    root, _, result = resumed
    read = json.loads((root / "results.json").read_text("utf-8"))
    page = parse((root / "report.html").read_text("utf-8"))
    assert page.one("h1").words == read["headline"]
    assert read["headline"] in " ".join(result.output.split())
    assert [method["method"] for method in read["methods"]] == ["sft", "early", "average", "lora-8"]
    for method in read["methods"]:
        assert METHODS[method["method"]].label in result.output
    assert "aligntax lab run --quick --seeds 1 --methods lora-8" in page.section("repeat").words


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(resumed: tuple[Path, float, Result], width: int) -> None:
    root, _, _ = resumed
    result = invoke(*RUN, "--cache", str(root / "cache"), "-o", str(root / "again.html"), width=width)
    lines = [line for line in result.output.splitlines() if not line.startswith("Report:")]
    assert result.exit_code == 0
    assert max(map(len, lines)) <= width


def test_one_seed_claims_nothing(resumed: tuple[Path, float, Result]) -> None:
    read = json.loads((resumed[0] / "results.json").read_text("utf-8"))
    words = {one["word"] for question in read["questions"] for one in question["compared"]}
    assert words <= {"one seed", "no operating point"}
    assert "One seed" in read["headline"]


def test_methods_are_listed() -> None:
    result = invoke("lab", "run", "--list")
    assert all(line.startswith(name) for name, line in zip(METHODS, _heads(result.output), strict=True))


def _heads(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith(" ")]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--methods", "gpo"), "no method 'gpo'"),
        (("--device", "tpu"), "no device 'tpu'"),
        (("-o", "absent/report.html"), "the folder does not exist"),
        (("--quick", "--json", "absent/results.json"), "the folder does not exist"),
    ],
)
def test_what_cannot_be_run_is_told_in_a_line(words: tuple[str, ...], said: str) -> None:
    result = invoke("lab", "run", *words)
    assert result.exit_code == 2
    assert said in result.output
    assert len(result.output.strip().splitlines()) <= 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_scale_for_a_gpu_is_refused_without_one() -> None:
    result = invoke("lab", "run", "--scale", "medium", "--device", "cuda")
    assert result.exit_code == 2
    assert "no CUDA device" in result.output
