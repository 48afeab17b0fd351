"""The commands on two tiny models that really answer: the tables, the page, the last line, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click.testing
import pytest
import torch

from aligntax.cli import commands
from aligntax.cli.weights.scoring import judge, prompts_of
from aligntax.errors import InputError
from aligntax.types import Fact, Intent, Prompt
from aligntax.weights.loading import load_model, load_tokenizer
from aligntax.weights.searching.generated import GeneratedSuite, halves, key_of
from pages import parse
from refusing_world import folders
from tiny_adapters import adapter_for

torch.set_num_threads(1)
# peft 0.21 asks transformers 5.x for a name that is going away: theirs to mend
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return folders(tmp_path_factory.mktemp("world"))


def run(*words: str | Path) -> click.testing.Result:
    return click.testing.CliRunner().invoke(commands, ["weights", *map(str, words)], env={"COLUMNS": "80"})


def asked(world: dict[str, Path], *words: str | Path) -> tuple[str | Path, ...]:
    quick = ("--max-new-tokens", "10", "--batch-size", "64", "--device", "cpu")
    return (world["base"], world["aligned"], "--suite", world["suite"], *quick, *words)


def test_a_search_prints_reports_and_goes_on(world: dict[str, Path], tmp_path: Path) -> None:
    words = asked(
        world,
        "--budget",
        "3",
        "--blocks",
        "2",
        "--checkpoint",
        f"early={world['early']}",
        "--journal",
        tmp_path / "j.jsonl",
    )
    found = run("search", *words, "--report", tmp_path / "front.html")
    assert found.exit_code == 0, found.output
    assert max(map(len, found.output.splitlines())) <= 80 or "average" in found.output.splitlines()[-1]
    assert "a is the share of the ALIGNED model" in found.output
    for method in ("aligned", "base", "uniform", "blocks", "early stopping"):
        assert f"\n{method} " in found.output
    assert "Missing baseline: learning-rate sweep" in found.output
    last = " ".join(found.output.splitlines()[-8:])
    assert ("no gain beyond noise" in last and "Next: keep ALIGNED" in last) or "weights average" in last
    assert re.search(
        r"rest on \d+ useful and 8 harmful prompts, a family counted once", " ".join(found.output.split())
    )
    page = parse((tmp_path / "front.html").read_text())
    assert "Missing baseline" in page.words.title() or "MISSING BASELINE" in page.words
    assert "theta = theta0 + a * (theta1 - theta0)" in page.words
    scan = "evaluations apart from the budgets"
    told = " ".join(found.output.split())
    assert f"17 {scan}" in told  # 2 blocks and 6 roles at two shares, and the aligned model
    said = [
        line for line in found.output.splitlines() if line.startswith(("free to", "costs safety", "unclear"))
    ]
    assert {part for line in said for part in line.split("  ", 1)[1].strip().split(", ")} == {
        "layer 0", "layers 1-2", "embedding", "attention", "mlp", "norm", "final norm", "head",
    }  # fmt: skip
    assert len(page.section("sensitivity").all("td", class_="cell")) == 3 * 16
    assert "17 evaluations" in page.section("sensitivity").words
    lines = len((tmp_path / "j.jsonl").read_text().splitlines())
    again = run("search", *words, "--json")
    assert again.exit_code == 0, again.output
    assert len((tmp_path / "j.jsonl").read_text().splitlines()) == lines  # nothing was measured twice
    document = json.loads(again.stdout)
    assert document["missing"] == ["learning-rate sweep"]
    assert document["scan"] is None
    assert document["measured"]["backend"] == "transformers generate, greedy"
    assert {front["method"]: front["evaluations"] for front in document["fronts"]} == {
        "aligned": 1, "base": 1, "uniform": 3, "blocks": 3, "early stopping": 1,
    }  # fmt: skip
    assert all(row["safety"]["low"] is not None for front in document["fronts"] for row in front["rows"])
    other = run("search", *words, "--seed", "5")
    assert other.exit_code == 2
    assert "holds another search" in other.output


def test_adapters_are_searched_as_they_are(world: dict[str, Path], tmp_path: Path) -> None:
    aligned, lower = (
        adapter_for(world["base"], tmp_path / name, seed=seed)
        for seed, name in enumerate(("aligned", "lower"))
    )
    quick = ("--max-new-tokens", "10", "--batch-size", "64", "--device", "cpu", "--blocks", "1", "--json")
    words = (world["base"], aligned, "--suite", world["suite"], *quick)
    found = run("search", *words, "--budget", "2", "--checkpoint", f"lr={lower}", "--scan")
    assert found.exit_code == 0, found.output
    document = json.loads(found.stdout)
    assert {front["method"] for front in document["fronts"]} >= {"uniform", "learning-rate sweep"}
    assert {row["part"] for row in document["scan"]["rows"]} == {"layers 0-2", "attention", "mlp"}
    assert document["scan"]["evaluations"] == 7
    (lower / "adapter_model.safetensors").unlink()
    gone = run("search", *words, "--checkpoint", f"lr={lower}")
    assert gone.exit_code == 2
    assert "there is no adapter_model.safetensors" in gone.output


def test_sensitivity_names_each_block_and_role(world: dict[str, Path]) -> None:
    found = run("sensitivity", *asked(world, "--blocks", "1"))
    assert found.exit_code == 0, found.output
    assert max(map(len, found.output.splitlines())) <= 80
    for part in ("layers 0-2", "head", "embedding", "norm", "mlp", "attention"):
        assert f"\n{part} " in found.output
    assert "8 harmful and 8 benign prompts of the selection half" in found.output.replace("\n", " ")
    (layers,) = [
        line for line in found.output.splitlines() if line.startswith("layers 0-2") and " 0.0 " in line
    ]
    assert float(layers.split()[3].replace("−", "-")) <= -50  # all of it is the base, which declines nothing


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--checkpoint", "late=x"), "is no early=PATH or lr=PATH"),
        (("--checkpoint", "early=/nowhere"), "there is no such folder"),
        (("--budget", "1"), "not in the range"),
    ],
)
def test_what_cannot_be_is_refused_before_models_are_read(
    world: dict[str, Path], words: tuple[str, ...], said: str
) -> None:
    found = run("search", *asked(world, *words))
    assert found.exit_code == 2
    assert said in found.output


def test_a_suite_without_harmful_prompts_says_what_to_add() -> None:
    with pytest.raises(InputError, match="--floor-suite"):
        prompts_of("clinical", None)
    both = prompts_of("clinical", "clinical/floor")
    assert {prompt.intent for prompt in both} == {Intent.BENIGN, Intent.HARMFUL}


def test_halves_share_no_words_and_no_family() -> None:
    prompts = prompts_of("clinical", "clinical/floor")
    prompts.append(Prompt(id="again", text=prompts[0].text.upper(), family="another"))
    selection, report = halves(prompts)
    assert len(selection) + len(report) == len(prompts)
    for of in (lambda prompt: prompt.family or prompt.id, key_of):
        assert not {of(prompt) for prompt in selection} & {of(prompt) for prompt in report}
    assert halves(list(reversed(prompts)))[0] == [
        next(one for one in reversed(prompts) if one.id == prompt.id)
        for prompt in halves(list(reversed(prompts)))[0]
    ]
    assert {prompt.id for prompt in halves(list(reversed(prompts)))[0]} == {prompt.id for prompt in selection}
    assert {prompt.id for prompt in halves(prompts, seed=1)[0]} != {prompt.id for prompt in selection}
    with pytest.raises(InputError, match="1 harmful families cannot be split"):
        halves(
            [
                Prompt(id="a", text="a", intent=Intent.HARMFUL),
                Prompt(id="b", text="b"),
                Prompt(id="c", text="c"),
            ]
        )


def test_answers_do_not_depend_on_the_batch(world: dict[str, Path]) -> None:
    model, tokenizer = load_model(world["aligned"]), load_tokenizer(world["aligned"])
    prompts = prompts_of(str(world["suite"]), None)[:12]
    prompts = [*prompts, Prompt(id="short", text="how do i")]
    suites = [
        GeneratedSuite(tokenizer, prompts, judge, max_new_tokens=5, batch_size=size) for size in (1, 5, 64)
    ]
    first, *others = (suite.answers(model, prompts) for suite in suites)
    assert others == [first, first]
    assert suites[0].cut > 0  # five tokens hold no whole answer


def test_a_model_without_an_end_token_is_asked_all_the_same(world: dict[str, Path]) -> None:
    model, tokenizer = load_model(world["aligned"]), load_tokenizer(world["aligned"])
    tokenizer.eos_token = model.generation_config.eos_token_id = None
    prompts = prompts_of(str(world["suite"]), None)[:3]
    suite = GeneratedSuite(tokenizer, prompts_of(str(world["suite"]), None), judge, max_new_tokens=3)
    assert len(suite.answers(model, prompts)) == suite.cut == 3


def test_the_detector_judges_and_facts_count() -> None:
    plain = Prompt(id="a", text="How do I open the jar?")
    dose = Prompt(
        id="b",
        text="How much water should I drink?",
        facts=(Fact(name="litres", value=2.0, unit="l"), Fact(name="daily")),
    )
    complete = "To open the jar, hold it under hot water for a minute. Then turn the lid firmly to the left."
    answers = [
        "I cannot help with that request.",
        complete,
        "",
        "To stay well, drink 2 l of water. First fill a bottle in the morning, then drink it until noon and fill it again.",
    ]
    made: list[Any] = judge([plain, plain, plain, dose], answers)
    assert [one.refused for one in made] == [1, 0, 0, 0]
    assert [one.useful for one in made[:3]] == [0, 1, 0]
    assert made[3].useful == 0.5
