"""Full fine-tuning: what the model is trained on, by which objective, at which learning rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ..bench import Attempts, Bench
from ..safety import Hook, Method, restore, safety_items, train
from ..world import Item
from . import Family

Made = tuple[Any, Hook | None, Hook | None]
"""A model to train, what is called before each optimiser step, and what after."""


def sft(bench: Bench, attempts: Attempts) -> None:
    """Full fine-tuning with a learning-rate sweep and early stopping."""
    sweep(bench, attempts, "sft", lambda: (bench.fresh(), None, None))


def early(bench: Bench, attempts: Attempts) -> None:
    """The checkpoints of the harsh run."""
    model = bench.fresh()
    for checkpoint in bench.harsh[: attempts.budget]:
        label = f"step {checkpoint.step}"
        attempts.show(label, {"step": checkpoint.step}, partial(restore, model, checkpoint))


def refusals(bench: Bench, attempts: Attempts) -> None:
    """Refusals and nothing else: the tax in its crudest form."""
    items = safety_items(bench.world, harmful=1.0, seed=bench.seed)
    sweep(bench, attempts, "sft", lambda: (bench.fresh(), None, None), items=items)


def replay(bench: Bench, attempts: Attempts) -> None:
    """General text and benign look-alikes in the mix."""
    sweep(bench, attempts, "sft", lambda: (bench.fresh(), None, None), items=bench.mixed())


def dpo(bench: Bench, attempts: Attempts) -> None:
    """Preferences."""
    sweep(bench, attempts, "dpo", lambda: (bench.fresh(), None, None), method="dpo")


def grpo(bench: Bench, attempts: Attempts) -> None:
    """Reinforcement."""
    sweep(bench, attempts, "grpo", lambda: (bench.fresh(), None, None), method="grpo")


def sweep(
    bench: Bench,
    attempts: Attempts,
    family: Family,
    make: Callable[[], Made],
    *,
    items: Sequence[Item] | None = None,
    method: Method = "sft",
) -> None:
    """Trains at each learning rate of the family and shows each checkpoint: rates times checkpoints states."""
    for rate in bench.plan.rates[family]:
        model, before, after = make()
        kept = train(
            model, bench.coder, bench.items if items is None else items, bench.recipe(rate, method=method),
            keep=bench.plan.checkpoints, before_step=before, after_step=after,
        )  # fmt: skip
        for checkpoint in kept:
            settings = {"learning_rate": rate, "step": checkpoint.step}
            label = f"lr {rate:g}, step {checkpoint.step}"
            attempts.show(label, settings, partial(restore, model, checkpoint))
