"""The harsh model averaged with the base: uniformly, by blocks that are searched, by blocks that the likelihood finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ...weights.ratios import Ratios
from ...weights.searching.resident import Resident
from ...weights.searching.search import label_of
from ...weights.searching.strategies import Task, strategy
from ..bench import Attempts, Bench
from ..safety import wanted
from ..sampling import sampled


def uniform(bench: Bench, attempts: Attempts) -> None:
    """One ratio, evenly from 0 to 1."""
    _search(bench, attempts, "uniform")


def blocks(bench: Bench, attempts: Attempts) -> None:
    """A ratio a block, by two-objective search."""
    _search(bench, attempts, "blocks")


def likelihood(bench: Bench, attempts: Attempts) -> None:
    """A ratio a block, by the averaging paper's recipe."""
    _search(bench, attempts, "likelihood")


def resident_of(bench: Bench) -> Resident:
    """Base and harsh model, with a live one between them."""
    return Resident(bench.fresh().eval(), bench.model_of(bench.harsh[-1]))


def _search(bench: Bench, attempts: Attempts, name: str) -> None:
    resident = resident_of(bench)
    resident.prove()

    def attempt(ratios: Ratios) -> tuple[float, float]:
        def put() -> Any:
            resident.set(ratios)
            return resident.model

        settings = {
            key: value for key, value in msgspec.to_builtins(ratios).items() if value not in ({}, False)
        }
        return attempts.show(label_of(ratios), settings, put).measured.point

    strategy(name)(
        Task(
            attempt=attempt, n_blocks=bench.plan.n_blocks, roles=False, budget=attempts.budget, seed=bench.seed,
            resident=resident, batches=_good_answers(bench) if name == "likelihood" else (),
        )
    )  # fmt: skip


def _good_answers(bench: Bench, n: int = 128) -> Sequence[Any]:
    """What the harsh model answers to training requests, where that is what it should."""
    from ...weights.searching.proxy import batches_of

    items = bench.items[:n]
    model = bench.model_of(bench.harsh[-1])
    answers = sampled(model, bench.coder, [item.prompt for item in items], temperature=0.0)
    rows = [
        {"prompt": item.prompt, "completion": wanted(item)}
        for item, (said, *_) in zip(items, answers, strict=True)
        if bench.coder.decode(said) == wanted(item)
    ]
    return batches_of(bench.tokenizer, rows, batch_size=16)
