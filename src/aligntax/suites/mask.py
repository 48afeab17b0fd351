"""Personal data in texts replaced by typed placeholders: rules, and Presidio where somebody asks for it.

Rules find what has a form: addresses of mail, numbers with check digits, names after "Mr". They miss names that
nothing announces, so a person must still read what they have masked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..errors import InputError
from .mask_checks import CHECKS

RULES = Path(__file__).with_name("mask_rules.yaml")

_NAME = "NAME"
_TITLES = frozenset(("Mr", "Mrs", "Ms", "Miss", "Dr", "von", "van", "der", "den", "del", "bin"))
_MODELS = ("en_core_web_lg", "en_core_web_md", "en_core_web_sm")
_SURE = 0.5  # Presidio's own score from which a finding counts
_PRESIDIO = {
    "PERSON": _NAME,
    "EMAIL_ADDRESS": "EMAIL",
    "PHONE_NUMBER": "PHONE",
    "IBAN_CODE": "IBAN",
    "CREDIT_CARD": "CARD",
    "IP_ADDRESS": "IP",
    "LOCATION": "ADDRESS",
    "US_SSN": "SSN",
    "UK_NHS": "NHS NUMBER",
    "US_PASSPORT": "ID",
    "US_DRIVER_LICENSE": "ID",
    "US_ITIN": "ID",
    "US_BANK_NUMBER": "ID",
    "UK_NINO": "ID",
    "MEDICAL_LICENSE": "ID",
    "CRYPTO": "ID",
}


class Place(NamedTuple):
    """Personal data in a text: characters, end exclusive, and what it is."""

    start: int
    end: int
    type: str


Finder = Callable[[str], Iterable[Place]]
"""Finds personal data in a text."""


class Masked(msgspec.Struct, frozen=True, kw_only=True):
    """Texts with placeholders. `counts`: type -> places, never what stood there."""

    texts: tuple[str, ...]
    counts: dict[str, int]


class _Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    type: str
    pattern: str
    check: str | None = None
    case: bool = False


def mask(texts: Sequence[str], *, finders: Sequence[Finder] | None = None) -> Masked:
    """The texts of one exchange with personal data replaced by [NAME], [EMAIL], [PHONE] and so on.

    The same value gets the same placeholder in all of the texts: a second name is [NAME 2]. A part of a name that
    was found, standing alone, is that name. `finders` are asked in their order; None: the rules. Where findings
    overlap, all of the text that they cover goes.
    """
    asked = (by_rules,) if finders is None else finders
    found = [[place for finder in asked for place in finder(text)] for text in texts]
    people = _people(texts, found)
    places = [
        _merged([*own, *_mentions(text, people)]) if people else _merged(own)
        for text, own in zip(texts, found, strict=True)
    ]
    numbers: dict[tuple[str, str], int] = {}
    counts: Counter[str] = Counter()
    masked = []
    for text, own in zip(texts, places, strict=True):
        parts, end = [], 0
        for place in own:
            key = _key(text[place.start : place.end], place.type, people)
            known = sum(kind == place.type for kind, _ in numbers)
            number = numbers.setdefault((place.type, key), known + 1)
            parts += [
                text[end : place.start],
                f"[{place.type}]" if number == 1 else f"[{place.type} {number}]",
            ]
            counts[place.type] += 1
            end = place.end
        masked.append("".join((*parts, text[end:])))
    return Masked(texts=tuple(masked), counts=dict(counts.most_common()))


def by_rules(text: str) -> Iterator[Place]:
    """Personal data by the rules of `RULES`, rule after rule."""
    for rule, pattern in _rules():
        group = "value" if "value" in pattern.groupindex else 0
        for match in pattern.finditer(text):
            start, end = match.span(group)
            if rule.check in _WORD_CHECKS:
                end = start + _WORD_CHECKS[rule.check](match[group])
            elif rule.check is not None and not CHECKS[rule.check](match[group]):
                continue
            if end > start:
                yield Place(start, end, rule.type)


def presidio() -> Finder:
    """Presidio's analyser of English, beside the rules. Raises InputError where it or its model is not installed.

    Presidio would fetch a missing model from the network, so a model must be there already.
    """
    try:
        import spacy.util  # type: ignore[import-not-found, unused-ignore]
        from presidio_analyzer import AnalyzerEngine  # type: ignore[import-not-found, unused-ignore]
        from presidio_analyzer.nlp_engine import (  # type: ignore[import-not-found, unused-ignore]
            NlpEngineProvider,
        )
    except ImportError as error:
        raise InputError(
            "this needs presidio-analyzer, which is not installed",
            where="--masker presidio",
            remedy="pip install presidio-analyzer, and a model: python -m spacy download en_core_web_lg",
        ) from error
    model = next((name for name in _MODELS if spacy.util.is_package(name)), None)
    if model is None:
        raise InputError(
            "no model of English is installed, and nothing is fetched here",
            where="--masker presidio",
            remedy=f"install one: python -m spacy download {_MODELS[0]}",
        )
    settings = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": model}]}
    engine: Any = AnalyzerEngine(
        nlp_engine=NlpEngineProvider(nlp_configuration=settings).create_engine(), supported_languages=["en"]
    )

    def find(text: str) -> Iterator[Place]:
        for found in engine.analyze(text=text, language="en"):
            if found.score >= _SURE and found.entity_type in _PRESIDIO:
                yield Place(found.start, found.end, _PRESIDIO[found.entity_type])

    return find


@cache
def _table() -> dict[str, Any]:
    import yaml

    table: dict[str, Any] = yaml.safe_load(RULES.read_text("utf-8"))
    return table


@cache
def _rules() -> tuple[tuple[_Rule, re.Pattern[str]], ...]:
    table = _table()
    parts = {
        "{name}": table["name"],
        "{label}": table["label"],
        "{given}": f"(?:{'|'.join(table['given_names'].split())})",
    }
    rules = msgspec.convert(table["rules"], tuple[_Rule, ...])
    compiled = []
    for rule in rules:
        pattern = rule.pattern
        for name, part in parts.items():
            pattern = pattern.replace(name, part)
        compiled.append((rule, re.compile(pattern, 0 if rule.case else re.IGNORECASE)))
    return tuple(compiled)


@cache
def _words(name: str) -> frozenset[str]:
    return frozenset(_table()[name].split())


def _person(value: str) -> int:
    """How much of the value, from its start, may be a name: words that are nobody's name end it."""
    end = 0
    for word in re.finditer(r"[^\s,]+", value):
        if word[0].rstrip(".") in _words("not_names"):
            break
        end = word.end()
    return end


