"""From seeds to votes: which seed is asked next, which rewrite is voted on, which ones a category keeps."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from ...errors import InputError
from ..near import near_pairs
from ..rows import made_id
from .asking import rewrite_request, rewrites_in, vote_in, vote_request
from .ledger import Ledger
from .records import HELD_OUT, MAIN, Decision, GenerationSettings, Seed, Voice, Vote

_T = TypeVar("_T")
_LEAST_RATE = 0.1  # so that a category where nothing passes is not asked without end at one go


class Category:
    """What one category has, and what it still lacks."""

    def __init__(self, name: str, target: int, seeds: Sequence[Seed], rounds: int) -> None:
        self.name, self.target = name, target
        self._asks = [(number, seed) for number in range(rounds) for seed in seeds]
        self.pool: list[Decision] = []  # rewrites that nobody has voted on
        self.voted = self.passed = 0
        self.kept: list[str] = []  # ids
        self.dry = False

    @property
    def lacking(self) -> int:
        """Prompts that are still wanted."""
        return self.target - len(self.kept)

    @property
    def wanted(self) -> int:
        """Rewrites to be voted on next, so that what is lacking is likely to pass."""
        rate = max((self.passed + 2) / (self.voted + 2), _LEAST_RATE)
        return max(round(self.lacking / rate), 1)

    def next_asks(self) -> list[tuple[int, Seed]]:
        """Seeds to be asked now, with the number of the time: new families before more of the same."""
        found = self._asks[: max(self.wanted - len(self.pool), 0)]
        found = [
            ask for ask in found if ask[0] == found[0][0]
        ]  # a later time must know what the former brought
        self._asks = self._asks[len(found) :]
        self.dry = not found and not self.pool
        return found


class Making:
    """Makes and votes until every category has its share, or its seeds are used up."""

    def __init__(
        self,
        ledger: Ledger,
        rewriter: Voice,
        moderators: Sequence[Voice],
        *,
        domain: str,
        settings: GenerationSettings,
        rejected: Collection[str],
    ) -> None:
        self._ledger, self._rewriter, self._moderators = ledger, rewriter, moderators
        self._domain, self._settings, self._rejected = domain, settings, rejected
        self._needed = settings.needed(len(moderators))
        self.decisions: dict[str, Decision] = {}  # by id, in the order in which they were made
        self.endings: Counter[str] = Counter()  # of the rewriter's calls
        self._of_seed: dict[str, list[str]] = defaultdict(list)  # texts that each seed has brought
        self._texts: list[str] = []
        self._seed_texts: set[str] = set()

    async def step(self, short: Sequence[Category]) -> None:
        """Ask seeds for what these categories lack, then vote on as many rewrites as they need."""
        asks = [(category, number, seed) for category in short for number, seed in category.next_asks()]
        made = await together(self._rewritten(number, seed) for _, number, seed in asks)
        self._take(
            [
                (category, seed, text)
                for (category, _, seed), texts in zip(asks, made, strict=True)
                for text in texts
            ]
        )
        batch = []
        for category in short:
            category.pool.sort(key=lambda each: self._of_seed[each.seed].index(each.text))
            wanted = category.wanted
            batch += [(category, each) for each in category.pool[:wanted]]
            category.pool = category.pool[wanted:]
        votes = await together(self._votes(each.text) for _, each in batch)
        for (category, each), found in zip(batch, votes, strict=True):
            self._decide(category, each, found)

    async def _rewritten(self, number: int, seed: Seed) -> list[str]:
        wanted = self._settings.rewrites
        request = rewrite_request(seed, self._domain, wanted, self._of_seed[seed.id])
        said = await self._ledger.ask("rewriter", self._rewriter, request, number, about=seed.id)
        ending, texts = rewrites_in(said, wanted)
        self.endings[ending] += 1
        return texts

    async def _votes(self, text: str) -> tuple[Vote, ...]:
        request = vote_request(text, self._domain)
        seen: Counter[str] = Counter()
        calls = []
        for moderator in self._moderators:  # one that is named twice is asked twice
            calls.append(self._ledger.ask("moderator", moderator, request, seen[moderator.name]))
            seen[moderator.name] += 1
        return tuple(vote_in(said) for said in await together(calls))

    def _take(self, made: Sequence[tuple[Category, Seed, str]]) -> None:
        """Into the pools, but for what repeats another rewrite or a seed."""
        former = len(self._texts)
        self._texts += [text for _, _, text in made]
        pairs = near_pairs(self._texts, self._settings.near) if made else ()
        near = {later - former for _, later in pairs if later >= former}
        for place, (category, seed, text) in enumerate(made):
            self._of_seed[seed.id].append(text)
            name = made_id("generated", text)
            if name in self.decisions:
                continue
            found = Decision(
                id=name,
                seed=seed.id,
                seed_text=seed.text,
                category=category.name,
                text=text,
                verdict="waiting",
            )
            if folded(text) in self._seed_texts:
                found = changed(found, verdict="dropped", reason="repeats a seed")
            elif place in near:
                found = changed(found, verdict="dropped", reason="repeats another")
            else:
                category.pool.append(found)
            self.decisions[name] = found

    def seen(self, seeds: Iterable[Seed]) -> None:
        """What no rewrite may say again word for word."""
        self._seed_texts.update(folded(seed.text) for seed in seeds)

    def _decide(self, category: Category, each: Decision, votes: tuple[Vote, ...]) -> None:
        benign = sum(vote.vote == "benign" for vote in votes)
        category.voted += 1
        if benign < self._needed:
            each = changed(each, verdict="dropped", reason=_why_not(votes), votes=votes)
        elif each.id in self._rejected:
            each = changed(each, verdict="dropped", reason="rejected by people", votes=votes)
        else:
            category.passed += 1
            verdict = "kept" if category.lacking > 0 else "spare"
            if verdict == "kept":
                category.kept.append(each.id)
            each = changed(each, verdict=verdict, votes=votes)
        self.decisions[each.id] = each


def changed(decision: Decision, **fields: object) -> Decision:
    """The decision with other values in these fields."""
    return msgspec.structs.replace(decision, **fields)


async def together(calls: Iterable[Awaitable[_T]]) -> list[_T]:
    """What all of them bring; what one raises is raised when nothing is in flight any more."""
    found = await asyncio.gather(*calls, return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return [each for each in found if not isinstance(each, BaseException)]


def shares(count: int, seeds: Sequence[Seed], wanted: Mapping[str, float] | None) -> dict[str, int]:
    """How many prompts each category gets, `count` in all: evenly, or in proportion to `wanted`.

    Raises InputError for a category that no seed has, or a weight that is not above 0.
    """
    there = {seed.category for seed in seeds}
    weights = dict(wanted) if wanted else dict.fromkeys(sorted(there), 1.0)
    for name, weight in weights.items():
        if name not in there:
            raise InputError(
                "no seed is of this category",
                where=f"category {name}",
                remedy=f"use {', '.join(sorted(there))}",
            )
        if not 0 < weight < math.inf:
            raise InputError(
                "its weight is not above 0", where=f"category {name}", remedy="give a number above 0"
            )
    exact = {name: count * weight / sum(weights.values()) for name, weight in weights.items()}
    whole = {name: math.floor(share) for name, share in exact.items()}
    by_rest = sorted(exact, key=lambda name: whole[name] - exact[name])  # largest remainders first
    for name in by_rest[: count - sum(whole.values())]:
        whole[name] += 1
    return whole


def ordered(seeds: Sequence[Seed], seed: int) -> dict[str, list[Seed]]:
    """The seeds of each category in an order that the number `seed` and their ids decide."""
    found: dict[str, list[Seed]] = defaultdict(list)
    for each in sorted(seeds, key=lambda each: hashlib.blake2b(f"{seed}:{each.id}".encode()).digest()):
        found[each.category].append(each)
    return dict(sorted(found.items()))


def splits_of(groups: Mapping[str, Sequence[Seed]], held_out: float) -> dict[str, str]:
    """Seed -> its split: spread evenly over the order and the categories, and the same whatever is generated."""
    found: dict[str, str] = {}
    for place, seed in enumerate(seed for group in groups.values() for seed in group):
        out = math.floor((place + 1) * held_out + 0.5) > math.floor(place * held_out + 0.5)
        found[seed.id] = HELD_OUT if out else MAIN
    return found


def folded(text: str) -> str:
    """The text without differences of case and space."""
    return " ".join(text.casefold().split())


def _why_not(votes: Sequence[Vote]) -> str:
    for said in ("harmful", "unsure"):
        if any(vote.vote == said for vote in votes):
            return f"voted {said}"
    return "a moderator did not vote"
