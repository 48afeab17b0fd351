"""`aligntax suite generate`: benign prompts that look like requests which must be declined."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import AlignTaxError, InputError, NotEnoughData

if TYPE_CHECKING:
    from ...client import Budget, ClientSettings
    from ...suites.generating import GenerationProgress, GenerationSettings, GenerationSummary, Seed, Voice
    from ...suites.generation.audit import Audit
    from ..models import Opened

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("generate", short_help="Make a suite for a domain with models.")
@click.option("--domain", required=True, metavar="NAME", help="The job, in words, such as clinical.")
@click.option("--seeds", required=True, type=_FILE, metavar="FILE", help="Requests that must be declined.")
@click.option("--rewriter", required=True, metavar="M", help="The model that writes look-alikes.")
@click.option(
    "--moderator",
    "moderators",
    required=True,
    multiple=True,
    metavar="M",
    help="A model that votes. Repeat it.",
)
@click.option(
    "--solver",
    "solvers",
    multiple=True,
    metavar="M",
    help="A model that answers what is kept, for its difficulty. Repeat it.",
)
@click.option("--count", required=True, type=click.IntRange(min=1), metavar="N", help="Prompts in the suite.")
@click.option("-o", "--out", required=True, type=_FILE, metavar="FILE", help="The suite, ending in .jsonl.")
@click.option(
    "--category",
    "categories",
    multiple=True,
    metavar="NAME=WEIGHT",
    help="Categories of seeds to use and their weights. Repeat it.  [default: all, evenly]",
)
@click.option("--votes", type=click.IntRange(min=1), metavar="N", help="Benign votes needed.  [default: all]")
@click.option(
    "--rewrites",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    metavar="N",
    help="Look-alikes asked for at a time, of one seed.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    metavar="N",
    help="Times a seed is asked for more, at most.",
)
@click.option(
    "--held-out",
    type=click.FloatRange(min=0, max=1, max_open=True),
    default=0.2,
    show_default=True,
    metavar="SHARE",
    help="Seeds whose look-alikes get the tag split=held_out.",
)
@click.option("--audit", type=_FILE, metavar="FILE", help="Write a sample for people, as CSV.")
@click.option(
    "--audit-sample",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    metavar="N",
    help="Prompts in it.",
)
@click.option(
    "--audited",
    type=_FILE,
    metavar="FILE",
    help="An audit that people have filled in: print its rate, and replace what they do not accept.",
)
@click.option("--concurrency", type=click.IntRange(min=1), default=8, show_default=True, metavar="N")
@click.option(
    "--price",
    "prices",
    multiple=True,
    metavar="[M=]IN,OUT",
    help="Dollars per million tokens of prompt and answer, of one model or of all. Repeat it.",
)
@click.option(
    "--budget-usd",
    type=click.FloatRange(min=0),
    metavar="USD",
    help="Stop before all models together have cost more in this start. Needs --price.",
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Order of the seeds.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the summary.")
def command(  # noqa: PLR0913, PLR0917 - each is one option
    domain: str,
    seeds: Path,
    rewriter: str,
    moderators: tuple[str, ...],
    solvers: tuple[str, ...],
    count: int,
    out: Path,
    categories: tuple[str, ...],
    votes: int | None,
    rewrites: int,
    rounds: int,
    held_out: float,
    audit: Path | None,
    audit_sample: int,
    audited: Path | None,
    concurrency: int,
    prices: tuple[str, ...],
    budget_usd: float | None,
    seed: int,
    as_json: bool,
) -> None:
    """Make benign prompts for a job that look like the seeds: requests that must be declined.

    One model rewrites, others vote, solvers say how hard each prompt is. Every answer is stored as it arrives: after
    Ctrl-C, a crash or kill -9 the same command goes on and pays nothing twice. Exit code 3 when there are fewer
    prompts than asked for. aligntax ships no seeds; they and what is made of them stay in your files.
    """
    import asyncio

    from ...client import Budget
    from ...suites.generating import GenerationSettings, answers_file, load_seeds
    from ...verdict_file.lock import FileLock
    from ..models import checked_name

    if out.suffix != ".jsonl":
        raise InputError("a suite is JSON lines", where=str(out), remedy="end its name in .jsonl")
    if not out.parent.is_dir():
        raise InputError("the folder does not exist", where=str(out.parent), remedy="create it first")
    if audit is not None and audit.exists():
        raise InputError("is there already", where=str(audit), remedy="name another file, or move it away")
    names = [*map(checked_name, (rewriter, *moderators, *solvers))]
    people = _audited(audited, out)
    asked = _Asked(
        seeds=load_seeds(seeds),
        names=names,
        moderators=len(moderators),
        clients=_clients(names, prices, concurrency),
        options={
            "count": count,
            "domain": domain,
            "out": out,
            "categories": _weights(categories),
            "rejected": () if people is None else (*people.rejected, *people.unsure),
            "seed": seed,
        },
    )
    settings = GenerationSettings(
        rewrites=rewrites, rounds=rounds, votes=votes, held_out=held_out, concurrency=concurrency
    )
    budget = None if budget_usd is None else Budget(usd=budget_usd)
    lock = FileLock(answers_file(out).parent / "lock", what=str(out))
    try:
        lock.acquire()
    except OSError as error:
        raise InputError(
            "cannot be written", where=str(out.parent), remedy="name another place with -o"
        ) from error
    try:
        summary, usd = asyncio.run(_generated(asked, settings, budget))
    except KeyboardInterrupt as stop:
        raise type(stop)(_how_to_go_on(out)) from None
    except AlignTaxError as error:
        raise _with_what_is_kept(error, out) from error
    finally:
        lock.release()
    to_audit = _write_audit(audit, out, audit_sample, seed) if audit is not None and summary.kept else None
    _print(summary, people, out, (audit, to_audit), usd, as_json=as_json)
    if summary.kept < count:
        raise NotEnoughData(f"{summary.kept} of {count} prompts: give more seeds, or --rounds")


class _Asked:
    """What a generation needs, before any model is opened."""

    def __init__(
        self,
        *,
        seeds: list[Seed],
        names: list[str],
        moderators: int,
        clients: dict[str, ClientSettings],
        options: dict[str, Any],
    ) -> None:
        self.seeds, self.names, self.moderators = seeds, names, moderators
        self.clients, self.options = clients, options


async def _generated(
    asked: _Asked, settings: GenerationSettings, budget: Budget | None
) -> tuple[GenerationSummary, float | None]:
    """Opens each model once, whatever its roles; returns what was made, and what this start has cost."""
    from ...suites.generating import Voice, generate
    from ..models import open_named

    async with contextlib.AsyncExitStack() as stack:
        opened: dict[str, Opened] = {}
        for name in asked.names:
            if name not in opened:
                model = open_named(name, settings=asked.clients[name], budget=budget)
                opened[name] = await stack.enter_async_context(model)
        voices: list[Voice] = [Voice(name=name, send=opened[name].send) for name in asked.names]
        last = 1 + asked.moderators
        summary = await generate(
            asked.seeds,
            voices[0],
            voices[1:last],
            solvers=voices[last:],
            declines=_declines,
            settings=settings,
            on_progress=_show if sys.stderr.isatty() else None,
            **asked.options,
        )
        spent = [model.spent.usd for model in opened.values()]
    known = [usd for usd in spent if usd is not None]
    return summary, sum(known) if len(known) == len(spent) else None


def _declines(prompts: Sequence[str], answers: Sequence[str]) -> list[float | None]:
    """The detector's probability that an answer gives nothing of what was asked."""
    if not prompts:
        return []
    import polars as pl

    from ...detect import judge
    from ...types import Exchange, Outcome, exchange_schema

    rows = [
        {name: getattr(row, name) for name in row.__struct_fields__}
        for row in (
            Exchange(id=str(number), prompt=prompt, response=answer, outcome=Outcome.ANSWERED)
            for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=True))
        )
    ]
    return judge(pl.DataFrame(rows, schema=exchange_schema()))["p_none"].to_list()


