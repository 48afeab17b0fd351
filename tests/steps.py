"""Steps from one tiny model to another, and general text, for tests of certificates."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

from tiny_models import WORDS


def general(file: Path, rows: int = 150, *, seed: int = 1, answers: bool = True) -> Path:
    """General text: rows of random words, from the first 36 alone, prompt and answer."""
    chance = random.Random(seed)

    def words(least: int, most: int) -> str:
        return " ".join(chance.choice(WORDS[4:40]) for _ in range(chance.randint(least, most)))

    with file.open("w", encoding="utf-8") as out:
        for _ in range(rows):
            row = {"prompt": words(3, 12)} | ({"completion": words(1, 6)} if answers else {})
            out.write(json.dumps(row) + "\n")
    return file


def second_moments(model: Any, ids: list[tuple[int, ...]]) -> dict[str, Any]:
    """By linear, the mean of x x^T over every token of the rows, [n_in, n_in] float64: one row at a time, so no pads."""
    import torch

    from aligntax.weights.linears import linears

    maps = linears(model)
    sums = {name: torch.zeros(linear.n_in, linear.n_in, dtype=torch.float64) for name, linear in maps.items()}

    def adding(name: str) -> Any:
        def add(_module: Any, inputs: tuple[Any, ...]) -> None:
            read = inputs[0].reshape(-1, maps[name].n_in).double()
            sums[name].add_(read.T @ read)

        return add

    handles = [linear.module.register_forward_pre_hook(adding(name)) for name, linear in maps.items()]
    with torch.no_grad():
        for row in ids:
            model(input_ids=torch.tensor([row]))
    for handle in handles:
        handle.remove()
    tokens = sum(map(len, ids))
    return {name: total / tokens for name, total in sums.items()}


def stepped(model: Any, size: float, choose: Any, *, seed: int = 3) -> Any:
    """A copy whose every linear has moved by noise of that relative norm, put through `choose(linear, noise)`."""
    import torch

    from aligntax.weights.linears import linears, weight_of

    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    before, after = linears(model), linears(other)
    with torch.no_grad():
        for name, linear in after.items():
            weight = weight_of(linear)
            noise = choose(before[name], torch.randn(weight.shape, generator=generator))
            weight.add_(size * noise * (weight.norm() / noise.norm()))
    return other


def unfelt(model: Any, ids: list[tuple[int, ...]], *, keep: int = 4) -> Any:
    """What takes noise into the `keep` directions that the inputs of a linear feel least: dW = B U0^T."""
    import torch

    moments = second_moments(model, ids)

    def choose(linear: Any, noise: Any) -> Any:
        _values, vectors = torch.linalg.eigh(moments[linear.name])
        least = vectors[:, :keep].to(noise.dtype)
        return noise @ least @ least.T

    return choose
