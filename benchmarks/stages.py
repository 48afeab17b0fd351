"""Where the detector's time goes: its stages, each timed without the stages that it calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from aligntax.detect import axes, features, frames, kernel, model, trees

STAGES: tuple[tuple[Any, str, str], ...] = (
    (features, "flatten", "flatten: answers and prompts into a buffer"),
    (features, "tokenize", "tokenize: words, hashes, sentences"),
    (features, "find", "find: phrases of the lexicon"),
    (features, "_relation", "prompt and answer"),
    (features, "_sentence_extras", "sentence columns"),
    (kernel, "sentence_sums", "n-grams: hash and sum"),
    (model, "sentence_functions", "sentence functions"),
    (model, "gram_logits", "n-gram scores of answers"),
    (model, "dense", "dense columns"),
    (trees.Trees, "score", "trees"),
    (frames, "identify", "language"),
    (axes, "columns", "verdict columns and spans"),
    (frames, "_frame", "frame"),
)
REPEATS = 7


class _Clock:
    """CPU seconds by stage; what an inner stage takes is not counted for the outer one."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._inner = [0.0]

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed under the name of its stage."""

        def call(*args: Any, **settings: Any) -> Any:
            self._inner.append(0.0)
            begin = time.process_time()
            try:
                return function(*args, **settings)
            finally:
                took = time.process_time() - begin
                self.spent[stage] = self.spent.get(stage, 0.0) + took - self._inner.pop()
                self._inner[-1] += took

        return call


def by_stage(work: Callable[[], Any], rows: int) -> list[list[Any]]:
    """(stage, microseconds a row, share) of the quickest of some runs of `work`, which judges `rows` rows."""
    runs = [_run(work) for _ in range(REPEATS)]
    best = min(runs, key=lambda spent: sum(spent.values()))
    total = sum(best.values())
    lines = [[stage, f"{spent / rows * 1e6:.2f}", f"{spent / total:.0%}"] for stage, spent in best.items()]
    return [*lines, ["all", f"{total / rows * 1e6:.2f}", ""]]


def _run(work: Callable[[], Any]) -> dict[str, float]:
    clock = _Clock()
    plain = [(place, name, getattr(place, name)) for place, name, _ in STAGES]
    try:
        for (place, name, function), (_, _, stage) in zip(plain, STAGES, strict=True):
            setattr(place, name, clock.timed(stage, function))
        clock.timed("the rest", work)()
    finally:
        for place, name, function in plain:
            setattr(place, name, function)
    return clock.spent