def _full_name(value: str) -> int:
    """The same, where one word is not enough."""
    end = _person(value)
    return end if " " in value[:end] else 0


_WORD_CHECKS: dict[str, Callable[[str], int]] = {"person": _person, "full_name": _full_name}


def _people(texts: Sequence[str], found: Sequence[Sequence[Place]]) -> dict[str, str]:
    """Names that were found, and their parts of three letters and more -> the longest name that has them."""
    values = {
        " ".join(text[place.start : place.end].split())
        for text, places in zip(texts, found, strict=True)
        for place in places
        if place.type == _NAME
    }
    people: dict[str, str] = {}
    for value in sorted(values, key=lambda each: (-len(each), each)):
        whole = people.get(value, value)
        for part in (value, *re.findall(r"[^\W\d_][\w'’-]{2,}", value)):
            if part[0].isupper() and part not in _TITLES and part not in _words("not_names"):
                people.setdefault(part, whole)
    return people


def _mentions(text: str, people: dict[str, str]) -> Iterator[Place]:
    """Where a name that was found elsewhere, or a part of it, stands again."""
    names = "|".join(re.escape(name) for name in sorted(people, key=len, reverse=True))
    for match in re.finditer(rf"(?<!\w)(?:{names})(?!\w)", text):
        yield Place(*match.span(), _NAME)


def _key(value: str, kind: str, people: dict[str, str]) -> str:
    """What makes two values the same: letters and digits, and of a name the whole name."""
    if kind == _NAME:
        value = people.get(" ".join(value.split()), value)
    return (
        re.sub(r"[\W_]+", "", value.casefold())
        if kind not in ("URL", "EMAIL", "SECRET")
        else value.casefold()
    )


def _merged(places: Iterable[Place]) -> list[Place]:
    """Places in the order of the text; those that overlap are one, of the type that was found first."""
    ranked = sorted(enumerate(places), key=lambda at: at[1].start)
    merged: list[tuple[int, Place]] = []
    for rank, place in ranked:
        if merged and place.start < merged[-1][1].end:
            former_rank, former = merged[-1]
            kind = former.type if former_rank <= rank else place.type
            merged[-1] = (min(rank, former_rank), Place(former.start, max(former.end, place.end), kind))
        else:
            merged.append((rank, place))
    return [place for _, place in merged]