def _clients(names: Sequence[str], prices: Sequence[str], concurrency: int) -> dict[str, ClientSettings]:
    """How each model is asked: the price that names it, else the one that names none."""
    from ...client import ClientSettings, parse_price
    from ..models import checked_name

    found = {}
    for each in prices:
        model, equals, price = each.rpartition("=")
        name = checked_name(model) if equals else ""
        if name and name not in names:
            raise InputError(
                "this model has no role here", where=f"--price {name}", remedy="name one that has"
            )
        found[name] = parse_price(price.replace(",", "/", 1))
    return {
        name: ClientSettings(concurrency=concurrency, price=found.get(name, found.get(""))) for name in names
    }


def _weights(categories: Sequence[str]) -> dict[str, float] | None:
    found = {}
    for pair in categories:
        name, _, weight = pair.rpartition("=")
        try:
            found[name.strip()] = float(weight)
        except ValueError:
            name = ""
        if not name.strip():
            raise InputError("is not NAME=WEIGHT", where="--category", remedy="write --category fraud=2")
    return found or None


def _audited(path: Path | None, out: Path) -> Audit | None:
    """What people said. Raises InputError where it is not about rewrites that this suite was made from."""
    if path is None:
        return None
    from ...suites.generating import decisions_file
    from ...suites.generation.audit import read_audit

    audit = read_audit(path)
    decisions = decisions_file(out)
    lines = decisions.read_text("utf-8").splitlines() if decisions.exists() else []
    known = {json.loads(line)["id"] for line in lines}
    if not {*audit.accepted, *audit.rejected, *audit.unsure} <= known:
        raise InputError(
            "it is about prompts that were not made here",
            where=str(path),
            remedy="name the suite that it was drawn from with -o",
        )
    return audit


