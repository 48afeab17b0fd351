"""The lexicon: phrases whose function in an answer is known, found by hash in the token stream.

Phrases are short sequences of tokens, so apostrophes, case, punctuation and markdown never matter. A pair
table on the first two tokens leaves a few candidates in a hundred; prefix hashes over the tokens then test
every phrase length at once. docs/why/lexicon-by-hash.md has the measurements against Aho-Corasick automata.
"""

from __future__ import annotations

import dataclasses
import itertools
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import AlignTaxError
from .phrases import expand
from .text import Array, Tokens, flatten, mix, tokenize

FUNCTIONS = (
    "refusal_capability",
    "refusal_policy",
    "contests_premise",
    "apology",
    "ai_identity",
    "disclaimer",
    "moralising",
    "redirect",
    "weakener",
    "strengthener",
    "pivot",
    "closing_offer",
    "restating",
    "clarifying_question",
    "answer_marker",
)
"""What a phrase does, in the lexicon files and in the spans of a verdict."""

LANGUAGES = ("en", "es", "fr", "de", "it", "pt", "nl", "pl", "fi", "ru", "zh", "ja", "ko", "ar", "hi")

MAX_TOKENS = 24
"""Of a phrase; every Chinese, Japanese or Korean character is a token."""
_BATCH = 2048  # phrases hashed at once
_PAIR_BITS, _PHRASE_BITS, _WORD_BITS = 17, 21, 18
_STEP = np.uint64(0xD6E8FEB86659FD93)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lexicon:
    """Compiled phrases. Arrays over phrases are sorted by `key`."""

    key: npt.NDArray[np.uint64]
    function: npt.NDArray[np.uint8]  # index into FUNCTIONS
    language: npt.NDArray[np.uint8]  # index into LANGUAGES
    rule: npt.NDArray[np.int32]  # index into rules
    at_start: npt.NDArray[np.bool_]
    rules: tuple[str, ...]  # the entries as written, "en: i (can't|cannot) help"
    singles: npt.NDArray[np.bool_]  # table of single words, by hash
    pairs: npt.NDArray[np.bool_]  # table of first pairs, by hash
    known: npt.NDArray[np.bool_]  # table of whole phrases, by hash
    stopwords: npt.NDArray[np.uint16]  # one bit a language, by hash of a word
    lengths: tuple[int, ...]  # of all phrases, in tokens
    plain_lengths: tuple[int, ...]  # of phrases in ASCII alone


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """Phrases found in a chunk, in text order; none lies inside another."""

    first: npt.NDArray[np.int64]  # first token
    last: npt.NDArray[np.int64]  # last token
    sentence: npt.NDArray[np.int64]
    phrase: npt.NDArray[np.int64]  # index into the lexicon


@cache
def load_lexicon() -> Lexicon:
    """Read and compile the shipped lexicon. Raises AlignTaxError when a file is missing or broken."""
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    folder = resources.files(__package__) / "lexicons"
    phrases: list[str] = []
    facts: list[tuple[int, int, int, bool]] = []
    rules: list[str] = []
    stopwords: list[tuple[str, int]] = []
    for number, language in enumerate(LANGUAGES):
        try:
            data = yaml.load((folder / f"{language}.yaml").read_text("utf-8"), Loader=loader)  # noqa: S506 (a safe loader)
        except FileNotFoundError as missing:
            raise AlignTaxError(f"the lexicon of {language!r} is missing from this installation") from missing
        stopwords += [(str(word), number) for word in data["stopwords"]]
        for name, entries in data["functions"].items():
            for entry in entries:
                pattern = entry if isinstance(entry, str) else entry["phrase"]
                start = isinstance(entry, dict) and entry.get("at") == "start"
                for phrase in expand(pattern):
                    phrases.append(phrase)
                    facts.append((FUNCTIONS.index(name), number, len(rules), start))
                rules.append(f"{language}: {pattern}")
    return _compile(phrases, facts, tuple(rules), stopwords)


def _compile(
    phrases: list[str],
    facts: list[tuple[int, int, int, bool]],
    rules: tuple[str, ...],
    stopwords: list[tuple[str, int]],
) -> Lexicon:
    keys, pairs, singles, lengths = _phrase_keys(phrases)
    _, kept = np.unique(
        keys, return_index=True
    )  # sorted by key; a phrase written twice keeps its first entry
    function, language, rule, at_start = (np.asarray(column)[kept] for column in zip(*facts, strict=True))
    known = np.zeros(1 << _PHRASE_BITS, np.bool_)
    known[keys >> np.uint64(64 - _PHRASE_BITS)] = True
    words = _phrase_keys([word for word, _ in stopwords])[0]
    masks = np.zeros(1 << _WORD_BITS, np.uint16)
    bits = np.left_shift(1, np.asarray([number for _, number in stopwords])).astype(np.uint16)
    np.bitwise_or.at(masks, words >> np.uint64(64 - _WORD_BITS), bits)
    return Lexicon(
        key=keys[kept],
        function=function.astype(np.uint8),
        language=language.astype(np.uint8),
        rule=rule.astype(np.int32),
        at_start=at_start.astype(np.bool_),
        rules=rules,
        singles=singles,
        pairs=pairs,
        known=known,
        stopwords=masks,
        lengths=tuple(np.unique(lengths).tolist()),
        plain_lengths=tuple(np.unique(lengths[[phrase.isascii() for phrase in phrases]]).tolist()),
    )


