"""The authored sentences: well formed, varied enough to learn from, no row twice."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files

import pytest

from aligntax.types import FUNCTIONS

FEWEST_PER_FUNCTION = 90
FEWEST_SENTENCES = 2_000
LONGEST = 400
TYPOGRAPHIC = "\N{RIGHT SINGLE QUOTATION MARK}"


@pytest.fixture(scope="module")
def lines() -> list[str]:
    text = files("aligntax.detect").joinpath("authored/sentences.tsv").read_text(encoding="utf-8")
    assert text.endswith("\n")
    return text[:-1].split("\n")


@pytest.fixture(scope="module")
def rows(lines: list[str]) -> list[tuple[str, str]]:
    pairs = [tuple(line.split("\t")) for line in lines[1:]]
    assert [number for number, pair in enumerate(pairs, start=2) if len(pair) != 2] == []
    return [(function, text) for function, text in pairs]


def test_the_header_names_the_columns(lines: list[str]) -> None:
    assert lines[0] == "function\ttext"


def test_every_function_is_known_and_named_once_in_its_row(rows: list[tuple[str, str]]) -> None:
    for function, text in rows:
        parts = function.split("+")
        assert set(parts) <= set(FUNCTIONS), text
        assert 1 <= len(parts) <= 2, text
        assert len(set(parts)) == len(parts), text


def test_every_function_has_enough_sentences(rows: list[tuple[str, str]]) -> None:
    counts = Counter(part for function, _ in rows for part in function.split("+"))
    assert len(rows) >= FEWEST_SENTENCES
    assert {name: counts[name] for name in FUNCTIONS if counts[name] < FEWEST_PER_FUNCTION} == {}


def test_no_sentence_comes_twice(rows: list[tuple[str, str]]) -> None:
    folded = Counter(" ".join(text.replace(TYPOGRAPHIC, "'").split()).casefold() for _, text in rows)
    assert [text for text, count in folded.items() if count > 1] == []


def test_texts_are_trimmed_short_and_hold_no_control_characters(rows: list[tuple[str, str]]) -> None:
    for _, text in rows:
        assert text == text.strip()
        assert 0 < len(text) <= LONGEST
        assert text.isprintable(), ascii(text)


def test_both_kinds_of_apostrophe_are_taught(rows: list[tuple[str, str]]) -> None:
    share = sum(TYPOGRAPHIC in text for _, text in rows) / len(rows)
    assert 0.05 <= share <= 0.20
    assert sum("'" in text for _, text in rows) > 0
