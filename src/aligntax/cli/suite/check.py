"""`aligntax suite check`: what is wrong with a suite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import columns_of, reading_options

if TYPE_CHECKING:
    from ...suites import Reading
    from ...types import Fact, Problem

_PARTS = ("prompts.jsonl", "floor.jsonl", "vocabulary.yaml", "system_prompts.yaml", "README.md")


@click.command("check", short_help="What is wrong with a suite.")
@click.argument("suite", metavar="SUITE")
@click.option(
    "--longest-probe",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    metavar="N",
    help="Words that a probe of the floor may have.",
)
@reading_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the list.")
@click.pass_context
def command(
    ctx: click.Context,
    suite: str,
    longest_probe: int,
    suite_format: str,
    mapping: tuple[str, ...],
    as_json: bool,
) -> None:
    """Check SUITE: rows, twins, required facts, probes, prompts that are nearly the same.

    SUITE is a file or a pack; of a pack, or of a folder built like one, all parts are checked. Exit code 1 when
    there is something to mend.
    """
    from ...suites import check_prompts

    folder = _folder(suite)
    files = [str(folder / name) for name in _PARTS[:2] if (folder / name).exists()] if folder else [suite]
    problems: list[Problem] = []
    count = 0
    for file in files:
        reading = _read(file, suite_format, columns_of(mapping))
        count += len(reading.prompts)
        problems += check_prompts(
            reading,
            _states,
            twin_problems=_twin_problems(reading),
            longest_probe=longest_probe,
            floor=Path(reading.file).name == _PARTS[1],
        )
    if folder:
        problems += _of_pack(folder)
    _print(problems, count, as_json=as_json)
    if problems:
        ctx.exit(1)


def _folder(suite: str) -> Path | None:
    """The folder of a pack that was named; None for a single file."""
    from ...suites.packs import DOMAINS, FOLDER

    if suite in DOMAINS:
        return FOLDER / suite
    return Path(suite) if Path(suite).is_dir() else None


def _read(file: str, suite_format: str, columns: dict[str, str] | None) -> Reading:
    from ...errors import InputError
    from ...suites import read

    reading = read(file, format=suite_format, columns=columns)
    if not reading.prompts and not reading.problems:
        raise InputError("holds no prompts", where=reading.file, remedy="give it one a line")
    return reading


def _states(text: str, fact: Fact) -> bool:
    from ...twins.facts import facts_in

    return facts_in(text, [fact]).facts[0]


def _twin_problems(reading: Reading) -> dict[str, tuple[str, ...]]:
    from ...twins.checks import problems_in

    return problems_in(reading.prompts)


def _of_pack(folder: Path) -> list[Problem]:
    """What is wrong beside the prompts: missing parts, and sensitive terms that the vocabulary lacks."""
    from ...errors import InputError
    from ...suites import load_system_prompts, load_vocabulary, uncovered_terms
    from ...twins.folding import folded, phrase_pattern
    from ...types import Problem

    found = [
        Problem(file=str(folder), line=None, reason=f"{name} is missing: a pack has one")
        for name in _PARTS
        if not (folder / name).exists()
    ]
    try:
        load_system_prompts(folder)
        words = load_vocabulary(folder)
    except InputError as error:
        return [*found, Problem(file=error.where or str(folder), line=None, reason=error.what)]
    if (folder / _PARTS[0]).exists():
        prompts = _read(str(folder / _PARTS[0]), "auto", None).prompts
        found += [
            Problem(file=str(folder / _PARTS[2]), line=None, reason=f"the term {term!r} is missing: add it")
            for term in uncovered_terms(
                prompts, words, lambda entry, term: bool(phrase_pattern(entry).search(folded(term)))
            )
        ]
    return found


def _print(problems: list[Problem], count: int, *, as_json: bool) -> None:
    import msgspec

    from ..terminal import clean

    if as_json:
        click.echo(
            json.dumps({"format": 1, "prompts": count, "problems": msgspec.to_builtins(problems)}, indent=2)
        )
        return
    for problem in problems:
        place = f"{problem.file}:{problem.line}" if problem.line else problem.file
        click.echo(clean(f"{place}: {problem.reason}"))
    to_mend = "nothing to mend" if not problems else f"{len(problems)} to mend"
    click.echo(f"{count} prompts, {to_mend}")
