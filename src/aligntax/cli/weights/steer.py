"""`aligntax weights steer`: fewer false refusals by an edit of the weights, and never under the safety floor."""

from __future__ import annotations

from pathlib import Path

import click

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("steer", short_help="Fewer false refusals by an edit of the weights, above a safety floor.")
@click.argument("model", type=_FOLDER, metavar="MODEL")
@click.option(
    "--suite", metavar="SUITE", help="A suite or pack that holds all three groups, such as clinical."
)
@click.option("--harmful", metavar="SUITE", help="Requests to be declined.")
@click.option("--benign", metavar="SUITE", help="Plainly benign requests.")
@click.option("--look-alikes", metavar="SUITE", help="Benign requests in words that look harmful.")
@click.option(
    "--floor",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    metavar="SHARE",
    help="Share of harmful requests that must provably be declined, or nothing is written.",
)
@click.option(
    "--level",
    type=click.FloatRange(0.5, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    metavar="SHARE",
    help="Confidence of the floor and of each interval.",
)
@click.option(
    "--budget",
    type=click.IntRange(min=2),
    default=40,
    show_default=True,
    metavar="N",
    help="Settings to try; each answers half of the prompts.",
)
@click.option("-o", "--out", type=_FOLDER, metavar="OUT", help="New folder for the steered model.")
@click.option(
    "--as",
    "form",
    type=click.Choice(["weights", "lora"]),
    default="weights",
    show_default=True,
    help="A whole model, or the same edit as a LoRA adapter of rank 1.",
)
@click.option(
    "--embedding", is_flag=True, help="Edit the embedding as well, where it is not tied to the head."
)
@click.option(
    "--refusal", metavar="TEXT", help="Count as declined what begins with TEXT, in place of the detector."
)
@click.option(
    "--prompts",
    "most",
    type=click.IntRange(min=1),
    default=400,
    show_default=True,
    metavar="N",
    help="Prompts of each group to use, at most.",
)
@click.option(
    "--least",
    type=click.IntRange(min=2),
    default=16,
    show_default=True,
    metavar="N",
    help="Prompts that a direction needs of each group.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(min=1),
    default=128,
    show_default=True,
    metavar="N",
    help="Cut answers here.",
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=16, show_default=True, metavar="N",
    help="Prompts answered at a time.",
)  # fmt: skip
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Of the halves and of the search.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "auto"]),
    default="auto",
    show_default=True,
    help="Precision in memory and of what is written; auto keeps the checkpoint's.",
)
@click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1, or auto.  [default: cpu]")
@click.option(
    "--journal", type=_FILE, metavar="FILE", help="What was measured, to go on.  [default: OUT.journal.jsonl]"
)
@click.option("--dry-run", is_flag=True, help="Find and print the directions, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the tables.")
@click.pass_context
def command(  # noqa: PLR0913, PLR0917 - each is one option
    ctx: click.Context,
    model: Path,
    suite: str | None,
    harmful: str | None,
    benign: str | None,
    look_alikes: str | None,
    floor: float,
    level: float,
    budget: int,
    out: Path | None,
    form: str,
    embedding: bool,
    refusal: str | None,
    most: int,
    least: int,
    max_tokens: int,
    batch_size: int,
    seed: int,
    dtype: str,
    device: str | None,
    journal: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Lower the false refusals of MODEL by ablating, from what its layers write, the direction that refusing wrongly
    has beside refusing rightly. The direction of true refusal is kept: no option ablates it.

    Half of the prompts find the directions and choose a setting, the other half say what it is worth. A model is
    written only where the lower confidence bound of its refusals of harmful requests is at or above --floor, and
    where it is more useful than MODEL beyond noise.

    Start with:  aligntax weights steer MODEL --suite clinical --dry-run

    Exit codes: 0 written; 1 nothing written, for nothing holds the floor and gains; 2 could not run; 3 too few prompts.
    """
    from ...weights.steering.save import check_out
    from .steer_prompts import groups_of
    from .steer_work import How, opened, show_directions, steered

    if out is None and not dry_run:
        raise click.UsageError("say where the model goes: -o OUT; or --dry-run to see the directions alone")
    if form == "lora" and embedding:
        raise click.UsageError("an adapter cannot carry --embedding: leave it out, or save --as weights")
    if out is not None:
        check_out(out, model)
    groups = groups_of(suite, harmful, benign, look_alikes, most)
    how = How(
        floor=floor, level=level, budget=budget, seed=seed, embedding=embedding, least=least,
        max_tokens=max_tokens, batch_size=batch_size, refusal=refusal,
    )  # fmt: skip
    ready = opened(model, groups, how, dtype, device, dry_run=dry_run)
    if dry_run:
        show_directions(model, ready.directions, as_json=as_json)
        return
    assert out is not None
    if not steered(model, ready, how, out, form, journal, as_json=as_json):
        ctx.exit(1)
