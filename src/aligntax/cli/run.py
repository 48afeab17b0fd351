"""`aligntax run`: ask a model a suite; the answers become a log that `aligntax scan` reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import AlignTaxError, InputError

if TYPE_CHECKING:
    from ..client import Budget, ClientSettings, Forecast
    from ..run import RunSummary
    from .models import Named
    from .run_words import Plan

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("run", short_help="Ask a model every prompt of a suite.")
@click.argument("suite", metavar="SUITE")
@click.option(
    "--model",
    required=True,
    metavar="NAME",
    help="openai/MODEL, openai-responses/MODEL, anthropic/MODEL, openai-api/SERVER/MODEL, an alias of "
    "aligntax.yaml, or fake/aligned for a simulation without a key.",
)
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="S",
    help="Times each prompt is asked.",
)
@click.option("--system", type=_FILE, metavar="FILE", help="System prompt, in place of the prompts' own.")
@click.option(
    "-o", "--out", type=_FILE, metavar="FILE", help="Where the answers go.  [default: SUITE.MODEL.jsonl]"
)
@click.option("--max-tokens", type=click.IntRange(min=1), metavar="N", help="Longest answer, in tokens.")
@click.option("--temperature", type=click.FloatRange(min=0), metavar="T", help="[default: the vendor's]")
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    metavar="N",
    help="Calls at a time, at most.",
)
@click.option(
    "--price", metavar="IN,OUT", help="Dollars per million tokens of prompt and of answer, such as 2.50,10."
)
@click.option(
    "--budget-usd",
    type=click.FloatRange(min=0),
    metavar="USD",
    help="Stop before this start of the run has cost more. Needs --price.",
)
@click.option(
    "--base-url", metavar="URL", help="Where the model is reached, in place of the vendor's address."
)
@click.option("--retry-errors", is_flag=True, help="Ask again what failed in an earlier start.")
@click.option("--dry-run", is_flag=True, help="Print calls, tokens and cost, and ask nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the summary.")
def command(  # noqa: PLR0913, PLR0917 - each is one option
    suite: str,
    model: str,
    repeats: int,
    system: Path | None,
    out: Path | None,
    max_tokens: int | None,
    temperature: float | None,
    concurrency: int,
    price: str | None,
    budget_usd: float | None,
    base_url: str | None,
    retry_errors: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Ask a model every prompt of SUITE: a file, or a pack that comes with aligntax, such as clinical.

    Every answer is stored as it arrives. After Ctrl-C, a crash or kill -9 the same command goes on where it was.
    """
    import asyncio

    from .models import find_model
    from .run_words import print_forecast, print_summary

    found = find_model(model, settings=_client_settings(price, concurrency), base_url=base_url)
    client = found.settings
    plan = _plan(
        suite,
        found.name,
        out,
        repeats=repeats,
        asked={
            "system": _text(system),
            "max_tokens": found.max_tokens if max_tokens is None else max_tokens,
            "temperature": found.temperature if temperature is None else temperature,
        },
    )
    if dry_run:
        print_forecast(plan, *_forecast(plan, client), as_json=as_json)
        return
    budget = _budget(budget_usd)
    try:
        summary = asyncio.run(_asked(plan, found, budget, retry_errors=retry_errors))
    except KeyboardInterrupt as stop:
        raise type(stop)(_how_to_go_on(plan)) from None
    except AlignTaxError as error:
        raise _with_what_is_kept(error, plan) from error
    print_summary(plan, summary, as_json=as_json)
    if summary.calls and summary.outcomes.get("error", 0) == summary.calls:
        raise AlignTaxError("no call brought an answer: --retry-errors asks again")


def _plan(suite: str, name: str, out: Path | None, *, repeats: int, asked: dict[str, Any]) -> Plan:
    """What is to be asked. `name` is the model's in full."""
    from ..run import RunSettings
    from ..suites import load
    from .run_words import Plan

    prompts = load(suite)
    title = suite_title(suite)
    return Plan(
        suite=title,
        prompts=tuple(prompts),
        model=name,
        out=out or default_log(suite, name),
        repeats=repeats,
        settings=RunSettings(**asked),
    )


def suite_title(suite: str) -> str:
    """The suite's name in the log: of a pack its own, of a file that without its ending."""
    path = Path(suite)
    if not path.exists():
        return suite
    return path.stem if path.is_file() else path.resolve().name


def default_log(suite: str, model: str) -> Path:
    """Where answers go that no option sends elsewhere: the same for every command, so none asks twice."""
    return Path(f"{_slug(suite_title(suite))}.{_slug(model)}.jsonl")


def _slug(name: str) -> str:
    return re.sub(r"[^\w.@-]+", "-", name).strip("-.") or "suite"


def _text(system: Path | None) -> str | None:
    if system is None:
        return None
    try:
        text = system.read_text("utf-8").strip()
    except OSError as error:
        raise InputError(
            error.strerror or "cannot be read", where=str(system), remedy="check the path"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8 text", where=str(system), remedy="save it as UTF-8") from error
    if not text:
        raise InputError(
            "holds no system prompt", where=str(system), remedy="write one, or leave --system out"
        )
    return text


def _client_settings(price: str | None, concurrency: int) -> ClientSettings:
    from ..client import ClientSettings, parse_price

    return ClientSettings(
        concurrency=concurrency, price=None if price is None else parse_price(price.replace(",", "/", 1))
    )


def _budget(usd: float | None) -> Budget | None:
    from ..client import Budget

    return None if usd is None else Budget(usd=usd)


def _forecast(plan: Plan, client: ClientSettings) -> tuple[Forecast, int]:
    """What the calls that are missing will take, and how many are finished."""
    from ..client import forecast
    from ..run import RunFile, planned, request_of

    calls = planned(plan.prompts, plan.repeats)
    file = RunFile(plan.out, plan.identity)
    file.peek()
    missing = [call for call in calls if call.key not in file.finished]
    requests = (request_of(call.prompt, plan.settings) for call in missing)
    return forecast(requests, settings=client), len(calls) - len(missing)


async def _asked(plan: Plan, found: Named, budget: Budget | None, *, retry_errors: bool) -> RunSummary:
    from ..run import run
    from .models import open_named
    from .run_progress import RunProgress

    settings = plan.settings
    async with open_named(found, prompts=plan.prompts, budget=budget) as model:
        with RunProgress() as progress:
            return await run(
                plan.prompts,
                model.send,
                plan.out,
                model=plan.model,
                suite=plan.suite,
                repeats=plan.repeats,
                concurrency=found.settings.concurrency,
                system=settings.system,
                max_tokens=settings.max_tokens,
                temperature=settings.temperature,
                retry_errors=retry_errors,
                on_progress=progress.show,
            )


def _stored(plan: Plan) -> int:
    """How many answers of this run are in its file."""
    from ..run import RunFile

    file = RunFile(plan.out, plan.identity)
    try:
        file.peek()
    except InputError:
        return 0
    return len(file.finished)


def _how_to_go_on(plan: Plan) -> str:
    return f"{_stored(plan):,} of {plan.calls:,} calls are stored in {plan.out}; run the same command again to go on"


def _with_what_is_kept(error: AlignTaxError, plan: Plan) -> AlignTaxError:
    if isinstance(error, InputError) or not _stored(plan):  # it says itself what to do, or nothing was lost
        return error
    return AlignTaxError(f"{error}; {_how_to_go_on(plan)}")
