"""`aligntax weights train`: safety training that spares capability."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .train_options import training_options

if TYPE_CHECKING:
    from ...weights.training.data import Mix


@click.command("train", short_help="Safety training that spares capability.")
@training_options
@click.option("--rank", type=int, default=8, show_default=True, metavar="N", help="Directions per matrix.")
@click.option(
    "--lr", type=float, metavar="X", help="Learning rate at its peak.  [default: by method; sweep it]"
)
@click.option("--dry-run", is_flag=True, help="Print the plan and stop: no weight is read, nothing written.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
@click.option(
    "-o", "--out", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="OUT",
    help="A new folder, or the one of a run that was cut off: it goes on.",
)  # fmt: skip
def command(*, rank: int, lr: float | None, dry_run: bool, as_json: bool, out: Path, **said: Any) -> None:
    """Train MODEL, a local folder of safetensors, on DATA, and leave an adapter or a model in OUT.

    DATA has a JSON object a line: {"prompt", "completion", "intent"} for sft, {"prompt", "chosen", "rejected",
    "intent"} for dpo, {"prompt", "intent"} for grpo; intent is "harmful" or "benign". Benign look-alikes are mixed
    in, because a model that sees refusals alone learns to refuse everything; data without any is refused.

    The plan is printed before training starts. Several devices: accelerate launch -m aligntax weights train ...
    Nothing is fetched, and nothing reported.
    """
    from ...weights.training.run import plan_training, train
    from ...weights.training.trainers import is_first
    from .train_options import bases_of, judge, recipe_of
    from .train_progress import TrainProgress
    from .train_words import PLAN_COLUMN, plan_document, plan_lines, result_document, result_lines, wrapped

    recipe = recipe_of(said, rank=rank, rate=lr)
    bases = bases_of(said)
    mixed = _mixed(said, out, dry_run=dry_run)
    plan = plan_training(recipe, said["model"], mixed, bases=bases)
    if is_first() and not as_json:
        click.echo(wrapped(plan_lines(plan, out), under=PLAN_COLUMN))
    if dry_run:
        if as_json:
            click.echo(json.dumps(plan_document(plan), indent=2))
        return
    with TrainProgress("training") as progress:
        trained = train(recipe, said["model"], mixed, out, bases=bases, judge=judge, report=progress.step)
    if is_first():
        click.echo(
            json.dumps(result_document(trained), indent=2) if as_json else wrapped(result_lines(trained))
        )


def _mixed(said: dict[str, Any], out: Path, *, dry_run: bool) -> Mix:
    """The rows of the run. A dry run takes prompts that MODEL would answer as rows that are still to come."""
    import msgspec

    from ...errors import InputError
    from ...weights.training.data import mix
    from ...weights.training.files import refuse_clash, refuse_foreign
    from .train_options import look_alikes, own_rows, replayed, suspicious

    if dry_run and said["benign_prompts"] is not None:
        raise InputError(
            "--dry-run cannot count answers that are not there yet", remedy="leave --benign-prompts out of it"
        )
    refuse_clash(said["model"], out)
    refuse_foreign(out)  # before MODEL answers prompts into it
    found = own_rows(said)
    benign, notes = look_alikes(said, found, out)
    general, share = replayed(said)
    mixed = mix(
        found, benign=benign, share=said["benign_share"], replay=general, replay_share=share,
        refusals_only=said["refusals_only"], seed=said["seed"],
    )  # fmt: skip
    return msgspec.structs.replace(mixed, notes=(*mixed.notes, *notes, *suspicious(mixed.rows)))
