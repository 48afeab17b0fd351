"""`aligntax triggers`: the words with which requests are refused, and whether they are what does it."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import InputError
from .where import labels_if_any, labels_of, store_option, without_planted

if TYPE_CHECKING:
    import polars as pl

    from ..triggers import Found, Span, Swap
    from ..types import Reply, Request, Send
    from .models import Opened


def _names(_ctx: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip())


@click.command("triggers", short_help="Words with which requests are refused, and proof by swapping them.")
@click.argument("verdicts", type=click.Path(dir_okay=False, path_type=Path), metavar="VERDICTS")
@click.option(
    "--by",
    callback=_names,
    default="",
    metavar="NAMES",
    help="Columns that name the topic of a request, such as use_case.  [default: clusters of the prompts]",
)
@click.option(
    "--topics",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many clusters. Half and twice as many are tried too.  [default: grows with the prompts]",
)
@click.option(
    "--top", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="Words to show."
)
@click.option("--confirm", is_flag=True, help="Ask a model again with each word swapped for a neutral one.")
@click.option(
    "--model", "model", metavar="NAME", help="Which model, for --confirm and --minimise: openai/..., fake/..."
)
@click.option(
    "--vocabulary",
    multiple=True,
    metavar="FILE",
    help="Neutral words: a YAML file of 'word: substitute' lines, or a domain pack. May be repeated.",
)
@click.option(
    "--rewriter", metavar="NAME", help="A model that rewrites prompts whose word has no substitute."
)
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    metavar="N",
    help="Times that each side is asked.",
)
@click.option(
    "--prompts",
    type=click.IntRange(min=2, max=200),
    default=40,
    show_default=True,
    metavar="N",
    help="Prompts to swap each word in, at most.",
)
@click.option(
    "--minimise",
    metavar="ID",
    help="Find the smallest part of this exchange's prompt without which it is answered.",
)
@click.option(
    "--calls",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    metavar="N",
    help="Calls that --minimise may make.",
)
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the table.")
def command(  # noqa: PLR0913, PLR0917 - each is one option
    verdicts: Path,
    by: tuple[str, ...],
    topics: int | None,
    top: int,
    confirm: bool,
    model: str | None,
    vocabulary: tuple[str, ...],
    rewriter: str | None,
    repeats: int,
    prompts: int,
    minimise: str | None,
    calls: int,
    where: str | None,
    as_json: bool,
) -> None:
    """Find the words of VERDICTS' prompts with which fewer requests are answered, compared within topics.

    VERDICTS is a file that `aligntax scan -o` has written. What is found is an association until --confirm has asked
    the model the same prompts with a neutral word in its place. Labels of the store take the place of the detector's
    word where there are any.
    """
    import asyncio

    from ..triggers import find
    from ..verdict_file import scan_verdicts
    from .trigger_words import print_found, print_span, to_json
    from .twins_words import SIMULATION

    _refuse(confirm, model, minimise, vocabulary, rewriter)
    frame = scan_verdicts(verdicts)
    if minimise is not None:
        found_span = asyncio.run(_minimised(frame, minimise, model or "", repeats, calls))
        click.echo(to_json(span=found_span) if as_json else print_span(found_span))
        return
    substitutes = _substitutes(vocabulary)
    with labels_if_any(where) as store:
        draw, annotations = labels_of(store, frame)
        annotations = without_planted(store, draw, annotations)
    found = find(frame, by=by, draw=draw, annotations=annotations, topics=topics)
    swaps = None
    if confirm and found.triggers:
        swaps = asyncio.run(
            _confirmed(found, frame, model or "", rewriter, substitutes, (top, prompts, repeats))
        )
    click.echo(
        to_json(found=found, swaps=swaps, top=top)
        if as_json
        else print_found(found, swaps, top, _texts(frame, found, top)),
        color=True,
    )
    if swaps is not None and not as_json and (model or "").startswith("fake"):
        click.echo(SIMULATION.format(model))


def _refuse(
    confirm: bool, model: str | None, minimise: str | None, vocabulary: tuple[str, ...], rewriter: str | None
) -> None:
    if (confirm or minimise is not None) and not model:
        raise InputError(
            "no model is named", remedy="add --model, such as openai/NAME, or fake/aligned to try it"
        )
    if confirm and not vocabulary and not rewriter:
        raise InputError(
            "nothing says which word is neutral",
            remedy="add --vocabulary FILE with 'word: substitute' lines, or --rewriter MODEL",
        )
    if not confirm and (vocabulary or rewriter):
        raise InputError("swaps need to be asked for", remedy="add --confirm --model NAME")


async def _confirmed(
    found: Found,
    frame: pl.LazyFrame,
    model: str,
    rewriter: str | None,
    substitutes: dict[str, str],
    settings: tuple[int, int, int],
) -> list[Swap]:
    from ..detect import judge
    from ..triggers import confirmed
    from .models import open_named

    top, prompts, repeats = settings
    async with contextlib.AsyncExitStack() as stack:
        asked: Opened = await stack.enter_async_context(open_named(model))
        writer = await stack.enter_async_context(open_named(rewriter)) if rewriter else None
        return await confirmed(
            found.triggers[:top],
            frame,
            _send_of(asked),
            judge,
            substitutes=substitutes,
            rewriter=_send_of(writer) if writer else None,
            prompts=prompts,
            repeats=repeats,
            watch=_show if sys.stderr.isatty() else None,
        )


def _show(done: int, all_of_them: int) -> None:
    click.echo(f"{done} of {all_of_them} words swapped", err=True)


def _send_of(model: Opened) -> Send:
    """Repeats of a request by the model's own count of samples, rather than by a seed that few vendors take."""
    import msgspec

    async def send(request: Request) -> Reply:
        plain = msgspec.structs.replace(request, seed=None)
        return await model.send(plain, sample=request.seed or 0)

    return send


