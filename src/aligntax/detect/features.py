"""From tokens to what is known of each answer: sentence functions, lexicon counts, structure, relation to the prompt.

`Reading` holds all of it for one chunk of answers; `dense` turns it into the columns that the model weighs.
"""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import numpy.typing as npt

from ..types import FUNCTIONS as SENTENCE_FUNCTIONS
from . import kernel, native
from .lexicon import FUNCTIONS as PHRASE_FUNCTIONS
from .lexicon import Hits, Lexicon, find
from .text import Array, Flat, flatten
from .tokens import Tokens, mix, tokenize, word_hash

Floats = npt.NDArray[np.float32]

ANSWER = SENTENCE_FUNCTIONS.index("answer")
WEAKENER = PHRASE_FUNCTIONS.index("weakener")
STRENGTHENER = PHRASE_FUNCTIONS.index("strengthener")

SENTENCE_EXTRAS = (
    *(f"phrase {name}" for name in PHRASE_FUNCTIONS),
    "length",
    "question mark",
    "line",
    "short",
    "bias",
)
"""What the sentence classifier sees beside n-grams."""

PROMPT_CHARACTERS = 1000
"""Of a long prompt the first and the last 1,000 characters are compared with the answer."""

_OVERLAP_BITS = 10


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One chunk of answers, read. S sentences, R rows."""

    flat: Flat
    tokens: Tokens
    hits: Hits
    later: npt.NDArray[np.bool_]  # (S,) begins after the opening
    mixed: npt.NDArray[np.uint64]  # hashes of the tokens, spread over all bits
    phrase_counts: Floats  # (S, phrase functions)
    extras: Floats  # (S, SENTENCE_EXTRAS)
    counts: npt.NDArray[np.int64]  # (R, 5) words, hidden tokens, first persons, numbers, colons
    relation: Floats  # (R, RELATION) prompt and answer


def read_chunk(responses: list[str], prompts: list[str], lexicon: Lexicon) -> Reading:
    """Fold, tokenise and look up one chunk."""
    flat = flatten(responses)
    tokens = tokenize(flat)
    mixed = mix(tokens.hash)
    later = kernel.later_sentences(tokens)
    hits = find(tokens, mixed, lexicon)
    row_counts = _row_counts(flat, tokens, mixed)
    sentences = len(tokens.sentence_first) - 1
    width = len(PHRASE_FUNCTIONS)
    cells = hits.sentence * width + lexicon.function[hits.phrase]
    counts = np.bincount(cells, minlength=sentences * width).reshape(sentences, width).astype(np.float32)
    return Reading(
        flat=flat,
        tokens=tokens,
        hits=hits,
        later=later,
        mixed=mixed,
        phrase_counts=counts,
        extras=_sentence_extras(flat, tokens, counts),
        counts=row_counts,
        relation=_relation(tokens, mixed, row_counts[:, 3] > 0, prompts),
    )


@cache
def _first_person() -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.uint8]]:
    """The words of the first person by the top 16 bits of their mixed hash, and the same table packed."""
    table = np.zeros(1 << 16, np.bool_)
    table[mix(np.asarray([word_hash(word) for word in ("i", "my", "me")])) >> np.uint64(48)] = True
    return table, np.packbits(table, bitorder="little")


def _row_counts(flat: Flat, tokens: Tokens, mixed: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Words, hidden tokens, words of the first person, tokens that begin with a digit, colons: (rows, 5)."""
    table, packed = _first_person()
    library = native.load()
    if library is not None:
        return native.counts(
            library,
            flat.buffer,
            flat.row_start,
            tokens.start,
            tokens.word,
            tokens.hidden,
            mixed,
            tokens.row_first,
            packed,
            16,
            ord(":"),
        )
    first = tokens.row_first[:-1]
    hidden = tokens.hidden if tokens.hidden is not None else np.zeros(len(mixed), np.bool_)
    digit = flat.buffer[tokens.start] - np.uint8(48) < 10
    counted = (tokens.word, hidden, table[mixed >> np.uint64(48)], digit)
    colons = np.add.reduceat(flat.buffer == ord(":"), flat.row_start[:-1], dtype=np.int64)
    return np.stack([*(np.add.reduceat(c, first, dtype=np.int64) for c in counted), colons], axis=1)


def _sentence_extras(flat: Flat, tokens: Tokens, counts: Floats) -> Floats:
    length = np.diff(tokens.sentence_first).astype(np.float32)
    mark = closing_marks(flat, tokens)
    extras = np.empty((len(length), len(SENTENCE_EXTRAS)), np.float32)
    np.minimum(counts, 1, out=extras[:, : counts.shape[1]])
    extras[:, -5] = np.log1p(length) / 3
    extras[:, -4] = mark == ord("?")
    extras[:, -3] = mark == ord("\n")
    extras[:, -2] = length <= 4
    extras[:, -1] = 1
    return extras


