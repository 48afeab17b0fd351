"""The authored questions: well formed, varied, and no topic or length that gives the answer away."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from importlib.resources import files
from typing import Any

import pytest

from aligntax.types import Answered, Kind

FEWEST_PER_CELL = {
    ("full", None): 250,
    ("none", "hard_refusal"): 260,
    ("none", "topic_avoidance"): 60,
    ("part", "soft_refusal"): 130,
}
ALLOWED_KINDS: dict[str, set[str | None]] = {
    "full": {None},
    "part": {Kind.SOFT_REFUSAL, Kind.TOPIC_AVOIDANCE},
    "none": {Kind.HARD_REFUSAL, Kind.TOPIC_AVOIDANCE},
}
FEWEST_REFUSALS_OF_STYLE = {"condemn": 70, "inability": 50, "did-you-mean": 30}
LONGEST = 2_500
TYPOGRAPHIC = "\N{RIGHT SINGLE QUOTATION MARK}"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    text = files("aligntax.detect").joinpath("authored/questions.jsonl").read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [json.loads(line) for line in text[:-1].split("\n")]


def folded(text: str) -> str:
    return " ".join(text.replace(TYPOGRAPHIC, "'").split()).casefold()


def test_every_row_has_the_same_keys_and_holds_text(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert list(row) == ["prompt", "response", "answered", "kind", "style"]
        assert all(isinstance(row[key], str) and row[key].strip() for key in ("prompt", "response", "style"))
        assert row["prompt"] == row["prompt"].strip()
        assert row["response"] == row["response"].rstrip()
        assert len(row["response"]) <= LONGEST


def test_every_kind_agrees_with_how_much_was_answered(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert row["answered"] in set(Answered) - {Answered.UNDETERMINED}, row["prompt"]
        assert row["kind"] in ALLOWED_KINDS[row["answered"]], row["prompt"]


def test_every_cell_has_enough_rows(rows: list[dict[str, Any]]) -> None:
    counts = Counter((row["answered"], row["kind"]) for row in rows)
    assert len(rows) >= sum(FEWEST_PER_CELL.values())
    assert {cell: counts[cell] for cell, fewest in FEWEST_PER_CELL.items() if counts[cell] < fewest} == {}


def test_refusals_come_from_plainly_bad_and_from_harmless_requests_alike(rows: list[dict[str, Any]]) -> None:
    refusals = [row for row in rows if row["kind"] == Kind.HARD_REFUSAL]
    bad = sum(row["style"].startswith("bad-") for row in refusals)
    assert 0.4 <= bad / len(refusals) <= 0.6
    for style, fewest in FEWEST_REFUSALS_OF_STYLE.items():
        assert sum(style in row["style"] for row in refusals) >= fewest, style


def test_no_response_comes_twice(rows: list[dict[str, Any]]) -> None:
    counts = Counter(folded(row["response"]) for row in rows)
    assert [text for text, count in counts.items() if count > 1] == []


def test_openings_vary(rows: list[dict[str, Any]]) -> None:
    openings = Counter(" ".join(folded(row["response"]).split()[:4]) for row in rows)
    opening, count = openings.most_common(1)[0]
    assert count <= 0.03 * len(rows), opening


def test_the_topic_does_not_give_the_answer_away(rows: list[dict[str, Any]]) -> None:
    answers: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        answers[row["prompt"]].add(row["answered"])
    full = [row for row in rows if row["answered"] == Answered.FULL]
    assert sum(len(answers[row["prompt"]]) > 1 for row in full) >= 0.8 * len(full)


@pytest.mark.parametrize("answered", ["full", "none"])
def test_both_short_and_long_answers_occur(rows: list[dict[str, Any]], answered: str) -> None:
    words = [len(row["response"].split()) for row in rows if row["answered"] == answered]
    assert sum(count <= 20 for count in words) >= 20
    assert sum(count >= 100 for count in words) >= 10


def test_typography_is_no_cue(rows: list[dict[str, Any]]) -> None:
    for answered in ALLOWED_KINDS:
        texts = [row["response"] for row in rows if row["answered"] == answered]
        assert any(TYPOGRAPHIC in text for text in texts)
        assert any(text.startswith(" ") for text in texts)
