"""The folder of a training run: whose it is, whether it is finished, and what its inputs were."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from ... import __version__
from ...errors import InputError

CHECKPOINTS = "checkpoints"
RUN = "run.json"
CARD = "card.json"
SELF_ANSWERED = "self-answered"

_SAMPLES, _SAMPLE = 256, 4096  # of a weight file, to tell it from another: how many, and bytes of each

Identity = dict[str, Any]
"""What makes two runs the same one: recipe, model and rows."""


def identity(recipe: msgspec.Struct, model: Path, rows: str, bases: str | None) -> Identity:
    """Of a run: what it was asked to do, with which model, rows and null spaces."""
    return {
        "format": 1,
        "recipe": msgspec.to_builtins(recipe),
        "model": model_identity(model),
        "rows": rows,
        "bases": bases,
    }


def model_identity(model: Path) -> str:
    """A hash that tells models apart, also two of one shape, without reading all of a large one.

    Of the config, and of each weight file its name, size, header and 256 samples spread over its bytes.
    """
    whole = hashlib.sha256((model / "config.json").read_bytes())
    for path in _weights(model):
        size = path.stat().st_size
        whole.update(path.name.encode() + size.to_bytes(8, "little") + _header(path))
        with path.open("rb") as file:
            for place in range(_SAMPLES):
                file.seek(place * max(0, size - _SAMPLE) // (_SAMPLES - 1))
                whole.update(file.read(_SAMPLE))
    return whole.hexdigest()


def begin(folder: Path, known: Identity) -> None:
    """Make the folder this run's. Raises InputError where it is another run's or holds something else."""
    path = folder / RUN
    if path.exists():
        check_same(folder, known)
        return
    refuse_foreign(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, msgspec.json.format(msgspec.json.encode(known, order="sorted"), indent=2))


def refuse_foreign(folder: Path) -> None:
    """Raises InputError where the folder holds something that no run of training has put there."""
    if not folder.exists() or (folder / RUN).exists():
        return
    if any(entry.name != SELF_ANSWERED for entry in folder.iterdir()):
        raise InputError(
            "the folder is not empty",
            where=str(folder),
            remedy="name one that is new: nothing is written over",
        )


def check_same(folder: Path, known: Identity) -> None:
    """Raises InputError where the folder holds a run that differs from this one, saying in what."""
    there = read_json(folder / RUN)
    mine = json.loads(msgspec.json.encode(known))
    if there == mine:
        return
    said = {name for name in ("model", "rows", "bases") if there.get(name) != mine[name]} | {
        f"recipe: {name}"
        for name in mine["recipe"]
        if (there.get("recipe") or {}).get(name) != mine["recipe"][name]
    }
    raise InputError(
        f"the folder holds another run ({', '.join(sorted(said)) or 'its format'} differs)",
        where=str(folder),
        remedy="name a new folder, or give the settings of that run to go on with it",
    )


def refuse_clash(source: Path, folder: Path) -> None:
    """Raises InputError where what is written would lie in the model's folder, or the model in it."""
    there, here = source.resolve(), folder.resolve()
    if here == there or there in here.parents or here in there.parents:
        raise InputError(
            "the model and the output share a folder",
            where=str(folder),
            remedy="name a folder beside the model's",
        )


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each safetensors file of a model and of its config: every byte is read."""
    found = {}
    for path in (folder / "config.json", *_weights(folder)):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def versions() -> dict[str, str]:
    """Versions of what took part."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"aligntax": __version__}
    for name in ("torch", "transformers", "trl", "peft", "accelerate", "safetensors"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def read_json(path: Path) -> dict[str, Any]:
    """An object of JSON. Raises InputError where the file holds none."""
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as fault:
        raise InputError("no JSON", where=str(path), remedy="name a new folder") from fault
    if not isinstance(said, dict):
        raise InputError("no JSON object", where=str(path), remedy="name a new folder")
    return said


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in one step: a reader sees the former content or the new one."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


def _weights(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.glob("*.safetensors"))


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return file.read(min(size, 100_000_000))
