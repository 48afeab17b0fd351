"""The linears of every layout, and which of them read the same input."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("transformers")

import torch

from aligntax.errors import InputError
from aligntax.weights.linears import count_experts, linears, weight_of
from tiny_models import LAYOUTS, VOCABULARY, tiny_model

torch.set_num_threads(1)
# peft 0.21 asks transformers 5.x for a name that is going away: theirs to mend
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

ORDINARY = ({"q_proj", "k_proj", "v_proj"}, {"o_proj"}, {"gate_proj", "up_proj"}, {"down_proj"})
GROUPS = {
    "llama": ORDINARY,
    "mistral": ORDINARY,
    "qwen2": ORDINARY,
    "gemma": ORDINARY,
    "phi": ({"q_proj", "k_proj", "v_proj", "fc1"}, {"dense"}, {"fc2"}),  # attention and MLP side by side
    "phi3": ({"qkv_proj"}, {"o_proj"}, {"gate_up_proj"}, {"down_proj"}),
    "gpt2": ({"attn.c_attn"}, {"attn.c_proj"}, {"mlp.c_fc"}, {"mlp.c_proj"}),
}


def adapted(model: Any) -> Any:
    peft = pytest.importorskip("peft")
    names = [name.split(".", 2)[-1] for name in linears(model)]
    conv = any(linear.input_major for linear in linears(model).values())
    return peft.get_peft_model(
        model, peft.LoraConfig(r=2, target_modules=names, fan_in_fan_out=conv, lora_dropout=0.1)
    )


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_groups_are_those_that_read_the_same_input(layout: str, wrapped: bool):
    model = tiny_model(layout)
    plain = linears(model)
    found = linears(adapted(model)) if wrapped else plain
    assert list(found) == list(plain)
    for layer in range(2):
        groups: dict[str, set[str]] = {}
        for linear in found.values():
            if linear.layer == layer:
                short = ".".join(linear.name.split(".")[-2 if layout == "gpt2" else -1 :])
                groups.setdefault(linear.group, set()).add(short)
        assert sorted(map(sorted, groups.values())) == sorted(map(sorted, GROUPS[layout]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_weight_is_a_view_of_out_by_in(layout: str):
    model = tiny_model(layout)
    for linear in linears(model).values():
        weight = weight_of(linear)
        assert tuple(weight.shape) == (linear.n_out, linear.n_in)
        x = torch.randn(3, linear.n_in)
        bias = getattr(linear.module, "bias", None)
        assert torch.allclose(linear.module(x) - (0 if bias is None else bias), x @ weight.T, atol=1e-6)
        with torch.no_grad():
            weight.zero_()
        assert not linear.module.weight.any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_embeddings_and_head_are_left_out_and_every_layer_is_in(layout: str):
    found = linears(tiny_model(layout, layers=3))
    assert {linear.layer for linear in found.values()} == {0, 1, 2}
    assert {linear.role for linear in found.values()} == {"attention", "mlp"}
    assert not any(
        VOCABULARY in (linear.n_in, linear.n_out) and "attn.c_attn" not in linear.name
        for linear in found.values()
    )


@pytest.mark.parametrize("layout", ["llama", "gpt2"])
def test_without_groups_a_model_without_weights_will_do(layout: str):
    from transformers import AutoModelForCausalLM

    from tiny_models import tiny_config

    with torch.device("meta"):
        bare = AutoModelForCausalLM.from_config(tiny_config(layout))
    found = linears(bare, grouped=False)
    whole = linears(tiny_model(layout))
    assert list(found) == list(whole)
    assert all(one.group == name for name, one in found.items())
    for name, one in found.items():
        assert (one.layer, one.role, one.n_in, one.n_out) == (
            whole[name].layer, whole[name].role, whole[name].n_in, whole[name].n_out,
        )  # fmt: skip


def test_looking_changes_nothing_in_the_model():
    model = tiny_model().train()
    model.model.layers[0].eval()
    modes = [module.training for module in model.modules()]
    linears(model)
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_experts_of_a_mixture_are_left_out_and_counted():
    from transformers import MixtralConfig, MixtralForCausalLM

    model = MixtralForCausalLM(
        MixtralConfig(
            vocab_size=VOCABULARY, hidden_size=32, intermediate_size=16, num_hidden_layers=1, num_attention_heads=4,
            num_key_value_heads=2, num_local_experts=4, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        )
    )  # fmt: skip
    assert {linear.role for linear in linears(model).values()} == {"attention"}
    assert count_experts(model) == 4 * 3 * 32 * 16
    assert count_experts(tiny_model()) == 0


def test_a_model_without_layers_is_an_error():
    with pytest.raises(InputError, match="no linear maps"):
        linears(torch.nn.Sequential(torch.nn.Linear(2, 2)))
