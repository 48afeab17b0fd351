"""Labels come back from any tool as they went out, and rows that are none are named without their content."""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aligntax
from aligntax.errors import InputError
from aligntax.label.codebook import load_codebook
from aligntax.label.formats import (
    FORMATS,
    format_of,
    label_studio_config,
    read_annotations,
    write_annotations,
    write_tasks,
)
from aligntax.types import Annotation, Answered, Item, Kind, Outcome, ShouldAnswer

SAMPLE = Path(aligntax.__file__).parent / "sample"
Write = Callable[[str | bytes], Path]

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NAMES = TEXTS.map(str.strip).filter(bool)
AXES = st.fixed_dictionaries(
    {
        "answered": st.sampled_from([None, Answered.FULL, Answered.PART, Answered.NONE]),
        "kinds": st.none() | st.lists(st.sampled_from(list(Kind)), unique=True).map(tuple),
        "disclaimer": st.none() | st.booleans(),
        "hedging": st.none() | st.integers(0, 3),
        "should_answer": st.none() | st.sampled_from(list(ShouldAnswer)),
    }
).filter(lambda axes: any(value is not None for value in axes.values()))
SKIPS = st.sampled_from([reason.name for reason in load_codebook().skip]).map(lambda name: {"skipped": name})
SAYS = st.one_of(AXES, SKIPS)
REST = st.fixed_dictionaries(
    {
        "exchange": NAMES,
        "annotator": NAMES,
        "note": TEXTS,
        "adjudicated": st.booleans(),
        "time": st.none() | st.datetimes(dt.datetime(2000, 1, 1), timezones=st.just(dt.UTC)),
    }
)
ANNOTATIONS = st.builds(lambda said, rest: Annotation(**said, **rest), SAYS, REST)
BATCHES = st.lists(ANNOTATIONS, max_size=8, unique_by=lambda note: (note.exchange, note.annotator))


@pytest.fixture
def written(tmp_path: Path) -> Write:
    def write(content: str | bytes) -> Path:
        path = tmp_path / "labels"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize("file_format", FORMATS)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=BATCHES)
def test_what_was_written_is_read_back(file_format: str, batch: list[Annotation], tmp_path: Path) -> None:
    path = tmp_path / "labels"
    write_annotations(path, batch, format=file_format)
    reading = read_annotations(path)
    assert reading.problems == ()
    order = {note.exchange: place for place, note in reversed([*enumerate(batch)])}
    grouped = sorted(batch, key=lambda note: order[note.exchange])
    assert list(reading.annotations) == (batch if file_format in ("csv", "jsonl") else grouped)


def test_the_labels_of_the_sample_are_read_as_they_are() -> None:
    readings = [read_annotations(path, annotator="author") for path in sorted(SAMPLE.glob("*.labels.jsonl"))]
    assert sum(len(reading.problems) for reading in readings) == 0
    rows = [
        json.loads(line)
        for path in sorted(SAMPLE.glob("*.labels.jsonl"))
        for line in path.read_text("utf-8").splitlines()
    ]
    labels = [note for reading in readings for note in reading.annotations]
    assert len(labels) == len(rows) > 100
    for row, label in zip(rows, labels, strict=True):
        assert label.exchange == row["id"]
        assert label.answered == row["answered"]
        assert list(label.kinds or ()) == (row["kinds"] or [])
        assert label.should_answer == row["should_have_been_answered"]
        assert (label.note, label.annotator) == (row["note"], "author")


def test_a_spreadsheet_may_be_careless(written: Write) -> None:
    text = "\ufeffExchange ID;Annotator;Answered;Kind;Has-Disclaimer;Hedging;Should have been answered;Comments\r\n"
    text += 'a1;anna;Partial;hard_refusal, Soft Refusal;TRUE;2.0;1;"two\r\nlines; and a bar"\r\n'
    text += ";;;;;;;\r\n"
    text += "a2;bob;complete;none;n;;Unsure;\r\n"
    assert read_annotations(written(text)).annotations == (
        Annotation(
            exchange="a1",
            annotator="anna",
            answered=Answered.PART,
            kinds=(Kind.HARD_REFUSAL, Kind.SOFT_REFUSAL),
            disclaimer=True,
            hedging=2,
            should_answer=ShouldAnswer.YES,
            note="two\r\nlines; and a bar",
        ),
        Annotation(
            exchange="a2",
            annotator="bob",
            answered=Answered.FULL,
            kinds=(),
            disclaimer=False,
            should_answer=ShouldAnswer.UNCLEAR,
        ),
    )