def closing_marks(flat: Flat, tokens: Tokens) -> npt.NDArray[np.uint8]:
    """The byte that closes each sentence, the mark itself where a row's separator follows it."""
    last = tokens.sentence_first[1:] - 1
    before = np.maximum(last - 1, 0)
    doubled = ~tokens.word[before] & (before >= tokens.sentence_first[:-1])
    marks: npt.NDArray[np.uint8] = flat.buffer[tokens.start[np.where(doubled, before, last)]]
    return marks


# -- prompt and answer ---------------------------------------------------------------------------------------

RELATION = (
    "prompt words covered",
    "prompt words covered in the opening",
    "answer words from the prompt",
    "length against prompt",
    "asks for writing",
    "asks a question",
    "asks for a number",
    "number missing",
    "asks how",
)

_ASKS_WRITING = (
    "write draft compose create generate essay speech poem story letter article script satire monologue op-ed"
)
_ASKS_NUMBER = "many much dose dosage date percentage number rate cost price limit threshold year"
_ASKS_HOW = "how steps guide instructions explain"


@cache
def _word_tables() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """By the top 16 bits of a word's mixed hash: what it asks for (bits), and whether it is a function word."""
    asks, common = np.zeros(1 << 16, np.uint8), np.zeros(1 << 16, np.bool_)
    for bit, words in enumerate((_ASKS_WRITING, _ASKS_NUMBER, _ASKS_HOW)):
        slots = mix(np.asarray([word_hash(word) for word in words.split()])) >> np.uint64(48)
        asks[slots] |= 1 << bit
    common[mix(np.asarray([word_hash(word) for word in _COMMON.split()])) >> np.uint64(48)] = True
    return asks, common


_COMMON = (
    "the of and to is that it for was on are as with his they be at this have from or had by but what were we when "
    "your can said there an each which she do how their if will about would you has been who its these could should "
    "than not i my me a in so no any all some them he her him our us out up into more most other such only just also "
    "then now very may might must am did does doing why where while because s t re ve ll d m please"
)


def _relation(tokens: Tokens, mixed: Array, has_number: npt.NDArray[np.bool_], prompts: list[str]) -> Floats:
    """How the answer relates to what was asked: (rows, RELATION)."""
    asks_table, common = _word_tables()
    size = PROMPT_CHARACTERS
    asked = flatten([p if len(p) <= 2 * size else p[:size] + "\n" + p[-size:] for p in prompts])
    words = tokenize(asked)
    prompt_mixed = mix(words.plain)
    rows = len(prompts)
    slots = prompt_mixed >> np.uint64(48)
    content = words.word & ~common[slots] & (words.end - words.start > 2)
    counts = _overlap(words, prompt_mixed, content, tokens, mixed)
    asks = np.bitwise_or.reduceat(asks_table[slots], words.row_first[:-1])
    question = np.add.reduceat(asked.buffer == ord("?"), asked.row_start[:-1]) > 0
    lengths = np.diff(tokens.row_first)
    out = np.empty((rows, len(RELATION)), np.float32)
    needs = np.maximum(counts[:, 2], 1)
    out[:, 0] = counts[:, 0] / needs
    out[:, 1] = counts[:, 1] / needs
    out[:, 2] = counts[:, 3] / lengths
    out[:, 3] = np.log(lengths / np.diff(words.row_first)) / 3
    out[:, 4] = asks & 1 > 0
    out[:, 5] = question
    out[:, 6] = asks & 2 > 0
    out[:, 7] = (asks & 2 > 0) & ~has_number
    out[:, 8] = asks & 4 > 0
    return out


def _overlap(
    words: Tokens, asked: npt.NDArray[np.uint64], content: npt.NDArray[np.bool_], tokens: Tokens, mixed: Array
) -> npt.NDArray[np.int64]:
    """Prompt words covered, covered in the opening, wanted, and answer words that are the prompt's: (rows, 4)."""
    library = native.load()
    if library is not None:
        return native.overlap(
            library,
            asked,
            content,
            words.row_first,
            mixed,
            tokens.word,
            tokens.start,
            tokens.end,
            tokens.row_first,
            kernel.OPENING_WORDS,
        )
    rows = len(tokens.row_first) - 1
    bits = np.uint64(64 - _OVERLAP_BITS)
    asked_row = np.repeat(np.arange(rows), np.diff(words.row_first))
    wanted = np.zeros((rows, 1 << _OVERLAP_BITS), np.bool_)
    wanted[asked_row[content], asked[content] >> bits] = True
    answer_row = np.repeat(np.arange(rows), np.diff(tokens.row_first))
    shared = wanted.ravel()[(answer_row << _OVERLAP_BITS) + (mixed >> bits).astype(np.int64)]
    shared &= tokens.word & (tokens.end - tokens.start > 2)
    at = np.flatnonzero(shared)
    covered, opening = np.zeros_like(wanted), np.zeros_like(wanted)
    covered[answer_row[at], mixed[at] >> bits] = True
    early = at[at - tokens.row_first[answer_row[at]] < kernel.OPENING_WORDS]
    opening[answer_row[early], mixed[early] >> bits] = True
    count = np.bincount(answer_row[at], minlength=rows)
    return np.stack([covered.sum(1), opening.sum(1), wanted.sum(1), count], axis=1)


