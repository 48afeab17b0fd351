"""An adapter is as strong as it says, on the modules that it names, whatever its rank."""

from __future__ import annotations

import pytest

from aligntax.errors import InputError
from aligntax.weights.linears import bare_name, linears
from aligntax.weights.training.lora import (
    LoraRecipe,
    check_scale,
    chosen_linears,
    effective_scales,
    peft_config,
    read_layers,
)
from tiny_models import LAYOUTS, tiny_model

# PEFT reads an attribute of the model that transformers has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def adapted(layout: str, recipe: LoraRecipe) -> tuple[object, set[str]]:
    """The model with that adapter, and the modules that carry it by their bare names."""
    import peft

    model = tiny_model(layout)
    wrapped = peft.get_peft_model(model, peft_config(recipe, linears(model)))
    return wrapped, {bare_name(name) for name in effective_scales(wrapped)}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "recipe",
    [
        LoraRecipe(),
        LoraRecipe(targets=("attention",)),
        LoraRecipe(targets=("mlp",), layers=(1, 1)),
    ],
    ids=["all", "attention", "mlp of layer 1"],
)
def test_the_modules_that_are_named_are_adapted_and_no_others(layout: str, recipe: LoraRecipe) -> None:
    model, found = adapted(layout, recipe)
    assert found == {one.name for one in chosen_linears(recipe, linears(tiny_model(layout)))}
    assert found
    check_scale(recipe, model)


@pytest.mark.parametrize("stabilised", [False, True])
@pytest.mark.parametrize("multiplier", [2.0, 0.7])
def test_a_sweep_over_ranks_keeps_the_effective_scale(stabilised: bool, multiplier: float) -> None:
    for rank in (1, 2, 3, 8):
        recipe = LoraRecipe(rank=rank, multiplier=multiplier, rank_stabilised=stabilised, targets=("o_proj",))
        scales = list(effective_scales(adapted("llama", recipe)[0]).values())
        assert scales == pytest.approx([multiplier] * 2, rel=1e-12)


def test_a_fixed_alpha_would_not_have_kept_it() -> None:
    import peft

    scales = []
    for rank in (1, 8):
        config = peft.LoraConfig(r=rank, lora_alpha=16, target_modules=["o_proj"])
        scales.append(set(effective_scales(peft.get_peft_model(tiny_model(), config)).values()))
    assert scales == [{16.0}, {2.0}]


def test_an_effect_of_the_scale_is_seen_in_the_weights() -> None:
    import torch

    recipe = LoraRecipe(rank=4, multiplier=3.0, targets=("up_proj",), layers=(0, 0))
    model, _ = adapted("llama", recipe)
    layer = model.base_model.model.model.layers[0].mlp.up_proj  # type: ignore[attr-defined]
    torch.nn.init.normal_(layer.lora_B["default"].weight)
    expected = 3.0 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    torch.testing.assert_close(layer.get_delta_weight("default"), expected)


def test_a_scale_that_is_not_the_recipes_is_found() -> None:
    model, _ = adapted("llama", LoraRecipe(multiplier=2.0))
    with pytest.raises(InputError, match=r"scale is not 4\.0"):
        check_scale(LoraRecipe(multiplier=4.0), model)


def test_servers_find_modules_by_their_last_name_where_that_is_enough() -> None:
    found = linears(tiny_model("llama"))
    assert peft_config(LoraRecipe(targets=("attention",)), found).target_modules == {
        "q_proj", "k_proj", "v_proj", "o_proj",
    }  # fmt: skip
    config = peft_config(LoraRecipe(targets=("up_proj",), layers=(1, 1)), found)
    assert (config.target_modules, config.layers_to_transform) == ({"up_proj"}, [1])
    fused = peft_config(LoraRecipe(targets=("attention",)), linears(tiny_model("gpt2")))
    assert fused.target_modules == {"attn.c_attn", "attn.c_proj"}  # mlp.c_proj ends alike
    assert fused.fan_in_fan_out


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"rank": 0}, "rank 0"),
        ({"multiplier": 0.0}, "multiplier"),
        ({"multiplier": float("nan")}, "multiplier"),
        ({"dropout": 1.0}, "dropout"),
        ({"targets": ()}, "no module"),
        ({"layers": (3, 1)}, "3-1"),
    ],
)
def test_values_out_of_range_are_refused(said: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LoraRecipe(**said)  # type: ignore[arg-type]


def test_names_and_layers_that_the_model_lacks_are_refused_with_those_it_has() -> None:
    found = linears(tiny_model("llama"))
    with pytest.raises(InputError, match=r"'w_up'.*up_proj"):
        peft_config(LoraRecipe(targets=("w_up",)), found)
    with pytest.raises(InputError, match=r"no layer 2 .*0-1"):
        peft_config(LoraRecipe(layers=(1, 2)), found)


def test_layers_are_read_as_a_range_or_as_one() -> None:
    assert read_layers("8-23") == (8, 23)
    assert read_layers(" 5 ") == (5, 5)
    for wrong in ("", "a-b", "3-", "1-2-3", "-1"):
        with pytest.raises(InputError, match="names no layers"):
            read_layers(wrong)
