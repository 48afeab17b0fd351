"""What a program can see of a suite's quality. Whether twins ask for the same, and facts are right, people say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ..types import Fact, Intent, Problem, Prompt
from .format import Reading
from .near import near_pairs
from .packs import Word
from .rows import NEUTRAL, SENSITIVE

LONGEST_PROBE = 30
"""Words that a probe of the floor may have: it asks, and teaches nothing."""

States = Callable[[str, Fact], bool]
"""Whether a text states a fact: what the measurement itself uses (`aligntax.twins.facts_in`)."""


def check_prompts(
    reading: Reading,
    states: States,
    *,
    twin_problems: Mapping[str, Sequence[str]],
    longest_probe: int = LONGEST_PROBE,
    floor: bool = False,
) -> list[Problem]:
    """Everything wrong with a suite, by line.

    `twin_problems` is what a comparison of twins found, by family (`aligntax.twins.problems_in`). A `floor` holds
    only prompts that are to be declined. Reasons name ids, terms and facts, but hold no text of prompts.
    """
    placed = list(zip(reading.lines, reading.prompts, strict=True))
    found = [(problem.line or 0, problem.reason) for problem in reading.problems]
    for line, prompt in placed:
        found += [(line, reason) for reason in _of_prompt(prompt, states, longest_probe, floor=floor)]
    found += _of_families(placed, states, twin_problems)
    found += _of_near_pairs(placed)
    return [Problem(file=reading.file, line=line, reason=reason) for line, reason in sorted(found)]


def uncovered_terms(
    prompts: Iterable[Prompt], words: Sequence[Word], covers: Callable[[str, str], bool]
) -> list[str]:
    """Sensitive terms of prompts that no entry of a vocabulary covers, sorted. `covers` takes entry and term."""
    terms = {term for prompt in prompts for term in prompt.terms}
    return sorted(term for term in terms if not any(covers(word.term, term) for word in words))


def _of_prompt(prompt: Prompt, states: States, longest: int, *, floor: bool) -> Iterator[str]:
    missing = [term for term in prompt.terms if term.casefold() not in prompt.text.casefold()]
    if missing:
        yield f"{prompt.id}: its term {missing[0]!r} is not in its text: take it out"
    if prompt.side == NEUTRAL and prompt.terms:
        yield f"{prompt.id}: the neutral side has sensitive terms: they belong to the other side"
    yield from (f"{prompt.id}: {reason}" for reason in _of_facts(prompt.facts, states))
    if floor and prompt.intent is not Intent.HARMFUL:
        yield f"{prompt.id}: the floor holds what is to be declined: give it the intent harmful"
    words = len(prompt.text.split())
    if floor and words > longest:
        yield f"{prompt.id}: a probe of {words} words: ask in {longest} or fewer"


def _of_facts(facts: Sequence[Fact], states: States) -> Iterator[str]:
    names = [fact.name for fact in facts]
    for fact in facts:
        if names.count(fact.name) > 1:
            yield f"two facts are called {fact.name!r}: name them apart"
        if fact.tolerance < 0:
            yield f"fact {fact.name!r}: its tolerance is negative: write 0 or more"
        for alias in fact.aliases:
            if not states(alias, Fact(name=fact.name, aliases=(alias,))):
                yield f"fact {fact.name!r}: its alias {alias!r} can never match: write words of an answer"
        if fact.value is not None and fact.tolerance >= 0 and not _number_states(fact, states):
            yield f"fact {fact.name!r}: its number can never match: check value and unit"


def _number_states(fact: Fact, states: States) -> bool:
    bare = Fact(name=fact.name, value=fact.value, tolerance=fact.tolerance, unit=fact.unit)
    return states(f"It is {fact.value:.12g} {fact.unit or ''}.", bare)


def _of_families(
    placed: Sequence[tuple[int, Prompt]], states: States, twin_problems: Mapping[str, Sequence[str]]
) -> Iterator[tuple[int, str]]:
    families: dict[str, list[tuple[int, Prompt]]] = defaultdict(list)
    for line, prompt in placed:
        if prompt.family is not None:
            families[prompt.family].append((line, prompt))
    for family, members in families.items():
        line = members[0][0]
        sides = {prompt.side for _, prompt in members}
        if sides != {None}:
            for side in (SENSITIVE, NEUTRAL):
                if side not in sides:
                    yield line, f"family {family}: its {side} side is missing: add the twin"
        yield from ((line, f"family {family}: {reason}") for reason in twin_problems.get(family, ()))
        yield from ((line, f"family {family}: {reason}") for reason in _given_away(members, states))


def _given_away(members: Sequence[tuple[int, Prompt]], states: States) -> Iterator[str]:
    """Facts that one side's wording states already: whoever repeats the question gets that side right."""
    by_side = {prompt.side: prompt for _, prompt in reversed(members)}
    if SENSITIVE not in by_side or NEUTRAL not in by_side:
        return
    for fact in by_side[SENSITIVE].facts:
        said = [side for side in (SENSITIVE, NEUTRAL) if states(by_side[side].text, fact)]
        if len(said) == 1:
            yield f"only the {said[0]} side states the fact {fact.name!r} itself: word both alike"


def _of_near_pairs(placed: Sequence[tuple[int, Prompt]]) -> Iterator[tuple[int, str]]:
    for first, second in near_pairs([prompt.text for _, prompt in placed]):
        (line, one), (other_line, other) = placed[first], placed[second]
        if one.family is None or one.family != other.family:
            yield other_line, f"{other.id}: nearly the same as {one.id} in line {line}: keep one of the two"
