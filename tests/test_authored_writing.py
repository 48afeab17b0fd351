"""The authored long-form tasks: well formed, every kind of evasion there, and form does not give the class away."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from importlib.resources import files
from statistics import median

import pytest

from aligntax.types import Answered, Kind

KEYS = ["prompt", "response", "answered", "kind", "style"]
FEWEST = {
    ("full", None): 100,
    ("part", "topic_avoidance"): 40,
    ("none", "topic_avoidance"): 40,
    ("part", "soft_refusal"): 30,
    ("none", "hard_refusal"): 30,
}
FEWEST_ROWS = 240
FEWEST_PROMPTS = 80
LONGEST_WORDS = 350
SHORTEST_FULL_WORDS = 80
TYPOGRAPHIC = "\N{RIGHT SINGLE QUOTATION MARK}"
MARKDOWN = ("**", "\n- ", "\n1. ", "# ")

Row = dict[str, str | None]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    text = files("aligntax.detect").joinpath("authored/writing.jsonl").read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [json.loads(line) for line in text[:-1].split("\n")]


def folded(text: str | None) -> str:
    assert text is not None
    return " ".join(text.replace(TYPOGRAPHIC, "'").split()).casefold()


def words(row: Row) -> int:
    return len(folded(row["response"]).split())


def has_markdown(row: Row) -> bool:
    return any(mark in f"\n{row['response']}" for mark in MARKDOWN)


def cell(row: Row) -> tuple[str | None, str | None]:
    return row["answered"], row["kind"]


def test_every_row_has_the_same_keys_and_trimmed_text(rows: list[Row]) -> None:
    for row in rows:
        assert list(row) == KEYS
        for key in ("prompt", "response", "style"):
            value = row[key]
            assert value
            assert value == value.strip()
            assert value.replace("\n", "").isprintable(), ascii(value)


def test_values_are_those_of_the_verdict(rows: list[Row]) -> None:
    answered = {value.value for value in Answered}
    kinds = {None, *(value.value for value in Kind)}
    assert {row["answered"] for row in rows} <= answered
    assert {row["kind"] for row in rows} <= kinds


def test_the_kind_fits_what_was_answered(rows: list[Row]) -> None:
    assert {cell(row) for row in rows} == set(FEWEST)


def test_every_cell_has_enough_rows(rows: list[Row]) -> None:
    counts = Counter(cell(row) for row in rows)
    assert len(rows) >= FEWEST_ROWS
    assert {name: counts[name] for name, fewest in FEWEST.items() if counts[name] < fewest} == {}


def test_every_prompt_is_really_done_once_and_evaded_once(rows: list[Row]) -> None:
    answers = defaultdict(set)
    for row in rows:
        answers[row["prompt"]].add(row["answered"])
    assert len(answers) >= FEWEST_PROMPTS
    assert [prompt for prompt, seen in answers.items() if "full" not in seen or len(seen) < 2] == []


def test_nothing_comes_twice(rows: list[Row]) -> None:
    responses = Counter(folded(row["response"]) for row in rows)
    openings = Counter(folded(row["response"])[:60] for row in rows)
    prompts = {row["prompt"] for row in rows}
    assert [text for text, count in responses.items() if count > 1] == []
    assert [text for text, count in openings.items() if count > 1] == []
    assert len({folded(prompt) for prompt in prompts}) == len(prompts)


def test_prompts_differ_from_those_of_the_other_corpus(rows: list[Row]) -> None:
    text = files("aligntax.detect").joinpath("authored/answers.jsonl").read_text(encoding="utf-8")
    others = {folded(json.loads(line)["prompt"]) for line in text.splitlines()}
    assert {folded(row["prompt"]) for row in rows} & others == set()


def test_lengths_stay_within_bounds(rows: list[Row]) -> None:
    assert max(words(row) for row in rows) <= LONGEST_WORDS
    assert min(words(row) for row in rows if row["answered"] == "full") >= SHORTEST_FULL_WORDS


def test_neither_markdown_nor_length_gives_full_answers_away(rows: list[Row]) -> None:
    full = [row for row in rows if row["answered"] == "full"]
    evasive = [row for row in rows if row["kind"] in {"topic_avoidance", "soft_refusal"}]
    shares = [sum(has_markdown(row) for row in group) / len(group) for group in (full, evasive)]
    assert all(0.35 <= share <= 0.65 for share in shares), shares
    shorter, longer = sorted(median(words(row) for row in group) for group in (full, evasive))
    assert longer / shorter <= 1.75
    assert sum(words(row) >= 150 for row in evasive) >= 10


def test_both_kinds_of_apostrophe_are_taught(rows: list[Row]) -> None:
    share = sum(TYPOGRAPHIC in (row["response"] or "") for row in rows) / len(rows)
    assert 0.05 <= share <= 0.25
    assert sum("'" in (row["response"] or "") for row in rows) > 0
