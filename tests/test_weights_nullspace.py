"""Null spaces that hold on other data, and an adapter that cannot leave them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("peft")

import torch

from aligntax.errors import AlignTaxError, InputError
from aligntax.weights.linears import bare_name, linears, weight_of
from aligntax.weights.null_space.adapter import (
    Bases,
    add_null_space,
    choose_bases,
    constrain,
    null_basis,
    residue,
    save_as_lora,
)
from aligntax.weights.null_space.layers import SaveAsLora, spaces_of
from aligntax.weights.null_space.moments import Moments, collect, leak, relative_change
from tiny_models import LAYOUTS, tiny_model

torch.set_num_threads(1)
# peft 0.21 asks transformers 5.x for a name that is going away: theirs to mend
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

GENERAL = torch.arange(4, 10)
"""A random model uses every direction; one that reads six words in short texts does not."""


def general(seed: int, rows: int = 24) -> list[dict[str, Any]]:
    """Texts of three words out of six: far fewer inputs than directions, other texts for another seed."""
    generator = torch.Generator().manual_seed(seed)
    ids = GENERAL[torch.randint(0, len(GENERAL), (rows, 3), generator=generator)]
    return [{"input_ids": ids, "attention_mask": torch.ones_like(ids)}]


def moments(model: Any, seed: int) -> Moments:
    return collect(model, general(seed))


def bases_of(model: Any, target: float = 0.2, **more: Any) -> Bases:
    return choose_bases(moments(model, 1), moments(model, 2), leak=target, **more)


def step_hard(model: Any, steps: int = 50, *, decay: float = 0.1, rate: float = 0.004) -> None:
    """AdamW with weight decay towards random answers on any words."""
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(4, 96, (4, 12), generator=generator)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=decay)
    for _ in range(steps):
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()


def changes(model: Any) -> dict[str, torch.Tensor]:
    """What the adapter adds to each linear, [n_out, n_in]."""
    from peft.tuners.lora import LoraLayer

    return {
        bare_name(full): layer.get_delta_weight("default").T
        if linears(model)[bare_name(full)].input_major
        else layer.get_delta_weight("default")
        for full, layer in model.named_modules()
        if isinstance(layer, LoraLayer)
    }


def leaks(model: Any, held: Moments) -> dict[str, float]:
    with torch.no_grad():
        return {name: leak(delta, held.of(name)) for name, delta in changes(model).items()}


# What is chosen


def test_a_null_basis_is_relative_to_the_largest():
    moment = torch.diag(torch.tensor([1e4, 11.0, 9.0, 0.0]))
    basis = null_basis(moment, tau=1e-3)
    assert basis.shape == (4, 2)
    assert torch.allclose(basis.abs().sum(1), torch.tensor([0, 0, 1.0, 1.0]).double())
    assert null_basis(moment * 1e-9, tau=1e-3).shape == basis.shape


@pytest.mark.parametrize("target", [0.05, 0.2, 0.6])
def test_the_chosen_space_is_the_largest_that_keeps_the_target_on_held_out_data(target: float):
    model = tiny_model()
    train, held = moments(model, 1), moments(model, 2)
    bases = choose_bases(train, held, leak=target)
    tight = 0
    for name, (size, n_in) in bases.dimensions.items():
        _, vectors = train.spectrum(name)
        for moment, worst in zip(
            (train.of(name), held.of(name)), bases.leaks[bases.groups[name]], strict=True
        ):
            if size:
                inside = bases[name].double().T @ moment @ bases[name].double()
                found = max(0.0, float(torch.linalg.eigvalsh(inside)[-1] * n_in / moment.trace())) ** 0.5
                assert found <= target * (1 + 1e-4)
                assert worst == pytest.approx(found, abs=1e-4)
        if size < n_in:
            wider = [
                float(torch.linalg.eigvalsh(vectors[:, : size + 1].T @ moment @ vectors[:, : size + 1])[-1] * n_in / moment.trace())
                for moment in (train.of(name), held.of(name))
            ]  # fmt: skip
            assert max(wider) ** 0.5 > target
            tight += 1
    assert tight


def test_no_change_in_the_space_leaks_more_than_the_target():
    model = tiny_model()
    bases, held = bases_of(model, 0.2), moments(model, 2)
    for name in bases:
        for seed in range(5):
            inner = torch.randn(3, bases[name].shape[1], generator=torch.Generator().manual_seed(seed))
            assert leak(inner @ bases[name].T, held.of(name)) <= 0.2 * (1 + 1e-4)


def test_a_token_of_huge_activations_does_not_empty_the_directions_of_all_others():
    """One word drives one neuron of an MLP as first tokens do in large models: by energy it is all that is seen."""
    model, name = tiny_model(), "model.layers.0.mlp.down_proj"
    with torch.no_grad():
        model.get_input_embeddings().weight[:, 0] = 0
        model.get_input_embeddings().weight[1] = torch.eye(32)[0]
        for half in ("gate_proj", "up_proj"):
            weight = getattr(model.model.layers[0].mlp, half).weight
            weight[3] = 5 * torch.eye(32)[0]
    texts = [
        {name: torch.nn.functional.pad(tensor, (1, 0), value=1) for name, tensor in general(seed)[0].items()}
        for seed in (1, 2, 3)
    ]
    energy, other, unseen = (collect(model, [text], even=False) for text in texts)
    assert choose_bases(energy, other, leak=0.1)[name].shape[1] == 63  # of 64: all but that neuron

    even = [collect(model, [text], even=True) for text in texts]
    space = choose_bases(*even[:2], leak=0.1)[name]
    change = torch.randn(32, space.shape[1], generator=torch.Generator().manual_seed(0)) @ space.T
    assert leak(change, even[2].of(name)) < 0.12
    assert leak(change, unseen.of(name)) < 0.12
    with pytest.raises(InputError, match="different models"):
        choose_bases(even[0], other)


def test_held_out_data_makes_the_space_smaller():
    model = tiny_model()
    few = collect(model, [{key: value[:2] for key, value in general(1)[0].items()}])
    trusting = choose_bases(
        few, collect(model, [{key: value[:3] for key, value in general(1)[0].items()}]), leak=0.1
    )
    held = choose_bases(few, moments(model, 2), leak=0.1)
    assert all(held.dimensions[name][0] <= size for name, (size, _) in trusting.dimensions.items())
    assert sum(size for size, _ in held.dimensions.values()) < sum(
        size for size, _ in trusting.dimensions.values()
    )


def test_a_linear_without_a_null_space_is_left_out_and_named():
    model = tiny_model()
    wide = torch.randint(4, 96, (40, 20), generator=torch.Generator().manual_seed(0))
    batches = [
        {"input_ids": ids, "attention_mask": torch.ones_like(ids)} for ids in (wide, wide.flip(0)[:39])
    ]
    bases = choose_bases(collect(model, batches[:1]), collect(model, batches[1:]), leak=0.001)
    assert bases.left_out == tuple(bases.dimensions)  # a random model with many words reaches every direction
    assert not len(bases)
    with pytest.raises(InputError, match="no linear has a null space"):
        add_null_space(model, bases, rank=2)


def test_at_most_so_many_directions_are_the_weakest():
    model = tiny_model()
    every, some = bases_of(model), bases_of(model, most=4)
    for name in every:
        assert torch.equal(some[name], every[name][:, :4])


def test_what_does_not_fit_together_is_refused():
    model = tiny_model()
    with pytest.raises(InputError, match="same rows"):
        choose_bases(moments(model, 1), moments(model, 1))
    with pytest.raises(InputError, match="different models"):
        choose_bases(moments(model, 1), moments(tiny_model(seed=3), 2))
    with pytest.raises(InputError, match="of another model"):
        add_null_space(tiny_model(seed=3), bases_of(model), rank=2)
    with pytest.raises(InputError, match="has no linear"):
        add_null_space(tiny_model("gpt2"), dict(bases_of(model)), rank=2)
    with pytest.raises(InputError, match="leak above 0"):
        bases_of(model, 0.0)


def test_bases_are_kept_in_a_file(tmp_path: Path):
    bases = bases_of(tiny_model())
    bases.save(tmp_path / "bases")
    again = Bases.load(tmp_path / "bases")
    assert {name: space.shape for name, space in again.items()} == {
        name: space.shape for name, space in bases.items()
    }
    assert all(torch.equal(again[name], bases[name]) for name in bases)
    assert (again.leaks, again.target, again.model, again.left_out) == (bases.leaks, bases.target, bases.model, bases.left_out)  # fmt: skip
    moments(tiny_model(), 1).save(tmp_path / "moments")
    with pytest.raises(InputError, match=r"not a file of aligntax\.bases"):
        Bases.load(tmp_path / "moments")
    some = bases.only(list(bases)[:2])
    assert list(some) == list(bases)[:2]
    with pytest.raises(InputError, match="do not cover"):
        bases.only(["lm_head"])


# The adapter


@pytest.mark.parametrize("layout", LAYOUTS)
def test_fifty_steps_of_adamw_with_decay_stay_inside(layout: str):
    model = tiny_model(layout)
    weights = {name: weight_of(linear).detach().clone() for name, linear in linears(model).items()}
    held, ids = moments(model, 2), general(2)[0]["input_ids"]
    before = model(ids).logits.detach()
    adapted = add_null_space(model, bases_of(model, 0.05), rank=4, multiplier=0.5)
    assert torch.equal(adapted(ids).logits, before)
    step_hard(adapted)
    found = changes(adapted)
    assert len(found) >= 2
    for name, delta in found.items():
        assert delta.norm() > 1e-2 * weights[name].norm()  # it has learned something
        assert leak(delta, held.of(name)) < 0.05
        assert relative_change(delta, weights[name], held.of(name)) < 0.1


def test_the_same_steps_with_an_ordinary_lora_do_leave():
    from peft import LoraConfig, get_peft_model

    model = tiny_model()
    held, bases = moments(model, 2), bases_of(model, 0.05)
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=2, target_modules=sorted(bases)))
    weights = {name: weight_of(linear).detach().clone() for name, linear in linears(adapted).items()}
    step_hard(adapted)
    assert max(leaks(adapted, held).values()) > 0.5
    assert (
        max(relative_change(delta, weights[name], held.of(name)) for name, delta in changes(adapted).items())
        > 0.5
    )


@pytest.mark.parametrize("layout", ["llama", "gpt2", "phi3"])
def test_saved_reloaded_and_merged_it_gives_the_same_logits(layout: str, tmp_path: Path):
    from peft import PeftModel

    adapted = add_null_space(tiny_model(layout), bases_of(tiny_model(layout)), rank=4, multiplier=0.5)
    step_hard(adapted, 5)
    adapted.eval()
    ids = torch.randint(4, 96, (2, 9), generator=torch.Generator().manual_seed(0))
    logits = adapted(ids).logits.detach()
    save_as_lora(adapted, tmp_path)
    said = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (said["peft_type"], said["r"], said["lora_alpha"]) == ("LORA", 4, 2)
    again = PeftModel.from_pretrained(tiny_model(layout), tmp_path)
    assert torch.allclose(again(ids).logits, logits, atol=1e-5)
    with adapted.disable_adapter():
        assert torch.equal(adapted(ids).logits, tiny_model(layout)(ids).logits)
    assert torch.allclose(adapted.merge_and_unload()(ids).logits, logits, atol=1e-5)
    assert torch.allclose(again.merge_and_unload()(ids).logits, logits, atol=1e-5)


@pytest.mark.parametrize("multiplier", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("rank", [1, 4])
def test_the_multiplier_does_not_depend_on_the_rank(rank: int, multiplier: float):
    model = tiny_model()
    adapted = add_null_space(model, bases_of(model), rank=rank, multiplier=multiplier)
    layer = adapted.base_model.model.model.layers[0].mlp.down_proj
    with torch.no_grad():
        layer.lora_B["default"].weight.normal_()
    expected = multiplier * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    assert torch.allclose(layer.get_delta_weight("default"), expected)


def test_only_the_adapter_is_trained_and_the_basis_is_no_parameter():
    model = tiny_model()
    bases = bases_of(model)
    adapted = add_null_space(model, bases, rank=3)
    trained = {name: parameter for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert all(".lora_" in name for name in trained)
    assert sum(parameter.numel() for parameter in trained.values()) == sum(
        3 * (bases[name].shape[1] + linear.n_out)
        for name, linear in linears(tiny_model()).items()
        if name in bases
    )
    held = [module.basis for module in adapted.modules() if type(module).__name__ == "NullSpaceA"]
    assert len({basis.data_ptr() for basis in held}) == len({bases.groups[name] for name in bases})


def test_training_in_bfloat16_stays_inside():
    model = tiny_model()
    held, bases = moments(model, 2), bases_of(model, 0.1)
    adapted = add_null_space(model, bases, rank=4, multiplier=2.0).to(torch.bfloat16)
    step_hard(adapted, 20)
    assert next(iter(changes(adapted).values())).dtype == torch.bfloat16
    assert max(leaks(adapted, held).values()) < 0.1


def test_gradients_pass_through_checkpointed_layers():
    adapted = add_null_space(tiny_model(), bases_of(tiny_model()), rank=2)
    ids = torch.arange(4, 16)[None]
    gradients = []
    for checkpointed in (False, True):
        adapted.zero_grad()
        if checkpointed:
            adapted.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
            adapted.train()
        adapted(input_ids=ids, labels=ids).loss.backward()
        gradients.append(
            adapted.base_model.model.model.layers[0].mlp.down_proj.lora_B["default"].weight.grad.clone()
        )
    assert gradients[0].any()
    assert torch.allclose(*gradients, atol=1e-7)


def test_a_second_adapter_is_held_too_as_trl_makes_one_for_the_reference():
    model = tiny_model()
    bases = bases_of(model)
    adapted = add_null_space(model, bases, rank=2)
    adapted.add_adapter("ref", adapted.peft_config["default"])
    for name, parameter in list(adapted.named_parameters()):
        if ".default." in name:
            adapted.get_parameter(name.replace(".default.", ".ref.")).data.copy_(parameter.data)
    layer = adapted.base_model.model.model.layers[0].mlp.down_proj
    assert torch.equal(layer.lora_A["ref"].weight, layer.lora_A["default"].weight)


def test_loading_takes_an_adapter_of_the_null_space_and_no_other(tmp_path: Path):
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
    from safetensors.torch import load_file

    model = tiny_model()
    bases = bases_of(model)
    first = add_null_space(tiny_model(), bases, rank=2)
    step_hard(first, 3)
    save_as_lora(first, tmp_path / "own")
    second = add_null_space(tiny_model(), bases, rank=2)
    set_peft_model_state_dict(second, load_file(tmp_path / "own" / "adapter_model.safetensors"))
    ids = torch.arange(4, 16)[None]
    assert torch.allclose(second(ids).logits, first(ids).logits, atol=1e-5)

    other = get_peft_model(tiny_model(), LoraConfig(r=2, target_modules=sorted(bases)))
    save_as_lora(other, tmp_path / "other")
    assert residue(tmp_path / "own", bases) < 1e-5
    assert residue(tmp_path / "other", bases) > 0.1
    with pytest.raises(RuntimeError, match="outside the null space"):
        set_peft_model_state_dict(second, load_file(tmp_path / "other" / "adapter_model.safetensors"))


def test_an_adapter_on_a_linear_without_a_null_space_is_refused(tmp_path: Path):
    from peft import LoraConfig, get_peft_model

    bases = dict(bases_of(tiny_model()))
    bases.pop("model.layers.0.mlp.down_proj", None)
    other = get_peft_model(tiny_model(), LoraConfig(r=2, target_modules=["down_proj"]))
    save_as_lora(other, tmp_path)
    assert residue(tmp_path, bases) == 1
    with pytest.raises(InputError, match="no null space for"):
        constrain(other, bases)
    with pytest.raises(InputError, match="no LoRA"):
        residue(tmp_path / "none", bases)


# In a trainer


class Rows(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    def __len__(self) -> int:
        return 32

    def __getitem__(self, at: int) -> dict[str, torch.Tensor]:
        ids = torch.randint(4, 96, (10,), generator=torch.Generator().manual_seed(at))
        return {"input_ids": ids, "labels": ids}


def train(model: Any, folder: Path, *callbacks: Any, resume: bool = False, steps: int = 6) -> Any:
    from transformers import Trainer, TrainingArguments

    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder), max_steps=steps, per_device_train_batch_size=4, learning_rate=0.01, weight_decay=0.1,
            save_steps=2, save_total_limit=None, report_to=[], disable_tqdm=True, use_cpu=True, logging_strategy="no",
            dataloader_pin_memory=False, seed=1,
        ),
        train_dataset=Rows(),
        callbacks=list(callbacks),
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=resume or None)
    return trainer


def test_every_checkpoint_of_a_trainer_is_an_ordinary_lora_inside_the_null_space(tmp_path: Path):
    from peft import PeftModel

    model = tiny_model()
    bases, held = bases_of(model, 0.1), moments(model, 2)
    adapted = add_null_space(model, bases, rank=2, multiplier=2.0)
    train(adapted, tmp_path, SaveAsLora())
    for step in (2, 4, 6):
        folder = tmp_path / f"checkpoint-{step}"
        assert residue(folder, bases) < 1e-5
        loaded = PeftModel.from_pretrained(tiny_model(), folder)
        found = leaks(loaded, held)
        assert set(found) == set(bases)
        assert 0 < max(found.values()) < 0.1
    ids = torch.arange(4, 16)[None]
    assert torch.allclose(loaded(ids).logits, adapted.eval()(ids).logits, atol=1e-5)


@pytest.mark.long  # `weights train` goes on in the null space: tests of training
def test_a_resumed_trainer_ends_where_an_unbroken_one_does(tmp_path: Path):
    bases, ids = bases_of(tiny_model(), 0.1), torch.arange(4, 16)[None]
    torch.manual_seed(3)
    whole = train(add_null_space(tiny_model(), bases, rank=2), tmp_path / "whole").model
    torch.manual_seed(3)
    train(add_null_space(tiny_model(), bases, rank=2), tmp_path / "cut", SaveAsLora())
    for later in ("checkpoint-6", "checkpoint-4"):
        (tmp_path / "cut" / later).rename(tmp_path / later)
    resumed = train(add_null_space(tiny_model(), bases, rank=2), tmp_path / "cut", resume=True).model
    assert torch.allclose(resumed.eval()(ids).logits, whole.eval()(ids).logits, atol=1e-4)


def test_a_checkpoint_outside_the_constraint_stops_the_run(tmp_path: Path):
    from peft import LoraConfig, get_peft_model

    bases = bases_of(tiny_model(), 0.1)
    free = get_peft_model(tiny_model(), LoraConfig(r=2, target_modules=sorted(bases)))
    save_as_lora(free, tmp_path / "checkpoint-2")
    state = type("State", (), {"is_world_process_zero": True, "global_step": 2})
    held = add_null_space(tiny_model(), bases, rank=2)
    assert set(spaces_of(held)) == set(bases)
    with pytest.raises(AlignTaxError, match="outside the null space"):
        SaveAsLora().on_save(type("Args", (), {"output_dir": tmp_path}), state, None, model=held)
    SaveAsLora().on_save(type("Args", (), {"output_dir": tmp_path / "new"}), state, None, model=held)
    assert residue(tmp_path / "new" / "checkpoint-2", bases) < 1e-5  # a trainer that wrote none: written here
