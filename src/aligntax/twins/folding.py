"""Text made ready to be searched for facts: one form a letter, and the light inflections of a word."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")
_SUPERSCRIPTS = re.compile("[⁰¹²³⁴-⁹]+")
_FRACTIONS = re.compile("[¼-¾⅐-⅞↉]")
_SIGNS = str.maketrans(
    {"’": "'", "‘": "'", "‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "-", "−": "-", "⁄": "/"}
)
_BETWEEN = r"[\s\-_*/`']"  # what may stand between the words of a phrase
_VOWELS = frozenset("aeiouy")
_SHORTEST_VERB = 4  # letters; of shorter words only the plural is looked for


def folded(text: str) -> str:
    r"""Lower case without accents, compatibility forms resolved, one kind of dash and apostrophe.

    Positions move a little where letters fall apart. Superscripts keep a mark, and fractions their distance, so that
    10⁶ does not become 106 nor 2½ become 21/2.

    >>> folded("CAFÉ – 2½ mg\u200b"), folded("10⁶")
    ('cafe - 2 1/2 mg', '10^6')
    """
    text = _INVISIBLE.sub("", text)
    if not text.isascii():
        text = _SUPERSCRIPTS.sub(lambda found: f"^{found[0]}", text)
        text = _FRACTIONS.sub(lambda found: f" {found[0]}", text)
        text = unicodedata.normalize("NFKD", text.casefold())
        text = "".join(sign for sign in text if not unicodedata.combining(sign)).translate(_SIGNS)
        return re.sub(r"(?<=\d)  (?=\d)", " ", text)
    return text.lower()


@lru_cache(4096)
def phrase_pattern(phrase: str) -> re.Pattern[str]:
    """Finds a phrase as whole words in `folded` text: each word in its light inflections, hyphens as spaces.

    Scripts that put no spaces between words have no word ends to ask for.
    """
    words = [word for word in re.split(rf"{_BETWEEN}+", folded(phrase).strip()) if word]
    if not words:
        return re.compile(r"(?!)")
    pieces = ["|".join(map(re.escape, sorted(forms_of(word), key=len, reverse=True))) for word in words]
    loose = all(len(word) >= 3 for word in words)
    between = rf"{_BETWEEN}{{0,4}}" if loose else rf"{_BETWEEN}{{1,4}}"
    body = between.join(f"(?:{piece})" for piece in pieces)
    start = r"(?<!\w)" if _has_word_ends(words[0][0]) else ""
    end = r"(?!\w)" if _has_word_ends(words[-1][-1]) else ""
    return re.compile(f"{start}{body}{end}")


@lru_cache(16384)
def forms_of(word: str) -> frozenset[str]:
    """The word and its light inflections in English: plural, possessive, past and -ing, and back from these.

    Some of the forms are no words ("stoping"); nobody writes them, so they do no harm.

    >>> sorted({"stopped", "stops", "policy"} & (forms_of("stop") | forms_of("policies")))
    ['policy', 'stopped', 'stops']
    """
    if not word.isalpha() or not word.isascii() or len(word) < 2:
        return frozenset({word})
    found = {word}
    for base in _bases(word):
        found |= {base, *_plurals(base)}
        if len(base) >= _SHORTEST_VERB:
            found |= _verb_forms(base)
    return frozenset(found)


def _bases(word: str) -> set[str]:
    """What the word may be an inflection of; itself always."""
    found = {word}
    if len(word) > 4 and word.endswith("ies"):
        found.add(f"{word[:-3]}y")
    elif len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes", "zes")):
        found.add(word[:-2])
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        found.add(word[:-1])
    for ending in ("ing", "ed"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) >= 3 and _VOWELS & set(stem):
            found |= {stem, f"{stem}e"}
            if len(stem) > 3 and stem[-1] == stem[-2]:
                found.add(stem[:-1])
            if ending == "ed" and stem.endswith("i"):
                found.add(f"{stem[:-1]}y")
    return found


def _plurals(base: str) -> set[str]:
    if base.endswith("y") and len(base) > 2 and base[-2] not in _VOWELS:
        return {f"{base[:-1]}ies", f"{base}'s"}
    if base.endswith(("s", "x", "z", "ch", "sh")):
        return {f"{base}es", f"{base}'", f"{base}'s"}
    return {f"{base}s", f"{base}'s"}


def _verb_forms(base: str) -> set[str]:
    if base.endswith("e"):
        return {f"{base}d", f"{base[:-1]}ing"}
    if base.endswith("y") and base[-2] not in _VOWELS:
        return {f"{base[:-1]}ied", f"{base}ing"}
    forms = {f"{base}ed", f"{base}ing"}
    if base[-1] not in _VOWELS | {"w", "x"} and base[-2] in _VOWELS and base[-3] not in _VOWELS:
        forms |= {f"{base}{base[-1]}ed", f"{base}{base[-1]}ing"}
    return forms


def _has_word_ends(letter: str) -> bool:
    return (letter.isalnum() or letter == "_") and unicodedata.category(letter) != "Lo"
