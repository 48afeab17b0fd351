"""Where `aligntax twins` gets its answers from: a run that it makes, or the log of one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from ..errors import AlignTaxError, InputError
from .run import default_log, suite_title

if TYPE_CHECKING:
    from ..run import RunSummary
    from ..twins import Answers, Ratings
    from ..types import Prompt
    from .models import Named


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """How a model is asked."""

    repeats: int
    system: Path | None
    concurrency: int
    price: str | None
    budget_usd: float | None
    base_url: str | None


def answers_in(log: Path, prompts: Sequence[Prompt], ratings: Ratings | None) -> Answers:
    """The answers in a log to the prompts, judged by the detector."""
    from .. import detect
    from ..logs import read
    from ..twins import answers_of

    try:
        return answers_of(detect.scan(read(str(log))), prompts, ratings)
    except InputError as error:
        if error.where != "log":
            raise
        raise InputError(error.what, where=str(log), remedy=error.remedy) from error


def asked(suite: str, model: str, prompts: Sequence[Prompt], out: Path | None, how: Asking) -> Path:
    """Asks a model the suite, or what is missing of it, and returns the log: that of `aligntax run`."""
    from ..client import ClientSettings, parse_price
    from .models import find_model

    price = None if how.price is None else parse_price(how.price.replace(",", "/", 1))
    settings = ClientSettings(concurrency=how.concurrency, price=price)
    found = find_model(model, settings=settings, base_url=how.base_url)
    path = out or default_log(suite, found.name)
    try:
        summary = asyncio.run(_run(suite, found, prompts, path, how))
    except KeyboardInterrupt as stop:
        raise type(stop)(f"what was answered is in {path}; run the same command again to go on") from None
    if summary.failed:
        click.echo(
            f"{summary.failed:,} of {summary.calls:,} calls failed; aligntax run --retry-errors asks them again",
            err=True,
        )
    if summary.calls and summary.failed == summary.calls:
        raise AlignTaxError("no call brought an answer: see the error column of the log")
    return path


async def _run(suite: str, found: Named, prompts: Sequence[Prompt], out: Path, how: Asking) -> RunSummary:
    from ..client import Budget
    from ..run import run
    from .models import open_named
    from .run_progress import RunProgress

    budget = None if how.budget_usd is None else Budget(usd=how.budget_usd)
    async with open_named(found, prompts=prompts, budget=budget) as ready:
        with RunProgress() as progress:
            return await run(
                prompts,
                ready.send,
                out,
                model=found.name,
                suite=suite_title(suite),
                repeats=how.repeats,
                concurrency=how.concurrency,
                system=_text(how.system),
                max_tokens=found.max_tokens,
                temperature=found.temperature,
                on_progress=progress.show,
            )


def _text(system: Path | None) -> str | None:
    if system is None:
        return None
    try:
        return system.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("cannot be read as text", where=str(system), remedy="check the file") from error
