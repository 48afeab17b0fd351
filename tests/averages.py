"""Checkpoints made byte by byte, and averages of them, for the tests of `aligntax weights average`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from aligntax.weights.averaging.average import average
from aligntax.weights.averaging.dtypes import from_float64
from aligntax.weights.averaging.plan import make_plan
from aligntax.weights.averaging.recipe import Model, Recipe
from aligntax.weights.averaging.result import Averaged
from aligntax.weights.ratios import Ratios

Tensors = dict[str, tuple[str, tuple[int, ...], bytes]]


def packed(tensors: Tensors, metadata: dict[str, str] | None = None) -> bytes:
    """A safetensors file, written apart from the code under test."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    body = b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {
            "dtype": dtype,
            "shape": list(shape),
            "data_offsets": [len(body), len(body) + len(raw)],
        }
        body += raw
    said = json.dumps(header).encode()
    return len(said).to_bytes(8, "little") + said + body


def folder_of(path: Path, tensors: Tensors, config: dict[str, Any] | None = None) -> Path:
    path.mkdir(parents=True)
    (path / "model.safetensors").write_bytes(packed(tensors, {"format": "pt"}))
    (path / "config.json").write_text(json.dumps(config or {"model_type": "llama"}), "utf-8")
    return path


def random_raw(dtype: str, count: int, seed: int, scale: float = 1.0) -> bytes:
    values = scale * np.random.default_rng(seed).standard_normal(count)
    out = np.empty(count * {"BF16": 2, "F16": 2, "F32": 4, "F64": 8}[dtype], np.uint8)
    from_float64(values, dtype, out)
    return out.tobytes()


def recipe_of(base: Path, *aligned: Path, blocks: tuple[float, ...] = (0.3,), **said: Any) -> Recipe:
    weights = said.pop("weights", (1.0,) * len(aligned))
    ratios = Ratios(blocks=blocks, roles=said.pop("roles", {}), extrapolate=said.pop("extrapolate", False))
    models = tuple(
        Model(path=str(path), weight=weight) for path, weight in zip(aligned, weights, strict=True)
    )
    return Recipe(base=str(base), models=models, ratios=ratios, **said)


def averaged(out: Path, base: Path, *aligned: Path, **said: Any) -> Averaged:
    return average(make_plan(recipe_of(base, *aligned, **said), out), threads=2)


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every tensor's bytes, read by the safetensors library."""
    from safetensors import safe_open

    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            names = list(opened.keys())
        raw = file.read_bytes()
        length = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + length])
        for name in names:
            start, end = header[name]["data_offsets"]
            found[name] = raw[8 + length + start : 8 + length + end]
    return found
