"""Numbers in a text, with where each stands and where its unit begins."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

_ONES = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen
"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS: dict[str, float] = {
    **{word: float(value) for value, word in enumerate(_ONES.split())},
    **{word: 20.0 + 10 * place for place, word in enumerate(_TENS.split())},
    "half": 0.5,
    "dozen": 12.0,
    "hundred": 100.0,
}
_MULTIPLIERS = {"k": 1e3, "hundred": 1e2, "thousand": 1e3, "million": 1e6, "bn": 1e9, "billion": 1e9}

_WRITTEN = re.compile(
    rf"(?<!\w)(?:({_TENS.replace(' ', '|')})[- ]({'|'.join(_ONES.split()[1:10])})|({'|'.join(_WORDS)}))(?!\w)"
)
_FRACTION = re.compile(r"(?<![\d/.,])(?:(\d{1,4})[ -])?(\d{1,2})/(\d{1,2})(?![\d/]|[.,]\d)")
_DIGITS = re.compile(r"\d+(?:[.,']\d+)*")
_SPACED = re.compile(r"(?<![\d.,'])\d{1,3}(?: \d{3})+(?:[.,]\d+)?(?!\d)")
_MULTIPLIED = re.compile(r"(k)(?![\w])|\s?(hundred|thousand|million|bn|billion)(?!\w)")
_JOINS = re.compile(r"\s*(?:-|to|and|or|through|up to|,|/)\s*\Z")
_SPANS = re.compile(r"\s*(?:-|to|and|through|up to)\s*\Z")
_BIGGEST_DENOMINATOR = 16
_LONGEST_JOIN = 24  # characters


class Number(msgspec.Struct, frozen=True, kw_only=True):
    """One number of a text. `unit_at` is where its unit would begin: in "5-10 mg" both numbers share one."""

    value: float
    start: int
    end: int
    unit_at: int
    prefix_end: int  # where a sign before it, such as $, would end
    written: bool = False  # in letters
    range_to: float | None = None  # the other end, where it opens a range


def numbers_in(text: str) -> list[Number]:
    """The numbers of a `folded` text by their place; a form that can be read in two ways gives both numbers.

    Reads 1,000 and 1 000 and 1'000, decimals with point or comma, fractions (1/2, 2 1/2), ranges, a multiplier
    behind a number (10k, 2 million), and numbers written in letters.
    """
    found = sorted(_all(text), key=lambda number: (number.start, -number.end))
    return _sharing_units(found, text)


def _all(text: str) -> Iterator[Number]:
    taken: list[tuple[int, int]] = []
    for match in _FRACTION.finditer(text):
        whole, above, below = (int(part) if part else 0 for part in match.groups())
        if 0 < above < below <= _BIGGEST_DENOMINATOR:
            taken.append(match.span())
            yield _number(whole + above / below, *match.span())
    for match in _SPACED.finditer(text):
        yield from _multiplied(text, match, _readings(match[0].replace(" ", "")))
    for match in _DIGITS.finditer(text):
        if any(start <= match.start() < end for start, end in taken):
            continue
        yield from _multiplied(text, match, _readings(match[0]))
    for match in _WRITTEN.finditer(text):
        tens, ones, word = match.groups()
        value = _WORDS[tens] + _WORDS[ones] if tens else _WORDS[word]
        for number in _multiplied(text, match, [value]):
            yield msgspec.structs.replace(number, written=True)


def _multiplied(text: str, match: re.Match[str], values: list[float]) -> Iterator[Number]:
    start, end = match.span()
    factor, signed = 1.0, start
    if times := _MULTIPLIED.match(text, end):
        factor, end = _MULTIPLIERS[times[1] or times[2]], times.end()
    negative = start > 0 and text[start - 1] == "-" and (start == 1 or text[start - 2] in " (\n\t")
    for value in values:
        yield _number(value * factor, start, end)
        if negative:
            yield _number(-value * factor, signed - 1, end)


def _number(value: float, start: int, end: int) -> Number:
    return Number(value=value, start=start, end=end, unit_at=end, prefix_end=start)


def _readings(token: str) -> list[float]:
    """What the digits may mean, likeliest first.

    >>> _readings("1,000"), _readings("0,4"), _readings("1.500"), _readings("1.234,5"), _readings("1.2.3")
    ([1000.0], [0.4, 0.0, 4.0], [1.5, 1500.0], [1234.5], [])
    """
    token = token.replace("'", "")
    parts = re.split(r"[.,]", token)
    grouped = 1 <= len(parts[0]) <= 3 and parts[0] != "0" and all(len(part) == 3 for part in parts[1:])
    if len(parts) == 1:
        return [float(token)]
    if "," in token and "." in token:
        marks = [sign for sign in token if sign in ".,"]
        if marks.count(marks[-1]) > 1:
            return []
        return [float("".join(parts[:-1]) + "." + parts[-1])]
    if "," in token:
        if grouped:
            return [float("".join(parts))]
        decimal = [float(".".join(parts))] if len(parts) == 2 else []
        return [*decimal, *(float(part) for part in parts)]
    if len(parts) == 2:
        return [float(token), *([float("".join(parts))] if grouped else [])]
    return [float("".join(parts))] if grouped else []


def _sharing_units(numbers: list[Number], text: str) -> list[Number]:
    """A number that is joined to its neighbour has the unit behind it, and the sign before."""
    shared: list[Number] = []
    for number in reversed(numbers):
        after = next((other for other in reversed(shared) if other.start >= number.end), None)
        gap = text[number.end : after.start] if after is not None else ""
        if after is not None and len(gap) <= _LONGEST_JOIN and _JOINS.match(gap):
            to = after.value if _SPANS.match(gap) else None
            number = msgspec.structs.replace(number, unit_at=after.unit_at, range_to=to)  # noqa: PLW2901
        shared.append(number)
    shared.reverse()
    for place, number in enumerate(shared):
        before = next((other for other in reversed(shared[:place]) if other.end <= number.start), None)
        if before is not None and _SPANS.match(text[before.end : number.start]):
            shared[place] = msgspec.structs.replace(number, prefix_end=before.prefix_end)
    return shared
