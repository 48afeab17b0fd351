"""Required facts in an answer: which of them it states, and where the first one stands."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from ..types import Fact
from .folding import folded, phrase_pattern
from .numbers import Number, numbers_in
from .units import unit_factor

_NEGATION = re.compile(
    r"(?:(?<!\w)(?:not|no|never|without|nor|cannot|rather than|instead of)|n't)"
    r"(?:\s+(?:a|an|the|any|be|been|use|give))?[\s\"'*_(]*\Z"
)
_NEGATION_REACH = 32  # characters before a fact in which a "not" belongs to it
_CLOSE = 1e-9


class Stated(msgspec.Struct, frozen=True, kw_only=True):
    """Which facts an answer states."""

    facts: tuple[bool, ...]  # in the order asked for
    first: float | None  # characters before the first one, as a share of the text; None: it states none

    @property
    def share(self) -> float:
        """Facts stated / facts required, 0 to 1."""
        return sum(self.facts) / len(self.facts)


def facts_in(text: str, facts: Sequence[Fact]) -> Stated:
    """Looks for each of `facts` (at least one) in the text.

    A fact is stated by any of its aliases as whole words, whatever their case, accents and light inflection, or by
    its number within its tolerance and with its unit, also in another size of it (0.5 g for 500 mg). A range states a
    number that is one of its ends, or whose middle is within the tolerance. What stands directly behind a "not" is not
    stated. A fact without alias and number is looked for by its name.
    """
    searched = folded(text)
    numbers = numbers_in(searched) if any(fact.value is not None for fact in facts) else []
    places = [_place(searched, numbers, fact) for fact in facts]
    stated = [place for place in places if place is not None]
    return Stated(
        facts=tuple(place is not None for place in places),
        first=min(stated) / max(len(searched), 1) if stated else None,
    )


def _place(text: str, numbers: Sequence[Number], fact: Fact) -> int | None:
    names = fact.aliases if fact.aliases or fact.value is not None else (fact.name.replace("_", " "),)
    found = [place for name in names if (place := _phrase_place(text, name)) is not None]
    if fact.value is not None:
        found += [
            number.start for number in numbers if _is(text, number, fact) and not _negated(text, number.start)
        ][:1]
    return min(found, default=None)


def _phrase_place(text: str, phrase: str) -> int | None:
    for match in phrase_pattern(phrase).finditer(text):
        if not _negated(text, match.start()):
            return match.start()
    return None


def _is(text: str, number: Number, fact: Fact) -> bool:
    assert fact.value is not None
    factor: float | None = 1.0
    if fact.unit is not None:
        factor = unit_factor(text, number.unit_at, number.prefix_end, fact.unit)
    elif number.written and number.value == 1:
        return False  # "one" is more often a pronoun
    if factor is None:
        return False
    tolerance = fact.tolerance + _CLOSE * max(1.0, abs(fact.value))
    values = [number.value * factor]
    if number.range_to is not None:
        values += [number.range_to * factor, (number.value + number.range_to) * factor / 2]
    return any(abs(value - fact.value) <= tolerance for value in values)


def _negated(text: str, start: int) -> bool:
    return _NEGATION.search(text, max(0, start - _NEGATION_REACH), start) is not None
