"""Twins by a table of words: the same request with each sensitive word replaced by a neutral one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from ..errors import InputError
from ..suites import Word, load_vocabulary
from ..suites.packs import DOMAINS
from ..types import Intent, Prompt
from .checks import Bounds, problems_of
from .folding import forms_of

_PAST = {
    "break": "broke", "bring": "brought", "cut": "cut", "draw": "drew", "drive": "drove", "get": "got",
    "give": "gave", "go": "went", "hold": "held", "keep": "kept", "leave": "left", "let": "let", "make": "made",
    "put": "put", "run": "ran", "send": "sent", "set": "set", "shut": "shut", "take": "took", "write": "wrote",
}  # fmt: skip
_SMALL_WORDS = (
    "down up off out over away in on by to from of for the a an with into through apart together back around"
)
_PARTICLES = frozenset(_SMALL_WORDS.split())
_VOWELS = "aeiou"
_SOUNDS_LIKE_YOU = re.compile(r"(?:uni(?!n)|use|usu|eu|one\b|once\b|ubi)")
_SILENT_H = re.compile(r"(?:hour|honest|honou?r|heir)")
_ARTICLE = re.compile(r"(?<!\w)(an?)(\s+)\Z", re.IGNORECASE)


class Twin(msgspec.Struct, frozen=True, kw_only=True):
    """One request in both wordings, and what is wrong with the pair."""

    sensitive: Prompt
    neutral: Prompt
    problems: tuple[str, ...] = ()


class Twins(msgspec.Struct, frozen=True, kw_only=True):
    """Pairs that were made, those that failed a check included, and why other prompts have none."""

    twins: tuple[Twin, ...]
    skipped: dict[str, int]  # why -> prompts

    @property
    def good(self) -> tuple[Twin, ...]:
        """Pairs that passed every check."""
        return tuple(twin for twin in self.twins if not twin.problems)

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """Both sides of the pairs that passed."""
        return tuple(side for twin in self.good for side in (twin.sensitive, twin.neutral))


def substitute(prompts: Iterable[Prompt], words: Sequence[Word], bounds: Bounds | None = None) -> Twins:
    """A neutral twin for every benign prompt that has one of the words.

    The longest word that fits stands first, and what was put in is not looked at again. Case, plural, tense and the
    article before the word are kept. Words without a neutral substitute stay, and the pair then fails its check.
    Prompts meant to be declined, those in a family already and those without any of the words are skipped and counted.
    """
    bounds = Bounds() if bounds is None else bounds
    made, skipped = [], Counter[str]()
    for prompt in prompts:
        reason, twin = _twin(prompt, words, bounds)
        if twin is not None:
            made.append(twin)
        else:
            skipped[reason] += 1
    return Twins(twins=tuple(made), skipped=dict(skipped))


def read_words(name: str) -> tuple[Word, ...]:
    """A table of words: a pack of ours, a folder built like one, or a YAML file of the form of vocabulary.yaml.

    Raises InputError where there is none, or where it is not built as it should be.
    """
    path = Path(name)
    if name in DOMAINS or path.is_dir():
        return load_vocabulary(name if name in DOMAINS else path)
    import yaml

    try:
        table: Any = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        remedy = f"name a YAML file, or a pack: {', '.join(DOMAINS)}"
        raise InputError("there is no such table of words", where=name, remedy=remedy) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(
            "the file is not YAML", where=name, remedy="write word: substitute a line"
        ) from error
    if not isinstance(table, dict) or not table:
        raise InputError("is not a table of words", where=name, remedy="write word: substitute a line")
    return tuple(_word(str(term), entry, name) for term, entry in table.items())


def swap(text: str, words: Sequence[Word]) -> tuple[str, tuple[str, ...]]:
    """The text with its sensitive words replaced, and the words that were found, also those that had to stay.

    >>> swap("An overdose: he OVERDOSED twice", [Word(term="overdose", neutral=("excess",))])
    ('An excess: he EXCESSED twice', ('overdose',))
    """
    by_term = {word.term.casefold(): word for word in words}
    found: dict[str, None] = {}
    pieces: list[str] = []
    done = 0
    for match in _pattern(tuple(by_term)).finditer(text):
        term = _term_of(match[0], tuple(by_term))
        found[by_term[term].term] = None
        if not by_term[term].neutral:
            continue
        new = _cased(_inflected(by_term[term].neutral[0], match[0], term), match[0])
        pieces.append(_with_article(text[done : match.start()], new))
        done = match.end()
    pieces.append(text[done:])
    return "".join(pieces), tuple(found)


def _twin(prompt: Prompt, words: Sequence[Word], bounds: Bounds) -> tuple[str, Twin | None]:
    if prompt.intent is not Intent.BENIGN:
        return "not benign", None
    if prompt.side is not None:
        return "in a family already", None
    text, terms = swap(prompt.text, words)
    if not terms:
        return "none of the words in it", None
    if text == prompt.text:
        return "only words without a neutral substitute", None
    return "", made_twin(prompt, text, terms, bounds, "substitution", words)


def made_twin(
    prompt: Prompt, text: str, terms: tuple[str, ...], bounds: Bounds, origin: str, words: Sequence[Word] = ()
) -> Twin:
    """The pair of a prompt and its neutral text, checked. `origin` goes into the tags of the neutral side."""
    family = prompt.family or prompt.id
    sensitive = msgspec.structs.replace(
        prompt, family=family, side="sensitive", terms=tuple(dict.fromkeys((*prompt.terms, *terms)))
    )
    neutral = msgspec.structs.replace(
        sensitive,
        id=f"{prompt.id}.neutral",
        text=text,
        side="neutral",
        terms=(),
        tags={**(prompt.tags or {}), "twin_by": origin},
    )
    unwanted = [word.term for word in words]
    return Twin(
        sensitive=sensitive, neutral=neutral, problems=problems_of(sensitive, neutral, bounds, unwanted)
    )


def _word(term: str, entry: object, where: str) -> Word:
    note = ""
    if isinstance(entry, dict):
        note, entry = str(entry.get("note") or ""), entry.get("neutral")
    if entry is None or isinstance(entry, str):
        entry = [entry] if entry else []
    if not isinstance(entry, list) or not all(isinstance(each, str) and each.strip() for each in entry):
        raise InputError(
            "a substitute is no text", where=where, remedy="write word: substitute, or word: null"
        )
    return Word(term=term, neutral=tuple(entry), note=note)


@lru_cache(64)
def _pattern(terms: tuple[str, ...]) -> re.Pattern[str]:
    """Any of the terms as whole words in any case, the longest first; the last word may be inflected."""
    pieces = []
    for term in sorted(terms, key=len, reverse=True):
        *before, last = term.split()
        spaced = r"[\s-]+".join([*map(re.escape, before), f"(?:{_any_form(last)})"])
        pieces.append(spaced)
        if before:  # of a verb with a particle the first word is inflected: blowing up
            pieces.append(
                r"[\s-]+".join([f"(?:{_any_form(before[0])})", *map(re.escape, [*before[1:], last])])
            )
    return re.compile(rf"(?<!\w)(?:{'|'.join(pieces) or '(?!)'})(?!\w)", re.IGNORECASE)


def _any_form(word: str) -> str:
    """The word and what is made of it; not what it may be made of: "bombing" is no "bomb" if only that is listed."""
    forms = {word, *(form for form in forms_of(word) if len(form) > len(word) or form[:-1] == word[:-1])}
    return "|".join(map(re.escape, sorted(forms, key=len, reverse=True)))


def _term_of(surface: str, terms: tuple[str, ...]) -> str:
    return next(term for term in sorted(terms, key=len, reverse=True) if _pattern((term,)).fullmatch(surface))


def _ending(surface: str, term: str) -> str:
    """How the word in the text differs from the term: "", "s", "ed", "ing", or with a possessive."""
    for said, listed in zip(surface.casefold().split(), term.split(), strict=False):
        if said != listed:
            for ending in ("'s", "ing", "ed", "s"):
                if said.replace("’", "'").endswith(ending) and not listed.endswith(ending):
                    return ending
    return ""


def _inflected(new: str, surface: str, term: str) -> str:
    """The substitute in the number or tense of what it replaces."""
    ending = _ending(surface, term)
    if not ending:
        return new
    words = new.split()
    verb = ending in {"ed", "ing"} or any(word in _PARTICLES for word in words[1:])
    at = 0 if verb and ending != "'s" else len(words) - 1
    words[at] = _with_ending(words[at], ending)
    return " ".join(words)


def _with_ending(word: str, ending: str) -> str:
    if ending == "ed" and word in _PAST:
        return _PAST[word]
    if ending == "'s":
        return f"{word}'s"
    if ending == "s":
        if word.endswith("y") and word[-2:-1] not in _VOWELS:
            return f"{word[:-1]}ies"
        return f"{word}es" if word.endswith(("s", "x", "z", "ch", "sh")) else f"{word}s"
    if word.endswith("e"):
        return (
            f"{word}d" if ending == "ed" else f"{word[:-1]}ing" if not word.endswith("ee") else f"{word}ing"
        )
    if ending == "ed" and word.endswith("y") and word[-2:-1] not in _VOWELS:
        return f"{word[:-1]}ied"
    doubled = f"{word}{word[-1]}{ending}"
    short = len(word) <= 4 and doubled in forms_of(word)  # stop, cut, drop; not "deliver"
    return doubled if short else f"{word}{ending}"


def _cased(new: str, surface: str) -> str:
    letters = [sign for sign in surface if sign.isalpha()]
    if len(letters) > 1 and all(sign.isupper() for sign in letters):
        return new.upper()
    words = surface.split()
    if len(words) > 1 and all(word[:1].isupper() for word in words):
        return " ".join(word[:1].upper() + word[1:] for word in new.split())
    return new[:1].upper() + new[1:] if surface[:1].isupper() else new


def _with_article(before: str, new: str) -> str:
    """What stands before the substitute, with "a" or "an" as it sounds, and the substitute."""
    found = _ARTICLE.search(before)
    if found is None:
        return before + new
    article = "an" if _begins_with_vowel(new.casefold()) else "a"
    article = article.capitalize() if found[1][0].isupper() else article
    return f"{before[: found.start()]}{article}{found[2]}{new}"


def _begins_with_vowel(word: str) -> bool:
    if _SILENT_H.match(word):
        return True
    return word[:1] in tuple(_VOWELS) and not _SOUNDS_LIKE_YOU.match(word)
