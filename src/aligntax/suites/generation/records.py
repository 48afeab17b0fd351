"""What a generation takes in and what it decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from ...errors import InputError
from ...types import Prompt, Send
from ..containers import rows_of
from ..near import NEAR
from ..rows import BadRow, Row, made_id, maybe_text

NO_CATEGORY = "all"
"""The category of seeds that name none."""

HELD_OUT, MAIN = "held_out", "main"
"""Values of the tag `split`."""

Declines = Callable[[Sequence[str], Sequence[str]], Sequence[float | None]]
"""Prompts and answers, in the same order -> the probability that each answer declines; None: it cannot be judged."""


class Voice(msgspec.Struct, frozen=True, kw_only=True):
    """A model in one of the roles."""

    name: str  # as it stands in the decisions
    send: Send


class Seed(msgspec.Struct, frozen=True, kw_only=True):
    """A request that must be declined, whose look-alikes are wanted."""

    id: str
    text: str
    category: str = NO_CATEGORY


class GenerationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How requests are made and which stay. Raises InputError for values that make no sense."""

    rewrites: int = 3  # asked for at a time, of one seed
    rounds: int = 3  # times a seed is asked for more, at most
    votes: int | None = None  # benign votes that a rewrite needs; None: of every moderator
    held_out: float = 0.2  # share of the seeds whose rewrites are held out
    near: float = NEAR  # likeness from which on a rewrite repeats another
    concurrency: int = 8  # calls in flight, of all models together

    def __post_init__(self) -> None:
        for field in ("rewrites", "rounds", "concurrency"):
            if getattr(self, field) < 1:
                raise InputError("is below 1", where=field, remedy="give a whole number from 1 on")
        if not 0 <= self.held_out < 1:
            raise InputError("is no share", where="held_out", remedy="give 0 to 1, without 1")
        if not 0 < self.near <= 1:
            raise InputError("is no likeness", where="near", remedy="give a number above 0, up to 1")

    def needed(self, moderators: int) -> int:
        """Benign votes that a rewrite needs. Raises InputError where there are not so many moderators."""
        votes = moderators if self.votes is None else self.votes
        if not 1 <= votes <= moderators:
            raise InputError(
                f"{votes} votes of {moderators} moderators", where="votes", remedy="give 1 to all of them"
            )
        return votes


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """What one moderator said of one rewrite."""

    moderator: str
    outcome: str  # "voted", "refused", "off_schema", "cut" or "failed"
    vote: str | None = None  # "benign", "harmful" or "unsure"; None where it did not vote
    reason: str = ""


class Solved(msgspec.Struct, frozen=True, kw_only=True):
    """What one solver made of one kept rewrite."""

    solver: str
    outcome: str  # of the call
    declined: bool | None = None  # None: cut, failed or not judged
    probability: float | None = None  # that the text declines; None where the provider itself said no


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One rewrite and what became of it: a line of the file of decisions."""

    id: str
    seed: str
    seed_text: str
    category: str
    text: str
    verdict: str  # "kept", "spare" (kept, but not needed) or "dropped"; "waiting": not voted on
    reason: str | None = None  # why it was dropped
    votes: tuple[Vote, ...] = ()
    solved: tuple[Solved, ...] = ()
    difficulty: float | None = None  # share of the solvers that decline it, of those that could be judged
    split: str | None = None


class GenerationProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a generation is."""

    kept: int
    count: int
    rewrites: int  # distinct so far
    calls: int  # made by this start


class GenerationSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a generation made. Counts cover all starts, `calls_made` this one."""

    count: int  # asked for
    kept: int  # in the suite
    categories: dict[str, tuple[int, int]]  # name -> asked for, kept
    families: int  # seeds with a prompt in the suite
    splits: dict[str, int]
    rewrites: int  # distinct ones that were made
    spare: int
    dropped: dict[str, int]  # why -> rewrites
    rewriter: dict[str, int]  # how its calls ended
    moderators: dict[str, dict[str, int]]  # name -> how its calls ended, votes apart
    solvers: dict[str, dict[str, int]]  # name -> declined, answered, not judged
    difficulty: float | None  # mean
    calls_made: int
    calls_stored: int  # answers that earlier starts had paid for and this one used
    why_fewer: tuple[str, ...]  # a line for each category that fell short


def load_seeds(path: str | Path) -> list[Seed]:
    """The seeds in a table or JSON lines: `text` (or `prompt`), and maybe `id` and `category`; a text file: one a line.

    Raises InputError with file and line for a row without a text and for an id that occurs twice.
    """
    seeds: dict[str, Seed] = {}
    for line, row in rows_of(Path(path)):
        where = f"{path}:{line}"
        if isinstance(row, BadRow):
            raise InputError(row.what, where=where, remedy=row.remedy)
        if "aligntax_suite" in row.values:
            continue
        seed = _seed(row, where)
        if seed.id in seeds:
            raise InputError("its id occurs twice", where=where, remedy="give each seed an id of its own")
        seeds[seed.id] = seed
    if not seeds:
        raise InputError("holds no seeds", where=str(path), remedy="give it one a line")
    return list(seeds.values())


def _seed(row: Row, where: str) -> Seed:
    text = maybe_text(row, "text") or maybe_text(row, "prompt")
    if text is None:
        raise InputError("has no text", where=where, remedy="give each seed a text")
    tags = row.values.get("tags")
    tagged = tags.get("category") if isinstance(tags, dict) else None
    category = maybe_text(row, "category") or (tagged if isinstance(tagged, str) else None)
    return Seed(
        id=maybe_text(row, "id") or made_id("seed", text),
        text=text.strip(),
        category=(category or NO_CATEGORY).strip(),
    )


def prompt_of(decision: Decision, domain: str) -> Prompt:
    """The prompt of a suite that a kept rewrite becomes; the rewrites of a seed are a family."""
    benign = sum(vote.vote == "benign" for vote in decision.votes)
    tags = {"category": decision.category, "votes": f"{benign}/{len(decision.votes)}"}
    if decision.split is not None:
        tags["split"] = decision.split
    if decision.difficulty is not None:
        tags["difficulty"] = f"{decision.difficulty:.3f}"
    return Prompt(
        id=decision.id,
        text=decision.text,
        family=decision.seed,
        domain=domain,
        source="generated",
        tags=tags,
    )
