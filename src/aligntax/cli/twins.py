"""`aligntax twins`: what sensitive words cost a model in quality, in its parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import InputError, NotEnoughData

if TYPE_CHECKING:
    from ..twins import Answers, Ratings, Review, Tax
    from ..types import Prompt
    from .twins_answers import Asking

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("twins", short_help="What sensitive words cost a model in quality: the tax and its parts.")
@click.argument("suite", metavar="[SUITE]", required=False)
@click.option(
    "--model", metavar="NAME", help="The model to ask, as for `aligntax run`; fake/aligned needs no key."
)
@click.option(
    "--log", type=_FILE, metavar="FILE", help="Read the answers from this log of a run; ask nothing."
)
@click.option(
    "--base-model", metavar="NAME", help="A model to put beside it, such as the one before alignment."
)
@click.option("--base-log", type=_FILE, metavar="FILE", help="The log of a model to put beside it.")
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    metavar="S",
    help="Times each prompt is asked.",
)
@click.option("--system", type=_FILE, metavar="FILE", help="System prompt, in place of the prompts' own.")
@click.option(
    "-o", "--out", type=_FILE, metavar="FILE", help="Log of the answers.  [default: SUITE.MODEL.jsonl]"
)
@click.option(
    "--price", metavar="IN,OUT", help="Dollars per million tokens of prompt and of answer, such as 2.50,10."
)
@click.option(
    "--budget-usd",
    type=click.FloatRange(min=0),
    metavar="USD",
    help="Stop before more is spent. Needs --price.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    metavar="N",
    help="Calls at a time, at most.",
)
@click.option(
    "--base-url", metavar="URL", help="Where the model is reached, in place of the vendor's address."
)
@click.option(
    "--quality",
    type=_FILE,
    metavar="CSV",
    help="Ratings by experts or a judge: prompt_id, quality (0 to 1), repeat, by.",
)
@click.option(
    "--review",
    type=_FILE,
    metavar="CSV",
    help="Twins that people passed or failed; --make writes it, to be filled in.",
)
@click.option(
    "--make", type=_FILE, metavar="FILE", help="Ask nothing: make twins of the prompts of SUITE, or of a log."
)
@click.option(
    "--words",
    metavar="NAME",
    help="For --make: a pack, or a YAML table of words and their neutral substitutes.",
)
@click.option("--rewriter", metavar="NAME", help="For --make: a model that writes the neutral side.")
@click.option("--check", is_flag=True, help="Ask nothing: list what speaks against the twins of SUITE.")
@click.option(
    "--curve",
    type=_FILE,
    metavar="TABLE",
    help="Checkpoints (name, safety, and tax, log or capability): the slope.",
)
@click.option(
    "--task", metavar="TASK[:METRIC]", help="For --curve: which figure of an lm-evaluation-harness result."
)
@click.option("--svg", type=_FILE, metavar="FILE", help="For --curve: the chart as SVG.")
@click.option(
    "--level",
    type=click.FloatRange(0.5, 1, max_open=True, min_open=True),
    default=0.95,
    show_default=True,
    help="Confidence of each interval.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the tables.")
def command(  # noqa: PLR0913, PLR0917 - each is one option
    suite: str | None,
    model: str | None,
    log: Path | None,
    base_model: str | None,
    base_log: Path | None,
    repeats: int,
    system: Path | None,
    out: Path | None,
    price: str | None,
    budget_usd: float | None,
    concurrency: int,
    base_url: str | None,
    quality: Path | None,
    review: Path | None,
    make: Path | None,
    words: str | None,
    rewriter: str | None,
    check: bool,
    curve: Path | None,
    task: str | None,
    svg: Path | None,
    level: float,
    as_json: bool,
) -> None:
    """Measure the tax of a model on the twins of SUITE: the same requests in sensitive and in neutral words.

    SUITE is a file, or a pack that comes with aligntax, such as clinical. The tax is the share of the quality in
    neutral words that is lost in sensitive ones, divided into what refusals, hedging and lost content cost.
    """
    from .twins_answers import Asking

    if curve is not None:
        from .twins_curve import show_curve

        show_curve(
            curve, None if suite is None else _load(suite), task=task, svg=svg, level=level, as_json=as_json
        )
        return
    if suite is None:
        raise click.UsageError("say which suite, such as: aligntax twins clinical --model fake/aligned")
    if make is not None or check:
        from . import twins_make

        if make is not None:
            twins_make.make_twins(suite, make, words, rewriter, review)
        else:
            twins_make.check_twins(suite)
        return
    if (model is None) == (log is None):
        raise click.UsageError("say what to measure: --model NAME asks a model, --log FILE reads a run")
    if base_model is not None and base_log is not None:
        raise click.UsageError("--base-model and --base-log both name the base: give one")
    how = Asking(
        repeats=repeats,
        system=system,
        concurrency=concurrency,
        price=price,
        budget_usd=budget_usd,
        base_url=base_url,
    )
    _measure(
        suite, (model, log, out), (base_model, base_log, None), how, quality, review, level, as_json=as_json
    )


def _measure(  # noqa: PLR0913 - each is one choice of the user
    suite: str,
    aligned: tuple[str | None, Path | None, Path | None],
    base: tuple[str | None, Path | None, Path | None],
    how: Asking,
    quality: Path | None,
    review: Path | None,
    level: float,
    *,
    as_json: bool,
) -> None:
    """Asks or reads, measures, prints. `aligned` and `base`: model, log to read, log to write."""
    from ..twins import compare_models, read_ratings, read_review

    prompts = _load(suite)
    ratings = None if quality is None else read_ratings(quality)
    reviewed = None if review is None else read_review(review, level=level)
    if reviewed is not None:
        prompts = [prompt for prompt in prompts if prompt.family not in set(reviewed.failed)]
    logs = {"log": _log_of(suite, prompts, aligned, how)}
    found = [_answers(logs["log"], prompts, ratings)]
    if base[0] is not None or base[1] is not None:
        logs["base"] = _log_of(suite, prompts, base, how)
        found.insert(0, _answers(logs["base"], prompts, ratings))
    price = _price(how.price)
    if len(found) == 1:
        _show(_tax(found[0], price, level), reviewed, logs, as_json=as_json)
        return
    taxes = [_tax_or_none(answers, price, level) for answers in found]
    beside = compare_models(found[0], found[1], level=level)
    if as_json:
        from .twins_words import to_json

        click.echo(to_json(taxes[1], beside=beside, base=taxes[0], review=reviewed, logs=_named(logs)))
        return
    from .terminal import console
    from .twins_words import print_beside, print_tax

    screen = console()
    with screen.capture() as printed:
        print_beside(beside, taxes[0], taxes[1], screen, level)
        if taxes[1] is not None:
            screen.print()
            print_tax(taxes[1], screen, notes=_notes(reviewed, logs))
    _echo(printed.get())


def _show(tax: Tax, reviewed: Review | None, logs: dict[str, Path], *, as_json: bool) -> None:
    from .terminal import console
    from .twins_words import print_tax, to_json

    if as_json:
        click.echo(to_json(tax, review=reviewed, logs=_named(logs)))
        return
    screen = console()
    with screen.capture() as printed:
        print_tax(tax, screen, notes=_notes(reviewed, logs))
    _echo(printed.get())


def _echo(printed: str) -> None:
    click.echo("\n".join(line.rstrip() for line in printed.splitlines()), color=True)


def _load(suite: str) -> list[Prompt]:
    from ..suites import load

    return load(suite)


def _log_of(
    suite: str, prompts: Sequence[Prompt], side: tuple[str | None, Path | None, Path | None], how: Asking
) -> Path:
    from .twins_answers import asked

    model, log, out = side
    if log is not None:
        return log
    assert model is not None
    return asked(suite, model, prompts, out, how)


def _answers(log: Path, prompts: Sequence[Prompt], ratings: Ratings | None) -> Answers:
    from .twins_answers import answers_in

    return answers_in(log, prompts, ratings)


def _tax(answers: Answers, price: tuple[float, float] | None, level: float) -> Tax:
    from ..twins import measure_tax

    if not any(answer.side for answer in answers.answers):
        raise InputError(
            "this suite has no twins: no prompt of it has a side",
            remedy="make some: aligntax twins SUITE --make twins.jsonl --words clinical",
        )
    return measure_tax(answers, price=price, level=level)


def _tax_or_none(answers: Answers, price: tuple[float, float] | None, level: float) -> Tax | None:
    """Two models can be put side by side on prompts that are no twins too."""
    try:
        return _tax(answers, price, level)
    except (InputError, NotEnoughData):
        return None


def _price(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    from ..client import parse_price

    price = parse_price(text.replace(",", "/", 1))
    return price.input_usd, price.output_usd


def _named(logs: dict[str, Path]) -> dict[str, str]:
    return {name: str(path) for name, path in logs.items()}


def _notes(reviewed: Review | None, logs: dict[str, Path]) -> list[str]:
    notes = []
    if reviewed is None:
        notes.append("Nobody has said that these twins ask for the same (--review); the tax rests on it.")
    elif reviewed.rate is None:
        notes.append("The review has no answers yet: write yes or no in its column pass.")
    else:
        rate = reviewed.rate
        notes.append(
            f"People passed {rate.value:.0%} of {rate.n:,} twins ({rate.low:.0%} to {rate.high:.0%}); "
            f"{len(reviewed.failed):,} that failed are left out, {reviewed.open:,} are not looked at yet."
        )
    return [*notes, *(f"{'Answers' if name == 'log' else 'Base'}: {path}" for name, path in logs.items())]
