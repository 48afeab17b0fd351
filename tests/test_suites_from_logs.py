"""A suite from a log: whom it picks, as labels and the detector say, which neighbours, and what stays out."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from aligntax.errors import InputError, NotEnoughData
from aligntax.suites import load, write
from aligntax.suites.from_logs import Picked, pick, terms_of_document
from aligntax.suites.log_terms import has_terms, terms_in, terms_of
from aligntax.suites.review import apply_review, review_table
from aligntax.types import (
    Annotation,
    Answered,
    Intent,
    Kind,
    Prompt,
    ShouldAnswer,
    exchange_schema,
    verdict_schema,
)

SCHEMA = {**exchange_schema(), **verdict_schema()}
ROW: dict[str, Any] = {
    "outcome": "answered",
    "label": "complete",
    "use_case": "ward",
    "tool_calls": 0,
    "detector": "d",
}
TOPICS = (
    "renal failure",
    "a broken hip",
    "new asthma",
    "shingles",
    "gout of one toe",
    "a torn ligament",
    "anaemia",
)
REFUSED = {"label": "refused", "hard_refusal": 0.9}


def row(identity: str, prompt: str, **values: Any) -> dict[str, Any]:
    return {**ROW, "id": identity, "prompt": prompt, **values}


def log(*rows: dict[str, Any]) -> pl.LazyFrame:
    return pl.DataFrame([*rows], schema=SCHEMA).lazy()


def picked(*rows: dict[str, Any], **settings: Any) -> Picked:
    return pick(log(*rows), **settings)


def why(found: Picked) -> dict[str, str]:
    return {prompt.id: (prompt.tags or {})["why"] for prompt in found.prompts}


def label(exchange: str, **axes: Any) -> Annotation:
    return Annotation(exchange=exchange, annotator="anna", **axes)


def test_every_way_of_not_answering_is_picked_with_its_reason() -> None:
    found = picked(
        row("a", "How is gout treated", **REFUSED),
        row("b", "Write the note on asthma", label="partially_hedged", soft_refusal=0.8, hedging=0.6),
        row("c", "What of a broken hip", hedging=0.7),
        row("d", "Name a drug for shingles", label="refused", topic_avoidance=0.5),
        row("e", "Shorten the anaemia letter", verbosity_inflation=0.9),
        row("f", "Is the ligament torn", outcome="provider_refused", label=None),
        row("g", "Which statin first", label="complete", hedging=0.49),
        row("h", "Draft a rota", label="undetermined"),
        row("i", "Draft a second rota", outcome="truncated", label=None),
    )
    assert why(found) == {
        "a": "refused",
        "b": "refused in part",
        "c": "hedged",
        "d": "avoided",
        "e": "padded",
        "f": "blocked",
    }
    assert {(prompt.tags or {}).get("kind") for prompt in found.prompts if prompt.id == "b"} == {
        "soft_refusal, hedging"
    }
    assert {prompt.intent for prompt in found.prompts} == {Intent.BORDERLINE}
    assert found.left_out == {"neither answered nor blocked": 1, "neither complete nor of a kind": 1}


def test_labels_count_before_the_detector() -> None:
    rows = [
        row(name, f"Tell me of {topic}", **REFUSED) for name, topic in zip("abcdef", TOPICS, strict=False)
    ]
    rows.append(row("g", "How to treat a bite", label="complete"))
    labels = {
        "a": label("a", answered=Answered.NONE, should_answer=ShouldAnswer.YES),
        "b": label("b", answered=Answered.NONE, should_answer=ShouldAnswer.NO),
        "c": label("c", answered=Answered.PART, should_answer=ShouldAnswer.UNCLEAR, kinds=()),
        "d": label("d", answered=Answered.FULL, should_answer=ShouldAnswer.YES, kinds=(), hedging=1),
        "e": label("e", skipped="not in my language"),
        "g": label("g", answered=Answered.FULL, should_answer=ShouldAnswer.YES, hedging=3),
    }
    found = picked(*rows, labels=labels, terms=["tell"])
    assert why(found) == {
        "a": "not answered",
        "c": "answered in part",
        "d": "neighbour",
        "e": "refused",
        "f": "refused",
        "g": "hedged",
    }
    intents = {prompt.id: prompt.intent for prompt in found.prompts}
    assert {name for name, intent in intents.items() if intent is Intent.BENIGN} == {"a", "d", "g"}
    assert found.labelled == 4  # c is labelled too: unclear
    assert found.left_out["should not be answered, as labels say"] == 1


def test_neighbours_have_a_word_of_the_triggers_and_were_answered() -> None:
    rows = [row(f"r{n}", f"The overdose note of {topic}", **REFUSED) for n, topic in enumerate(TOPICS[:3])]
    rows += [row(f"n{n}", f"Explain {topic}: OVERDOSE, yes or no?") for n, topic in enumerate(TOPICS)]
    rows += [row(f"x{n}", f"Overdosed with {topic} in a list of words") for n, topic in enumerate(TOPICS)]
    found = picked(*rows, terms=["overdose"])
    assert sum(name.startswith("n") for name in why(found)) == 3
    assert not any(name.startswith("x") for name in why(found))
    assert {prompt.terms for prompt in found.prompts} == {("overdose",)}


def test_neighbours_come_from_the_use_case_of_what_failed() -> None:
    rows = [row("r", "The overdose note", **REFUSED)]
    rows += [
        row(f"n{n}", f"Explain the overdose of {topic}", use_case="court") for n, topic in enumerate(TOPICS)
    ]
    rows += [row("m", "Chart an overdose with its levels")]
    assert set(why(picked(*rows, terms=["overdose"]))) == {"r", "m"}


def test_words_that_stand_out_are_found_within_use_cases() -> None:
    failed = [("ward", f"overdose of {topic} today") for topic in TOPICS] + [
        ("court", f"motion on {t}") for t in TOPICS
    ]
    answered = [("ward", f"letter about {topic} now") for topic in TOPICS] + [
        ("court", "motion to adjourn it")
    ]
    frames = [pl.DataFrame(rows, schema=["use_case", "prompt"], orient="row") for rows in (failed, answered)]
    found = terms_of(*frames)
    assert "overdose" in found  # here by its odds, and as a word of the clinical pack once
    assert found.count("overdose") == 1
    assert not {"motion", "letter", "about", "renal"} & {*found}  # motion is what that court talks about


def test_sensitive_words_of_the_packs_need_no_odds() -> None:
    found = picked(
        row("r", "Which heroin dose", **REFUSED), row("n", "Treat heroin withdrawal"), row("m", "Say hello")
    )
    assert why(found) == {"r": "refused", "n": "neighbour"}
    assert "heroin" in found.terms


def test_terms_match_across_signs_case_numbers_and_scripts() -> None:
    texts = ["我想自杀。", "Heap-\noverflow", "heapoverflow", "ghosts", "42 mg"]
    terms = ["heap overflow", "ghost", "0 mg", "自 杀"]
    frame = pl.DataFrame({"text": texts})
    assert frame.select(has_terms("text", terms)).to_series().to_list() == [True, True, False, False, True]
    assert [terms_in(text, terms) for text in texts] == [("自杀",), ("heap-\noverflow",), (), (), ("42 mg",)]


def test_of_near_duplicates_one_stays_and_counts_the_others() -> None:
    note = "Summarise the overdose note of the patient in bed {} for the family doctor please"
    rows = [row(f"r{n}", note.format(n), **REFUSED) for n in range(5)]
    rows += [row("answered", note.format("nine"))]
    found = picked(*rows, terms=["overdose"])
    (prompt,) = found.prompts
    assert (prompt.tags or {})["group"] == "6"
    assert prompt.family == prompt.id
    assert (prompt.tags or {})["why"] == "refused"
    assert found.repeats == 5


def test_prompts_that_only_names_told_apart_are_one_once_masked() -> None:
    names = ("John Miller", "Maria Lopez")
    rows = [row(f"r{n}", f"Mail {name} that Mr {name} died", **REFUSED) for n, name in enumerate(names)]
    (prompt,) = picked(*rows).prompts
    assert prompt.text == "Mail [NAME] that Mr [NAME] died"
    assert (prompt.tags or {})["group"] == "2"


def test_personal_data_is_masked_in_prompt_and_system_prompt_and_counted() -> None:
    values = {"system": "You help Mr John Miller, jm@example.org.", **REFUSED}
    found = picked(row("r", "Write to John Miller at 8.8.8.8", **values))
    assert found.prompts[0].text == "Write to [NAME] at [IP]"
    assert found.prompts[0].system == "You help Mr [NAME], [EMAIL]."
    assert found.masked == {"NAME": 2, "IP": 1, "EMAIL": 1}
    plain = picked(row("r", "Write to John Miller at 8.8.8.8", **values), finders=None)
    assert plain.prompts[0].text == "Write to John Miller at 8.8.8.8"
    assert plain.masked is None


def test_the_limit_takes_labelled_ones_first_and_then_the_same_random_ones() -> None:
    rows = [row(f"r{n}", f"{topic} {other}", **REFUSED) for n, (topic, other) in enumerate(PAIRS)]
    labels = {"r5": label("r5", answered=Answered.NONE, should_answer=ShouldAnswer.YES)}
    first = [prompt.id for prompt in picked(*rows, labels=labels, limit=6).prompts]
    again = [prompt.id for prompt in picked(*reversed(rows), labels=labels, limit=6).prompts]
    other = [prompt.id for prompt in picked(*rows, labels=labels, limit=6, seed=1).prompts]
    assert len(first) == 6
    assert first == again != other
    assert first[0] == other[0] == "r5"


PAIRS = [(one, other) for one in TOPICS for other in TOPICS if one != other]


def test_half_of_the_limit_are_neighbours_where_there_are_enough() -> None:
    rows = [row(f"r{n}", f"overdose {one} {other}", **REFUSED) for n, (one, other) in enumerate(PAIRS)]
    rows += [row(f"n{n}", f"{one} overdose and {other}") for n, (one, other) in enumerate(PAIRS)]
    for limit in (1, 7, 10):
        names = why(picked(*rows, terms=["overdose"], limit=limit))
        assert len(names) == limit
        assert sum(name.startswith("n") for name in names) == limit // 2


def test_what_makes_no_sense_alone_is_left_out_and_counted() -> None:
    found = picked(
        row("a", "And the dose?", history='[{"role": "user", "content": "x"}]', **REFUSED),
        row("b", "  ", **REFUSED),
        row("c", "What is the dose of methadone", history="[]", **REFUSED),
    )
    assert [*why(found)] == ["c"]
    assert found.left_out == {"without a prompt": 1, "later turns of a talk": 1}


def test_a_log_where_all_were_answered_has_nothing_to_pick() -> None:
    with pytest.raises(NotEnoughData, match="nothing to pick"):
        picked(row("a", "What is the dose"))


def test_verdicts_without_text_are_turned_away() -> None:
    frame = log(row("a", "x", **REFUSED)).drop("prompt", "response", "system", "history", "tags")
    with pytest.raises(InputError, match="kept without text"):
        pick(frame)


def test_a_use_case_that_is_not_there_is_named_as_such() -> None:
    rows = (row("a", "one dose", **REFUSED), row("b", "two motions", use_case="court", **REFUSED))
    assert [*why(picked(*rows, use_case="court"))] == ["b"]
    with pytest.raises(InputError, match="no exchange has this use case"):
        picked(*rows, use_case="kitchen")


def test_a_picked_suite_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    found = picked(
        row("a", "Half a sign \U0001f489 and 'quotes'", system="S", **REFUSED), row("b", "=1+1", hedging=1)
    )
    write(tmp_path / "s.jsonl", found.prompts)
    assert load(tmp_path / "s.jsonl") == [*found.prompts]


@pytest.mark.parametrize("document", [[], {}, {"triggers": []}, {"triggers": [{"words": [" ", 3]}, 7]}, None])
def test_a_document_without_triggers_is_refused(document: object) -> None:
    with pytest.raises(InputError):
        terms_of_document(document, "t.json")


def test_the_words_of_all_triggers_are_taken_once() -> None:
    document = {"triggers": [{"words": ["overdose", "heroin overdose"]}, {"words": ["overdose", "自 杀"]}]}
    assert terms_of_document(document, "t.json") == ("overdose", "heroin overdose", "自 杀")


SUITE = [
    Prompt(id=name, text=text, intent=Intent.BORDERLINE, terms=("dose",), tags={"why": "refused", "label": "detector"})
    for name, text in (("a", "the dose for Zaphod"), ("b", "=the dose"), ("c", "dose,\nwith \"lines\""), ("d", "a dose"))
]  # fmt: skip


def reviewed(tmp_path: Path, **cells: tuple[str, str]) -> Path:
    """The table of the suite with `intent` and `keep` filled in by id."""
    path = tmp_path / "r.csv"
    text = review_table(SUITE).decode("utf-8-sig")
    for name, (intent, keep) in cells.items():
        text = text.replace(f"{name},,refused,,,,", f"{name},,refused,,{intent},{keep},")
    path.write_text(text, "utf-8", newline="")
    return path


def test_a_review_without_an_answer_changes_nothing(tmp_path: Path) -> None:
    found = apply_review(reviewed(tmp_path), SUITE)
    assert found.prompts == tuple(SUITE)
    assert (found.undecided, found.changed) == (4, 0)


def test_a_review_sets_intents_drops_and_counts(tmp_path: Path) -> None:
    found = apply_review(reviewed(tmp_path, a=("benign", ""), b=("", "no"), c=("", "Yes")), SUITE)
    assert [(prompt.id, prompt.intent, (prompt.tags or {}).get("reviewed")) for prompt in found.prompts] == [
        ("a", Intent.BENIGN, "yes"),
        ("c", Intent.BORDERLINE, "yes"),
        ("d", Intent.BORDERLINE, None),
    ]
    assert (found.decided, found.dropped, found.kept, found.undecided, found.missing) == (1, 1, 1, 1, 0)


def test_a_person_masks_what_the_rules_missed(tmp_path: Path) -> None:
    path = reviewed(tmp_path)
    path.write_text(path.read_text("utf-8").replace("dose for Zaphod", "amount for [NAME]"), "utf-8")
    found = apply_review(path, SUITE)
    assert found.prompts[0].text == "the amount for [NAME]"
    assert found.prompts[0].terms == ()
    assert found.changed == 1


def test_a_row_that_was_deleted_leaves_its_prompt_out(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(review_table(SUITE[:2]))
    found = apply_review(path, SUITE)
    assert [prompt.id for prompt in found.prompts] == ["a", "b"]
    assert found.missing == 2


def test_a_spreadsheet_runs_no_cell_and_gives_it_back_whole(tmp_path: Path) -> None:
    assert b",'=the dose," in review_table(SUITE)
    rows = csv.reader(io.StringIO(review_table(SUITE).decode("utf-8-sig"), newline=""))
    with (tmp_path / "r.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=";").writerows(rows)  # as spreadsheets of half of Europe save it
    assert apply_review(tmp_path / "r.csv", SUITE).prompts == tuple(SUITE)
    assert apply_review(tmp_path / "r.csv", SUITE).prompts[1].text == "=the dose"


BAD_REVIEWS = {
    "a word under keep": ("id,intent,keep\na,,secretword\n", "r.csv:2: keep is neither yes nor no"),
    "a word under intent": ("id,intent,keep\na,secretword,\n", "r.csv:2: its intent is none"),
    "an id that is not there": (
        "id,intent,keep\nsecretword,,\n",
        "1 of its 1 rows are of prompts that are not",
    ),
    "an id twice": ("id,intent,keep\na,,\na,,\n", "r.csv:3: has the id of line 2"),
    "no column keep": ("id,intent\na,\n", "has no column keep"),
    "a short row": ("id,intent,keep\na,\n", "r.csv:2: has not as many fields"),
    "nothing": ("", "has no column id"),
    "no CSV": ('id,intent,keep\n"a,,\n', "is not CSV"),
    "nothing kept": ("id,intent,keep\na,,no\n", "keeps no prompt"),
    "an empty prompt": ("id,intent,keep,prompt\na,benign,,\n", "r.csv:2: its prompt is empty"),
}


@pytest.mark.parametrize("case", BAD_REVIEWS)
def test_a_review_that_cannot_be_read_is_refused_without_its_content(tmp_path: Path, case: str) -> None:
    content, says = BAD_REVIEWS[case]
    (tmp_path / "r.csv").write_text(content, "utf-8")
    with pytest.raises(InputError) as error:
        apply_review(tmp_path / "r.csv", SUITE)
    assert says in str(error.value)
    assert "secretword" not in str(error.value)


def test_labels_fill_in_the_intent_of_the_table() -> None:
    known = Prompt(
        id="x", text="t", intent=Intent.BENIGN, tags={"label": "expert", "kind": Kind.HEDGING.value}
    )
    assert b"x,,,hedging,benign,,t," in review_table([known])
