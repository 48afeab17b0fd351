"""Whether two prompts can be twins: what a program can see. Whether they ask for the same, people say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from ..types import Prompt
from .answers import NEUTRAL, SENSITIVE
from .folding import folded, phrase_pattern
from .numbers import numbers_in


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How far the lengths of twins may differ: characters of the neutral one / of the sensitive one."""

    shortest: float = 0.67
    longest: float = 1.5


def problems_of(
    sensitive: Prompt, neutral: Prompt, bounds: Bounds, unwanted: Iterable[str] = ()
) -> tuple[str, ...]:
    """What speaks against the pair; empty where nothing does.

    `unwanted` are words that the neutral side may not have, beside the terms of the sensitive one.
    """
    found = []
    said, plain = folded(sensitive.text), folded(neutral.text)
    if said == plain:
        found.append("the two texts are the same")
    ratio = len(neutral.text) / max(len(sensitive.text), 1)
    if not bounds.shortest <= ratio <= bounds.longest:
        found.append(f"the neutral text is {ratio:.2f} times as long")
    terms = dict.fromkeys((*sensitive.terms, *unwanted))
    if left := [term for term in terms if phrase_pattern(term).search(plain)]:
        found.append(f"still has {', '.join(left)}")
    if sensitive.terms and not any(phrase_pattern(term).search(said) for term in sensitive.terms):
        found.append("the sensitive text has none of its terms")
    if sensitive.facts != neutral.facts:
        found.append("the required facts differ")
    if hanging := [fact.name for fact in sensitive.facts if _hangs_on(fact.aliases, sensitive.terms)]:
        found.append(f"{', '.join(hanging)}: only an answer with the sensitive word states it")
    if _numbers(said) != _numbers(plain):
        found.append("the numbers in it differ")
    return tuple(found)


def problems_in(prompts: Sequence[Prompt], bounds: Bounds | None = None) -> dict[str, tuple[str, ...]]:
    """Problems of the families of a suite that somebody wrote, by family; families without any are left out.

    Each sensitive prompt is held against the first neutral one of its family.
    """
    bounds = Bounds() if bounds is None else bounds
    neutral: dict[str, Prompt] = {}
    for prompt in prompts:
        if prompt.side == NEUTRAL and prompt.family is not None:
            neutral.setdefault(prompt.family, prompt)
    found: dict[str, tuple[str, ...]] = {}
    for prompt in prompts:
        if prompt.side == SENSITIVE and prompt.family in neutral:
            problems = problems_of(prompt, neutral[prompt.family], bounds)
            if problems:
                found[prompt.family] = tuple(dict.fromkeys((*found.get(prompt.family, ()), *problems)))
    return found


def _hangs_on(aliases: Sequence[str], terms: Sequence[str]) -> bool:
    """Whether every way to state the fact holds a sensitive term, so that a neutral answer may not state it."""
    patterns = [phrase_pattern(term) for term in terms]
    return bool(aliases) and all(
        any(pattern.search(folded(alias)) for pattern in patterns) for alias in aliases
    )


def _numbers(text: str) -> list[float]:
    return sorted({number.value for number in numbers_in(text) if not number.written})
