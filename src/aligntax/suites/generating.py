"""A suite for a domain, in the way of OR-Bench: rewrites of toxic seeds that models vote benign, and people audit.

Ref: Cui et al. 2024, OR-Bench (arXiv:2405.20947). Unlike the original, any model takes any role, votes follow a schema,
the count is kept, and every answer is stored as it arrives.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import msgspec

from ..errors import InputError
from ..types import PROVIDER_BLOCKED, Outcome
from .format import write
from .generation.asking import solve_request
from .generation.ledger import Ledger, Said
from .generation.making import Category, Making, changed, ordered, shares, splits_of, together
from .generation.records import (
    Decision,
    Declines,
    GenerationProgress,
    GenerationSettings,
    GenerationSummary,
    Seed,
    Solved,
    Voice,
    load_seeds,
    prompt_of,
)

__all__ = [
    "Decision",
    "GenerationProgress",
    "GenerationSettings",
    "GenerationSummary",
    "Seed",
    "Voice",
    "answers_file",
    "decisions_file",
    "generate",
    "load_seeds",
]

_DECLINED = 0.5  # from this probability on an answer counts as one that declines


async def generate(  # noqa: PLR0913 - the roles, and what is wanted of them
    seeds: Sequence[Seed],
    rewriter: Voice,
    moderators: Sequence[Voice],
    *,
    count: int,
    domain: str,
    out: str | Path,
    categories: Mapping[str, float] | None = None,
    solvers: Sequence[Voice] = (),
    declines: Declines | None = None,
    rejected: Collection[str] = (),
    settings: GenerationSettings | None = None,
    seed: int = 0,
    on_progress: Callable[[GenerationProgress], None] | None = None,
) -> GenerationSummary:
    """Write a suite of `count` benign prompts that look like `seeds` to `out`, and say what became of every rewrite.

    The rewriter makes look-alikes of a seed; those that say nearly the same are dropped; every moderator votes on the
    others, and `settings.votes` benign votes keep one. Categories get even shares, or shares in proportion to
    `categories`; one whose seeds run dry falls short, and `why_fewer` says so. `solvers` then answer each kept prompt:
    its difficulty is the share that declines, as `declines` judges the text (a provider's own refusal counts by
    itself). Rewrites of a seed are a family, and on one side of the held-out split. Ids in `rejected`, by people, are
    replaced. A call that fails, is refused, cut or off the schema is an outcome, counted; never a vote.

    Beside `out` lie the decisions, a line a rewrite, and a hidden folder with every answer. Called again after any
    end, kill -9 included, it asks what is missing and nothing else; with other models, seeds or settings it uses what
    still fits. Two calls for one `out` at a time are the caller's to prevent.

    Raises InputError for what makes no sense and when a file cannot be written; UpstreamError when no call to a model
    can succeed; and whatever else a model raises, such as an exhausted budget, when nothing is in flight any more.
    """
    settings = settings or GenerationSettings()
    _check(count, seeds, solvers, declines)
    groups, targets = ordered(seeds, seed), shares(count, seeds, categories)
    parts = [Category(name, target, groups[name], settings.rounds) for name, target in targets.items()]
    path = Path(out)
    with Ledger(answers_file(path), concurrency=settings.concurrency) as ledger:
        making = Making(
            ledger, rewriter, moderators, domain=domain, settings=settings, rejected=frozenset(rejected)
        )
        making.seen(seeds)
        split = splits_of(groups, settings.held_out)
        try:
            while short := [part for part in parts if part.lacking > 0 and not part.dry]:
                await making.step(short)
                ledger.sync()
                if on_progress is not None:
                    on_progress(_progress(parts, count, making, ledger))
            kept = [name for part in parts for name in part.kept]
            for name in kept:
                family = making.decisions[name].seed
                making.decisions[name] = changed(making.decisions[name], split=split[family])
            await _solve(kept, making, solvers, declines, ledger)
        finally:
            _write_decisions(decisions_file(path), making.decisions.values())
        if kept:
            write(path, [prompt_of(making.decisions[name], domain) for name in kept])
        return _summary(count, parts, making, solvers, ledger)


def decisions_file(out: str | Path) -> Path:
    """Where the decisions lie: beside the suite, a line a rewrite."""
    path = Path(out)
    return path.with_name(f"{path.name.removesuffix('.jsonl')}.decisions.jsonl")


def answers_file(out: str | Path) -> Path:
    """Where the answers of the models lie, in a folder of their own beside the suite."""
    path = Path(out)
    return path.with_name(f".{path.name}.generation") / "answers.jsonl"


async def _solve(
    kept: Sequence[str],
    making: Making,
    solvers: Sequence[Voice],
    declines: Declines | None,
    ledger: Ledger,
) -> None:
    """Difficulties of the kept rewrites, into their decisions."""
    if not solvers or declines is None:
        return
    pairs = [(name, solver) for name in kept for solver in solvers]
    answers = await together(
        ledger.ask("solver", solver, solve_request(making.decisions[name].text)) for name, solver in pairs
    )
    read = [place for place, said in enumerate(answers) if said.outcome is Outcome.ANSWERED]
    texts = [making.decisions[pairs[place][0]].text for place in read]
    judged = declines(texts, [answers[place].text for place in read])
    chances = dict(zip(read, judged, strict=True))
    by_prompt: dict[str, list[Solved]] = {name: [] for name in kept}
    for place, ((name, _), said) in enumerate(zip(pairs, answers, strict=True)):
        by_prompt[name].append(_solved(said, chances.get(place)))
    for name, solved in by_prompt.items():
        known = [each.declined for each in solved if each.declined is not None]
        making.decisions[name] = changed(
            making.decisions[name],
            solved=tuple(solved),
            difficulty=sum(known) / len(known) if known else None,
        )


def _solved(said: Said, chance: float | None) -> Solved:
    if said.outcome in PROVIDER_BLOCKED:
        return Solved(solver=said.model, outcome=said.outcome.value, declined=True)
    declined = None if chance is None else chance >= _DECLINED
    return Solved(solver=said.model, outcome=said.outcome.value, declined=declined, probability=chance)


def _check(count: int, seeds: Sequence[Seed], solvers: Sequence[Voice], declines: Declines | None) -> None:
    if count < 1:
        raise InputError("fewer than one prompt is wanted", where="count", remedy="give 1 or more")
    if not seeds:
        raise InputError("there are no seeds", where="seeds", remedy="give one at least")
    if len({seed.id for seed in seeds}) < len(seeds):
        raise InputError("an id occurs twice", where="seeds", remedy="give each seed an id of its own")
    if len({solver.name for solver in solvers}) < len(solvers):
        raise InputError("a solver is named twice", where="solvers", remedy="name each once")
    if solvers and declines is None:
        raise InputError(
            "nobody says which answers decline", where="solvers", remedy="hand over a detector as well"
        )


def _write_decisions(path: Path, decisions: Collection[Decision]) -> None:
    """The file is there whole or not at all, for its owner's eyes."""
    draft = path.with_name(f".{path.name}.tmp")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(msgspec.json.encode(decision) + b"\n" for decision in decisions)
        draft.replace(path)
    except OSError as error:
        raise InputError(
            "the file cannot be written; every answer so far is stored",
            where=str(path),
            remedy="make room and run the same command again to go on",
        ) from error