async def _minimised(frame: pl.LazyFrame, identity: str, model: str, repeats: int, calls: int) -> Span:
    import polars as pl

    from ..detect import judge
    from ..triggers import smallest_span
    from .models import open_named

    schema = frame.collect_schema()
    if "prompt" not in schema:
        raise InputError(
            "these verdicts were kept without text",
            where="column prompt",
            remedy="scan again without --no-text",
        )
    columns = [name for name in ("prompt", "system", "history") if name in schema]
    named = pl.col("id") == identity
    if "source_id" in schema:
        named |= pl.col("source_id") == identity
    rows = frame.filter(named.fill_null(value=False)).select(columns).head(1).collect(engine="streaming")
    if not rows.height:
        raise InputError("no exchange has this id", where=identity, remedy="--json lists ids of examples")
    row = rows.row(0, named=True)
    async with open_named(model) as asked:
        return await smallest_span(
            row["prompt"] or "",
            _send_of(asked),
            judge,
            repeats=repeats,
            budget=calls,
            system=row.get("system"),
            history=row.get("history"),
        )


def _substitutes(files: tuple[str, ...]) -> dict[str, str]:
    """Of all vocabularies together; what is named first counts."""
    from ..suites.packs import DOMAINS, FOLDER
    from ..triggers import read_substitutes

    found: dict[str, str] = {}
    for name in files:
        path = FOLDER / name if name in DOMAINS and not Path(name).exists() else Path(name)
        found = read_substitutes(path) | found
    return found


def _texts(frame: pl.LazyFrame, found: Found, top: int) -> dict[str, str]:
    """The prompts of the examples, from the local file alone."""
    import polars as pl

    ids = [trigger.examples[0] for trigger in found.triggers[:top] if trigger.examples]
    wanted = pl.Series(ids, dtype=pl.String)
    rows = frame.filter(pl.col("id").is_in(wanted.implode())).select(
        "id", pl.col("prompt").str.slice(0, 20_000)
    )
    return dict(rows.collect(engine="streaming").iter_rows())
