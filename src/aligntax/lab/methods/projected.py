"""Fine-tuning of the linears inside null spaces: by the displacement, which holds, and by the gradient, which does not."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..bench import Attempts, Bench
from .training import Made, sweep


def displacement(bench: Bench, attempts: Attempts) -> None:
    """After each optimiser step the displacement is projected, by the callback that a trainer would call."""
    sweep(bench, attempts, "displacement", lambda: _displacement(bench))


def gradient(bench: Bench, attempts: Attempts) -> None:
    """Before each optimiser step the gradient is projected; AdamW then scales each entry on its own."""
    sweep(bench, attempts, "gradient", lambda: _gradient(bench))


def _displacement(bench: Bench) -> Made:
    from transformers import TrainerControl, TrainerState

    from ...weights.null_space.projection import ProjectDisplacement

    model, state, control = bench.fresh(), TrainerState(), TrainerControl()
    callback = ProjectDisplacement(bench.null_spaces, device=None)
    callback.on_train_begin(None, state, control, model=model)

    def after(trained: Any) -> None:
        state.global_step += 1
        callback.on_step_end(None, state, control, model=trained)

    return model, None, after


def _gradient(bench: Bench) -> Made:
    from ...weights.linears import linears
    from ...weights.null_space.projection import freeze_outside

    model, bases = bench.fresh(), bench.null_spaces
    freeze_outside(model, bases)
    found = linears(model)
    held = [(found[name].module.weight, bases[name].to(found[name].module.weight.device)) for name in bases]
    return model, partial(_project, held), None


def _project(held: list[tuple[Any, Any]], _model: Any) -> None:
    for weight, basis in held:
        if weight.grad is not None:
            weight.grad.copy_((weight.grad @ basis) @ basis.T)