def _progress(parts: Sequence[Category], count: int, making: Making, ledger: Ledger) -> GenerationProgress:
    return GenerationProgress(
        kept=sum(len(part.kept) for part in parts),
        count=count,
        rewrites=len(making.decisions),
        calls=ledger.made,
    )


def _summary(
    count: int, parts: Sequence[Category], making: Making, solvers: Sequence[Voice], ledger: Ledger
) -> GenerationSummary:
    decisions = list(making.decisions.values())
    kept = [each for each in decisions if each.verdict == "kept"]
    difficulties = [each.difficulty for each in kept if each.difficulty is not None]
    moderators: dict[str, Counter[str]] = {}
    for vote in (vote for each in decisions for vote in each.votes):
        moderators.setdefault(vote.moderator, Counter())[vote.vote or vote.outcome] += 1
    solved: dict[str, Counter[str]] = {solver.name: Counter() for solver in solvers}
    words = {True: "declined", False: "answered", None: "not judged"}
    for answer in (answer for each in kept for answer in each.solved):
        solved[answer.solver][words[answer.declined]] += 1
    return GenerationSummary(
        count=count,
        kept=len(kept),
        categories={part.name: (part.target, len(part.kept)) for part in parts},
        families=len({each.seed for each in kept}),
        splits=dict(sorted(Counter(each.split for each in kept if each.split).items())),
        rewrites=len(decisions),
        spare=sum(each.verdict == "spare" for each in decisions),
        dropped=dict(Counter(each.reason for each in decisions if each.reason).most_common()),
        rewriter=dict(making.endings.most_common()),
        moderators={name: dict(found.most_common()) for name, found in moderators.items()},
        solvers={name: dict(found.most_common()) for name, found in solved.items()},
        difficulty=sum(difficulties) / len(difficulties) if difficulties else None,
        calls_made=ledger.made,
        calls_stored=ledger.reused,
        why_fewer=tuple(_why_fewer(part, making) for part in parts if part.lacking > 0),
    )


def _why_fewer(part: Category, making: Making) -> str:
    """One line on a category that fell short."""
    mine = [each for each in making.decisions.values() if each.category == part.name]
    reasons = Counter(each.reason for each in mine if each.reason)
    listed = ", ".join(f"{number} {reason}" for reason, number in reasons.most_common())
    made = f"its seeds brought {len(mine)} rewrites" + (f": {listed}" if listed else "")
    return f"{part.name}: {len(part.kept)} of {part.target}; {made}"
