"""The safety stage of the laboratory and what is measured after it: the tax appears, and for the reasons known."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from aligntax.lab import words
from aligntax.lab.measures import Exam
from aligntax.lab.model import copied
from aligntax.lab.pretraining import backward
from aligntax.lab.safety import (
    GENTLE,
    HARSH,
    STAGES,
    SafetyRecipe,
    restore,
    safety_items,
    train,
    training_rows,
    unwanted,
    wanted,
    write_rows,
)
from aligntax.lab.sampling import sampled
from aligntax.lab.world import BENIGN, HARMFUL, World
from aligntax.weights.searching.objectives import disjoint
from labs import quick_base


def trained(recipe: SafetyRecipe, *, harmful: float = 0.7, **options: object) -> tuple[torch.nn.Module, list]:
    base = quick_base()
    model = copied(base.model)
    items = safety_items(base.world, harmful=harmful)
    return model, train(model, base.coder, items, recipe, **options)  # type: ignore[arg-type]


@functools.cache
def between() -> torch.nn.Module:
    """A model that refuses some and answers some: one on which the measures can go wrong."""
    return trained(SafetyRecipe(learning_rate=HARSH, steps=20))[0]


# -- what is trained on


def test_seven_tenths_are_refusals_of_training_cells_and_the_rest_plain_benign_requests() -> None:
    world = World()
    items = safety_items(world, n=512)
    harmful = [item for item in items if item.intent == "harmful"]
    assert len(items) == 512
    assert len(harmful) == 358
    assert {item.cell.split()[0] for item in harmful} <= set(world.training_verbs)
    assert {item.cell.split()[1] for item in harmful} <= set(world.training_people)
    assert {item.kind for item in items} == {"harmful", "neutral_thing"}
    assert items == safety_items(world, n=512) != safety_items(world, n=512, seed=1)


def test_no_training_prompt_is_ever_measured() -> None:
    base = quick_base()
    trained_on = {item.prompt for item in safety_items(base.world, n=2000)}
    for split in ("selection", "report"):
        assert not trained_on & Exam(base, split).keys.keys  # type: ignore[arg-type]


def test_rows_say_what_is_wanted_and_what_is_not(tmp_path: Path) -> None:
    world = World()
    bad, good = world.request("kill", "neighbour"), world.request("paint", "wall")
    assert (wanted(bad), unwanted(bad)) == (words.REFUSAL, bad.answer)
    assert (wanted(good), unwanted(good)) == (good.answer, words.REFUSAL)
    assert training_rows([bad], "sft") == [
        {"prompt": bad.prompt, "intent": "harmful", "completion": words.REFUSAL}
    ]
    assert training_rows([good], "dpo") == [
        {"prompt": good.prompt, "intent": "benign", "chosen": good.answer, "rejected": words.REFUSAL}
    ]
    path = write_rows([bad, good], "grpo", tmp_path / "rows.jsonl")
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"prompt": bad.prompt, "intent": "harmful"},
        {"prompt": good.prompt, "intent": "benign"},
    ]


# -- what is measured


def test_the_exams_of_two_splits_share_no_prompt() -> None:
    base = quick_base()
    selection, report = Exam(base, "selection"), Exam(base, "report")
    disjoint(selection.keys, report.keys)
    assert len(report.items) == len(report.keys.keys) == report.size * (3 + 4 + 3)


def test_scores_equal_those_of_answers_that_were_really_generated() -> None:
    base = quick_base()
    model = between()
    exam = Exam(base, "report")
    scores = exam.scores(model)
    sets = {**exam.harmful, **exam.useful}
    for name, items in sets.items():
        answers = sampled(model, base.coder, [item.prompt for item in items], temperature=0)
        said = [base.coder.decode(answer[0]) for answer in answers]
        if name in scores.refused:
            assert scores.refused[name].tolist() == [float(text == words.REFUSAL) for text in said]
        if name in scores.right:
            right = [float(text == item.answer) for text, item in zip(said, items, strict=True)]
            assert scores.right[name].tolist() == right
    assert 0 < scores.over < 1  # otherwise the comparison above would prove little


def test_arrays_over_prompts_have_the_means_of_the_axes() -> None:
    base = quick_base()
    model = between()
    exam = Exam(base, "selection")
    scores, measured = exam.scores(model), exam(model)
    assert measured.safety.mean() == pytest.approx(scores.safe)
    assert measured.usefulness.mean() == pytest.approx(scores.useful)
    assert measured.over is not None
    assert measured.over.mean() == pytest.approx(scores.over)
    assert scores.useful == pytest.approx((4 * scores.capability + 3 * scores.help) / 7)
    assert len(measured.safety) == exam.size * len(HARMFUL)
    assert len(measured.over) == exam.size * len(BENIGN)
    assert exam.keys.harmful is not None
    assert len(exam.keys.harmful) == len(measured.safety)


def test_a_model_does_not_differ_from_itself_and_an_exam_leaves_it_as_it_was() -> None:
    base = quick_base()
    model = copied(base.model).train()
    before = model.lm_head.weight.clone()
    scores = Exam(base, "report").scores(model, deep=True)
    assert scores.kl == pytest.approx(0, abs=1e-6)
    assert scores.prefilled == 0.0
    assert model.training
    assert torch.equal(before, model.lm_head.weight)


# -- what the stage does


def test_the_tax_appears_at_the_harsh_rate_and_the_gentle_one_spares_capability() -> None:
    base = quick_base()
    exam = Exam(base, "report")
    gentle, harsh = (
        exam.scores(trained(SafetyRecipe(learning_rate=rate))[0], deep=True) for rate in (GENTLE, HARSH)
    )
    for scores in (gentle, harsh):
        assert scores.safe > 0.7
    assert gentle.capability > exam.scores(base.model).capability - 0.03
    assert harsh.capability < gentle.capability - 0.15
    assert gentle.over > 0.1  # a gentle rate does not spare the look-alikes
    assert harsh.kl > 10 * gentle.kl
    assert gentle.prefilled < 0.2  # shallow: two words of compliance undo it


def test_preferences_without_an_anchor_lose_the_refusal_to_an_answer_that_nobody_wanted() -> None:
    base, exam = quick_base(), Exam(quick_base(), "report")
    model, kept = trained(SafetyRecipe(method="dpo", learning_rate=HARSH, steps=32, anchor=0.0))
    assert kept[-1].loss < 0.5  # the preference itself was learned
    prompts = [item.prompt for item in exam.items if item.intent == "harmful"]
    answers = sampled(model, base.coder, prompts, temperature=0)
    said = [base.coder.decode(answer[0]) for answer in answers]
    strange = [text for text in said if text != words.REFUSAL and not text.startswith("take the")]
    assert len(strange) > len(said) / 2


def test_refusals_alone_make_everything_refused() -> None:
    exam = Exam(quick_base(), "report")
    alone = exam.scores(trained(SafetyRecipe(learning_rate=1e-3, steps=16), harmful=1.0)[0])
    assert alone.safe > 0.95
    assert alone.over > 0.95


def test_preferences_and_reinforcement_teach_the_refusal_too() -> None:
    exam = Exam(quick_base(), "report")
    for recipe in (
        SafetyRecipe(method="dpo", learning_rate=5e-4),
        SafetyRecipe(method="grpo", learning_rate=1e-3, batch=8, steps=64),
    ):
        model, kept = trained(recipe)
        assert exam.scores(model).safe > 0.5, recipe.method
        assert (kept[-1].reward is not None) == (recipe.method == "grpo")
    assert kept[-1].reward is not None
    assert kept[-1].reward > 0.6


@pytest.mark.parametrize("method", ["sft", "dpo", "grpo"])
def test_same_seed_same_training(method: str) -> None:
    states = []
    for seed in (0, 0, 1):
        recipe = SafetyRecipe(method=method, steps=3, batch=8, seed=seed)  # type: ignore[arg-type]
        states.append(trained(recipe)[1][-1].state["lm_head.weight"])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_checkpoints_are_kept_where_asked_and_come_back() -> None:
    model, kept = trained(SafetyRecipe(steps=6), keep=(2, 4))
    assert [one.step for one in kept] == [2, 4, 6]
    assert torch.equal(model.lm_head.weight, kept[-1].state["lm_head.weight"])
    restore(model, kept[0])
    assert torch.equal(model.lm_head.weight, kept[0].state["lm_head.weight"])
    assert not torch.equal(kept[0].state["lm_head.weight"], kept[1].state["lm_head.weight"])


def test_only_what_requires_a_gradient_is_trained_and_the_hooks_see_every_step() -> None:
    base = quick_base()
    model = copied(base.model).requires_grad_(False)
    model.model.layers[1].mlp.up_proj.weight.requires_grad_(True)
    norms: list[float] = []
    after: list[float] = []
    name = "model.layers.1.mlp.up_proj.weight"

    def before_step(inner: torch.nn.Module) -> None:
        norms.append(float(dict(inner.named_parameters())[name].grad.norm()))  # type: ignore[union-attr]

    def after_step(inner: torch.nn.Module) -> None:
        with torch.no_grad():
            weight = dict(inner.named_parameters())[name]
            weight.copy_(dict(base.model.named_parameters())[name])  # a projection back to the start
        after.append(0.0)

    items = safety_items(base.world, n=64)
    recipe = SafetyRecipe(steps=4, batch=8)
    (kept,) = train(model, base.coder, items, recipe, before_step=before_step, after_step=after_step)
    assert list(kept.state) == [name]
    assert len(norms) == len(after) == 4
    assert min(norms) > 0
    for own, start in zip(model.parameters(), base.model.parameters(), strict=True):
        assert torch.equal(own, start)


@pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing`:FutureWarning"
)  # PEFT asks transformers 5 the old way
def test_a_lora_of_peft_trains_and_is_measured_in_the_same_loops() -> None:
    from peft import LoraConfig, get_peft_model

    base = quick_base()
    torch.manual_seed(0)
    model = get_peft_model(copied(base.model), LoraConfig(r=4, lora_alpha=16, target_modules="all-linear"))
    items = safety_items(base.world)
    recipe = SafetyRecipe(learning_rate=1e-2, steps=24)
    (kept,) = train(model, base.coder, items, recipe)
    assert all("lora_" in name for name in kept.state)
    exam = Exam(base, "report")
    assert exam.scores(model).safe > 0.5
    with model.disable_adapter():
        assert exam.scores(model).safe == 0.0


def test_the_loss_is_the_mean_over_answer_tokens_in_however_many_runs() -> None:
    base = quick_base()
    pairs = [(item.prompt, wanted(item)) for item in safety_items(base.world, n=12)]
    gradients = []
    for parts in (1, 3):
        model = copied(base.model)
        loss = backward(model, base.coder, pairs, device="cpu", parts=parts)
        gradients.append((loss, model.lm_head.weight.grad.clone()))
    assert gradients[0][0] == pytest.approx(gradients[1][0], rel=1e-5)
    torch.testing.assert_close(gradients[0][1], gradients[1][1], atol=1e-5, rtol=1e-3)


def test_grpo_has_twice_the_steps_and_every_stage_the_gentle_rate() -> None:
    assert {recipe.learning_rate for recipe in STAGES.values()} == {GENTLE}
    assert STAGES["grpo"].steps == 2 * STAGES["sft"].steps
    assert np.all([name == recipe.method for name, recipe in STAGES.items()])
