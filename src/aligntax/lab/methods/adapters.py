"""Low-rank adapters: plain ones at a fixed multiplier, and those that stay in the null space of general text."""

from __future__ import annotations

from typing import Any

from ...weights.linears import linears
from ...weights.training.lora import LoraRecipe, check_scale, peft_config
from ..bench import Attempts, Bench
from . import Family
from .training import sweep

MULTIPLIER = 2.0
"""Of every adapter, whatever its rank: a sweep over ranks must not be a sweep over step sizes."""
RANK = 8


def lora_1(bench: Bench, attempts: Attempts) -> None:
    """Rank 1."""
    _lora(bench, attempts, LoraRecipe(rank=1, multiplier=MULTIPLIER), "lora-1")


def lora_8(bench: Bench, attempts: Attempts) -> None:
    """Rank 8."""
    _lora(bench, attempts, LoraRecipe(rank=8, multiplier=MULTIPLIER), "lora-8")


def lora_32(bench: Bench, attempts: Attempts) -> None:
    """Rank 32."""
    _lora(bench, attempts, LoraRecipe(rank=32, multiplier=MULTIPLIER), "lora-32")


def lora_up(bench: Bench, attempts: Attempts) -> None:
    """Rank 1 on one matrix of the middle layers."""
    n = bench.plan.scale.shape.layers
    middle = (n // 3, max(n // 3, n - n // 3 - 1))
    recipe = LoraRecipe(rank=1, multiplier=MULTIPLIER, targets=("up_proj",), layers=middle)
    _lora(bench, attempts, recipe, "lora-up")


def null_lora(bench: Bench, attempts: Attempts) -> None:
    """Rank 8 inside the null space."""
    sweep(bench, attempts, "null", lambda: (_in_null_space(bench), None, None))


def nspo(bench: Bench, attempts: Attempts) -> None:
    """GRPO inside the null space."""
    sweep(bench, attempts, "nspo", lambda: (_in_null_space(bench), None, None), method="grpo")


def _lora(bench: Bench, attempts: Attempts, recipe: LoraRecipe, family: Family) -> None:
    def make() -> Any:
        import peft

        model = bench.fresh()
        _seeded(bench)
        wrapped = peft.get_peft_model(model, peft_config(recipe, linears(model)))
        check_scale(recipe, wrapped)
        return wrapped

    sweep(bench, attempts, family, lambda: (make(), None, None))


def _in_null_space(bench: Bench) -> Any:
    from ...weights.null_space.adapter import add_null_space

    _seeded(bench)
    return add_null_space(bench.fresh(), bench.null_spaces, rank=RANK, multiplier=MULTIPLIER)


def _seeded(bench: Bench) -> None:
    """PEFT starts its A from torch's own stream."""
    import torch

    torch.manual_seed(bench.seed)
