"""What `aligntax weights steer` does: asks the model, finds its directions, searches, tests, writes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

if TYPE_CHECKING:
    from ...weights.searching.generated import GeneratedSuite
    from ...weights.steering.directions import Directions
    from .steer_prompts import Groups


class How(msgspec.Struct, frozen=True, kw_only=True):
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


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The model, opened, with its directions."""

    writers: Any
    directions: Any
    selection: Any  # GeneratedSuite
    report: Any  # GeneratedSuite
    answered: list[list[int]]  # benign prompts that it answered, as tokens


def opened(folder: Path, groups: Groups, how: How, dtype: str, device: str | None, *, dry_run: bool) -> Ready:
    """Loads the model, lets it answer the selection prompts, and finds its directions."""
    from ...types import Intent
    from ...weights.loading import load_model, load_tokenizer
    from ...weights.searching.generated import GeneratedSuite, halves
    from ...weights.steering.directions import activations, find_directions
    from ...weights.steering.edit import Writers
    from ...weights.steering.proof import check_size
    from .scoring import judge_of

    judge = judge_of(how.refusal)
    selected, reported = halves(groups.prompts, seed=how.seed)
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
    return Ready(
        writers=writers,
        directions=directions,
        selection=selection,
        report=report,
        answered=tokens["answered"],
    )


def steered(
    folder: Path, ready: Ready, how: How, out: Path, form: str, journal: Path | None, *, as_json: bool
) -> bool:
    """Searches, tests, prints, and writes where the floor holds and usefulness gains; says whether it wrote."""
    from ...weights.loading import without_bars
    from ...weights.searching.journal import Journal
    from ...weights.searching.objectives import disjoint
    from ...weights.steering.proof import certify
    from ...weights.steering.save import save
    from ...weights.steering.search import search
    from .steer_progress import SteerProgress
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
    written = certified.gains
    if written:
        notes = {"settings": ready.report.settings, "search": msgspec.to_builtins(how)}
        with without_bars():
            save(ready.writers, ready.directions, certified, out, source=folder, form=form, notes=notes)  # type: ignore[arg-type]
    if as_json:
        click.echo(to_json(folder, ready.directions, trials, certified, out if written else None))
    else:
        print_result(folder, ready.directions, trials, certified, out if written else None)
    return written


def show_directions(folder: Path, directions: Directions, *, as_json: bool) -> None:
    """Print the directions alone."""
    from .steer_words import directions_json, print_directions

    if as_json:
        click.echo(directions_json(folder, directions))
    else:
        print_directions(folder, directions)


def _tokens(suite: GeneratedSuite, prompt: Any) -> list[int]:
    """A prompt as the model reads it, as `GeneratedSuite` does it."""
    whole = bool(suite.tokenizer.chat_template)  # a chat template writes the start token itself
    return list(suite.tokenizer(suite.text_of(prompt), add_special_tokens=not whole)["input_ids"])


def _identity(ready: Ready, how: How) -> dict[str, Any]:
    """What must be equal for a former measurement to count; not the budget, so that a search can be made longer."""
    from ...weights.steering.search import digest_of

    keys = hashlib.sha256(" ".join(sorted(ready.selection.prompts.keys)).encode()).hexdigest()[:16]
    return {
        "search": "steer", "directions": digest_of(ready.directions), "prompts": keys,
        "settings": ready.selection.settings, "refusal": how.refusal,
    }  # fmt: skip
