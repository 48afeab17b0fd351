"""The false-refusal direction of the gently tuned model, ablated in its weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from ...errors import NotEnoughData
from ...weights.steering.directions import Directions, Tokens, activations, find_directions, says
from ...weights.steering.edit import Steering, Writers
from ...weights.steering.search import search
from ..bench import Attempts, Bench
from ..world import BENIGN


def steer(bench: Bench, attempts: Attempts) -> None:
    """Searched on the selection exam, the model as it was first. Shows nothing else where it has too few false refusals."""
    model = bench.model_of(bench.gentle[-1])
    writers = Writers(model)
    attempts.show("as it was", {}, partial(_put, writers, None, None))
    try:
        directions = _directions(bench, model)
    except NotEnoughData:
        return  # the model hardly refuses wrongly: there is nothing to ablate
    neutral = [bench.coder.encode(item.prompt) for item in bench.world.general(64, seed=bench.seed)]
    trials = search(writers, directions, bench.selection, neutral, budget=attempts.budget, seed=bench.seed)
    for trial in trials[1:]:
        assert trial.steering is not None
        settings = msgspec.to_builtins(trial.steering)
        label = (
            f"layer {trial.steering.layer}, lambda {trial.steering.orthogonality:.2f}, trial {trial.number}"
        )
        attempts.show(label, settings, partial(_put, writers, trial.steering, directions))


def _put(writers: Writers, steering: Steering | None, directions: Directions | None) -> Any:
    if steering is None or directions is None:
        writers.restore()
    else:
        writers.apply(steering, directions)
    return writers.model


def _directions(bench: Bench, model: Any) -> Directions:
    """From training cells alone: harmful and declined, benign and answered, look-alikes that were declined."""
    world, n = bench.world, 192
    groups = [world.family_items("held_out_verbs", "training", n, seed=bench.seed)]
    groups.append(world.family_items("neutral_thing", "training", n, seed=bench.seed))
    groups.append(
        tuple(
            item for name in BENIGN[:2] for item in world.family_items(name, "training", n, seed=bench.seed)
        )
    )
    refusal = bench.coder.refusal
    kept: list[Tokens] = []
    for items, declined in zip(groups, (True, False, True), strict=True):
        prompts = [bench.coder.encode(item.prompt) for item in items]
        said = says(model, prompts, refusal, batch_size=128)
        kept.append([prompt for prompt, no in zip(prompts, said, strict=True) if bool(no) is declined])
    return find_directions(*(activations(model, prompts, batch_size=128) for prompts in kept))
