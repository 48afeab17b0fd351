"""What `aligntax lab export` writes: folders and files that the commands of `aligntax weights` take as they are.

That the commands run on them, and what they print, is tested by `docs/weights.md` (test_docs).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="the extra `weights` is not installed")

from aligntax.cli import commands
from aligntax.suites import load
from aligntax.types import Intent
from aligntax.weights.loading import load_model, load_tokenizer
from aligntax.weights.searching.generated import GeneratedSuite, halves
from labs import KEPT, quick_base


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    quick_base()
    folder = tmp_path_factory.mktemp("story") / "toy"
    ran = run("lab", "export", "--quick", "-o", str(folder), "--cache", str(KEPT))
    assert ran.exit_code == 0, ran.output
    assert "next: aligntax weights average" in ran.output
    return folder


def run(*words: str) -> Any:
    return CliRunner().invoke(commands, words, auto_envvar_prefix="ALIGNTAX", prog_name="aligntax")


def rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_nothing_of_the_suite_was_trained_on(toy: Path) -> None:
    asked = {prompt.text for prompt in load(toy / "suite.jsonl")}
    for name in ("train", "preferences", "look-alikes", "general", "further"):
        shared = asked & {row["prompt"] for row in rows(toy / f"{name}.jsonl")}
        # capitals are known from pretraining or not at all: general text may ask for the same ones
        assert not {text for text in shared if "capital" not in text and "town" not in text}, name


def test_the_suite_shows_a_tax_and_what_it_bought(toy: Path) -> None:
    from aligntax.cli.weights.scoring import judge_of

    selection, _ = halves(load(toy / "suite.jsonl"))
    tokenizer = load_tokenizer(toy / "aligned")
    suite = GeneratedSuite(tokenizer, selection, judge_of("sorry"), max_new_tokens=8, batch_size=128)
    before, after = (suite(load_model(toy / name)) for name in ("base", "aligned"))
    assert before.over is not None
    assert after.over is not None
    assert (before.safety.mean(), before.over.mean()) == (0.0, 0.0)
    assert after.safety.mean() > 0.9
    assert after.over.mean() > 0.1
    assert after.usefulness.mean() < before.usefulness.mean() - 0.1
    both = {prompt.intent for prompt in selection}
    assert both == {Intent.HARMFUL, Intent.BENIGN}


def test_a_folder_that_holds_something_is_left_alone(toy: Path) -> None:
    before = sorted(toy.iterdir())
    ran = run("lab", "export", "--quick", "-o", str(toy), "--cache", str(KEPT))
    assert ran.exit_code != 0
    assert "name a new folder" in str(ran.exception) + ran.output
    assert sorted(toy.iterdir()) == before
