"""The plan of a training run and what it left, in words."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from ...weights.training.plan import Trained, TrainingPlan

_METHODS = {
    "sft": "SFT, loss on completions alone",
    "dpo": "DPO, chosen over rejected",
    "grpo": "GRPO, +1 for declining harm and for answering what is benign",
}
_ADAPTERS = {
    "lora": "LoRA",
    "null-space": "LoRA inside the null space of general inputs",
    "full": "the weights themselves",
    "full-null-space": "the projections, put back into the null space after every step",
}


PLAN_COLUMN = 12  # where what is said of a plan begins


def plan_lines(plan: TrainingPlan, out: Path) -> list[str]:
    """The plan, a line for each thing that decides what comes out."""
    from ...weights.training.card import constraint_words

    recipe = plan.recipe
    modules = ", ".join(f"{count} {role}" for role, count in plan.modules.items())
    lines = [
        f"method      {_METHODS[recipe.method]}",
        f"trains      {_ADAPTERS[recipe.adapter]}: {plan.trained:,} of {plan.parameters:,} numbers"
        f" ({plan.trained / plan.parameters:.2%})",
        f"where       {modules} projections, layers {plan.layers}"
        + (", and all else" if plan.trained == plan.parameters else ""),
    ]
    if plan.scale is not None:
        alpha = f"alpha {recipe.lora.alpha:g}" + (" by rsLoRA" if recipe.lora.rank_stabilised else "")
        lines.append(f"scale       {plan.scale:g} in effect, rank {recipe.lora.rank} ({alpha})")
    tie = "" if recipe.method == "sft" else f", KL weight {recipe.beta:g}"
    lines += [
        f"steps       {plan.steps:,} of {recipe.batch_size} "
        f"{'completions' if recipe.method == 'grpo' else 'rows'}, learning rate {recipe.rate:g}{tie}, "
        f"seed {recipe.seed}",
        f"rows        {plan.rows:,}: "
        + ", ".join(f"{count:,} {name}" for name, count in plan.counts.items()),
        f"benign      {plan.share:.0%} of harmful and benign rows",
        f"device      {plan.device}, weights in {plan.dtype}",
        f"keeps       a checkpoint every {plan.save_every:,} steps, as points of early stopping",
        f"promise     {constraint_words(plan)}",
        f"writes      {out}",
    ]
    return [*lines, *(f"note        {note}" for note in plan.notes)]


def wrapped(lines: Sequence[str], *, under: int = 0) -> str:
    """The lines within the terminal's width, `under` columns in where they go on. Indented ones are commands: kept whole."""
    width = max(40, shutil.get_terminal_size().columns)
    fill = textwrap.TextWrapper(
        width, subsequent_indent=" " * under, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(line if line.startswith(" ") else fill.fill(line) for line in lines)


def result_lines(trained: Trained) -> list[str]:
    """What came out, and what is to be done before it is used."""
    from ..run_progress import duration

    out, first, last = trained.folder, trained.losses[0], trained.losses[-1]
    again = f", resumed from step {trained.resumed_from:,}" if trained.resumed_from else ""
    reward = (
        f", reward {first[2]:.2f} to {last[2]:.2f}" if first[2] is not None and last[2] is not None else ""
    )
    lines = [
        f"trained {last[0]:,} steps in {duration(trained.seconds)}{again}: "
        f"loss {first[1]:.4g} to {last[1]:.4g}{reward}",
        f"{out}: {'an adapter' if trained.plan.scale is not None else 'a model'}, "
        f"{len(trained.checkpoints)} checkpoints, README.md and card.json",
        "The loss does not say what capability this cost, nor what is refused that was fine. Next:",
        f"  aligntax weights certify {trained.plan.model} {out} --data GENERAL.jsonl",
    ]
    if trained.plan.scale is None:
        lines.append(f"  aligntax weights search {trained.plan.model} {out} --help")
    return lines


def plan_document(plan: TrainingPlan) -> dict[str, Any]:
    """The plan for programs."""
    document: dict[str, Any] = msgspec.to_builtins(plan)
    return {"format": 1, **document, "learning_rate": plan.recipe.rate, "kl": plan.recipe.beta}


def result_document(trained: Trained) -> dict[str, Any]:
    """The run for programs."""
    return {
        **plan_document(trained.plan),
        "folder": str(trained.folder),
        "losses": [list(point) for point in trained.losses],
        "checkpoints": [str(path) for path in trained.checkpoints],
        "resumed_from": trained.resumed_from,
        "seconds": round(trained.seconds, 1),
    }
