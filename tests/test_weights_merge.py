"""Adapters beside whole models: merged in memory and on the disk, searched with, and refused where they do not fit."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import click.testing
import pytest

pytest.importorskip("peft")

import torch

from aligntax.cli import commands
from aligntax.cli.weights.search import write_command
from aligntax.errors import InputError
from aligntax.weights.adapters import kind_of, load_tuned
from aligntax.weights.loading import load_model, load_tokenizer
from aligntax.weights.merging import RECORD, merge
from aligntax.weights.searching.resident import Resident
from tiny_adapters import adapter_for
from tiny_models import moved, saved, tiny_model, tiny_tokenizer

torch.set_num_threads(1)
# peft 0.21 asks transformers 5.x for a name that is going away: theirs to mend
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("merge")
    base = saved(tiny_model(), root / "base")
    return {"base": base, "adapter": adapter_for(base, root / "adapter"), "root": root}


def by_hand(base: Path, adapter: Path, name: str) -> torch.Tensor:
    """base + scale * B A in float64, rounded once."""
    from safetensors.torch import load_file

    low = load_file(adapter / "adapter_model.safetensors")
    stem = f"base_model.model.{name.removesuffix('.weight')}"
    down, up = (low[f"{stem}.lora_{side}.weight"].double() for side in "BA")
    weight = load_model(base, dtype="auto").state_dict()[name]
    change = 3 * (down @ up)
    return (weight.double() + (change.T if "h." in name else change)).to(weight.dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("layout", ["llama", "gpt2"])
def test_a_merged_model_is_the_base_and_the_change_rounded_once(layout: str, dtype: str, tmp_path: Path):
    base = saved(tiny_model(layout).to(getattr(torch, dtype)), tmp_path / "base")
    adapter = adapter_for(base, tmp_path / "adapter", layout=layout)
    done = merge(base, adapter, tmp_path / "out")
    assert (done.dtype, done.projections, done.tokenizer, done.replaced) == (dtype, 4, "base", ())
    before, after = (load_model(tmp_path / name, dtype="auto").state_dict() for name in ("base", "out"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert len(changed) == 4
    for name in changed:
        wanted = by_hand(base, adapter, name)
        near = torch.finfo(wanted.dtype).eps * wanted.abs().max().item()
        assert after[name].dtype == wanted.dtype
        assert (after[name].double() - wanted.double()).abs().max() <= near
        if dtype == "bfloat16":  # float32 sums are nowhere near the middle between two bfloat16 numbers
            assert torch.equal(after[name], wanted)
    ids = torch.arange(4, 12)[None]
    import peft

    adapted = peft.PeftModel.from_pretrained(load_model(base), str(adapter))
    assert torch.allclose(adapted(ids).logits, load_model(tmp_path / "out")(ids).logits, atol=0.05)


def test_what_is_written_is_an_ordinary_folder_with_a_card(made: dict[str, Path], tmp_path: Path):
    out = tmp_path / "out"
    before = {path: path.read_bytes() for path in (*made["base"].iterdir(), *made["adapter"].iterdir())}
    words = ["weights", "merge", *map(str, (made["base"], made["adapter"])), "-o", str(out)]
    found = click.testing.CliRunner().invoke(commands, words)
    assert found.exit_code == 0, found.output
    assert "4 projections changed" in found.output
    assert load_tokenizer(out)("w1 w2")["input_ids"] == tiny_tokenizer()("w1 w2")["input_ids"]
    record = json.loads((out / RECORD).read_bytes())
    assert set(record["adapter_files"]) == {"adapter_config.json", "adapter_model.safetensors"}
    assert record["files"].keys() == {"config.json", "model.safetensors"}
    assert record["base_files"]["model.safetensors"] in (out / "README.md").read_text()
    assert kind_of(out) == "checkpoint"
    assert {path: path.read_bytes() for path in before} == before
    assert not list(tmp_path.glob("*.partial"))
    again = click.testing.CliRunner().invoke(commands, words)
    assert again.exit_code == 2
    assert "is there already" in again.output


def test_the_tokenizer_of_the_adapter_comes_first(made: dict[str, Path], tmp_path: Path):
    adapter = Path(shutil.copytree(made["adapter"], tmp_path / "adapter"))
    own = tiny_tokenizer()
    own.chat_template = "{{ messages[0]['content'] }} w9"
    own.save_pretrained(adapter)
    assert merge(made["base"], adapter, tmp_path / "out").tokenizer == "adapter"
    assert load_tokenizer(tmp_path / "out").chat_template == own.chat_template


def test_a_base_of_several_types_loses_nothing(made: dict[str, Path], tmp_path: Path):
    model = tiny_model().to(torch.bfloat16)
    model.model.norm.float()
    with torch.no_grad():
        model.model.norm.weight.add_(1e-5)  # bfloat16 has no room for it
    base = saved(model, tmp_path / "base")
    done = merge(base, made["adapter"], tmp_path / "out")
    assert (done.dtype, done.widened) == ("float32", True)
    assert torch.equal(load_model(tmp_path / "out").model.norm.weight, model.model.norm.weight)


@pytest.mark.parametrize("where", ["base", "adapter", "base/inside"])
def test_an_input_is_never_written_to(made: dict[str, Path], where: str):
    before = sorted(made["base"].iterdir()), sorted(made["adapter"].iterdir())
    with pytest.raises(InputError, match="is an input, or lies in its folder"):
        merge(made["base"], made["adapter"], made["root"] / where)
    assert (sorted(made["base"].iterdir()), sorted(made["adapter"].iterdir())) == before


def test_what_cannot_be_merged_is_refused_and_leaves_nothing(made: dict[str, Path], tmp_path: Path):
    other = saved(tiny_model(width=48), tmp_path / "other")
    with pytest.raises(InputError, match="belongs to the model that it was trained on"):
        merge(other, made["adapter"], tmp_path / "out")
    with pytest.raises(InputError, match=r"there is no adapter_config\.json"):
        merge(made["base"], made["base"], tmp_path / "out")
    with pytest.raises(InputError, match="this is an adapter"):
        merge(made["adapter"], made["adapter"], tmp_path / "out")
    broken = Path(shutil.copytree(made["adapter"], tmp_path / "broken"))
    whole = (broken / "adapter_model.safetensors").read_bytes()
    (broken / "adapter_model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError):
        merge(made["base"], broken, tmp_path / "out")
    (tmp_path / "out.partial").mkdir()
    with pytest.raises(InputError, match="another run writes it"):
        merge(made["base"], made["adapter"], tmp_path / "out")
    assert (tmp_path / "out.partial").is_dir()  # not ours to remove
    assert not (tmp_path / "out").exists()


def test_a_change_of_one_of_two_tied_tensors_is_refused_because_both_would_change(tmp_path: Path):
    import peft

    base = saved(tiny_model("gpt2"), tmp_path / "base")  # embedding and head are one matrix
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft warns of the very thing
        config = peft.LoraConfig(r=2, target_modules=["lm_head"], task_type="CAUSAL_LM")
        peft.get_peft_model(load_model(base), config).save_pretrained(str(tmp_path / "adapter"))
    with pytest.raises(InputError, match="lm_head, which is tied"):
        merge(base, tmp_path / "adapter", tmp_path / "out")


def test_an_adapter_that_holds_no_numbers_is_refused(made: dict[str, Path], tmp_path: Path):
    from safetensors.torch import load_file, save_file

    broken = Path(shutil.copytree(made["adapter"], tmp_path / "broken"))
    tensors = load_file(broken / "adapter_model.safetensors")
    first = min(tensors)
    tensors[first] = torch.full_like(tensors[first], float("nan"))
    save_file(tensors, broken / "adapter_model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="not finite"):
        merge(made["base"], broken, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.arange(4, 12)[None]).logits


def test_the_search_moves_between_a_base_and_its_adapter_as_between_whole_models(
    made: dict[str, Path], tmp_path: Path
):
    merge(made["base"], made["adapter"], tmp_path / "merged")
    with_adapter = Resident.from_folders(made["base"], made["adapter"])
    with_model = Resident.from_folders(made["base"], tmp_path / "merged")
    assert sorted(with_adapter.base) == sorted(with_model.base)
    assert len(with_adapter.base) == 4
    for share in (0.0, 0.3, 1.0):
        for held in (with_adapter, with_model):
            held.set(dict.fromkeys(held.base, share))
        assert torch.equal(logits(with_adapter.model), logits(with_model.model))


def test_a_checkpoint_may_be_an_adapter_and_the_search_comes_back_from_it(
    made: dict[str, Path], tmp_path: Path
):
    early = adapter_for(made["base"], tmp_path / "early", rank=1, seed=9)
    held = Resident.from_folders(made["base"], made["adapter"])
    held.set(dict.fromkeys(held.base, 1.0))
    aligned = logits(held.model)
    held.put_folder(early)
    assert torch.equal(logits(held.model), logits(load_tuned(early, made["base"])))
    held.set(dict.fromkeys(held.base, 1.0))
    assert torch.equal(logits(held.model), aligned)
    bare = Resident(load_model(made["base"]), load_tuned(made["adapter"], made["base"]))
    with pytest.raises(InputError, match=r"Resident\.from_folders"):
        bare.put_folder(early)


def test_weights_that_both_models_share_come_back_after_a_checkpoint_that_moved_them(made: dict[str, Path]):
    held = Resident.from_folders(made["base"], made["adapter"])
    held.set(dict.fromkeys(held.base, 1.0))
    aligned = logits(held.model)
    held.put(moved(tiny_model(), by=0.3).named_parameters())  # every tensor, not those of the adapter alone
    held.put(moved(tiny_model(), by=0.2).named_parameters())
    held.set(dict.fromkeys(held.base, 1.0))
    assert torch.equal(logits(held.model), aligned)


def test_the_command_that_writes_a_point_merges_first(made: dict[str, Path]):
    from types import SimpleNamespace

    found: Any = SimpleNamespace(chosen=SimpleNamespace(settings={"blocks": (0.4,)}))
    written = write_command(found, made["base"], made["adapter"])
    assert written is not None
    first, second = written.split(" && ")
    assert first.endswith("-o MERGED")
    assert "weights merge" in first
    assert second == f"aligntax weights average {made['base']} MERGED --ratio 0.4 -o OUT"
