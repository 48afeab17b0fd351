"""The authored answers: well formed, consistent, enough of each kind, no answer twice."""

from __future__ import annotations

import json
import re
from collections import Counter
from importlib.resources import files
from typing import Any

import pytest

from aligntax.types import Kind

KEYS = ["prompt", "response", "answered", "kind", "style"]
FEWEST = {
    ("full", None): 170,
    ("full", "hedging"): 25,
    ("full", "verbosity_inflation"): 25,
    ("none", "hard_refusal"): 80,
    ("none", "topic_avoidance"): 45,
    ("part", "soft_refusal"): 80,
    ("part", "topic_avoidance"): 35,
}
FEWEST_REFUSALS_WITHOUT_STOCK_WORDS = 35
FEWEST_AVOIDANCE_TWINS = 60
MOST_WORDS = 350
STOCK_WORDS = re.compile(r"\b(sorry|can['’]t|cannot)\b", re.IGNORECASE)
TYPOGRAPHIC = "\N{RIGHT SINGLE QUOTATION MARK}"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    text = files("aligntax.detect").joinpath("authored/answers.jsonl").read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [json.loads(line) for line in text[:-1].split("\n")]


def test_every_row_has_the_same_keys_and_trimmed_text(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert list(row) == KEYS
        for key in ("prompt", "response"):
            assert row[key] == row[key].strip()
            assert row[key]
        assert len(row["response"].split()) <= MOST_WORDS, row["style"]
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row["style"]), row["style"]


def test_answered_and_kind_agree(rows: list[dict[str, Any]]) -> None:
    assert {row["kind"] for row in rows} == {None, *(kind.value for kind in Kind)}
    assert {(row["answered"], row["kind"]) for row in rows} == set(FEWEST)


def test_every_cell_has_enough_rows(rows: list[dict[str, Any]]) -> None:
    counts = Counter((row["answered"], row["kind"]) for row in rows)
    assert {cell: counts[cell] for cell, fewest in FEWEST.items() if counts[cell] < fewest} == {}


def test_no_response_comes_twice(rows: list[dict[str, Any]]) -> None:
    folded = Counter(" ".join(row["response"].replace(TYPOGRAPHIC, "'").split()).casefold() for row in rows)
    assert [text for text, count in folded.items() if count > 1] == []


def test_refusals_are_taught_with_and_without_their_stock_words(rows: list[dict[str, Any]]) -> None:
    hard = [row["response"] for row in rows if row["kind"] == "hard_refusal"]
    without = sum(not STOCK_WORDS.search(text) for text in hard)
    assert FEWEST_REFUSALS_WITHOUT_STOCK_WORDS <= without < len(hard)


def test_stock_words_alone_do_not_tell_refusals(rows: list[dict[str, Any]]) -> None:
    full = [row["response"] for row in rows if row["answered"] == "full"]
    assert sum(bool(STOCK_WORDS.search(text)) for text in full) >= 15


def test_most_avoided_requests_are_also_answered_in_full(rows: list[dict[str, Any]]) -> None:
    answered = {row["prompt"] for row in rows if row["answered"] == "full"}
    avoided = [row["prompt"] for row in rows if row["kind"] == "topic_avoidance"]
    assert sum(prompt in answered for prompt in avoided) >= FEWEST_AVOIDANCE_TWINS
