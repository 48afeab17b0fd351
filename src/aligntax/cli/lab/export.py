"""`aligntax lab export`: the laboratory's models and data as files, to try `aligntax weights` on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ...lab.export import Exported

_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command("export", short_help="Tiny models and data as files, to try aligntax weights on.")
@click.option(
    "-o", "--out", type=_FOLDER, required=True, metavar="DIR", help="A new folder for models and data."
)
@click.option("--quick", is_flag=True, help="The smallest world: half a CPU-minute from nothing.")
@click.option(
    "--scale",
    type=click.Choice(["tiny", "medium", "large"]),
    default="tiny",
    show_default=True,
    help="Size of world and model; medium and large train for long on a CPU.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="Of the weights, of training and of the data.",
)
@click.option(
    "--cache",
    type=_FOLDER,
    metavar="DIR",
    help="Where bases are kept.  [default: aligntax/lab in the user's cache]",
)
def command(out: Path, quick: bool, scale: str, seed: int, cache: Path | None) -> None:
    """Write the laboratory's models and data into DIR: all that the commands of aligntax weights ask for.

    base, aligned and early are ordinary Hugging Face folders: a tiny language model, the same after a safety training
    that makes it refuse harmless requests too, and one half-way. Beside them rows to train on, general text, and a
    suite of prompts. They are toys: they show how a command works, and say nothing of any real model.
    """
    from ...errors import MissingExtra

    try:
        import torch
    except ImportError as absent:
        raise MissingExtra("torch", "weights") from absent
    from ...lab.export import check_free, export
    from ...lab.pretraining import scale_named
    from .run_words import progress

    check_free(out)
    torch.set_num_threads(1)  # at this size two threads are slower, and one repeats the numbers
    chosen = scale_named("quick" if quick else scale)
    total = chosen.recipe.steps
    with progress() as tell:
        done = export(
            chosen, out, seed=seed, cache=cache,
            on_step=lambda step, _loss: tell("pretraining", step + 1, total),
        )  # fmt: skip
    click.echo(page(done))


def page(done: Exported) -> str:
    """What was written, and where to go on."""
    folder = done.folder
    models = f"Llama, {done.parameters:,} parameters"
    rows = [
        ("base", f"before safety training; {models}"),
        ("aligned", "after it: refuses harmless requests too"),
        ("early", "half-way: an early-stopping checkpoint"),
        ("suite.jsonl", ", ".join(f"{n} {intent}" for intent, n in done.prompts.items()) + " prompts"),
        *((name, f"{n} rows, {_ABOUT[name]}") for name, n in done.rows.items()),
        ("README.md", "what is what, and commands to try"),
    ]
    wide = max(len(name) for name, _ in rows)
    lines = [
        f"{folder}: a tiny world of scale {done.scale}, seed {done.seed}. Toys, to see how commands work."
    ]
    lines += [f"  {name:<{wide}}  {about}" for name, about in rows]
    lines += [
        f"next: aligntax weights average {folder}/base {folder}/aligned --ratio 0.8 -o averaged --dry-run"
    ]
    return "\n".join(lines)


_ABOUT = {
    "train.jsonl": "safety training: prompt, completion, intent",
    "preferences.jsonl": "the same for DPO",
    "look-alikes.jsonl": "benign requests that look harmful, to mix in",
    "general.jsonl": "general text that must stay as it is",
    "further.jsonl": "more of it, to certify on",
}
