"""Plain JSONL, CSV and Parquet: columns found by name or by mapping, the same answer from each."""

import datetime as dt
import json

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aligntax.errors import InputError
from aligntax.logs import read
from aligntax.types import Outcome, exchange_schema

FORMATS = ("jsonl", "csv", "parquet")


def save(frame: pl.DataFrame, folder, kind):
    path = folder / f"log.{kind}"
    if kind == "parquet":
        frame.write_parquet(path)
    else:
        times = [name for name, dtype in frame.schema.items() if dtype.is_temporal()]
        frame = frame.with_columns(pl.col(name).dt.to_string("iso:strict") for name in times)
        frame.write_csv(path, quote_style="non_numeric") if kind == "csv" else frame.write_ndjson(path)
    return path


USUAL = pl.DataFrame(
    {
        "id": ["a", "b", "c", "d", "e"],
        "created_at": [
            "2026-03-01T10:00:00Z",
            "2026-03-01T12:00:00+02:00",
            "2026-03-01 10:00:00",
            None,
            "soon",
        ],
        "model": ["m1", "m1", "m2", "m2", None],
        "feature": ["triage", "triage", "letters", None, ""],
        "system_prompt": ["Be brief.", None, "", None, None],
        "question": ["What is sepsis?", "And its signs?", "Dose?", "Draft it.", "Anything?"],
        "answer": ["An overwhelming response to infection.", "", "[CONTENT_FILTERED]", "Dear", None],
        "finish_reason": ["stop", "content_filter", "stop", "length", "stop"],
        "latency_ms": [12.5, 3, None, 40, 1],
        "input_tokens": [5, 6, 7, None, 9],
        "output_tokens": [8, 0, 4, 1, 0],
    }
)


@pytest.mark.parametrize("kind", FORMATS)
def test_usual_column_names_are_found(tmp_path, kind):
    log = read(save(USUAL, tmp_path, kind))
    frame = log.frame()
    assert list(log.formats.values()) == [kind]
    assert frame.schema == pl.Schema(exchange_schema())
    assert frame["source_id"].to_list() == ["a", "b", "c", "d", "e"]
    ten = dt.datetime(2026, 3, 1, 10, tzinfo=dt.UTC)
    assert frame["time"].to_list() == [ten, ten, ten, None, None]
    assert frame["model_requested"].to_list() == ["m1", "m1", "m2", "m2", None]
    assert frame["use_case"].to_list() == ["triage", "triage", "letters", None, None]
    assert frame["system"].to_list() == ["Be brief.", None, None, None, None]
    assert frame["prompt"].to_list() == USUAL["question"].to_list()
    assert frame["response"].to_list() == [*USUAL["answer"].to_list()[:4], ""]
    assert frame["outcome"].to_list() == [
        "answered",
        "output_blocked",
        "output_blocked",
        "truncated",
        "empty",
    ]
    assert frame["outcome_raw"].to_list() == USUAL["finish_reason"].to_list()
    assert frame["latency_ms"].to_list() == [12.5, 3.0, None, 40.0, 1.0]
    assert frame["prompt_tokens"].to_list() == [5, 6, 7, None, 9]
    assert frame["completion_tokens"].to_list() == [8, 0, 4, 1, 0]
    assert frame["file"].n_unique() == 1
    if kind != "csv":  # the line of a CSV row counts its header and the line breaks in its fields
        assert frame["line"].to_list() == [1, 2, 3, 4, 5]


def test_the_three_formats_give_the_same_ids(tmp_path):
    ids = [read(save(USUAL, tmp_path, kind)).frame()["id"].to_list() for kind in FORMATS]
    assert ids[0] == ids[1] == ids[2]
    assert all(len(id) == 24 and set(id) <= set("0123456789abcdef") for id in ids[0])


