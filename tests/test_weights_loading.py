"""What is loaded from a folder, and what a hostile folder gets: one clear line, and none of its code run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

import torch

from aligntax.errors import InputError
from aligntax.weights.loading import load_model, load_tokenizer, rows
from tiny_models import LAYOUTS, saved, tiny_model

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny_model(), tmp_path_factory.mktemp("model"))


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "model"))


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def refused(folder: Path) -> str:
    with pytest.raises(InputError) as fault:
        load_model(folder)
    assert "\n" not in str(fault.value)
    return str(fault.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_saved_model_loads_as_it_was(layout: str, tmp_path: Path):
    model = tiny_model(layout)
    loaded = load_model(saved(model, tmp_path / layout))
    ids = torch.arange(4, 14)[None]
    assert torch.equal(model(ids).logits, loaded(ids).logits)
    assert not loaded.training


def test_shards_and_dtype(tmp_path: Path):
    folder = saved(tiny_model(), tmp_path / "model", max_shard_size="30KB")
    assert (folder / "model.safetensors.index.json").exists()
    assert load_model(folder, dtype="bfloat16").dtype == torch.bfloat16
    assert load_model(folder, dtype="auto").dtype == torch.float32


def test_nothing_is_drawn_while_a_model_loads_and_afterwards_bars_are_as_before(
    good: Path, capfd: pytest.CaptureFixture[str]
):
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled()
    try:
        for drawn in (True, False):
            (logging.enable_progress_bar if drawn else logging.disable_progress_bar)()
            load_model(good)
            assert logging.is_progress_bar_enabled() is drawn
    finally:
        (logging.enable_progress_bar if before else logging.disable_progress_bar)()
    assert capfd.readouterr() == ("", "")


def test_the_tokenizer_pads_on_the_left(good: Path):
    tokenizer = load_tokenizer(good)
    assert tokenizer(["w1 w2", "w1"], padding=True)["input_ids"][1][0] == tokenizer.pad_token_id


def test_a_folder_that_is_none(tmp_path: Path):
    assert "no such folder" in refused(tmp_path / "none")
    with pytest.raises(InputError, match="no such folder"):
        load_tokenizer(tmp_path / "none")
    assert "no config.json" in refused(tmp_path)


def test_a_folder_of_pickles_is_refused_before_one_is_read(folder: Path):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    assert "pickles" in refused(folder)


@pytest.mark.parametrize(
    "shard", ["../elsewhere.safetensors", "/elsewhere.safetensors", "a\\..\\b.safetensors"]
)
def test_an_index_that_leads_out_of_the_folder_is_refused(folder: Path, shard: str):
    (folder.parent / "elsewhere.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"lm_head.weight": shard}})
    )
    assert "outside the folder" in refused(folder)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({"weight_map": {"a": "absent.safetensors"}}, "absent.safetensors is in the index"),
        ({"weight_map": {"a": "pytorch_model.bin"}}, "not safetensors"),
        ({"weight_map": {}}, "no weight_map"),
        ([], "no JSON object"),
    ],
)
def test_an_index_that_is_wrong_is_refused(folder: Path, index: Any, words: str):
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert words in refused(folder)


def with_code(folder: Path, **fields: Any) -> Path:
    ran = folder.parent / "ran"
    (folder / "modeling_own.py").write_text(
        f"open({str(ran)!r}, 'w')\nclass Own: ...\nclass OwnConfig: ...\n"
    )
    auto_map = {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.Own"}
    change(folder / "config.json", auto_map=auto_map, **fields)
    return ran


def test_code_that_a_folder_brings_is_not_run(folder: Path):
    ran = with_code(folder, model_type="own")
    assert "remote code is not run" in refused(folder)
    assert not ran.exists()


def test_where_transformers_has_the_class_the_code_of_the_folder_is_passed_over(folder: Path):
    ran = with_code(folder)  # as the first checkpoints of Phi-3 still have it
    assert type(load_model(folder)).__module__.startswith("transformers.models.llama")
    assert not ran.exists()


def test_an_adapter_is_not_a_model(folder: Path):
    (folder / "adapter_config.json").write_text("{}")
    assert "adapter" in refused(folder)


def test_a_truncated_file_is_refused(folder: Path):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "does not load" in refused(folder)


def test_a_tensor_that_is_not_there_is_an_error_and_not_random(folder: Path):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.0.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    assert "model.layers.0.mlp.up_proj.weight" in refused(folder)


def test_a_config_of_another_shape_is_refused(folder: Path):
    change(folder / "config.json", intermediate_size=48)
    assert "does not load" in refused(folder)


def test_rows_are_read_whole(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a", "n": 1}\n\n{"prompt": "b"}\n')
    assert rows(path) == [{"prompt": "a", "n": 1}, {"prompt": "b"}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"prompt": "a"}\n{"prompt": "sec', ":2: no JSON"),
        ('["secret"]', ":1: no JSON object"),
        ('{"prompt": "a"}\n{"text": "secret"}', ':2: no text under "prompt"'),
        ('{"prompt": "  "}', ':1: no text under "prompt"'),
        ('{"prompt": 3}', ':1: no text under "prompt"'),
        ("\n", "no row"),
    ],
)
def test_a_row_that_is_wrong_is_named_by_line_and_not_by_its_text(tmp_path: Path, text: str, words: str):
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    with pytest.raises(InputError) as fault:
        rows(path)
    assert words in str(fault.value)
    assert "secret" not in str(fault.value)


def test_a_file_of_rows_that_is_not_there(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read"):
        rows(tmp_path / "none.jsonl")


def test_a_tokenizer_that_reads_nothing_is_refused(tmp_path):
    folder = saved(tiny_model("qwen2"), tmp_path / "m")
    with pytest.raises(InputError, match="finds no token"):
        load_tokenizer(folder)