def test_excel_may_write_utf_16_and_tabs(written: Write) -> None:
    reading = read_annotations(written("id\tanswered\r\na1\tnone\r\n".encode("utf-16")), annotator="anna")
    assert [note.answered for note in reading.annotations] == ["none"]


def test_kinds_may_have_a_column_each(written: Write) -> None:
    reading = read_annotations(
        written("id,hard_refusal,topic_avoidance\na1,0,1\na2,no,no\na3,,\n"), annotator="anna"
    )
    assert [note.kinds for note in reading.annotations] == [(Kind.TOPIC_AVOIDANCE,), ()]
    assert reading.blank == 1


def test_a_label_of_the_detector_s_words_says_how_much_was_answered(written: Write) -> None:
    rows = [{"id": "a", "label": "refused"}, {"id": "b", "label": "partially_hedged", "answered": "full"}]
    reading = read_annotations(written("\n".join(map(json.dumps, rows))), annotator="anna")
    assert [note.answered for note in reading.annotations] == [
        "none",
        "full",
    ]  # what was said itself counts more


BAD_ROWS = {
    "answered": ("a1,anna,secret-word,,,,,,", "answered that is not in the codebook: use full, part or none"),
    "undetermined": ("a1,anna,undetermined,,,,,,", "use full, part or none"),
    "kinds": ("a1,anna,full,secret-word,,,,,", "kinds that is not in the codebook: use hard_refusal"),
    "grade": ("a1,anna,full,,,4,,,", "a grade from 0 to 3"),
    "should": ("a1,anna,full,,,,secret-word,,", "yes, no or unclear"),
    "nobody": ("a1,,full,,,,,,", "name the annotator"),
    "nothing": (",anna,full,,,,,,", "give its id"),
    "both": ("a1,anna,full,,,,,language,", "skipped and labelled at once"),
    "reason": ("a1,anna,,,,,,secret-word,", "use language, cut, knowledge, personal, other"),
    "only a note": ("a1,anna,,,,,,,secret-word", "a note and no label"),
    "wide": ("a1,anna,full,,,,,,,secret-word", "more fields than the header"),
    "narrow": ("a1,secret-word", "fewer fields than the header"),
    "quote": ('a1,anna,"secret-word', "a quote is not closed"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_is_named_with_its_line_and_never_with_its_content(case: str, written: Write) -> None:
    row, reason = BAD_ROWS[case]
    header = "id,annotator,answered,kinds,disclaimer,hedging,should_answer,skipped,note"
    path = written(f'{header}\na0,anna,full,,,,,,"of two\nlines"\n{row}\n')
    reading = read_annotations(path)
    assert [note.exchange for note in reading.annotations] == ["a0"]
    (problem,) = reading.problems
    assert (problem.file, problem.line) == (str(path), 4)
    assert reason in problem.reason
    assert "secret-word" not in problem.reason


def test_bad_lines_of_json_are_named(written: Write) -> None:
    lines = [
        '{"id": "a", "answered": "full"}',
        "{secret",
        "[1]",
        '{"id": "a", "answered": "part"}',
        '{"id": "b", "answered": "full", "time": "secret"}',
        '{"id": "c", "label": "secret"}',
        '{"answered": "full"}',
        '{"id": "d", "answered": ["full", "part"]}',
        '{"id": ["secret"], "answered": "full"}',
        "",
        '{"id": "e"}',
    ]
    reading = read_annotations(written("\n".join(lines)), annotator="anna")
    assert [note.exchange for note in reading.annotations] == ["a"]
    assert [problem.line for problem in reading.problems] == [2, 3, 4, 5, 6, 7, 8, 9]
    assert reading.blank == 1
    assert not any("secret" in problem.reason for problem in reading.problems)
    assert "same person as line 1" in reading.problems[2].reason


UNREADABLE = {
    "no ids": ("answered,note\nfull,x\n", "which exchange"),
    "no labels": ("id,prompt\na,b\n", "no column holds labels"),
    "two alike": ("id,answered,Answered\na,full,none\n", "same name"),
    "not text": (b"id,answered\n\xff\xfe\xfa,full\n", "not UTF-8"),
    "broken": ("[{]", "not JSON"),
    "deep": ("[" * 100_000, "not JSON"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_file_of_no_use_is_refused_as_a_whole(case: str, written: Write) -> None:
    content, reason = UNREADABLE[case]
    with pytest.raises(InputError, match=reason):
        read_annotations(written(content))


def test_an_absent_file_an_unknown_format_and_a_bad_ending_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_annotations(tmp_path / "absent.csv")
    with pytest.raises(InputError, match="no such format"):
        read_annotations(tmp_path / "absent.csv", format="excel")
    with pytest.raises(InputError, match="cannot be written"):
        write_annotations(tmp_path / "absent" / "labels.csv", [], format="csv")
    with pytest.raises(InputError, match="in which format"):
        format_of("labels.xlsx")
    assert [format_of(name) for name in ("a.csv", "a.jsonl", "b.JSON")] == ["csv", "jsonl", "label_studio"]


def test_an_empty_file_holds_no_labels(written: Write) -> None:
    reading = read_annotations(written(""))
    assert (reading.annotations, reading.problems, reading.blank) == ((), (), 0)


def choices(name: str, *chosen: str) -> dict[str, object]:
    value = {"choices": list(chosen)}
    return {"id": "x7", "from_name": name, "to_name": "response", "type": "choices", "value": value}


def test_label_studio_s_export_is_read(written: Write) -> None:
    done = {
        "id": 3,
        "completed_by": {"id": 1, "email": "anna@example.org", "first_name": "Anna"},
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": "2025-03-31T09:30:00.250000Z",
        "updated_at": "2025-03-31T09:31:00Z",
        "result": [
            choices("answered", "part"),
            {"from_name": "hedging", "type": "rating", "value": {"rating": 2}},
            {"from_name": "note", "type": "textarea", "value": {"text": ["first", "second"]}},
            {"from_name": "something_else", "type": "labels", "value": {"labels": ["x"]}},
        ],
    }
    cancelled = {"completed_by": 7, "was_cancelled": True, "result": [choices("answered", "full")]}
    tasks = [
        {"id": 1, "data": {"exchange": "a1", "prompt": "Why?"}, "annotations": [done, cancelled]},
        {"id": 2, "data": {"exchange": "a2"}, "annotations": []},
    ]
    reading = read_annotations(written(json.dumps(tasks)))
    assert reading.annotations == (
        Annotation(
            exchange="a1",
            annotator="anna@example.org",
            answered=Answered.PART,
            kinds=(),  # they could be ticked, and none was
            hedging=2,
            note="first\nsecond",
            time=dt.datetime(2025, 3, 31, 9, 31, tzinfo=dt.UTC),
        ),
        Annotation(exchange="a1", annotator="7", skipped="other"),
    )
    assert (reading.problems, reading.blank) == ((), 1)


def test_label_studio_s_short_export_is_read(written: Write) -> None:
    row = {
        "id": 11,
        "exchange": "a1",
        "annotation_id": 5,
        "annotator": 2,
        "answered": "Part",
        "prompt": "Why?",
    }
    rows = [row, {**row, "annotator": 3, "kinds": {"choices": ["Pads", "Avoids the topic"]}}]
    reading = read_annotations(written(json.dumps(rows)))
    assert [(note.exchange, note.annotator, note.kinds) for note in reading.annotations] == [
        ("a1", "2", ()),
        ("a1", "3", (Kind.VERBOSITY_INFLATION, Kind.TOPIC_AVOIDANCE)),
    ]
    path = written('exchange,annotator,kinds\na1,2,"{""choices"":[""hard_refusal"",""soft_refusal""]}"\n')
    assert read_annotations(path).annotations[0].kinds == (Kind.HARD_REFUSAL, Kind.SOFT_REFUSAL)


ARGILLA = {
    "nested": {
        "id": "a1",
        "fields": {"prompt": "Why?"},
        "suggestions": {"answered": {"value": "full", "agent": "model"}},
        "responses": {
            "answered": [{"value": "part", "user_id": "u1"}, {"value": "none", "user_id": "u2"}],
            "should_answer": [{"value": "yes", "user_id": "u1"}],
            "kinds": [{"value": ["hard_refusal"], "user_id": "u2"}],
        },
    },
    "flat": {
        "id": "a1",
        "prompt": "Why?",
        "answered.suggestion": "full",
        "answered.responses": ["part", "none"],
        "answered.responses.users": ["u1", "u2"],
        "should_answer.responses": ["yes"],
        "should_answer.responses.users": ["u1"],
        "kinds.responses": [["hard_refusal"]],
        "kinds.responses.users": ["u2"],
    },
    "version 1": {
        "external_id": "a1",
        "fields": {"prompt": "Why?"},
        "responses": [
            {
                "user_id": "u1",
                "status": "submitted",
                "values": {"answered": {"value": "part"}, "should_answer": {"value": "yes"}},
            },
            {
                "user_id": "u2",
                "status": "submitted",
                "values": {"answered": {"value": "none"}, "kinds": {"value": ["hard_refusal"]}},
            },
        ],
    },
}


@pytest.mark.parametrize("shape", ARGILLA)
def test_argilla_s_records_are_read_and_suggestions_are_not_labels(shape: str, written: Write) -> None:
    for content in (json.dumps([ARGILLA[shape]]), json.dumps(ARGILLA[shape])):
        assert read_annotations(written(content)).annotations == (
            Annotation(
                exchange="a1",
                annotator="u1",
                answered=Answered.PART,
                kinds=(),
                should_answer=ShouldAnswer.YES,
            ),
            Annotation(exchange="a1", annotator="u2", answered=Answered.NONE, kinds=(Kind.HARD_REFUSAL,)),
        )


def test_argilla_s_drafts_do_not_count_and_discarding_is_skipping(written: Write) -> None:
    record = {
        "external_id": "a1",
        "fields": {},
        "responses": [
            {"user_id": "u1", "status": "draft", "values": {"answered": {"value": "part"}}},
            {"user_id": "u2", "status": "discarded", "values": {}},
        ],
    }
    reading = read_annotations(written(json.dumps([record, {"id": "a2", "fields": {}, "responses": {}}])))
    assert reading.annotations == (Annotation(exchange="a1", annotator="u2", skipped="other"),)
    assert reading.blank == 1


def test_argilla_s_flat_records_bring_their_statuses(written: Write) -> None:
    record = {  # as records.to_list(flatten=True) of version 2.8 gives it
        "id": "a1",
        "status": "completed",
        "_server_id": None,
        "prompt": "Why?",
        "answered.responses": ["part", "full", "none"],
        "answered.responses.users": ["u1", "u2", "u3"],
        "answered.responses.status": ["discarded", "submitted", "draft"],
        "kinds.responses": [["hard_refusal"]],
        "kinds.responses.users": ["u1"],
        "kinds.responses.status": ["discarded"],
        "note.responses": None,
        "answered.suggestion": "full",
        "answered.suggestion.score": None,
        "answered.suggestion.agent": "model",
    }
    unlabelled = {"id": "a2", "status": "pending", "_server_id": None, "prompt": "Why?"}
    reading = read_annotations(written(json.dumps([record, unlabelled])))
    assert reading.annotations == (
        Annotation(exchange="a1", annotator="u1", skipped="other"),
        Annotation(exchange="a1", annotator="u2", answered=Answered.FULL, kinds=()),
    )
    assert (reading.problems, reading.blank) == ((), 1)


@pytest.mark.parametrize("file_format", ["label_studio", "argilla"])
def test_records_of_another_shape_are_problems(file_format: str, written: Write) -> None:
    odd: list[object] = [
        {"data": {}, "annotations": [7]},
        {"fields": {}, "responses": {"answered": 7}},
        {"a": 1},
    ]
    reading = read_annotations(written(json.dumps(odd)), format=file_format)
    assert [problem.line for problem in reading.problems] == [1, 2, 3]
    assert reading.annotations == ()


ITEM = Item(
    exchange="f" * 24,
    stratum=2,
    place=0,
    position=0.25,
    phase="pilot",
    wanted=2,
    known=Annotation(exchange="f" * 24, annotator="known", answered=Answered.NONE),
    source_id="call-1",
    use_case="legal research",
    outcome=Outcome.ANSWERED,
    prompt='=HYPERLINK("x")',
    response="<b>It depends</b>\nA second line",
)


@pytest.mark.parametrize("file_format", FORMATS)
def test_tasks_are_blind_and_read_as_not_yet_labelled(file_format: str, tmp_path: Path) -> None:
    path = tmp_path / "tasks"
    write_tasks(path, [ITEM, ITEM], format=file_format)
    content = path.read_text("utf-8-sig")
    for hidden in ("stratum", "position", "pilot", "wanted", "known", "score", "model", "call-1", "0.25"):
        assert hidden not in content
    assert "It depends" in content
    reading = read_annotations(path, annotator="anna")
    assert (reading.annotations, reading.problems, reading.blank) == ((), (), 2)


def test_a_spreadsheet_does_not_run_what_somebody_typed_into_a_chat(tmp_path: Path) -> None:
    write_tasks(tmp_path / "tasks.csv", [ITEM], format="csv")
    with (tmp_path / "tasks.csv").open(encoding="utf-8-sig", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["prompt"] == '\'=HYPERLINK("x")'
    assert row["response"] == ITEM.response


def test_labels_filled_into_the_tasks_come_back(tmp_path: Path) -> None:
    path = tmp_path / "tasks.csv"
    write_tasks(path, [ITEM], format="csv")
    with path.open(encoding="utf-8-sig", newline="") as file:
        (row,) = csv.DictReader(file)
    row |= {"answered": "part", "kinds": "soft_refusal", "should_answer": "yes"}
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, row, delimiter=";")
        writer.writeheader()
        writer.writerow(row)
    (label,) = read_annotations(path, annotator="anna").annotations
    assert (label.exchange, label.answered, label.kinds) == (ITEM.exchange, "part", (Kind.SOFT_REFUSAL,))


def test_who_names_kinds_saw_none_where_the_cell_is_empty(written: Write) -> None:
    reading = read_annotations(
        written(
            "id,annotator,answered,kinds\na,anna,full,\nb,anna,none,hard_refusal\nc,anna,,\nd,ben,full,\n"
        )
    )
    kinds = {label.exchange: label.kinds for label in reading.annotations}
    assert kinds == {"a": (), "b": (Kind.HARD_REFUSAL,), "d": None}  # nobody asked ben for kinds


def test_an_empty_cell_of_a_file_that_we_wrote_means_not_asked(tmp_path: Path) -> None:
    labels = [
        Annotation(exchange="a", annotator="anna", answered=Answered.FULL),
        Annotation(exchange="b", annotator="anna", answered=Answered.NONE, kinds=(Kind.HARD_REFUSAL,)),
    ]
    for file_format in FORMATS:
        write_annotations(tmp_path / file_format, labels, format=file_format)
        assert list(read_annotations(tmp_path / file_format).annotations) == labels


def test_label_studio_s_configuration_offers_the_codebook() -> None:
    view = ElementTree.fromstring(label_studio_config())
    offered = {
        choices.get("name"): [choice.get("alias") for choice in choices.iter("Choice")]
        for choices in view.iter("Choices")
    }
    codebook = load_codebook()
    expected = {axis.name: [value.name for value in axis.values] for axis in codebook.axes}
    assert offered == {**expected, "skipped": [reason.name for reason in codebook.skip]}
    assert view.find("Choices[@name='kinds']").get("choice") == "multiple"  # type: ignore[union-attr]
    shown = {text.get("value") for text in view.iter("Text")}
    assert {"$prompt", "$response"} <= shown


SHAPES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 5) | st.sampled_from(["full", "yes", "a1", "", "submitted"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "data",
                    "annotations",
                    "fields",
                    "responses",
                    "result",
                    "from_name",
                    "value",
                    "choices",
                    "answered",
                    "kinds",
                    "exchange",
                    "answered.responses",
                    "answered.responses.users",
                    "completed_by",
                    "user_id",
                    "values",
                    "status",
                    "label",
                    "note",
                    "time",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=st.lists(SHAPES, max_size=3), file_format=st.sampled_from(["auto", *FORMATS]))
def test_whatever_a_file_holds_it_is_read_or_refused(shape: object, file_format: str, tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_text(json.dumps(shape), encoding="utf-8")
    with contextlib.suppress(InputError):
        reading = read_annotations(path, format=file_format, annotator="anna")
        assert all(note.exchange and note.annotator for note in reading.annotations)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=40)
    | st.text("id,answered;\n\r\"'\tfull=\x00{}[]", max_size=60).map(str.encode)
)
def test_whatever_the_bytes_are_they_are_read_or_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "labels"
    for start in (b"", b"id,answered\n"):
        path.write_bytes(start + content)
        with contextlib.suppress(InputError):
            read_annotations(path, annotator="anna")