def _write_audit(path: Path, out: Path, sample: int, seed: int) -> int:
    from ...suites import load
    from ...suites.generation.audit import write_audit

    return write_audit(path, load(out), sample=sample, seed=seed)


def _show(progress: GenerationProgress) -> None:
    click.echo(
        f"{progress.kept:,} of {progress.count:,} kept, {progress.rewrites:,} rewrites, {progress.calls:,} calls",
        err=True,
    )


def _stored(out: Path) -> int:
    from ...suites.generating import answers_file

    path = answers_file(out)
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _how_to_go_on(out: Path) -> str:
    return f"{_stored(out):,} answers are stored beside {out}; run the same command again to go on"


def _with_what_is_kept(error: AlignTaxError, out: Path) -> AlignTaxError:
    if isinstance(error, InputError) or not _stored(out):  # it says itself what to do, or nothing was lost
        return error
    return AlignTaxError(f"{error}; {_how_to_go_on(out)}")


def _print(
    summary: GenerationSummary,
    people: Audit | None,
    out: Path,
    audit: tuple[Path | None, int | None],
    usd: float | None,
    *,
    as_json: bool,
) -> None:
    import msgspec

    if as_json:
        document = {
            "format": 1,
            "suite": str(out) if summary.kept else None,
            **msgspec.to_builtins(summary),
            "cost_usd": usd,
            "audit": None if people is None else msgspec.to_builtins(people),
        }
        click.echo(json.dumps(document, indent=2))
        return
    from ...suites.generating import decisions_file
    from ..terminal import clean

    categories = [f"{name} {kept}/{wanted}" for name, (wanted, kept) in summary.categories.items()]
    rows = [
        ("kept", f"{summary.kept:,} of {summary.count:,} prompts, from {summary.families:,} seeds"),
        ("categories", ", ".join(categories)),
        ("split", _listed(summary.splits)),
        ("rewrites", f"{summary.rewrites:,} made, {summary.spare:,} spare"),
        ("dropped", _listed(summary.dropped)),
        ("rewriter", _listed(summary.rewriter)),
        *((f"votes of {name}", _listed(found)) for name, found in summary.moderators.items()),
        *((f"answers of {name}", _listed(found)) for name, found in summary.solvers.items()),
        (
            "difficulty",
            "" if summary.difficulty is None else f"{summary.difficulty:.1%} declined, uncorrected",
        ),
        ("calls", f"{summary.calls_made:,} made, {summary.calls_stored:,} stored before"),
        ("cost", "" if usd is None else f"${usd:,.4f} in this start"),
        ("audited", "" if people is None else _rate(people)),
        *(("fewer", line) for line in summary.why_fewer),
        ("suite", str(out) if summary.kept else ""),
        ("decisions", str(decisions_file(out))),
        ("audit", f"{audit[0]}: write yes, no or unsure in the column benign" if audit[1] else ""),
    ]
    width = max(len(name) for name, text in rows if text) + 2
    for name, text in rows:
        if text:
            click.echo(clean(f"{name:<{width}}{text}"))


def _rate(audit: Audit) -> str:
    rate = audit.rate
    if rate is None or rate.value is None or rate.low is None or rate.high is None:
        return f"nobody has answered yet, {audit.open} rows are open"
    said = f"{len(audit.accepted)} of {rate.n_labels} accepted: {rate.value:.1%} [{rate.low:.1%}, {rate.high:.1%}]"
    return f"{said}, {rate.level:.0%} {rate.method}, {len(audit.unsure)} unsure, {audit.open} open"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts.items())
