"""The lexicon: phrases whose function in an answer is known, found by hash in the token stream.

Phrases are short sequences of tokens, so apostrophes, case, punctuation and markdown never matter. A pair
table on the first two tokens leaves a few candidates in a hundred; prefix hashes over the tokens then test
every phrase length at once. docs/why/lexicon-by-hash.md has the measurements against Aho-Corasick automata.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import AlignTaxError
from . import native
from .phrases import expand
from .text import Array, flatten
from .tokens import Tokens, mix, tokenize, word_hash

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
_PAIR_BITS, _PHRASE_BITS, WORD_BITS = 18, 21, 18
_STEP = np.uint64(0xD6E8FEB86659FD93)
_PAIR = np.asarray([0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53], np.uint64)


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
    pairs: npt.NDArray[np.uint32]  # lengths of the phrases that begin with a pair, as bits, by hash
    packed_singles: npt.NDArray[np.uint8]  # the same as bits, for native.c
    packed_pairs: npt.NDArray[np.uint8]  # whether `pairs` holds anything, as bits
    known: npt.NDArray[np.bool_]  # table of whole phrases, by hash
    packed_known: npt.NDArray[np.uint8]
    key_starts: npt.NDArray[np.uint32]  # where the keys of each value of their top 16 bits begin
    stopwords: npt.NDArray[np.uint16]  # one bit a language, by hash of a word
    packed_english: npt.NDArray[np.uint8]  # the English bit of it, packed


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
    keys, pairs, singles, _ = _phrase_keys(phrases)
    _, kept = np.unique(
        keys, return_index=True
    )  # sorted by key; a phrase written twice keeps its first entry
    function, language, rule, at_start = (np.asarray(column)[kept] for column in zip(*facts, strict=True))
    known = np.zeros(1 << _PHRASE_BITS, np.bool_)
    known[keys >> np.uint64(64 - _PHRASE_BITS)] = True
    words = mix(np.asarray([word_hash(word) for word, _ in stopwords], np.uint64))
    masks = np.zeros(1 << WORD_BITS, np.uint16)
    bits = np.left_shift(1, np.asarray([number for _, number in stopwords])).astype(np.uint16)
    np.bitwise_or.at(masks, words >> np.uint64(64 - WORD_BITS), bits)
    return Lexicon(
        key=keys[kept],
        function=function.astype(np.uint8),
        language=language.astype(np.uint8),
        rule=rule.astype(np.int32),
        at_start=at_start.astype(np.bool_),
        rules=rules,
        singles=singles,
        pairs=pairs,
        packed_singles=np.packbits(singles, bitorder="little"),
        packed_pairs=np.packbits(pairs > 0, bitorder="little"),
        known=known,
        packed_known=np.packbits(known, bitorder="little"),
        key_starts=np.searchsorted(keys[kept] >> np.uint64(48), np.arange((1 << 16) + 1)).astype(np.uint32),
        stopwords=masks,
        packed_english=np.packbits(masks & np.uint16(1) > 0, bitorder="little"),
    )


def _phrase_keys(phrases: list[str]) -> tuple[Array, Array, Array, Array]:
    """Keys of phrases, the tables of their first pairs and single words, and their lengths in tokens."""
    keys, lengths, firsts, seconds = [], [], [], []
    powers = _step_powers(64)
    for at in range(0, len(phrases), _BATCH):
        tokens = tokenize(flatten(phrases[at : at + _BATCH]))
        mixed = mix(tokens.plain)
        first = tokens.row_first[:-1]
        size = np.diff(tokens.row_first) - 1  # the separator is no part of the phrase
        if size.min() < 1 or size.max() > MAX_TOKENS:
            bad = phrases[at + int(np.flatnonzero((size < 1) | (size > MAX_TOKENS))[0])]
            raise AlignTaxError(f"lexicon phrase {bad!r} must have 1 to {MAX_TOKENS} tokens")
        place = np.arange(len(mixed)) - np.repeat(first, size + 1)
        weighted = mixed * powers[place] * tokens.word
        keys.append(mix(np.add.reduceat(weighted, first)))
        lengths.append(size)
        firsts.append(mixed[first])
        seconds.append(mixed[first + 1])
    length = np.concatenate(lengths)
    pairs, singles = np.zeros(1 << _PAIR_BITS, np.uint32), np.zeros(1 << WORD_BITS, np.bool_)
    one, two, many = np.concatenate(firsts), np.concatenate(seconds), length > 1
    np.bitwise_or.at(pairs, _pair_slots(one[many], two[many]), np.uint32(1) << length[many].astype(np.uint32))
    singles[one[~many] >> np.uint64(64 - WORD_BITS)] = True
    return np.concatenate(keys), pairs, singles, length


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
    slots: npt.NDArray[np.uint64] = (first * _PAIR[0] + second) * _PAIR[1] >> np.uint64(64 - _PAIR_BITS)
    return slots


def find(tokens: Tokens, mixed: npt.NDArray[np.uint64], lexicon: Lexicon) -> Hits:
    """All phrases of the lexicon in a chunk, never across a sentence end, never in code or quotations.

    `mixed` is `mix(tokens.hash)`. Of phrases one inside the other the longer is kept.
    """
    library = native.load()
    if library is None:
        return _settle(tokens, lexicon, *_candidates(mixed, lexicon))
    found = native.find(
        library,
        mixed,
        lexicon.packed_singles,
        WORD_BITS,
        lexicon.packed_pairs,
        lexicon.pairs,
        _PAIR_BITS,
        _PAIR,
        int(_STEP),
        lexicon.key,
        lexicon.key_starts,
        lexicon.packed_known,
        _PHRASE_BITS,
    )
    return _settle(tokens, lexicon, found[:, 0], found[:, 1], found[:, 2])


def _candidates(mixed: npt.NDArray[np.uint64], lexicon: Lexicon) -> tuple[Array, Array, Array]:
    """First token, last token and phrase of every match, sentences not yet minded: what native.c does."""
    count = len(mixed)
    singles = np.flatnonzero(lexicon.singles[mixed >> np.uint64(64 - WORD_BITS)])
    firsts, lasts, keys = [singles], [singles], [mix(mixed[singles])]
    lengths = lexicon.pairs[_pair_slots(mixed[:-1], mixed[1:])]
    pair = np.flatnonzero(lengths)
    lengths = lengths[pair]
    size = 1 << (count + MAX_TOKENS).bit_length()
    totals = np.zeros(count + 1, np.uint64)
    np.cumsum(mixed * _step_powers(size)[:count], out=totals[1:])
    for length in range(2, MAX_TOKENS + 1):
        at = pair[(lengths >> np.uint32(length)) & np.uint32(1) > 0]
        at = at[at + length <= count]
        firsts.append(at)
        lasts.append(at + length - 1)
        keys.append(mix((totals[at + length] - totals[at]) * _step_inverses(size)[at]))
    first, last, key = np.concatenate(firsts), np.concatenate(lasts), np.concatenate(keys)
    likely = np.flatnonzero(lexicon.known[key >> np.uint64(64 - _PHRASE_BITS)])
    first, last, key = first[likely], last[likely], key[likely]
    place = np.minimum(np.searchsorted(lexicon.key, key), len(lexicon.key) - 1)
    true = lexicon.key[place] == key
    return first[true], last[true], place[true]


def _settle(tokens: Tokens, lexicon: Lexicon, first: Array, last: Array, place: Array) -> Hits:
    """Keep hits that lie in one sentence, stand where they must, and lie in no other hit."""
    sentence = np.searchsorted(tokens.sentence_first, first, "right") - 1
    good = last < tokens.sentence_first[sentence + 1]
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