def _phrase_keys(phrases: list[str]) -> tuple[Array, Array, Array, Array]:
    """Keys of phrases, the tables of their first pairs and single words, and their lengths in tokens."""
    words: list[Array] = []
    for at in range(0, len(phrases), _BATCH):
        tokens = tokenize(flatten(phrases[at : at + _BATCH]))
        edges = tokens.row_first
        words += [tokens.plain[a : b - 1] for a, b in itertools.pairwise(edges)]
    lengths = np.asarray([len(row) for row in words])
    if lengths.min(initial=1) < 1 or lengths.max(initial=1) > MAX_TOKENS:
        bad = phrases[int(np.flatnonzero((lengths < 1) | (lengths > MAX_TOKENS))[0])]
        raise AlignTaxError(f"lexicon phrase {bad!r} must have 1 to {MAX_TOKENS} tokens")
    powers = _step_powers(MAX_TOKENS)
    keys = mix(np.asarray([(row * powers[: len(row)]).sum(dtype=np.uint64) for row in words], np.uint64))
    pairs, singles = np.zeros(1 << _PAIR_BITS, np.bool_), np.zeros(1 << _WORD_BITS, np.bool_)
    first = np.asarray([row[0] for row in words], np.uint64)
    second = np.asarray([row[1] if len(row) > 1 else 0 for row in words], np.uint64)
    many = lengths > 1
    pairs[_pair_slots(first[many], second[many])] = True
    singles[mix(first[~many]) >> np.uint64(64 - _WORD_BITS)] = True
    return keys, pairs, singles, lengths


@cache
def _step_powers(size: int) -> npt.NDArray[np.uint64]:
    powers = np.full(size, _STEP)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)


@cache
def _step_inverses(size: int) -> npt.NDArray[np.uint64]:
    powers = np.full(size, np.uint64(pow(int(_STEP), -1, 1 << 64)))
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)


def _pair_slots(first: Array, second: Array) -> npt.NDArray[np.uint64]:
    return (first * np.uint64(0xFF51AFD7ED558CCD) + second) * np.uint64(0xC4CEB9FE1A85EC53) >> np.uint64(
        64 - _PAIR_BITS
    )


def find(
    tokens: Tokens, mixed: npt.NDArray[np.uint64], lexicon: Lexicon, *, ascii_only: bool = False
) -> Hits:
    """All phrases of the lexicon in a chunk, never across a sentence end, never in code or quotations.

    `mixed` is `mix(tokens.hash)`; `ascii_only` says that the chunk is, which saves the longest phrases. Where phrases overlap, the one that starts first wins, then the longest.
    """
    count = len(tokens.hash)
    firsts: list[Array] = []
    lasts: list[Array] = []
    keys: list[Array] = []
    single = np.flatnonzero(lexicon.singles[mixed >> np.uint64(64 - _WORD_BITS)])
    firsts.append(single)
    lasts.append(single)
    keys.append(mixed[single])
    pair = np.flatnonzero(lexicon.pairs[_pair_slots(tokens.hash[:-1], tokens.hash[1:])])
    size = 1 << (count + MAX_TOKENS).bit_length()
    totals = np.zeros(count + 1, np.uint64)
    np.cumsum(tokens.hash * _step_powers(size)[:count], out=totals[1:])
    base, back = totals[pair], _step_inverses(size)[pair]
    for length in lexicon.plain_lengths if ascii_only else lexicon.lengths:
        if length > 1:
            stop = pair + length
            inside = stop <= count
            key = mix((totals[np.minimum(stop, count)] - base) * back)
            good = np.flatnonzero(inside & lexicon.known[key >> np.uint64(64 - _PHRASE_BITS)])
            firsts.append(pair[good])
            lasts.append(pair[good] + length - 1)
            keys.append(key[good])
    return _settle(tokens, lexicon, np.concatenate(firsts), np.concatenate(lasts), np.concatenate(keys))


def _settle(tokens: Tokens, lexicon: Lexicon, first: Array, last: Array, key: Array) -> Hits:
    """Keep true hits that lie in one sentence, stand where they must, and lie in no other hit."""
    place = np.minimum(np.searchsorted(lexicon.key, key), len(lexicon.key) - 1)
    sentence = np.searchsorted(tokens.sentence_first, first, "right") - 1
    good = lexicon.key[place] == key
    good &= last < tokens.sentence_first[sentence + 1]
    good &= ~lexicon.at_start[place] | (first == tokens.sentence_first[sentence])
    if tokens.hidden is not None:
        good &= ~tokens.hidden[first]
    first, last, place, sentence = first[good], last[good], place[good], sentence[good]
    order = np.lexsort((-last, first))
    first, last, place, sentence = first[order], last[order], place[order], sentence[order]
    if len(first):
        reach = np.maximum.accumulate(last)
        fresh = np.concatenate(([True], last[1:] > reach[:-1]))
        first, last, place, sentence = first[fresh], last[fresh], place[fresh], sentence[fresh]
    return Hits(first=first, last=last, sentence=sentence, phrase=place)
