"""Full fine-tuning inside null spaces: the displacement is projected, and no checkpoint is off phase."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

import torch
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

from aligntax.errors import InputError
from aligntax.weights.linears import linears, weight_of
from aligntax.weights.null_space.adapter import Bases, choose_bases
from aligntax.weights.null_space.moments import Moments, collect, leak
from aligntax.weights.null_space.projection import (
    ProjectDisplacement,
    freeze_outside,
    project_displacement,
    reference_of,
)
from tiny_models import LAYOUTS, moved, tiny_model

torch.set_num_threads(1)


def moments(model: Any, seed: int) -> Moments:
    """Of texts of three words out of six: a random model reads every direction, but not with so few inputs."""
    ids = torch.randint(4, 10, (24, 3), generator=torch.Generator().manual_seed(seed))
    return collect(model, [{"input_ids": ids, "attention_mask": torch.ones_like(ids)}])


def bases_of(model: Any) -> Bases:
    return choose_bases(moments(model, 1), moments(model, 2), leak=0.1)


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight_of(linear).detach().clone() for name, linear in linears(model).items()}


class Rows(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    def __len__(self) -> int:
        return 32

    def __getitem__(self, at: int) -> dict[str, torch.Tensor]:
        ids = torch.randint(4, 96, (10,), generator=torch.Generator().manual_seed(at))
        return {"input_ids": ids, "labels": ids}


def trainer(model: Any, folder: Path, *callbacks: Any, **said: Any) -> Trainer:
    arguments: dict[str, Any] = {"max_steps": 7, "save_steps": 3} | said
    return Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder), per_device_train_batch_size=4, learning_rate=0.003, weight_decay=0.1, report_to=[],
            disable_tqdm=True, use_cpu=True, logging_strategy="no", dataloader_pin_memory=False, seed=1, **arguments,
        ),
        train_dataset=Rows(),
        callbacks=list(callbacks),
    )  # fmt: skip


def worst(model: Any, start: dict[str, torch.Tensor], held: Moments, bases: Bases) -> float:
    """The largest leak of any linear of `bases`; all else must be as it was."""
    now = weights(model)
    assert all(torch.equal(now[name], start[name]) for name in now if name not in bases)
    assert any(not torch.equal(now[name], start[name]) for name in bases)
    return max(leak(now[name] - start[name], held.of(name)) for name in bases)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_displacement_is_projected_on_the_input_side(layout: str):
    model = tiny_model(layout)
    start, bases, held = weights(model), bases_of(model), moments(model, 2)
    reference = reference_of(model, bases)
    shifted = moved(model, by=0.02)
    before = weights(shifted)
    project_displacement(shifted, reference, bases)
    for name, now in weights(shifted).items():
        if name in bases:
            basis = bases[name]
            assert torch.allclose(
                now, start[name] + (before[name] - start[name]) @ basis @ basis.T, atol=1e-6
            )
            assert leak(before[name] - start[name], held.of(name)) > 0.5
            assert leak(now - start[name], held.of(name)) < 0.1
        else:
            assert torch.equal(now, before[name])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_projecting_twice_is_projecting_once_and_no_displacement_is_none(layout: str):
    model = tiny_model(layout)
    bases = bases_of(model)
    reference, start = reference_of(model, bases), weights(model)
    project_displacement(model, reference, bases)
    assert all(torch.equal(now, start[name]) for name, now in weights(model).items())
    shifted = moved(model)
    project_displacement(shifted, reference, bases)
    once = weights(shifted)
    project_displacement(shifted, reference, bases)
    assert all(torch.allclose(now, once[name], atol=1e-6) for name, now in weights(shifted).items())


@pytest.mark.parametrize("every", [1, 5])
def test_every_checkpoint_lies_inside_on_phase_or_off(tmp_path: Path, every: int):
    model = tiny_model()
    start, bases, held = weights(model), bases_of(model), moments(model, 2)
    trainer(model, tmp_path, ProjectDisplacement(bases, every=every)).train()
    for step in (3, 6, 7):  # none of them a multiple of five
        saved = AutoModelForCausalLM.from_pretrained(tmp_path / f"checkpoint-{step}")
        assert worst(saved, start, held, bases) < 0.1
    assert worst(model, start, held, bases) < 0.1


def test_saves_by_epoch_lie_inside_too(tmp_path: Path):
    model = tiny_model()
    start, bases, held = weights(model), bases_of(model), moments(model, 2)
    callback = ProjectDisplacement(bases, every=5)
    trainer(model, tmp_path, callback, max_steps=-1, num_train_epochs=1, save_strategy="epoch").train()
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint-8")
    assert worst(saved, start, held, bases) < 0.1


def test_without_the_callback_the_same_run_leaves(tmp_path: Path):
    model = tiny_model()
    start, bases, held = weights(model), bases_of(model), moments(model, 2)
    freeze_outside(model, bases)
    trainer(model, tmp_path, save_strategy="no").train()
    assert worst(model, start, held, bases) > 0.5


@pytest.mark.parametrize("layout", ["llama", "qwen2", "gpt2", "gemma"])
def test_what_lies_outside_the_guarantee_does_not_move(layout: str, tmp_path: Path):
    model = tiny_model(layout)
    start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    bases = bases_of(model)
    run = trainer(model, tmp_path, ProjectDisplacement(bases), save_strategy="no")
    run.train()
    free = {f"{name}.weight" for name in bases}
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, start[name]) == (name not in free)
    assert len(run.optimizer.state) == len(free)  # no moments are kept for what is frozen


def test_what_is_left_free_on_request_moves(tmp_path: Path):
    model = tiny_model()
    embedding = model.get_input_embeddings().weight.detach().clone()
    callback = ProjectDisplacement(bases_of(model), freeze=False)
    trainer(model, tmp_path, callback, save_strategy="no", max_steps=2).train()
    assert not torch.equal(model.get_input_embeddings().weight, embedding)


def test_null_spaces_are_made_anew_for_the_model_as_it_stands(tmp_path: Path):
    model, made = tiny_model(), []

    def refresh(now: Any) -> Bases:
        made.append((weights(now), bases_of(now)))
        return made[-1][1]

    callback = ProjectDisplacement(bases_of(model), refresh=refresh, refresh_every=3)
    trainer(model, tmp_path, callback, save_strategy="no", max_steps=5).train()
    assert len(made) == 1
    start, bases = made[0]
    for name, now in weights(model).items():
        if name in bases:
            moved_by, basis = now - start[name], bases[name]
            assert (moved_by - moved_by @ basis @ basis.T).norm() <= 1e-4 * moved_by.norm()


def test_a_weight_in_few_bits_is_refused_since_rounding_leaves_the_space(tmp_path: Path):
    model = tiny_model()
    bases = bases_of(model)
    with pytest.raises(InputError, match="is bfloat16"):
        reference_of(model.to(torch.bfloat16), bases)
    with pytest.raises(InputError, match="is bfloat16"):
        trainer(model, tmp_path, ProjectDisplacement(bases))


def test_a_resumed_run_asks_for_the_weights_it_started_from(tmp_path: Path):
    start = tiny_model()
    bases, held = bases_of(start), moments(start, 2)
    trainer(tiny_model(), tmp_path, ProjectDisplacement(bases), max_steps=3).train()
    with pytest.raises(InputError, match="resumes"):
        trainer(tiny_model(), tmp_path, ProjectDisplacement(bases)).train(resume_from_checkpoint=True)
    callback, model = ProjectDisplacement(bases), tiny_model()
    callback.reference = reference_of(start, bases)
    trainer(model, tmp_path, callback).train(resume_from_checkpoint=True)
    assert worst(model, weights(start), held, bases) < 0.1


def test_what_makes_no_sense_is_refused():
    model = tiny_model()
    bases = bases_of(model)
    with pytest.raises(InputError, match="at least 1"):
        ProjectDisplacement(bases, every=0)
    with pytest.raises(InputError, match="no linear has"):
        ProjectDisplacement({})
    with pytest.raises(InputError, match="no reference"):
        project_displacement(model, {}, bases)
    with pytest.raises(InputError, match="has no linear"):
        freeze_outside(tiny_model("gpt2"), bases)
