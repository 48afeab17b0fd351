"""Certificates made up for tests of what shows them: seeded, of any size."""

from __future__ import annotations

import random
from typing import Any

from aligntax.types import Estimate
from aligntax.weights.certifying.certificate import (
    Certificate,
    Data,
    Drift,
    Effect,
    Leak,
    Matrix,
    Outside,
    Side,
    leak_ruling,
    overall,
)

KINDS = {
    "self_attn.q_proj": (8192, 8192),
    "self_attn.k_proj": (1024, 8192),
    "self_attn.v_proj": (1024, 8192),
    "self_attn.o_proj": (8192, 8192),
    "mlp.gate_proj": (28672, 8192),
    "mlp.up_proj": (28672, 8192),
    "mlp.down_proj": (8192, 28672),
}


def certificate(
    layers: int = 80,
    *,
    high: float = 0.0,
    outside: tuple[Outside, ...] = (),
    name: str = "tuned",
    enough: bool = True,
    **fields: Any,
) -> Certificate:
    """Of a model with 7 matrices a layer; `high` is the share of them that leak far more than the target of 0.1."""
    chance = random.Random(layers)
    matrices = tuple(
        _matrix(f"model.layers.{layer}.{kind}", layer, shape, chance, high, layers, enough)
        for layer in range(layers)
        for kind, shape in KINDS.items()
    )
    side = {"dtypes": ("BF16",), "parameters": 70_553_706_496}
    told: dict[str, Any] = {
        "aligntax": "0.4.0",
        "written": "2026-03-04T10:20:30+00:00",
        "packages": {"torch": "2.13.0", "transformers": "5.23.0"},
        "dtype": "bfloat16",
        "held_out_share": 0.3,
        "max_tokens": 512,
        "chat": None,
        "target": 0.1,
        "level": 0.95,
        "base": Side(name="base", kind="checkpoint", sha256="a" * 64, **side),
        "tuned": Side(name=name, kind="adapter", sha256="b" * 64, dtypes=("F32",), parameters=12_345_678),
        "calibration": Data(name="general.jsonl", sha256="c" * 64, rows=1400, tokens=301_222),
        "held_out": Data(name="general.jsonl", sha256="c" * 64, rows=600, tokens=129_870),
        "displacement": 12.3,
        "matrices": matrices,
        "outside": outside,
        "settings": (),
        "rounded": 0,
        "more_calibration": 0,
        "more_held_out": 0 if enough else 4000,
        "drift": Drift(
            kl=_estimate(0.00213, 0.00188, 0.0024), kl_p95=0.0061, agreement=_estimate(0.987, 0.984, 0.99),
            rows=600, tokens=61_244, unanswered=0,
        ),
        "ruling": overall((matrix.ruling for matrix in matrices), otherwise_changed=bool(outside)),
        "notes": (),
    }  # fmt: skip
    return Certificate(**(told | fields))


def _matrix(
    name: str,
    layer: int,
    shape: tuple[int, int],
    chance: random.Random,
    high: float,
    layers: int,
    enough: bool,
) -> Matrix:
    depth = layer / max(layers - 1, 1)
    value = (0.02 + 0.045 * depth) * chance.uniform(0.7, 1.3)
    if chance.random() < high:
        value = chance.uniform(0.3, 1.2)
    leak = Leak(
        calibration=value * chance.uniform(0.9, 1.0), held_out=value, low=value * 0.94, high=value * 1.07
    )
    norm = chance.uniform(0.2, 0.9)
    return Matrix(
        name=name, layer=layer, role="attention" if "attn" in name else "mlp", n_out=shape[0], n_in=shape[1],
        norm=norm, relative_norm=norm / 90, share=1 / (7 * layers), spectral_norm=norm / 2, stable_rank=4.0,
        effective_rank=chance.uniform(5, 8), tokens=129_870, leak=leak,
        effect=Effect(calibration=value / 80, held_out=value / 78), ruling=leak_ruling(leak, 0.1, enough=enough),
    )  # fmt: skip


def _estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(
        value=value, low=low, high=high, level=0.95, n=600, n_labels=0,
        method="percentile bootstrap over 600 rows, 2000 draws", corrected=False,
    )  # fmt: skip


def norm_of(layer: int, share: float = 0.004) -> Outside:
    """A norm that was trained along."""
    return Outside(
        name=f"model.layers.{layer}.input_layernorm.weight",
        layer=layer,
        why="norm",
        norm=0.2,
        relative_norm=0.01,
        share=share,
    )