NAMED_OTHERWISE = pl.DataFrame(
    {"frage": ["Wie viel?"], "antwort": ["Zwei."], "abteilung": ["Labor"], "nr": [17]}
)
MAPPING = {"prompt": "frage", "response": "antwort", "use_case": "abteilung", "id": "nr"}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_mapping_names_the_columns(tmp_path, kind):
    (row,) = read(save(NAMED_OTHERWISE, tmp_path, kind), columns=MAPPING).frame().to_dicts()
    assert (row["prompt"], row["response"], row["use_case"], row["source_id"]) == (
        "Wie viel?",
        "Zwei.",
        "Labor",
        "17",
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_missing_columns_are_listed_with_the_remedy(tmp_path, kind):
    path = save(NAMED_OTHERWISE, tmp_path, kind)
    with pytest.raises(InputError) as caught:
        read(path).frame()
    message = str(caught.value)
    assert "no column for prompt and response" in message
    assert "found: frage, antwort, abteilung, nr" in message
    assert "--map prompt=COLUMN --map response=COLUMN" in message


@pytest.mark.parametrize("kind", FORMATS)
def test_a_mapping_to_a_column_that_is_not_there_is_an_error(tmp_path, kind):
    path = save(NAMED_OTHERWISE, tmp_path, kind)
    with pytest.raises(InputError, match="no field frege, which the column mapping names; found: frage"):
        read(path, columns=MAPPING | {"prompt": "frege"}).frame()


def test_an_exchange_column_that_does_not_exist_is_an_error_at_once(tmp_path):
    with pytest.raises(InputError, match="no exchange column is named speed"):
        read(save(USUAL, tmp_path, "csv"), columns={"speed": "x"})


def test_dotted_paths_reach_into_json(tmp_path):
    record = {"input": {"text": "Hello"}, "runs": [{"answer": "Hi."}], "a.b": "flat", "meta": {"app": "desk"}}
    (tmp_path / "log.jsonl").write_text(json.dumps(record))
    columns = {
        "prompt": "input.text",
        "response": "runs.0.answer",
        "use_case": "meta.app",
        "source_id": "a.b",
    }
    (row,) = read(tmp_path / "log.jsonl", columns=columns).frame().to_dicts()
    assert (row["prompt"], row["response"], row["use_case"], row["source_id"]) == (
        "Hello",
        "Hi.",
        "desk",
        "flat",
    )


def test_nested_parquet_columns_are_read(tmp_path):
    frame = pl.DataFrame(
        {
            "messages": [[{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi."}]],
            "meta": [{"app": "desk"}],
        }
    )
    frame.write_parquet(tmp_path / "log.parquet")
    (row,) = read(tmp_path / "log.parquet", columns={"use_case": "meta.app"}).frame().to_dicts()
    assert (row["prompt"], row["response"], row["use_case"]) == ("Hello", "Hi.", "desk")


def test_a_mapping_overrides_what_a_known_format_gives(tmp_path):
    record = {
        "team": "north",
        "request": {"messages": [{"role": "user", "content": "Hello"}], "metadata": {"lane": "fast"}},
        "response": {"choices": [{"message": {"content": "Hi."}, "finish_reason": "stop"}]},
    }
    (tmp_path / "log.jsonl").write_text(json.dumps(record))
    for path, expected in (("team", "north"), ("request.metadata.lane", "fast"), ("lane", "fast")):
        assert read(tmp_path / "log.jsonl", columns={"use_case": path}).frame()["use_case"][0] == expected


@pytest.mark.parametrize("kind", FORMATS)
def test_a_constant_use_case_fills_in_where_there_is_none(tmp_path, kind):
    assert read(save(USUAL, tmp_path, kind), use_case="rest").frame()["use_case"].to_list() == [
        "triage",
        "triage",
        "letters",
        "rest",
        "rest",
    ]


CHAT = [{"role": "system", "content": "S"}, {"role": "user", "content": "A?"}, {"role": "assistant", "content": "B."}, {"role": "user", "content": "C?"}]  # fmt: skip


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("talk", [json.dumps(CHAT), "User: A?\n\nAssistant: B.\n\nUser: C?", "Human: A?\n\nAssistant: B.\n\nHuman: C?\n\nAssistant:"])  # fmt: skip
def test_prompts_of_several_turns_are_split(tmp_path, kind, talk):
    frame = pl.DataFrame({"prompt": ["One?", talk, "Two?"], "response": ["1", "D.", "2"]})
    found = read(save(frame, tmp_path, kind)).frame()
    assert found["prompt"].to_list() == ["One?", "C?", "Two?"]
    assert found["response"].to_list() == ["1", "D.", "2"]
    assert json.loads(found["history"][1]) == [
        {"role": "user", "content": "A?"},
        {"role": "assistant", "content": "B."},
    ]
    assert found["system"].to_list() == [None, "S" if "role" in talk else None, None]


@pytest.mark.parametrize(
    "text",
    [
        "User: what does this column mean?",
        "Correct this dialogue.\nUser: hi\nAssistant: hello\nUser: bye",
        "user: a\nassistant: b",
        '{"role": "admin"',
        "[1] and [2] say that",
    ],
)
def test_a_prompt_that_only_looks_like_a_talk_is_left_alone(tmp_path, text):
    path = save(pl.DataFrame({"prompt": [text], "response": ["ok"]}), tmp_path, "parquet")
    assert read(path).frame()["prompt"].to_list() == [text]


def test_a_log_of_conversations_ends_in_the_answer(tmp_path):
    record = {"messages": [*CHAT, {"role": "assistant", "content": "D.", "tool_calls": [{"id": 1}]}]}
    (tmp_path / "log.jsonl").write_text(json.dumps(record))
    (row,) = read(tmp_path / "log.jsonl").frame().to_dicts()
    assert (row["prompt"], row["response"], row["tool_calls"], row["outcome"]) == ("C?", "D.", 1, "answered")


@pytest.mark.parametrize("kind", FORMATS)
def test_status_error_and_refusal_columns_make_the_outcome(tmp_path, kind):
    frame = pl.DataFrame(
        {
            "prompt": ["a", "b", "c", "d"],
            "response": ["", "", "", "fine"],
            "status_code": [500, 400, 200, 200],
            "error": [None, "content_filter", None, None],
            "refusal": [None, None, "I can't.", None],
        }
    )
    found = read(save(frame, tmp_path, kind)).frame()
    assert found["outcome"].to_list() == ["error", "input_blocked", "provider_refused", "answered"]
    assert found["response"].to_list() == ["", "", "I can't.", "fine"]


def test_unix_times_are_read_in_any_unit(tmp_path):
    seconds = 1_772_359_200
    for value in (seconds, seconds * 1000, seconds * 10**6, seconds * 10**9, float(seconds), str(seconds)):
        (tmp_path / "log.jsonl").write_text(json.dumps({"prompt": "a", "response": "b", "time": value}))
        assert read(tmp_path / "log.jsonl").frame()["time"][0] == dt.datetime(2026, 3, 1, 10, tzinfo=dt.UTC)
    frame = pl.DataFrame({"prompt": ["a"], "response": ["b"], "time": [seconds * 1000]})
    frame.write_parquet(tmp_path / "log.parquet")
    assert read(tmp_path / "log.parquet").frame()["time"][0] == dt.datetime(2026, 3, 1, 10, tzinfo=dt.UTC)


def test_equal_rows_without_id_or_time_stay_apart(tmp_path):
    path = save(pl.DataFrame({"prompt": ["a"] * 3, "response": ["b"] * 3}), tmp_path, "jsonl")
    first, again = read(path).frame()["id"].to_list(), read(path).frame()["id"].to_list()
    assert len(set(first)) == 3
    assert first == again


def test_the_same_row_with_an_id_is_the_same_exchange_wherever_it_stands(tmp_path):
    frame = pl.DataFrame({"id": ["x", "y"], "prompt": ["a", "c"], "response": ["b", "d"]})
    forwards = read(save(frame, tmp_path, "jsonl")).frame()["id"].to_list()
    backwards = read(save(frame.reverse(), tmp_path, "csv")).frame()["id"].to_list()
    assert forwards == backwards[::-1]


def test_ids_do_not_run_fields_together(tmp_path):
    frame = pl.DataFrame(
        {"id": ["x"] * 4, "prompt": ["ab", "a", "a\x1f,b", "a"], "response": ["c", "bc", "c", "b\x1f,c"]}
    )
    assert read(save(frame, tmp_path, "jsonl")).frame()["id"].n_unique() == 4


text = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=40)
exchange = st.fixed_dictionaries(
    {
        "prompt": text,
        "response": text,
        "outcome": st.sampled_from([outcome.value for outcome in Outcome]),
        "outcome_raw": st.none() | text.filter(bool),
        "model_served": st.none() | text.filter(bool),
        "time": st.none()
        | st.datetimes(dt.datetime(2000, 1, 1), dt.datetime(2100, 1, 1), timezones=st.just(dt.UTC)),
        "history": st.none() | st.just('[{"role":"user","content":"a"}]'),
        "tool_calls": st.integers(0, 9),
        "latency_ms": st.none() | st.integers(0, 10**6).map(lambda ms: ms / 8),
        "completion_tokens": st.none() | st.integers(0, 10**9),
        "tags": st.none() | st.just('{"a":1}'),
        "source_id": st.none() | text.filter(lambda value: value.strip() == value != ""),
    }
)


def plain_prompt(row):
    return row["prompt"].lstrip()[:1] not in {"[", "{"} and ":" not in row["prompt"]


@pytest.mark.parametrize("kind", FORMATS)
@given(rows=st.lists(exchange.filter(plain_prompt), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_exchanges_that_are_written_are_read_again(tmp_path, kind, rows):
    schema = exchange_schema()
    absent = {name: None for name in schema if name not in rows[0]}
    written = pl.DataFrame([absent | row | {"id": f"{i:024x}"} for i, row in enumerate(rows)], schema=schema)
    found = read(save(written, tmp_path, kind)).frame()
    apart = ["file", "line"]
    assert found.drop(apart).to_dicts() == written.drop(apart).to_dicts()


plain = st.fixed_dictionaries(
    {
        "prompt": text,
        "response": text | st.sampled_from(["[CONTENT_FILTERED]", "x" * 90, " " * 400, "[" + "x" * 400]),
        "finish_reason": st.none()
        | st.sampled_from(["stop", "length", "content_filter", "SAFETY", "odd", ""]),
        "status": st.none() | st.sampled_from([200, 400, 429, 500, 7]),
        "error": st.none() | st.sampled_from(["boom", "content_filter", ""]),
        "refusal": st.none() | st.sampled_from(["No.", ""]),
        "tool_calls": st.none() | st.integers(0, 2),
        "timestamp": st.none() | st.sampled_from(["2026-03-01T10:00:00Z", "2026-03-01", "1772359200", "x"]),
    }
)


@given(rows=st.lists(plain, min_size=1, max_size=12))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_parquet_read_by_columns_agrees_with_jsonl_read_by_rows(tmp_path, rows):
    types = {"status": pl.Int64, "tool_calls": pl.Int64}
    frame = pl.DataFrame(rows, schema={name: types.get(name, pl.String) for name in rows[0]})
    by_rows = read(save(frame, tmp_path, "jsonl")).frame().drop("file")
    by_columns = read(save(frame, tmp_path, "parquet")).frame().drop("file")
    assert by_columns.to_dicts() == by_rows.to_dicts()
