"""`aligntax suite show`: what is in a suite."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from .options import columns_of, reading_options

if TYPE_CHECKING:
    from ...suites import Reading
    from ...types import Fact, Prompt


@click.command("show", short_help="What is in a suite.")
@click.argument("suite", metavar="SUITE")
@click.option(
    "--prompts",
    "wanted",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    metavar="N",
    help="Prompts to print in full, from the start.",
)
@click.option("--id", "name", metavar="ID", help="Print the prompt with this id, or the family of this name.")
@reading_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead, without prompts.")
def command(
    suite: str, wanted: int, name: str | None, suite_format: str, mapping: tuple[str, ...], as_json: bool
) -> None:
    """Count what SUITE holds, and print its first prompts with their required facts.

    SUITE is a file, a pack (clinical, clinical/floor), or hf:ORG/NAME[/CONFIG][:SPLIT].
    """
    from ...errors import InputError
    from ...suites import read

    reading = read(suite, format=suite_format, columns=columns_of(mapping))
    if as_json:
        click.echo(json.dumps({"format": 1, **_counts(reading)}, indent=2))
        return
    prompts = reading.prompts[:wanted]
    if name is not None:
        prompts = tuple(prompt for prompt in reading.prompts if name in (prompt.id, prompt.family))
        if not prompts:
            raise InputError("no prompt or family has this name", where=suite, remedy="see its ids")
    else:
        _print_counts(reading)
    for prompt in prompts:
        _print_prompt(prompt)


def _counts(reading: Reading) -> dict[str, Any]:
    prompts = reading.prompts
    words = sorted(len(prompt.text.split()) for prompt in prompts)
    sides: dict[str, set[str | None]] = {}
    for prompt in prompts:
        if prompt.family is not None:
            sides.setdefault(prompt.family, set()).add(prompt.side)
    return {
        "file_format": reading.format,
        "prompts": len(prompts),
        "not_read": len(reading.problems),
        "intents": dict(Counter(prompt.intent.value for prompt in prompts).most_common()),
        "domains": dict(Counter(prompt.domain or "none" for prompt in prompts).most_common()),
        "families": len(sides),
        "twins": sum({"sensitive", "neutral"} <= found for found in sides.values()),
        "with_facts": sum(bool(prompt.facts) for prompt in prompts),
        "terms": len({term for prompt in prompts for term in prompt.terms}),
        "median_words": words[len(words) // 2] if words else None,
        "licences": dict(Counter(prompt.licence or "none" for prompt in prompts).most_common()),
    }


def _print_counts(reading: Reading) -> None:
    from ..terminal import clean, cut

    counts = _counts(reading)
    rows = {
        "format": reading.format,
        "prompts": f"{counts['prompts']}, {counts['median_words'] or 0} words in the middle",
        "intents": _listed(counts["intents"]),
        "domains": _listed(counts["domains"]),
        "families": f"{counts['families']}, {counts['twins']} with both sides",
        "facts": f"{counts['with_facts']} prompts have some",
        "terms": f"{counts['terms']} different ones",
        "licences": _listed(counts["licences"]),
    }
    if counts["not_read"]:
        rows["not read"] = f"{counts['not_read']} rows: aligntax suite check lists them"
    for name, value in rows.items():
        click.echo(f"{name:<10}{cut(clean(value), 100)}")


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _print_prompt(prompt: Prompt) -> None:
    from ..terminal import clean

    title = " · ".join(part for part in (prompt.id, prompt.side, prompt.intent.value) if part)
    click.echo(f"\n{clean(title)}")
    click.echo(f"  {clean(prompt.text)}")
    if prompt.terms:
        click.echo(f"  terms: {clean(', '.join(prompt.terms))}")
    for fact in prompt.facts:
        click.echo(f"  - {clean(_fact(fact))}")


def _fact(fact: Fact) -> str:
    ways = list(fact.aliases)
    if fact.value is not None:
        spread = f" ± {fact.tolerance:g}" if fact.tolerance else ""
        ways.insert(0, f"{fact.value:g}{spread} {fact.unit or ''}".rstrip())
    return f"{fact.name}: {' | '.join(ways)}" if ways else fact.name
