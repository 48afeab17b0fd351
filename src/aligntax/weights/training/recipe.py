"""What a training run does, as one record: method, adapter, steps and sizes. A run is resumed by its recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

from ...errors import InputError
from .data import Method
from .lora import LoraRecipe

Adapter = Literal["lora", "null-space", "full", "full-null-space"]
ADAPTERS: tuple[Adapter, ...] = get_args(Adapter)
METHODS: tuple[Method, ...] = get_args(Method)

_RATES: Mapping[tuple[Method, bool], float] = {
    ("sft", True): 1e-4,
    ("dpo", True): 5e-6,
    ("grpo", True): 1e-5,
    ("sft", False): 1e-5,
    ("dpo", False): 5e-7,
    ("grpo", False): 1e-6,
}
"""Learning rates to start a sweep from, by method and whether an adapter is trained. None is right for every model."""

GRPO_KL = 0.04


class TrainingRecipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a training run does.

    `adapter`: "lora"; "null-space", a LoRA that cannot leave the null space of general activations; "full", every
    weight; "full-null-space", the projections in the layers, put back into that null space after every step.
    `batch_size`: rows per optimizer step over all devices (for GRPO: completions); `rows_at_once`: of those, rows
    that one device takes in one forward. `steps`, or `epochs` where it is None. `learning_rate`, `kl`: None takes
    the method's own, see `rate` and `beta`. `kl` is the weight of the tie to the starting model: DPO's beta,
    GRPO's KL coefficient. `generations`, `max_new_tokens`, `temperature`: completions per prompt of GRPO.
    `recompute`: activations are computed again rather than kept, for less memory and about a third more compute.
    `save_every`: steps between the checkpoints that are kept; None is a tenth of the run.
    Raises InputError on values out of range.
    """

    method: Method
    adapter: Adapter = "lora"
    lora: LoraRecipe = msgspec.field(default_factory=LoraRecipe)
    learning_rate: float | None = None
    steps: int | None = None
    epochs: float = 1.0
    batch_size: int = 16
    rows_at_once: int = 4
    max_length: int = 1024
    warmup: float = 0.05
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    kl: float | None = None
    generations: int = 8
    max_new_tokens: int = 256
    temperature: float = 1.0
    recompute: bool = False
    save_every: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _within("learning rate", self.rate, 0, 10, above=True)
        _within("epochs", self.epochs, 0, 10_000, above=True)
        _within("warm-up", self.warmup, 0, 1)
        _within("weight decay", self.weight_decay, 0, 10)
        _within("KL weight", self.beta, 0, 100, above=self.method == "dpo")
        _within("temperature", self.temperature, 0, 10, above=True)
        for name, value in (
            ("steps", self.steps), ("batch size", self.batch_size), ("rows at once", self.rows_at_once),
            ("longest row", self.max_length), ("steps between checkpoints", self.save_every),
            ("new tokens", self.max_new_tokens),
        ):  # fmt: skip
            if value is not None and value < 1:
                raise InputError(f"{name}: {value} is out of range", remedy="give 1 or more")
        if self.method == "grpo" and (self.generations < 2 or self.batch_size % self.generations):
            raise InputError(
                f"{self.generations} completions a prompt do not fit a batch of {self.batch_size}",
                remedy="GRPO compares completions of one prompt: 2 or more that divide the batch size",
            )

    @property
    def trains_adapter(self) -> bool:
        """Whether the starting weights stay as they are and an adapter is trained beside them."""
        return self.adapter in ("lora", "null-space")

    @property
    def constrained(self) -> bool:
        """Whether the change is kept in the null space of general activations."""
        return self.adapter in ("null-space", "full-null-space")

    @property
    def rate(self) -> float:
        """The learning rate at its peak."""
        return (
            self.learning_rate if self.learning_rate is not None else _RATES[self.method, self.trains_adapter]
        )

    @property
    def beta(self) -> float:
        """DPO's beta (0.1 unless said) or GRPO's KL weight (0.04, or 0 where a null space takes its place: NSPO)."""
        if self.kl is not None:
            return self.kl
        if self.method == "grpo":
            return 0.0 if self.constrained else GRPO_KL
        return 0.1

    def steps_for(self, n_rows: int) -> int:
        """Optimizer steps over that many rows. A GRPO batch holds batch_size / generations prompts."""
        if self.steps is not None:
            return self.steps
        a_step = self.batch_size // self.generations if self.method == "grpo" else self.batch_size
        return max(1, math.ceil(self.epochs * n_rows / a_step))

    def checkpoint_every(self, n_rows: int) -> int:
        """Steps between two checkpoints that are kept."""
        return self.save_every or max(1, self.steps_for(n_rows) // 10)

    def accumulate(self, n_devices: int) -> tuple[int, int]:
        """Rows that a device takes at once, and how many times before a step. Raises InputError if it cannot be."""
        if self.batch_size % n_devices:
            raise InputError(
                f"a batch of {self.batch_size} cannot be shared by {n_devices} devices",
                remedy="choose a batch size that is a multiple of the devices",
            )
        share = self.batch_size // n_devices
        at_once = min(self.rows_at_once, share)
        if share % at_once:
            raise InputError(
                f"{share} rows a device cannot be taken {at_once} at once",
                remedy="choose a divisor with --rows-at-once",
            )
        return at_once, share // at_once


def _within(name: str, value: float, low: float, high: float, *, above: bool = False) -> None:
    if not (low < value if above else low <= value) or not value <= high:  # also where it is no number
        raise InputError(
            f"{name} {value} is out of range", remedy=f"{'more than' if above else 'from'} {low} to {high}"
        )