# -- columns for the model -----------------------------------------------------------------------------------

DENSE = (
    *(f"share {name}" for name in SENTENCE_FUNCTIONS),
    *(f"opening {name}" for name in SENTENCE_FUNCTIONS),
    *(f"first {name}" for name in SENTENCE_FUNCTIONS),
    *(f"last {name}" for name in SENTENCE_FUNCTIONS),
    *(f"most {name}" for name in SENTENCE_FUNCTIONS),
    *(f"phrase in opening {name}" for name in PHRASE_FUNCTIONS),
    *(f"phrase {name}" for name in PHRASE_FUNCTIONS),
    *(f"phrase density {name}" for name in PHRASE_FUNCTIONS),
    *RELATION,
    "words",
    "sentences",
    "one sentence",
    "words under 40",
    "lines",
    "code or quotation",
    "questions",
    "answer starts",
    "no answer sentence",
    "first person",
    "colon lines",
    "bias",
)
"""Names of the dense columns, in order."""


def dense(reading: Reading, functions: Floats) -> Floats:
    """Columns DENSE of each row; `functions`: (S, sentence functions) probabilities."""
    words = np.maximum(reading.counts[:, 0], 1).astype(np.float32)
    out = np.empty((reading.flat.rows, len(DENSE)), np.float32)
    _sentences_by_row(reading, functions, words, out)
    at = len(DENSE) - len(RELATION) - _STRUCTURE
    out[:, at : at + len(RELATION)] = reading.relation
    out[:, -_STRUCTURE:] = _structure(reading, functions, words[:, None])
    return out


_STRUCTURE = 12


def _sentences_by_row(reading: Reading, functions: Floats, words: Floats, out: Floats) -> None:
    """The columns that sum up a row's sentences: those before RELATION in DENSE."""
    tokens = reading.tokens
    library = native.load()
    if library is not None:
        native.by_row(
            library,
            np.ascontiguousarray(functions),
            reading.phrase_counts,
            tokens.sentence_first,
            tokens.row_sentence,
            reading.later,
            words,
            out,
        )
        return
    first, last = tokens.row_sentence[:-1], tokens.row_sentence[1:] - 1
    length = np.diff(tokens.sentence_first).astype(np.float32)[:, None]
    early = ~reading.later[:, None]

    def by_row(values: Array) -> Floats:
        return np.add.reduceat(values, first, axis=0, dtype=np.float32)

    weighted = functions * length
    counts = by_row(reading.phrase_counts)
    blocks = [
        by_row(weighted) / by_row(length),
        by_row(weighted * early) / np.maximum(by_row(length * early), 1),
        functions[first],
        functions[last],
        np.maximum.reduceat(functions, first, axis=0),
        np.minimum(by_row(reading.phrase_counts * early), 1),
        np.minimum(counts, 1),
        np.minimum(counts * 30 / words[:, None], 3),
    ]
    out[:, : sum(block.shape[1] for block in blocks)] = np.concatenate(blocks, axis=1)


def _structure(reading: Reading, functions: Floats, words: Floats) -> Floats:
    tokens, flat = reading.tokens, reading.flat
    rows = flat.rows
    out = np.empty((rows, 12), np.float32)
    sentences = np.diff(tokens.row_sentence)
    mark = closing_marks(flat, tokens)
    line, asked = mark == ord("\n"), mark == ord("?")
    begin = answer_begins(reading, functions)
    counts = reading.counts
    out[:, 0] = np.log(words[:, 0]) / 5
    out[:, 1] = np.log1p(sentences) / 3
    out[:, 2] = sentences == 1
    out[:, 3] = words[:, 0] < 40
    out[:, 4] = np.add.reduceat(line, tokens.row_sentence[:-1]) / sentences
    out[:, 5] = counts[:, 1] / np.diff(tokens.row_first)
    out[:, 6] = np.add.reduceat(asked, tokens.row_sentence[:-1]) / sentences
    out[:, 7] = np.where(begin < 0, 1.0, begin / np.diff(flat.row_start))
    out[:, 8] = begin < 0
    out[:, 9] = np.minimum(counts[:, 2] * 20 / words[:, 0], 2)
    out[:, 10] = np.minimum(counts[:, 4] / sentences, 1)
    out[:, 11] = 1
    return out


def answer_begins(reading: Reading, functions: Floats) -> npt.NDArray[np.int64]:
    """Byte offset within the row of its first answering sentence; -1: there is none."""
    tokens = reading.tokens
    answering = functions[:, ANSWER] >= 0.5
    answering &= np.diff(tokens.sentence_first) > 1  # a lone separator answers nothing
    rows = tokens.sentence_rows()
    at = np.flatnonzero(answering)
    found, which = np.unique(rows[at], return_index=True)
    out = np.full(reading.flat.rows, -1, np.int64)
    out[found] = tokens.start[tokens.sentence_first[at[which]]] - reading.flat.row_start[found]
    return out
