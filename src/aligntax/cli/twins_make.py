"""`aligntax twins --make` and `--check`: twins from a table of words or a rewriter, and what is wrong with twins."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import InputError, NotEnoughData
from .terminal import clean

if TYPE_CHECKING:
    from ..twins import Twins
    from ..types import Prompt

_SHOWN = 12


def make_twins(source: str, out: Path, words: str | None, rewriter: str | None, review: Path | None) -> None:
    """Writes the twins that pass every check as a suite, and a sample of them for people to pass or fail."""
    from ..suites import write
    from ..twins import write_review

    prompts = _prompts(source)
    made = _made(prompts, words, rewriter)
    click.echo(
        f"{len(prompts):,} prompts: {len(made.good):,} twins, {len(made.twins) - len(made.good):,} failed a check"
    )
    for why, count in sorted(made.skipped.items(), key=lambda item: -item[1]):
        click.echo(f"  {count:,} prompts without a twin: {clean(why)}")
    failures = Counter(clean(problem) for twin in made.twins for problem in twin.problems)
    for problem, count in failures.most_common(_SHOWN):
        click.echo(f"  {count:,} failed: {problem}")
    if not made.good:
        raise NotEnoughData("no twin passed the checks")
    write(out, made.prompts)
    click.echo(f"  twins    {clean(str(out))}")
    if review is not None:
        number = write_review(review, made.prompts)
        click.echo(
            f"  review   {clean(str(review))}: write yes or no in the column pass of {number:,} families"
        )
    option = f" --review {clean(str(review))}" if review else ""
    click.echo(f"  next     aligntax twins {clean(str(out))} --model NAME{option}")


def check_twins(suite: str) -> None:
    """Lists what speaks against the twins of a suite, family by family."""
    from ..suites import load
    from ..twins import problems_in

    prompts = load(suite)
    sides: dict[str, set[str]] = {}
    for prompt in prompts:
        if prompt.family is not None and prompt.side is not None:
            sides.setdefault(prompt.family, set()).add(prompt.side)
    whole = [family for family, found in sides.items() if len(found) == 2]
    found = problems_in(prompts)
    click.echo(
        f"{len(whole):,} families with both sides, {len(sides) - len(whole):,} with one; {len(found):,} have remarks"
    )
    for family, problems in found.items():
        click.echo(f"  {clean(family)}: {clean('; '.join(problems))}")


def _made(prompts: list[Prompt], words: str | None, rewriter: str | None) -> Twins:
    from ..twins import read_words, rewrite, substitute

    if words is not None:
        return substitute(prompts, read_words(words))
    if rewriter is None:
        raise click.UsageError("--make needs --words (a pack or a YAML table) or --rewriter (a model)")

    async def ask(name: str) -> Twins:
        from .models import open_named

        async with open_named(name, prompts=prompts) as model:
            return await rewrite(prompts, model.send)

    return asyncio.run(ask(rewriter))


def _prompts(source: str) -> list[Prompt]:
    """Of a suite; else the distinct prompts of a log."""
    from ..suites import load

    try:
        prompts = load(source)
    except InputError as error:
        try:
            prompts = _logged(source)
        except InputError:
            raise error from None
    distinct: dict[str, Prompt] = {}
    for prompt in prompts:  # a log holds a request many times: its twins would be one family again and again
        distinct.setdefault(prompt.text, prompt)
    return list(distinct.values())


def _logged(source: str) -> list[Prompt]:
    from ..logs import read
    from ..types import Prompt

    return [
        Prompt(id=name, text=text, domain=use_case, source="log")
        for frame in read(source)
        for name, text, use_case in frame.select("id", "prompt", "use_case").iter_rows()
        if text and text.strip()
    ]
