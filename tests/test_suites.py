"""Suites of prompts: our own format is read back as written, and what is wrong is named with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aligntax.errors import InputError
from aligntax.suites import load, read, write
from aligntax.types import Fact, Intent, Prompt

words = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)
numbers = st.floats(allow_nan=False, allow_infinity=False)
facts = st.builds(
    Fact,
    name=st.text(st.characters(codec="utf-8")),
    aliases=st.lists(words, max_size=3).map(tuple),
    value=st.none() | numbers,
    tolerance=numbers,
    unit=st.none() | words,
)


@st.composite
def prompts(draw: st.DrawFn) -> Prompt:
    family = draw(st.none() | words)
    return Prompt(
        id=draw(words),
        text=draw(words),
        family=family,
        side=draw(st.sampled_from([None, "sensitive", "neutral"])) if family else None,
        domain=draw(st.none() | words),
        intent=draw(st.sampled_from(Intent)),
        terms=draw(st.lists(words, max_size=3).map(tuple)),
        facts=draw(st.lists(facts, max_size=3).map(tuple)),
        system=draw(st.none() | words),
        source=draw(st.none() | words),
        licence=draw(st.none() | words),
        tags=draw(st.none() | st.dictionaries(words, words, max_size=3)),
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(prompts(), min_size=1, max_size=4, unique_by=lambda prompt: prompt.id))
def test_a_suite_is_read_back_as_it_was_written(tmp_path: Path, written: list[Prompt]) -> None:
    write(tmp_path / "suite.jsonl", written)
    assert load(tmp_path / "suite.jsonl") == written


def suite(folder: Path, *rows: object) -> Path:
    path = folder / "suite.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), "utf-8")
    return path


def test_a_prompt_needs_no_more_than_an_id_and_a_text(tmp_path: Path) -> None:
    assert load(suite(tmp_path, {"id": "a", "text": "Ask"})) == [Prompt(id="a", text="Ask")]


def test_suites_can_be_joined_one_after_the_other(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / f"{name}.jsonl", [Prompt(id=name, text="Ask")])
    joined = "".join((tmp_path / f"{name}.jsonl").read_text("utf-8") for name in "ab")
    assert [prompt.id for prompt in load(suite(tmp_path, joined))] == ["a", "b"]


GOOD = {"id": "a", "text": "Ask"}
BAD = {
    "not an object": ("[]", "is not an object"),
    "not JSON": ('{"id": "b", "text": ', "is not JSON"),
    "no text": ({"id": "b"}, "text is missing"),
    "blank text": ({"id": "b", "text": "  "}, "text is blank"),
    "blank id": ({"id": " ", "text": "Ask"}, "id is blank"),
    "a field of another kind": ({"id": "b", "text": 3}, "text is of another kind"),
    "a field that is none": ({"id": "b", "text": "Ask", "term": []}, "term is not a field"),
    "a fact's field that is none": (
        {"id": "b", "text": "Ask", "facts": [{"name": "x", "alias": "y"}]},
        "alias is not a field in fact 1",
    ),
    "an intent that is none": ({"id": "b", "text": "Ask", "intent": "nice"}, "intent is none that we know"),
    "a side that is none": ({"id": "b", "text": "Ask", "family": "f", "side": "left"}, "side is none"),
    "a side without a family": ({"id": "b", "text": "Ask", "side": "neutral"}, "a side and no family"),
    "an id that was there": ({"id": "a", "text": "Other"}, "has the id of line 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_line_is_named_with_what_to_do(tmp_path: Path, case: str) -> None:
    row, says = BAD[case]
    path = suite(tmp_path, GOOD, row)
    with pytest.raises(InputError) as error:
        load(path)
    assert error.value.where == f"{path}:2"
    assert says in error.value.what
    assert error.value.remedy


@pytest.mark.parametrize("case", BAD)
def test_bad_lines_are_listed_beside_the_good_ones(tmp_path: Path, case: str) -> None:
    reading = read(suite(tmp_path, GOOD, BAD[case][0], {"id": "z", "text": "Ask"}))
    assert [prompt.id for prompt in reading.prompts] == ["a", "z"]
    assert reading.lines == (1, 3)
    assert [problem.line for problem in reading.problems] == [2]


def test_errors_hold_no_text_of_the_suite(tmp_path: Path) -> None:
    secret = "patient Jane Roe"
    rows = (
        {"id": secret, "text": "x", "intent": secret},
        {"id": secret, "text": [secret]},
        {"id": "b", secret: secret, "text": "x"},
        {"id": "c", "text": "x", "facts": [{"name": secret, "value": secret}]},
        {"id": secret, "text": "x", "side": secret},
    )
    reading = read(suite(tmp_path, *rows))
    assert len(reading.problems) == len(rows)
    assert not [problem for problem in reading.problems if "Jane" in problem.reason]


def test_a_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="upgrade"):
        load(suite(tmp_path, {"aligntax_suite": 2}, GOOD))


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        (Prompt(id="b", text=" "), "text is blank"),
        (Prompt(id="a", text="Again"), "occurs twice"),
        (Prompt(id="b", text="\ud800"), "half of a character"),
        (Prompt(id="b", text="x", facts=(Fact(name="n", value=float("nan")),)), "not finite"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path: Path, prompt: Prompt, says: str) -> None:
    path = tmp_path / "suite.jsonl"
    with pytest.raises(InputError, match=says):
        write(path, [Prompt(id="a", text="Ask"), prompt])
    assert [*tmp_path.iterdir()] == []


def test_a_place_that_takes_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write(tmp_path / "none" / "suite.jsonl", [Prompt(id="a", text="Ask")])


def test_a_suite_that_is_not_there_is_said_with_the_packs_that_are() -> None:
    with pytest.raises(InputError, match=r"no such suite.*name a file, or a pack"):
        load("no-such-suite.jsonl")


def test_an_empty_suite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no prompts"):
        load(suite(tmp_path, ""))
