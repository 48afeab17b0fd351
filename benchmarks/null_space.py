"""Which constraint keeps its promise? Tunes one tiny model on new text in several ways, and measures what general text feels.

A random Llama of 0.1 M parameters learns a small language first (a chain of words with few successors), so that its
inputs have directions that matter and others that do not. Then it learns another language, in each way from the same
start and until it has learned it equally well, and this prints for each: the size of the change, the leak on calibration and on held-out rows, and
KL(base || tuned) a token on held-out rows. Run: python benchmarks/null_space.py [--until 4.5] [--leak 0.2] [--seed 0]
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from aligntax.weights.linears import linears, weight_of
from aligntax.weights.null_space.adapter import Bases, add_null_space, choose_bases
from aligntax.weights.null_space.moments import Moments, collect, leak
from aligntax.weights.null_space.projection import freeze_outside, project_displacement, reference_of
from tiny_models import tiny_model

LENGTH, MOST = 16, 399
Step = Callable[[Any, int], None]


def chain(seed: int, rows: int, *, language: int = 0) -> Tensor:
    """Rows of a Markov chain in which each of 46 words has three successors; `language` shifts the words."""
    rules = torch.Generator().manual_seed(100 + language)
    after = torch.randint(0, 46, (46, 3), generator=rules)
    generator = torch.Generator().manual_seed(seed)
    word = torch.randint(0, 46, (rows,), generator=generator)
    found = [word]
    for _ in range(LENGTH - 1):
        word = after[word, torch.randint(0, 3, (rows,), generator=generator)]
        found.append(word)
    return torch.stack(found, 1) + 4 + 46 * language


def pretrained(seed: int, steps: int) -> Any:
    model = tiny_model("llama", seed=seed, layers=3, width=64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for at in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * 0.5 * (1 + math.cos(math.pi * at / steps))
        ids = chain(1000 + at, 32)
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    return model.eval()


def read(model: Any, seed: int) -> Moments:
    ids = chain(seed, 128)
    return collect(model, [{"input_ids": ids, "attention_mask": torch.ones_like(ids)}])


def train(
    model: Any, optimizer: Any, until: float, *, before: Step | None = None, after: Step | None = None
) -> None:
    """Until the loss on new text is at most `until`, so that all have learned the same; at most `MOST` steps.

    Stops at steps 4, 9, 14, ... alone: four steps behind the last multiple of five, where a checkpoint may lie.
    """
    for at in range(1, MOST + 1):
        ids = chain(5000 + at, 16, language=1)
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        if before:
            before(model, at)
        optimizer.step()
        if after:
            after(model, at)
        model.steps = at
        if at % 5 == 4 and loss_of(model) <= until:
            return


def loss_of(model: Any) -> float:
    """On new text, nats a token."""
    new = chain(9000, 64, language=1)
    with torch.no_grad():
        return float(model(input_ids=new, labels=new).loss)


def gradients_projected(bases: Bases) -> Step:
    def step(model: Any, _at: int) -> None:
        for name, linear in held(model, bases).items():
            gradient = linear.module.weight.grad
            gradient.copy_(gradient @ bases[name] @ bases[name].T)

    return step


def held(model: Any, bases: Bases) -> dict[str, Any]:
    if not hasattr(model, "found"):
        model.found = linears(model)
    return {name: model.found[name] for name in bases}


def displaced(start: Any, bases: Bases, every: int) -> Step:
    reference = reference_of(start, bases)
    return lambda model, at: project_displacement(model, reference, bases) if at % every == 0 else None


def full(optimizer: str, **said: Any) -> Callable[..., Any]:
    """Full fine-tuning of the linears of `bases`, all else frozen."""

    def tuned(start: Any, bases: Bases, until: float, *, before: Any = None, after: Any = None) -> Any:
        model = copy.deepcopy(start)
        freeze_outside(model, bases)
        free = [parameter for parameter in model.parameters() if parameter.requires_grad]
        train(model, getattr(torch.optim, optimizer)(free, **said), until, before=before, after=after)
        return model

    return tuned


def adapter(start: Any, bases: Bases, until: float, rate: float) -> Any:
    model = add_null_space(copy.deepcopy(start), bases, rank=8, multiplier=2.0)
    free = [parameter for parameter in model.parameters() if parameter.requires_grad]
    train(model, torch.optim.AdamW(free, lr=rate, weight_decay=0.1), until)
    merged, taken = model.merge_and_unload(), model.steps
    merged.steps = taken
    return merged


def variants(start: Any, bases: Bases, until: float) -> dict[str, Callable[[], Any]]:
    adam = full("AdamW", lr=1e-3, weight_decay=0.1)
    gradient = gradients_projected(bases)
    return {
        "no projection, AdamW": lambda: adam(start, bases, until),
        "gradient, SGD": lambda: full("SGD", lr=0.1)(start, bases, until, before=gradient),
        "gradient, SGD with momentum": lambda: full("SGD", lr=0.02, momentum=0.9)(start, bases, until, before=gradient),
        "gradient, AdamW": lambda: adam(start, bases, until, before=gradient),
        "displacement every step, AdamW": lambda: adam(start, bases, until, after=displaced(start, bases, 1)),
        "displacement every 5, off phase": lambda: adam(start, bases, until, after=displaced(start, bases, 5)),
        "adapter, AdamW with decay": lambda: adapter(start, bases, until, 3e-3),
        "adapter, a tenth of that rate": lambda: adapter(start, bases, until, 3e-4),
    }  # fmt: skip


def felt(start: Any, model: Any, bases: Bases, moments: Moments) -> float:
    """Root mean square of the leaks of the changed matrices, weighted by the squares of their changes."""
    before, now = linears(start), linears(model)
    total = weight = 0.0
    for name in bases:
        delta = (weight_of(now[name]) - weight_of(before[name])).detach()
        size = float(delta.square().sum())
        total, weight = total + size * leak(delta, moments.of(name)) ** 2, weight + size
    return math.sqrt(total / weight)


def size_of(start: Any, model: Any, bases: Bases) -> float:
    before, now = linears(start), linears(model)
    return math.sqrt(
        sum(float((weight_of(now[name]) - weight_of(before[name])).square().sum()) for name in bases)
    )


def divergence(start: Any, model: Any) -> float:
    """KL(base || tuned), nats a token, on general rows that nothing else has seen."""
    ids = chain(77, 64)
    here, there = start(ids).logits.log_softmax(-1), model(ids).logits.log_softmax(-1)
    return float((here.exp() * (here - there)).sum(-1).mean())


def main() -> None:
    warnings.simplefilter("ignore", FutureWarning)  # peft 0.21 and transformers 5.x, between themselves
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--until", type=float, default=4.5, help="loss on the new text at which each stops")
    parser.add_argument("--pretrain", type=int, default=400)
    parser.add_argument("--leak", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=0)
    said = parser.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    start = pretrained(said.seed, said.pretrain)
    calibration, held_out, report = (read(start, seed) for seed in (1, 2, 3))
    bases = choose_bases(calibration, held_out, leak=said.leak)
    null, every = (sum(pair[at] for pair in bases.dimensions.values()) for at in (0, 1))
    print(
        f"null spaces: {null} of {every} directions at a leak of {said.leak:g}; {len(bases)} linears, {len(bases.left_out)} left out"
    )
    print(f"loss on the new text before: {loss_of(start):.2f}\n")
    print(
        f"{'variant':33}{'norm of dW':>11}{'leak calib.':>13}{'held-out':>10}{'KL':>11}{'new loss':>10}{'steps':>7}"
    )
    for name, tune in variants(start, bases, said.until).items():
        model = tune().eval()
        with torch.no_grad():
            print(
                f"{name:33}{size_of(start, model, bases):11.2f}{felt(start, model, bases, calibration):13.3f}"
                f"{felt(start, model, bases, report):10.3f}{divergence(start, model):11.6f}"
                f"{loss_of(model):10.2f}{model.steps:7d}"
            )
    print(f"\n{time.process_time() - began:.0f} CPU-seconds")


if __name__ == "__main__":
    main()
