"""What a training run would do, known before it starts: what is trained, how much of it, on which rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ...errors import InputError
from ..loading import load_tokenizer
from .data import Mix
from .endings import ending_note
from .lora import chosen_linears
from .offline import offline
from .recipe import TrainingRecipe

if TYPE_CHECKING:
    from ..linears import Linear
    from ..null_space.adapter import Bases


class TrainingPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run would do, known before it starts.

    `trained`, `parameters`: numbers that training moves, and that the model has. `modules`: projections trained, by
    role. `scale`: the effective scale of an adapter, None without one. `outside`: what is trained beyond the
    null-space constraint, None where there is no constraint. `device`, `dtype`: where and in what.
    """

    recipe: TrainingRecipe
    model: str
    rows: int
    counts: dict[str, int]
    share: float
    notes: tuple[str, ...]
    steps: int
    save_every: int
    trained: int
    parameters: int
    modules: dict[str, int]
    layers: str
    scale: float | None
    outside: tuple[str, ...] | None
    device: str
    dtype: str


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """What a run left. `losses`: (step, loss, mean reward of GRPO or None). `resumed_from`: a step, or None."""

    folder: Path
    plan: TrainingPlan
    losses: tuple[tuple[int, float, float | None], ...]
    checkpoints: tuple[Path, ...]
    resumed_from: int | None
    seconds: float


def plan_training(
    recipe: TrainingRecipe, model: str | Path, mixed: Mix, *, bases: Bases | None = None
) -> TrainingPlan:
    """What `train` would do, from the model's config alone: no weight is read.

    Raises InputError where the recipe does not fit the model, the rows or the devices.
    """
    from ..linears import linears
    from .trainers import compute, n_devices

    recipe.accumulate(n_devices())
    with offline():
        bare = _without_weights(Path(model))
        ending = ending_note(Path(model), load_tokenizer(model), recipe.method, mixed.rows)
        found = linears(bare, grouped=False)
        chosen = trained_linears(recipe, found, bases)
        device, bfloat16 = compute()
        dtype = "bfloat16" if bfloat16 and recipe.trains_adapter else "float32"
        whole = is_whole(recipe)
        parameters = sum(parameter.numel() for parameter in bare.parameters())
    return TrainingPlan(
        recipe=recipe,
        model=str(model),
        rows=len(mixed.rows),
        counts=mixed.counts,
        share=mixed.share,
        notes=(*mixed.notes, *([ending] if ending else [])),
        steps=recipe.steps_for(len(mixed.rows)),
        save_every=recipe.checkpoint_every(len(mixed.rows)),
        trained=parameters if whole else sum(_numbers(recipe, one, bases) for one in chosen),
        parameters=parameters,
        modules=_by_role(chosen),
        layers=_layers(chosen),
        scale=recipe.lora.multiplier if recipe.trains_adapter else None,
        outside=() if recipe.constrained else None,
        device=device,
        dtype=dtype,
    )


def trained_linears(
    recipe: TrainingRecipe, found: dict[str, Linear], bases: Bases | None
) -> tuple[Linear, ...]:
    """The projections that the recipe trains; under a constraint those whose null space is not empty.

    Raises InputError where the bases do not fit the model or leave nothing to train.
    """
    chosen = chosen_linears(recipe.lora, found)
    if not recipe.constrained:
        return chosen
    if bases is None:
        raise InputError(
            f"the adapter {recipe.adapter} needs null spaces",
            remedy="make them with aligntax weights moments and hand them in with --bases",
        )
    if unknown := [one.name for one in chosen if one.name not in bases.groups]:
        raise InputError(
            f"the bases do not know {unknown[0]}", remedy="they are of another model: make them from this one"
        )
    fitting = tuple(one for one in chosen if one.name in bases)
    for one in fitting:
        if bases[one.name].shape[0] != one.n_in:
            raise InputError(
                f"the basis of {one.name} is for {bases[one.name].shape[0]} inputs, the model has {one.n_in}",
                remedy="they are of another model: make them from this one",
            )
    if not fitting:
        raise InputError("every null space is empty", remedy="make the bases with a larger leak")
    return fitting


def is_whole(recipe: TrainingRecipe) -> bool:
    """Whether every weight of the model is trained, embeddings, norms and head among them."""
    return recipe.adapter == "full" and recipe.lora.targets == ("all",) and recipe.lora.layers is None


def _numbers(recipe: TrainingRecipe, one: Linear, bases: Bases | None) -> int:
    if not recipe.trains_adapter:
        return one.n_in * one.n_out
    n_in = int(bases[one.name].shape[1]) if recipe.constrained and bases is not None else one.n_in
    return recipe.lora.rank * (n_in + one.n_out)


def _by_role(chosen: tuple[Linear, ...]) -> dict[str, int]:
    return {
        role: count for role in ("attention", "mlp") if (count := sum(one.role == role for one in chosen))
    }


def _layers(chosen: tuple[Linear, ...]) -> str:
    layers = sorted({one.layer for one in chosen})
    ranged = len(layers) > 1 and layers == list(range(layers[0], layers[-1] + 1))
    return f"{layers[0]}-{layers[-1]}" if ranged else ", ".join(map(str, layers))


def _without_weights(source: Path) -> Any:
    """The model with the shapes of its weights and none of their numbers."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from ..loading import check_folder

    check_folder(source)
    config = AutoConfig.from_pretrained(str(source), trust_remote_code=False, local_files_only=True)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)
