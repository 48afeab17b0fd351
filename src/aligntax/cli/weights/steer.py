"""`aligntax weights steer`: fewer false refusals by an edit of the weights, and never under the safety floor."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ...errors import InputError

if TYPE_CHECKING:
    from ...weights.directions import Directions
    from ...weights.generated import GeneratedSuite, Judge
    from .steer_prompts import Groups

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)


class _How(msgspec.Struct, frozen=True, kw_only=True):
    """What the options say of the search."""

    floor: float
    level: float
    budget: int
    seed: int
    embedding: bool
    least: int
    max_tokens: int
    batch_size: int
    refusal: str | None


class _Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The model, opened, with its directions."""

    writers: Any
    directions: Any
    selection: Any  # GeneratedSuite
    report: Any  # GeneratedSuite
    answered: list[list[int]]  # benign prompts that it answered, as tokens


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
    written only where the lower confidence bound of its refusals of harmful requests is at or above --floor.

    Start with:  aligntax weights steer MODEL --suite clinical --dry-run

    Exit codes: 0 written; 1 nothing holds the floor and gains; 2 could not run; 3 too few prompts.
    """
    from ...weights.steer_save import check_out
    from .steer_prompts import groups_of

    if out is None and not dry_run:
        raise click.UsageError("say where the model goes: -o OUT; or --dry-run to see the directions alone")
    if form == "lora" and embedding:
        raise click.UsageError("an adapter cannot carry --embedding: leave it out, or save --as weights")
    if out is not None:
        check_out(out, model)
    groups = groups_of(suite, harmful, benign, look_alikes, most)
    how = _How(
        floor=floor, level=level, budget=budget, seed=seed, embedding=embedding, least=least,
        max_tokens=max_tokens, batch_size=batch_size, refusal=refusal,
    )  # fmt: skip
    ready = _opened(model, groups, how, dtype, device, dry_run=dry_run)
    if dry_run:
        _show_directions(model, ready.directions, as_json=as_json)
        return
    assert out is not None
    if not _steered(model, ready, how, out, form, journal, as_json=as_json):
        ctx.exit(1)


def _opened(
    folder: Path, groups: Groups, how: _How, dtype: str, device: str | None, *, dry_run: bool
) -> _Ready:
    """Loads the model, lets it answer the selection prompts, and finds its directions."""
    from ...types import Intent
    from ...weights.directions import activations, find_directions
    from ...weights.generated import GeneratedSuite, halves
    from ...weights.loading import load_model, load_tokenizer
    from ...weights.steer import Writers
    from ...weights.steer_search import check_size
    from .steer_progress import quiet

    judge = _judge(how.refusal)
    selected, reported = halves(groups.prompts, seed=how.seed)
    with quiet():
        model, tokenizer = load_model(folder, dtype=dtype, device=device), load_tokenizer(folder)  # type: ignore[arg-type]
    selection, report = (
        GeneratedSuite(tokenizer, part, judge, max_new_tokens=how.max_tokens, batch_size=how.batch_size)
        for part in (selected, reported)
    )
    if not dry_run:
        check_size(len(set(report.prompts.harmful or ())), how.floor, how.level)
    writers = Writers(model)
    said = judge(selected, selection.answers(model, selected))
    tokens: dict[str, list[list[int]]] = {"declined": [], "answered": [], "wrongly": []}
    for prompt, verdict in zip(selected, said, strict=True):
        harmful, refused = prompt.intent is Intent.HARMFUL, verdict.refused >= 1
        if harmful and refused:
            tokens["declined"].append(_tokens(selection, prompt))
        elif not harmful and refused:
            tokens["wrongly"].append(_tokens(selection, prompt))
        elif not harmful and verdict.useful > 0 and prompt.id not in groups.look_alikes:
            tokens["answered"].append(_tokens(selection, prompt))
    found = [activations(model, tokens[name], batch_size=how.batch_size) for name in tokens]
    directions = find_directions(*found, least=how.least)
    return _Ready(
        writers=writers,
        directions=directions,
        selection=selection,
        report=report,
        answered=tokens["answered"],
    )


def _steered(
    folder: Path, ready: _Ready, how: _How, out: Path, form: str, journal: Path | None, *, as_json: bool
) -> bool:
    """Searches, tests, prints, and writes where the floor holds; says whether it wrote."""
    from ...weights.journal import Journal
    from ...weights.objectives import disjoint
    from ...weights.steer_save import save
    from ...weights.steer_search import certify, search
    from .steer_progress import SteerProgress, quiet
    from .steer_words import print_result, to_json

    disjoint(ready.selection.prompts, ready.report.prompts)
    path = journal or out.with_name(f"{out.name}.journal.jsonl")
    kept = Journal(path, _identity(ready, how))
    try:
        with SteerProgress(how.budget) as progress:
            trials = search(
                ready.writers, ready.directions, ready.selection, ready.answered, budget=how.budget,
                seed=how.seed, embedding=how.embedding, journal=kept, show=progress.show,
            )  # fmt: skip
            progress.say("testing on other prompts")
            certified = certify(
                ready.writers, ready.directions, trials, ready.report, floor=how.floor, level=how.level,
                prompts=ready.report.prompts,
            )  # fmt: skip
    except KeyboardInterrupt as stop:
        raise type(stop)(f"what was measured is in {path}; run the same command again to go on") from None
    written = certified.chosen is not None
    if written:
        notes = {"settings": ready.report.settings, "search": msgspec.to_builtins(how)}
        with quiet():
            save(ready.writers, ready.directions, certified, out, source=folder, form=form, notes=notes)  # type: ignore[arg-type]
    if as_json:
        click.echo(to_json(folder, ready.directions, trials, certified, out if written else None))
    else:
        print_result(folder, ready.directions, trials, certified, out if written else None)
    return written


def _show_directions(folder: Path, directions: Directions, *, as_json: bool) -> None:
    from .steer_words import directions_json, print_directions

    if as_json:
        click.echo(directions_json(folder, directions))
    else:
        print_directions(folder, directions)


def _judge(refusal: str | None) -> Judge:
    from .scoring import judge
    from .steer_prompts import begins_with

    if refusal is None:
        return judge
    if not refusal.strip():
        raise InputError("is empty", where="--refusal", remedy="give the first words of the model's refusal")
    return begins_with(refusal)


def _tokens(suite: GeneratedSuite, prompt: Any) -> list[int]:
    """A prompt as the model reads it, as `GeneratedSuite` does it."""
    whole = bool(suite.tokenizer.chat_template)  # a chat template writes the start token itself
    return list(suite.tokenizer(suite.text_of(prompt), add_special_tokens=not whole)["input_ids"])


def _identity(ready: _Ready, how: _How) -> dict[str, Any]:
    """What must be equal for a former measurement to count; not the budget, so that a search can be made longer."""
    from ...weights.steer_search import digest_of

    keys = hashlib.sha256(" ".join(sorted(ready.selection.prompts.keys)).encode()).hexdigest()[:16]
    return {
        "search": "steer", "directions": digest_of(ready.directions), "prompts": keys,
        "settings": ready.selection.settings, "refusal": how.refusal,
    }  # fmt: skip
