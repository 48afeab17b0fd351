"""Ratios tried in place: ends bit for bit, ties once, and a forward pass that is seen to follow."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from aligntax.errors import InputError
from aligntax.weights.averaging.average import average
from aligntax.weights.averaging.plan import make_plan
from aligntax.weights.averaging.recipe import Model, Recipe
from aligntax.weights.layout import place_of
from aligntax.weights.loading import load_model
from aligntax.weights.ratios import Ratios
from aligntax.weights.searching.resident import Resident, StaleWeights
from tiny_models import LAYOUTS, moved, saved, tiny_model

torch.set_num_threads(1)


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_ends_are_the_two_models_bit_for_bit(layout: str, dtype: torch.dtype) -> None:
    base = tiny_model(layout).to(dtype)
    aligned = moved(base)
    first, second = weights(base), weights(aligned)
    resident = Resident(base, aligned)
    for share, expected in ((1.0, second), (0.37, None), (0.0, first), (1.0, second)):
        resident.set(Ratios(blocks=(share,)))
        if expected is not None:
            assert all(torch.equal(now, expected[name]) for name, now in weights(base).items())
    resident.prove()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_between_the_ends_one_rounding_is_made(dtype: torch.dtype) -> None:
    base = tiny_model().to(dtype)
    aligned = moved(base)
    first, second = weights(base), weights(aligned)
    Resident(base, aligned).set(Ratios(blocks=(0.3,)))
    for name, now in weights(base).items():
        exact = first[name].double() + 0.3 * (second[name].double() - first[name].double())
        step = torch.maximum(exact.abs(), torch.tensor(1e-4)) * torch.finfo(dtype).eps
        assert bool(((now.double() - exact).abs() <= step).all()), name


def test_each_block_and_role_takes_its_own_share() -> None:
    base = tiny_model(layers=3)
    aligned = moved(base)
    first, second = weights(base), weights(aligned)
    resident = Resident(base, aligned)
    resident.set(Ratios(blocks=(1.0, 0.0, 1.0), roles={"mlp": 0.0, "head": 0.0, "embedding": "last"}))
    for name, now in weights(base).items():
        place = place_of(name)
        stays = place.role in ("mlp", "head") or place.layer == 1
        assert torch.equal(now, (first if stays else second)[name]), name


def test_a_share_per_parameter_is_taken_as_given() -> None:
    base = tiny_model()
    aligned = moved(base)
    second = weights(aligned)
    resident = Resident(base, aligned)
    shares = {name: float(place_of(name).role == "attention") for name in resident.base}
    resident.set(shares)
    changed = [name for name, now in weights(base).items() if torch.equal(now, second[name])]
    assert changed == [name for name in second if place_of(name).role == "attention"]
    with pytest.raises(InputError, match="no ratio for"):
        resident.set({"lm_head.weight": 1.0})


def test_equal_parameters_take_no_room_and_buffers_stay() -> None:
    base = tiny_model()
    aligned = copy.deepcopy(base)
    with torch.no_grad():
        aligned.model.layers[1].mlp.up_proj.weight.add_(0.1)
    buffers = {name: buffer.clone() for name, buffer in base.named_buffers()}
    resident = Resident(base, aligned)
    assert list(resident.base) == ["model.layers.1.mlp.up_proj.weight"]
    assert resident.roles == ("mlp",)
    resident.set(Ratios(blocks=(0.5,)))
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in base.named_buffers())


def test_tied_parameters_are_set_once(tmp_path: Path) -> None:
    base = tiny_model("gpt2")
    aligned = moved(base)
    resident = Resident.from_folders(saved(base, tmp_path / "base"), saved(aligned, tmp_path / "aligned"))
    assert [name for name in resident.base if place_of(name).role == "head"] == []
    resident.set(Ratios(blocks=(1.0,)))
    model = resident.model
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert torch.equal(model.get_output_embeddings().weight, aligned.get_input_embeddings().weight)


@pytest.mark.parametrize("shards", ["50GB", "20KB"])
def test_folders_are_streamed_whether_in_shards_or_not(tmp_path: Path, shards: str) -> None:
    base = tiny_model("llama")
    aligned = moved(base)
    folders = [
        saved(model, tmp_path / name, max_shard_size=shards)
        for name, model in (("base", base), ("aligned", aligned))
    ]
    resident = Resident.from_folders(*folders)
    resident.set(Ratios(blocks=(1.0,)))
    expected = weights(aligned)
    assert all(torch.equal(now, expected[name]) for name, now in weights(resident.model).items())
    resident.put_folder(folders[0])
    expected = weights(base)
    assert all(torch.equal(now, expected[name]) for name, now in weights(resident.model).items())
    resident.set(Ratios(blocks=(1.0,)))  # comes back from other weights
    expected = weights(moved(base))
    assert all(torch.equal(now, expected[name]) for name, now in weights(resident.model).items())


def test_a_parameter_that_somebody_replaced_is_noticed() -> None:
    base = tiny_model()
    resident = Resident(base, moved(base))
    layer = base.model.layers[0].mlp
    layer.up_proj.weight = torch.nn.Parameter(layer.up_proj.weight.detach().clone())
    with pytest.raises(StaleWeights, match="was replaced"):
        resident.set(Ratios(blocks=(0.5,)))


def test_a_forward_pass_that_keeps_old_weights_is_noticed() -> None:
    base = tiny_model()
    resident = Resident(base, moved(base))
    frozen = copy.deepcopy(base)
    base.forward = frozen.forward  # a copy made once at construction: the fault of the paper's own code
    with pytest.raises(StaleWeights, match="logits"):
        resident.set(Ratios(blocks=(0.5,)))


def test_models_that_do_not_fit_are_refused_by_the_tensor(tmp_path: Path) -> None:
    base = tiny_model()
    with pytest.raises(InputError, match=r"embed_tokens.weight is 96x16 in one model and 96x32 in the other"):
        Resident(base, tiny_model(width=16))
    with pytest.raises(InputError, match=r"is not in the (base|aligned) model"):
        Resident(base, tiny_model(layers=3))
    with pytest.raises(InputError, match="same weights"):
        Resident(base, copy.deepcopy(base))
    folders = [
        saved(model, tmp_path / name) for name, model in (("a", base), ("b", moved(tiny_model(layers=3))))
    ]
    with pytest.raises(InputError, match="num_hidden_layers is 2 in the base and 3 here"):
        Resident.from_folders(*folders)
    cut = tmp_path / "b" / "model.safetensors"
    cut.write_bytes(cut.read_bytes()[:-100])
    other = saved(tiny_model(layers=3), tmp_path / "c")
    with pytest.raises(InputError, match="no whole safetensors"):
        Resident.from_folders(other, tmp_path / "b")


def test_damaged_weights_are_not_scored() -> None:
    base = tiny_model()
    aligned = moved(base)
    with torch.no_grad():
        aligned.lm_head.weight[0, 0] = float("nan")
    resident = Resident(base, aligned)
    with pytest.raises(Exception, match="no finite numbers"):
        resident.set(Ratios(blocks=(1.0,)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layout", ["llama", "gpt2"])
def test_the_point_that_is_measured_is_the_point_that_is_written(
    tmp_path: Path, layout: str, dtype: torch.dtype
) -> None:
    base = tiny_model(layout, layers=3).to(dtype)
    aligned = moved(base)
    folders = [saved(model, tmp_path / name) for name, model in (("base", base), ("aligned", aligned))]
    ratios = Ratios(blocks=(0.35, 0.9, 0.0), roles={"mlp": (0.2, 1.0, 0.45)})
    recipe = Recipe(base=str(folders[0]), models=(Model(path=str(folders[1])),), ratios=ratios)
    average(make_plan(recipe, tmp_path / "out"))
    resident = Resident.from_folders(*folders)
    resident.set(ratios)
    written = weights(load_model(tmp_path / "out", dtype="auto"))
    assert [
        name for name, now in weights(resident.model).items() if not torch.equal(now, written[name])
    ] == []
