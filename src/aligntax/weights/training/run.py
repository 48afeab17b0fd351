"""Safety training that spares capability: a recipe, a model and rows in; an adapter or a model with its card out."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ..loading import load_model, load_tokenizer
from .data import Mix
from .files import CHECKPOINTS, begin, identity, refuse_clash
from .lora import check_scale, peft_config
from .offline import offline
from .plan import Trained, TrainingPlan, is_whole, plan_training, trained_linears
from .recipe import TrainingRecipe
from .rewards import Judge, refusal_reward

if TYPE_CHECKING:
    from ..linears import Linear
    from ..null_space.adapter import Bases
    from .callbacks import Report


def train(
    recipe: TrainingRecipe,
    model: str | Path,
    mixed: Mix,
    out: str | Path,
    *,
    bases: Bases | None = None,
    judge: Judge | None = None,
    report: Report | None = None,
) -> Trained:
    """Train and leave in `out`: the adapter (PEFT) or model (safetensors), its tokenizer, checkpoints and a card.

    A run that was cut off goes on from its last whole checkpoint when it is called again with the same recipe, model,
    rows and folder; a finished one is not trained again. `bases`: the null spaces, for the adapters that keep to
    them. `judge`: who says whether a completion declines, for GRPO. `report`: called after each step.

    Raises InputError where `out` is the model's folder or holds another run, and on whatever `plan_training` raises.
    Needs the packages of the extra "weights" (MissingExtra). Nothing is fetched and nothing reported.
    """
    from .callbacks import make_lean, whole_checkpoints
    from .card import finished, write_card
    from .trainers import is_first

    began, source, folder = time.monotonic(), Path(model), Path(out)
    refuse_clash(source, folder)
    if recipe.method == "grpo" and judge is None:
        raise InputError("GRPO needs a judge of its completions", remedy="hand one in")
    plan = plan_training(recipe, source, mixed, bases=bases)
    known = identity(recipe, source, mixed.digest, _digest(bases))
    if (former := finished(folder, known, plan)) is not None:
        return former
    if is_first():
        begin(folder, known)
    with offline():  # an adapter names its base: by its whole path, so that it loads from anywhere
        losses, resumed_from = _run(
            recipe, source.resolve(), mixed, folder, bases=bases, judge=judge, report=report
        )
    kept = tuple(whole_checkpoints(folder / CHECKPOINTS))
    trained = Trained(
        folder=folder, plan=plan, losses=losses, checkpoints=kept, resumed_from=resumed_from,
        seconds=time.monotonic() - began,
    )  # fmt: skip
    if is_first():
        make_lean(folder)
        write_card(trained, known)
        for checkpoint in kept:  # last: a kill before the card is there loses no step
            make_lean(checkpoint)
    return trained


def _run(
    recipe: TrainingRecipe,
    source: Path,
    mixed: Mix,
    folder: Path,
    *,
    bases: Bases | None,
    judge: Judge | None,
    report: Report | None,
) -> tuple[tuple[tuple[int, float, float | None], ...], int | None]:
    """The training itself: its losses, and the step that it went on from."""
    from transformers import PrinterCallback, ProgressCallback, set_seed

    from .callbacks import Keep, Progress, whole_checkpoints
    from .trainers import compute, trainer_for

    set_seed(recipe.seed)
    _, bfloat16 = compute()
    tokenizer = load_tokenizer(source)
    model = load_model(source, dtype="bfloat16" if bfloat16 and recipe.trains_adapter else "float32")
    adapter, callbacks = _prepared(recipe, model, bases)
    tied = recipe.method == "dpo" and not recipe.trains_adapter
    trainer = trainer_for(
        recipe, model, tokenizer, mixed.rows, folder / CHECKPOINTS,
        adapter=adapter,
        reference=load_model(source) if tied else None,
        reward=refusal_reward(judge) if judge else None,
    )  # fmt: skip
    if recipe.adapter == "null-space":
        callbacks = [*callbacks, _constrain(trainer.model, bases)]
    progress = Progress(report)
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    for callback in (progress, *callbacks, Keep()):
        trainer.add_callback(callback)
    if recipe.trains_adapter:
        check_scale(recipe.lora, trainer.model)
    former = whole_checkpoints(folder / CHECKPOINTS)
    resumable = [path for path in former if (path / "optimizer.pt").exists()]
    last = resumable[-1] if resumable else None
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    trainer.save_model(str(folder))  # through the trainer, which gathers what is spread over devices
    from_step = int(last.name.rpartition("-")[2]) if last else None
    return tuple(progress.history), from_step


def _prepared(recipe: TrainingRecipe, model: Any, bases: Bases | None) -> tuple[Any, list[Any]]:
    """The adapter's config for the trainer to add, and what happens between steps; freezes what is not trained."""
    from ..linears import linears

    if is_whole(recipe):
        return None, []
    chosen = trained_linears(recipe, found := linears(model), bases)
    if bases is not None and recipe.constrained:
        _check_model(bases, found)
    if recipe.trains_adapter:
        return peft_config(recipe.lora, found, [one.name for one in chosen]), []
    model.requires_grad_(
        requires_grad=False
    )  # norms, biases, embeddings and head would lie outside the constraint
    for one in chosen:
        one.module.weight.requires_grad_(requires_grad=True)
    if recipe.adapter == "full":
        return None, []
    from ..null_space.projection import ProjectDisplacement, reference_of

    assert bases is not None
    kept = {one.name: bases[one.name] for one in chosen}
    callback = ProjectDisplacement(kept)
    callback.reference = reference_of(model, kept)  # the start, whatever checkpoint the run goes on from
    return None, [callback]


def _constrain(model: Any, bases: Bases | None) -> Any:
    """Holds the adapter inside; what comes back checks every checkpoint as it was written."""
    from ..null_space.adapter import constrain
    from ..null_space.layers import SaveAsLora

    assert bases is not None
    constrain(model, bases)
    return SaveAsLora()


def _check_model(bases: Bases, found: dict[str, Linear]) -> None:
    from ..linears import fingerprint

    if fingerprint(found) != bases.model:
        raise InputError("the null spaces are of another model", remedy="make them from this one")


def _digest(bases: Bases | None) -> str | None:
    """A hash of the null spaces, None where there are none."""
    if bases is None:
        return None
    whole = hashlib.sha256()
    for name, space in sorted(bases.spaces.items()):
        whole.update(f"{name}{tuple(space.shape)}".encode() + space.float().numpy().tobytes())
    return whole.hexdigest()


__all__ = ["Trained", "TrainingPlan", "plan_training", "train"]
