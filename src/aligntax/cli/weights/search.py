"""`aligntax weights search`: ratios searched on half of the prompts and reported on the other half."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import InputError
from .scoring import options

if TYPE_CHECKING:
    from ...weights.searching.proxy import Batch
    from ...weights.searching.search import Found, Settings, Sides
    from ...weights.searching.sensitivity import Moved
    from .scoring import Scoring

_FILE = click.Path(dir_okay=False, path_type=Path)
_STRATEGIES = ("uniform", "blocks", "likelihood")
_ORDER = (
    "suite", "strategies", "budget", "checkpoints", "safety", "report", "journal", "floor_suite", "refusal", "n_blocks",
    "roles", "scanned", "margin", "max_new_tokens", "batch_size", "device", "as_json", "tasks", "limit", "dtype", "seed",
)  # fmt: skip
"""Of the options in --help: those that decide most first, those that few need last."""


@click.command("search", short_help="Ratios per block, searched and reported on disjoint prompts.")
@options
@click.option("--roles", is_flag=True, help="Attention and mlp get ratios of their own in each block.")
@click.option(
    "--strategy",
    "strategies",
    multiple=True,
    type=click.Choice(_STRATEGIES),
    default=("blocks",),
    show_default=True,
    help="Repeat for several; uniform always runs beside them.",
)
@click.option(
    "--budget",
    type=click.IntRange(2),
    default=40,
    show_default=True,
    metavar="N",
    help="Evaluations that each strategy gets.",
)
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    metavar="early=PATH|lr=PATH",
    help="A model or adapter of early stopping, or of another learning rate, as a baseline. Repeat it.",
)
@click.option(
    "--safety",
    type=click.FloatRange(0, 1),
    metavar="S",
    help="Compare methods at this safety.  [default: the aligned model's, less the margin]",
)
@click.option(
    "--task",
    "tasks",
    multiple=True,
    metavar="NAME[:METRIC]",
    help="Usefulness by this task of lm-evaluation-harness instead of SUITE. Repeat it.",
)
@click.option("--limit", type=click.IntRange(2), metavar="N", help="Items of each --task, at most.")
@click.option(
    "--journal", type=_FILE, metavar="FILE", help="Keep measurements here; the same command goes on."
)
@click.option("--report", type=_FILE, metavar="FILE", help="Write the result as one HTML page.")
@click.option(
    "--scan/--no-scan",
    "scanned",
    default=None,
    help="First see which block is free to restore; its evaluations come on top.  [default: with --report]",
)
def command(  # noqa: PLR0913, PLR0917 - each is one option
    base: Path,
    aligned: Path,
    n_blocks: int,
    margin: float,
    seed: int,
    as_json: bool,
    roles: bool,
    strategies: tuple[str, ...],
    budget: int,
    checkpoints: tuple[str, ...],
    safety: float | None,
    tasks: tuple[str, ...],
    limit: int | None,
    journal: Path | None,
    report: Path | None,
    scanned: bool | None,
    **asked: Any,
) -> None:
    """Search how much of ALIGNED each block of layers should keep, and say whether that gains anything.

    Half of SUITE, by hash and with families kept whole, chooses points; the other half scores them, and only its
    numbers are printed. Uniform averaging always runs with the same budget. Give checkpoints of early stopping and of
    other learning rates: without them nothing can be claimed over them. No weights are written; the last line says how.
    """  # fmt: skip
    from ...weights.searching.search import Settings, search
    from ...weights.searching.sensitivity import scan
    from .bar import Bar
    from .scoring import opened

    folders = _folders(checkpoints)
    held = opened(base, aligned, seed=seed, **asked)
    settings = Settings(
        n_blocks=n_blocks, roles=roles, strategies=strategies, budget=budget, seed=seed, safety=safety,
        margin=margin,
    )  # fmt: skip
    sides, measured_by = _sides(held, tasks, limit)
    kept = _journal(journal, held, measured_by)
    looked: tuple[Moved, ...] = ()
    try:
        with Bar("evaluating") as progress:
            if scanned if scanned is not None else report is not None:
                looked = scan(
                    held.resident, sides.selection, n_blocks=n_blocks, prompts=sides.selection_prompts, margin=margin,
                    journal=kept, on_progress=progress.update,
                )  # fmt: skip
            batches = _good_answers(held) if "likelihood" in strategies else ()
            found = search(
                held.resident, sides, settings,
                checkpoints=folders, batches=batches, journal=kept, on_progress=progress.update,
            )  # fmt: skip
    except KeyboardInterrupt as stop:
        raise type(stop)(_how_to_go_on(journal)) from None
    write = write_command(found, base, aligned)
    if report is not None:
        from ...report.front import write_front_report

        write_front_report(
            found.rows, report, title=f"{base.name} and {aligned.name}", found=found, write=write,
            facts={**held.report.settings, **measured_by}, sensitivity=looked,
        )  # fmt: skip
    _show(found, looked, held, settings, write, as_json=as_json, report=report)


command.params.sort(key=lambda given: _ORDER.index(given.name) if given.name in _ORDER else -1)


def _folders(checkpoints: Sequence[str]) -> dict[str, list[Path]]:
    from ...weights.adapters import check_tuned
    from ...weights.searching.search import CHECKPOINTS

    found: dict[str, list[Path]] = {}
    for given in checkpoints:
        name, _, path = given.partition("=")
        if name not in CHECKPOINTS or not path:
            raise InputError(
                "is no early=PATH or lr=PATH", where="--checkpoint", remedy="say which baseline it belongs to"
            )
        if not Path(path).is_dir():
            raise InputError("there is no such folder", where=path, remedy="name a model's folder")
        check_tuned(Path(path))  # now, not after an hour of search
        found.setdefault(name, []).append(Path(path))
    return found


def _sides(held: Scoring, tasks: Sequence[str], limit: int | None) -> tuple[Sides, dict[str, Any]]:
    """Selection and report, with usefulness by tasks of the harness where some are named."""
    import msgspec

    from ...weights.searching.search import Sides

    sides = Sides(
        selection=held.selection, report=held.report,
        selection_prompts=held.selection.prompts, report_prompts=held.report.prompts,
    )  # fmt: skip
    if not tasks:
        return sides, {}
    from ...weights.searching.harness import Harness
    from ...weights.searching.objectives import with_usefulness

    selection, report = (
        Harness(tasks, held.tokenizer, half=half, limit=limit) for half in ("selection", "report")
    )

    def joined(prompts: Any, harness: Harness) -> Any:
        return msgspec.structs.replace(prompts, keys=prompts.keys | harness.keys, useful=None)

    return Sides(
        selection=with_usefulness(held.selection, selection),
        report=with_usefulness(held.report, report),
        selection_prompts=joined(sides.selection_prompts, selection),
        report_prompts=joined(sides.report_prompts, report),
    ), {"usefulness": report.settings}


def _journal(path: Path | None, held: Scoring, measured_by: dict[str, Any]) -> Any:
    from ...weights.searching.journal import Journal
    from .scoring import ends, fingerprint

    base, aligned = ends(held.resident)
    identity = {
        "base": base, "aligned": aligned, "selection": fingerprint(held.selection),
        "report": fingerprint(held.report), "settings": held.selection.settings, **measured_by,
    }  # fmt: skip
    if held.refusal is not None:
        identity["refusal"] = held.refusal
    return Journal(path, identity)


def _good_answers(held: Scoring) -> list[Batch]:
    """What the aligned model answers to the selection prompts, as far as it is as it should be."""
    from ...types import Intent
    from ...weights.searching.proxy import batches_of

    suite, resident = held.selection, held.resident
    resident.set(dict.fromkeys(resident.base, 1.0))
    prompts = [*suite.harmful, *suite.benign]
    answers = suite.answers(resident.model, prompts)
    judged = suite.judge(prompts, answers)
    rows = [
        {"prompt": suite.text_of(prompt), "completion": answer}
        for prompt, answer, one in zip(prompts, answers, judged, strict=True)
        if answer and (one.refused if prompt.intent is Intent.HARMFUL else one.useful) >= 0.5
    ]
    device = next(resident.model.parameters()).device
    return [
        {name: tensor.to(device) for name, tensor in batch.items()}
        for batch in batches_of(held.tokenizer, rows)
    ]


def write_command(found: Found, base: Path, aligned: Path) -> str | None:
    """The command that writes the chosen point; None where there is none, or where it is a checkpoint.

    An adapter is merged first: only whole models are averaged.
    """
    import shlex

    from ...weights.adapters import kind_of

    row = found.chosen
    if row is None or "blocks" not in row.settings:
        return None
    shares = ",".join(f"{share:g}" for share in row.settings["blocks"])
    first, named = "", str(aligned)
    if kind_of(aligned) == "adapter":
        first = shlex.join(["aligntax", "weights", "merge", str(base), str(aligned)]) + " -o MERGED && "
        named = "MERGED"
    words = ["aligntax", "weights", "average", str(base), named]
    words += ["--ratio", shares] if "," not in shares else ["--blocks", shares]
    for role, own in row.settings.get("roles", {}).items():
        words += ["--role", f"{role}={'/'.join(f'{share:g}' for share in own)}"]
    return f"{first}{shlex.join(words)} -o OUT"


def _how_to_go_on(journal: Path | None) -> str:
    if journal is None:
        return "nothing was kept; with --journal FILE the same command goes on where it was"
    return f"what was measured is in {journal}; run the same command again to go on"


def _show(
    found: Found,
    looked: Sequence[Moved],
    held: Scoring,
    settings: Settings,
    write: str | None,
    *,
    as_json: bool,
    report: Path | None,
) -> None:
    from .scoring import few
    from .search_words import document, print_found

    if as_json:
        import msgspec

        shown = document(found, settings, held.report.settings, write, looked)
        click.echo(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode())
        return
    print_found(found, write, looked=looked, warning=few(held.selection, held.report), report=report)
