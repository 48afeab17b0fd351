"""Checkpoints are read strictly: what is truncated, corrupt, pickled or hostile is refused in one clear line."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from aligntax.errors import InputError
from aligntax.weights.averaging.checkpoint import open_checkpoint
from averages import folder_of, packed, random_raw

SOUND = {"a": ("F32", (2, 3), bytes(range(24))), "b": ("BF16", (4,), bytes(8))}


def header(**tensors: object) -> bytes:
    said = json.dumps(tensors).encode()
    return len(said).to_bytes(8, "little") + said


def entry(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        open_checkpoint(path)
    line = str(caught.value)
    assert "\n" not in line
    assert str(path) in line
    assert caught.value.remedy
    return line


def test_a_sound_file_is_read_with_types_shapes_and_places(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    path.write_bytes(packed(SOUND, {"format": "pt"}))
    opened = open_checkpoint(path)
    assert list(opened.tensors) == ["a", "b"]
    a = opened.tensors["a"]
    assert (a.dtype, a.shape, a.nbytes) == ("F32", (2, 3), 24)
    assert path.read_bytes()[a.start : a.end] == bytes(range(24))
    assert opened.shards[0].metadata == {"format": "pt"}


HOSTILE = {
    "empty": (b"", "how long its header"),
    "shorter than its length": (b"\x00\x00", "how long its header"),
    "a header longer than the file": ((10**6).to_bytes(8, "little") + b"{}", "how long its header"),
    "a header of 2^63 bytes": ((1 << 63).to_bytes(8, "little") + b"{}", "how long its header"),
    "not JSON": ((4).to_bytes(8, "little") + b"{{{{", "not JSON"),
    "not UTF-8": ((4).to_bytes(8, "little") + b"\xff\xfe{}", "not JSON"),
    "nested too deep": ((200_000).to_bytes(8, "little") + b"[" * 200_000, "not JSON"),
    "a list": ((2).to_bytes(8, "little") + b"[]", "not a JSON object"),
    "truncated": (packed(SOUND)[:-1], "truncated"),
    "bytes at its end": (packed(SOUND) + b"x", "header speaks of"),
    "an unknown type": (header(a=entry("F4")) + bytes(8), "not known"),
    "a type that is no text": (header(a=entry({"x": 1})) + bytes(8), "not known"),
    "a negative size": (header(a=entry(shape=(-2,))) + bytes(8), "not counts"),
    "a size that is true": (header(a=entry(shape=(True,))) + bytes(8), "not counts"),
    "a fractional offset": (header(a=entry(offsets=(0, 8.0))) + bytes(8), "not counts"),
    "a shape that is not its bytes": (header(a=entry(shape=(3,))) + bytes(8), "has 8 bytes"),
    "a size that overflows": (header(a=entry(shape=(2**62, 2**62))) + bytes(8), "has 8 bytes"),
    "overlapping tensors": (header(a=entry(), b=entry(offsets=(4, 12))) + bytes(12), "does not begin"),
    "a hole": (header(a=entry(), b=entry(offsets=(12, 20))) + bytes(20), "does not begin"),
    "offsets that run backwards": (header(a=entry(offsets=(8, 0))) + bytes(8), "has -8 bytes"),
    "a field too many": (header(a={**entry(), "run": "x"}) + bytes(8), "not described by"),
    "metadata that is no text": (header(__metadata__={"a": 1}), "metadata"),
    "an escape in a name": (header(**{"a\x1b[31m": entry()}) + bytes(8), "unprintable name"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_broken_or_hostile_file_is_refused_in_one_line(what: str, tmp_path: Path) -> None:
    raw, expected = HOSTILE[what]
    path = tmp_path / "model.safetensors"
    path.write_bytes(raw)
    assert expected in refusal(path)


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    said = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(said).to_bytes(8, "little") + said + b"x")
    assert "twice" in refusal(path)


class Attack:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return open, ("ran.txt", "w")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt"])
def test_a_pickle_is_never_opened(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / name).write_bytes(pickle.dumps(Attack()))
    with pytest.raises(InputError, match="pickled"):
        open_checkpoint(folder)
    with pytest.raises(InputError, match="pickled"):
        open_checkpoint(folder / name)
    (folder / name).rename(folder / "model.safetensors")
    refusal(folder / "model.safetensors")
    assert not Path("ran.txt").exists()


def test_an_adapter_is_refused_and_told_to_be_merged_first(tmp_path: Path) -> None:
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora" / "adapter_config.json").write_text('{"peft_type": "LORA"}', "utf-8")
    (tmp_path / "lora" / "adapter_model.safetensors").write_bytes(packed(SOUND))
    for path in (tmp_path / "lora", tmp_path / "lora" / "adapter_model.safetensors"):
        assert "is an adapter" in (line := refusal(path))
        assert "aligntax weights merge" in line


def sharded(folder: Path, weight_map: object) -> Path:
    folder.mkdir()
    (folder / "one.safetensors").write_bytes(packed({"a": SOUND["a"]}))
    (folder / "two.safetensors").write_bytes(packed({"b": SOUND["b"]}))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}), "utf-8")
    return folder


def test_shards_are_read_as_one(tmp_path: Path) -> None:
    opened = open_checkpoint(sharded(tmp_path / "m", {"a": "one.safetensors", "b": "two.safetensors"}))
    assert [(name, tensor.shard) for name, tensor in opened.tensors.items()] == [("a", 0), ("b", 1)]


@pytest.mark.parametrize(
    ("weight_map", "expected"),
    [
        ({"a": "../one.safetensors"}, "outside its folder"),
        ({"a": "/etc/passwd"}, "outside its folder"),
        ({"a": ".."}, "outside its folder"),
        ({"a": "x\\one.safetensors"}, "outside its folder"),
        ({"a": 3}, "outside its folder"),
        ({"a": "three.safetensors"}, "not there"),
        ({"a": "one.bin"}, "pickled"),
        ({"a": "README.md"}, "not named as a safetensors file"),
        ({"a": "two.safetensors", "b": "two.safetensors"}, "the index puts tensor"),
        ({"a": "one.safetensors", "b": "one.safetensors"}, "the index puts tensor b"),
        ({"a": "one.safetensors", "c": "two.safetensors"}, "the index puts tensor"),
        ({}, "names no tensor"),
        (None, "names no tensor"),
    ],
)
def test_an_index_that_does_not_hold_is_refused(weight_map: object, expected: str, tmp_path: Path) -> None:
    folder = sharded(tmp_path / "m", weight_map)
    with pytest.raises(InputError, match=expected):
        open_checkpoint(folder)


def test_two_files_without_an_index_and_empty_folders_are_refused(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "m", {})
    (folder / "model.safetensors.index.json").unlink()
    assert "no index" in refusal(folder)
    (tmp_path / "empty").mkdir()
    assert "no safetensors file" in refusal(tmp_path / "empty")
    assert "no such checkpoint" in refusal(tmp_path / "nowhere")


def test_the_fingerprint_tells_contents_apart_and_is_the_same_twice(tmp_path: Path) -> None:
    made = [
        open_checkpoint(
            folder_of(tmp_path / str(at), {"a": ("F32", (50, 50), random_raw("F32", 2500, seed))})
        )
        for at, seed in enumerate((0, 0, 1))
    ]
    first, same, other = (one.fingerprint() for one in made)
    assert first == same
    assert first != other
