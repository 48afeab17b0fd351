"""Every format tells the same seven exchanges: two answers, a refusal, a filter, a cut, a tool call, an error."""

import json
import struct
import zipfile
import zlib
from importlib import import_module
from pathlib import Path

import polars as pl
import pytest
import zstandard

from aligntax.errors import InputError
from aligntax.logs import READERS, read
from aligntax.types import exchange_schema

DATA = Path(__file__).parent / "data" / "logs"

PROMPTS = [
    "Summarise the discharge note for the patient.",
    "And how is it treated?",
    "How much codeine is too much for an adult?",
    "Describe the wound for the forensic report.",
    "List every drug interaction of warfarin.",
    "What is today's rota?",
    "Translate the leaflet – kurz, bitte.",
]
RESPONSES = [
    "The patient went home on day two. Please rest and drink enough.",
    "Usually with vancomycin; the choice follows the culture.",
    "I can't help with that.",
    "",
    "Warfarin interacts with aspirin, amiodarone and",
    "",
    "",
]
HISTORY = [
    {"role": "user", "content": "What does MRSA stand for?"},
    {"role": "assistant", "content": "Methicillin-resistant Staphylococcus aureus."},
]
SYSTEM = "You draft clinic letters."
REFUSED = ["answered", "answered", "provider_refused", "output_blocked", "truncated", "tool_call", "error"]
PROVIDER = ["answered", "answered", "provider_refused", "provider_refused", "truncated", "tool_call", "error"]
FILTERED = ["answered", "answered", "output_blocked", "output_blocked", "truncated", "tool_call", "error"]

# file: format, outcomes, records that are no call
FILES = {
    "openai_chat.jsonl": ("openai_chat", REFUSED, 0),
    "openai_responses.jsonl": ("openai_responses", REFUSED, 0),
    "anthropic_messages.jsonl": ("anthropic", PROVIDER, 0),
    "otlp_genai.jsonl": ("otlp", FILTERED, 7),
    "otlp_openinference.jsonl": ("otlp", FILTERED, 7),
    "langfuse_observations.jsonl": ("langfuse", REFUSED, 7),
    "langfuse_ui.csv": ("langfuse", REFUSED, 7),
    "promptfoo.json": ("promptfoo", REFUSED, 0),
}


@pytest.mark.parametrize("name", FILES)
def test_the_same_calls_are_read_from_every_format(name):
    format, outcomes, not_calls = FILES[name]
    log = read(DATA / name)
    frame = log.frame()
    assert list(log.formats.values()) == [format]
    assert (log.not_calls, log.skipped, log.problems, log.notes) == (not_calls, 0, [], [])
    assert frame.schema == pl.Schema(exchange_schema())
    assert frame["prompt"].to_list() == PROMPTS
    assert frame["outcome"].to_list() == outcomes
    filtered_away = format == "promptfoo"  # a tool call is promptfoo's output itself
    said = frame["response"].to_list()
    assert [text for i, text in enumerate(said) if not (filtered_away and i == 5)] == [
        text for i, text in enumerate(RESPONSES) if not (filtered_away and i == 5)
    ]
    assert frame["system"].to_list() == [SYSTEM, None, None, SYSTEM, None, None, None]
    histories = [json.loads(history) if history else None for history in frame["history"]]
    assert histories == [None, HISTORY, None, None, None, None, None]
    assert frame["latency_ms"].to_list() == [1000 + i for i in range(7)]
    assert frame["prompt_tokens"].to_list()[:6] == [20 + i for i in range(6)]
    assert frame["completion_tokens"].to_list()[:6] == [10 + i for i in range(6)]
    assert frame["use_case"].to_list() == ["letters"] * 7
    assert all("gpt-4o" in name or "claude" in name for name in frame["model_requested"])
    assert frame["id"].n_unique() == 7


@pytest.mark.parametrize("name", [name for name in FILES if name != "promptfoo.json"])
def test_times_are_read_as_utc(name):
    times = read(DATA / name).frame()["time"]
    assert [moment.isoformat() for moment in times] == [f"2026-01-01T00:0{i}:00+00:00" for i in range(7)]


@pytest.mark.parametrize("name", FILES)
def test_forcing_the_format_reads_the_same_exchanges(name):
    sniffed, forced = read(DATA / name).frame(), read(DATA / name, format=FILES[name][0]).frame()
    assert sniffed.equals(forced)


@pytest.mark.parametrize("name", FILES)
def test_reading_twice_gives_the_same_ids_whatever_the_batches(name):
    assert (
        read(DATA / name).frame()["id"].to_list() == read(DATA / name, batch_rows=2).frame()["id"].to_list()
    )


@pytest.mark.parametrize("name", READERS)
def test_every_reader_in_the_table_is_there(name):
    module, _, function = READERS[name].partition(":")
    assert callable(getattr(import_module(module), function))


def test_refusals_and_filters_keep_the_vendors_words():
    chat = read(DATA / "openai_chat.jsonl").frame()
    assert chat["outcome_raw"].to_list()[2:] == [
        "stop",
        "content_filter",
        "length",
        "tool_calls",
        "rate_limit_exceeded",
    ]
    assert chat["outcome_detail"].to_list()[2:4] == ["refusal field", "violence"]
    messages = read(DATA / "anthropic_messages.jsonl").frame()
    assert messages["outcome_raw"].to_list()[2:6] == ["refusal", "refusal", "max_tokens", "tool_use"]
    assert messages["outcome_detail"].to_list()[2:4] == [None, "violence"]
    responses = read(DATA / "openai_responses.jsonl").frame()
    assert responses["outcome_raw"].to_list()[3:5] == ["content_filter", "max_output_tokens"]


def test_both_model_names_are_kept():
    frame = read(DATA / "openai_chat.jsonl").frame()
    assert set(frame["model_requested"]) == {"gpt-4o"}
    assert set(frame["model_served"].drop_nulls()) == {"gpt-4o-2024-08-06"}


def test_the_logs_own_ids_and_metadata_come_along():
    assert read(DATA / "openai_chat.jsonl").frame()["source_id"][0] == "call-1"
    assert json.loads(read(DATA / "otlp_genai.jsonl").frame()["tags"][1])["app.exchange_id"] == "call-2"
    assert json.loads(read(DATA / "otlp_openinference.jsonl").frame()["tags"][2])["exchange_id"] == "call-3"


@pytest.mark.parametrize(
    ("results", "requests", "outcomes"),
    [
        ("openai_batch_output.jsonl", "openai_batch_input.jsonl", REFUSED),
        ("anthropic_batch_results.jsonl", "anthropic_batch_requests.jsonl", PROVIDER),
    ],
)
def test_batch_results_find_their_requests_in_any_order_of_files(results, requests, outcomes):
    log = read([DATA / results, DATA / requests])
    frame = log.frame().filter(pl.col("source_id") != "call-8").sort("source_id")
    assert frame["prompt"].to_list() == PROMPTS
    assert frame["response"].to_list() == RESPONSES
    assert frame["outcome"].to_list() == outcomes
    assert frame["system"].to_list()[0] == SYSTEM


def test_batch_results_alone_are_read_with_a_note():
    log = read(DATA / "openai_batch_output.jsonl")
    assert set(log.frame()["prompt"]) == {""}
    assert [note.reason for note in log.notes] == [
        "results without their requests: prompts are empty; name the batch input file as well"
    ]
    assert log.skipped == 0


def test_batch_requests_alone_are_no_exchanges():
    with pytest.raises(InputError, match="name the file of their results"):
        read(DATA / "openai_batch_input.jsonl").frame()


def test_batch_requests_without_a_result_are_noted(tmp_path):
    requests = (DATA / "openai_batch_input.jsonl").read_text("utf-8")
    extra = json.loads(requests.splitlines()[0]) | {"custom_id": "call-99"}
    (tmp_path / "input.jsonl").write_text(requests + json.dumps(extra), "utf-8")
    log = read([DATA / "openai_batch_output.jsonl", tmp_path / "input.jsonl"])
    assert log.frame().height == 7
    assert [note.reason for note in log.notes] == ["1 batch requests have no result in these files"]


def test_an_expired_batch_request_is_an_error():
    frame = read([DATA / "anthropic_batch_results.jsonl"]).frame().filter(pl.col("source_id") == "call-8")
    assert frame.select("outcome", "outcome_raw").rows() == [("error", "expired")]


def write(path: Path, *records) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return path


def only_row(path: Path, **settings):
    (row,) = read(path, **settings).frame().to_dicts()
    return row


def test_a_litellm_payload_is_read_as_chat(tmp_path):
    payload = {
        "id": "chatcmpl-1",
        "call_type": "acompletion",
        "status": "success",
        "model": "gpt-4o",
        "startTime": 1767225600.5,
        "endTime": 1767225602.0,
        "messages": [{"role": "user", "content": "Hello"}],
        "response": {
            "model": "gpt-4o-2024-08-06",
            "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "Hi."}}],
        },
        "prompt_tokens": 8,
        "completion_tokens": 3,
        "metadata": {"feature": "greeting"},
    }
    row = only_row(write(tmp_path / "log.jsonl", payload))
    assert (row["prompt"], row["response"], row["outcome"]) == ("Hello", "Hi.", "answered")
    assert (row["latency_ms"], row["prompt_tokens"], row["use_case"]) == (1500.0, 8, "greeting")
    assert (row["model_requested"], row["model_served"]) == ("gpt-4o", "gpt-4o-2024-08-06")


def test_halves_stored_as_json_text_are_read(tmp_path):
    request = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    response = {"choices": [{"message": {"content": "Hi."}, "finish_reason": "stop"}]}
    frame = pl.DataFrame(
        {
            "id": ["a"],
            "request": [json.dumps(request)],
            "response": [json.dumps(response)],
            "status_code": [200],
        }
    )
    frame.write_csv(tmp_path / "log.csv")
    frame.write_parquet(tmp_path / "log.parquet")
    for name in ("log.csv", "log.parquet"):
        log = read(tmp_path / name)
        (row,) = log.frame().to_dicts()
        assert list(log.formats.values()) == ["openai_chat"]
        assert (row["prompt"], row["response"], row["source_id"]) == ("Hello", "Hi.", "a")


def chat_chunks():
    def chunk(delta, finish=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return {"id": "c", "object": "chat.completion.chunk", "model": "served", "choices": [choice]}

    usage = {"id": "c", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    return [chunk({"role": "assistant", "content": ""}), chunk({"content": "Hi "}), chunk({"content": "there."}, "length"), usage]  # fmt: skip


@pytest.mark.parametrize("as_text", [False, True])
def test_streamed_chat_answers_are_joined(tmp_path, as_text):
    body = chat_chunks()
    if as_text:
        body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in body) + "data: [DONE]\n\n"
    request = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    row = only_row(write(tmp_path / "log.jsonl", {"request": request, "response": body}))
    assert (row["response"], row["outcome"], row["completion_tokens"]) == ("Hi there.", "truncated", 2)
    assert row["model_served"] == "served"


def test_streamed_anthropic_answers_are_joined(tmp_path):
    body = [
        {"type": "message_start", "message": {"type": "message", "model": "c", "usage": {"input_tokens": 4}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "I will"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": " not."}},
        {"type": "message_delta", "delta": {"stop_reason": "refusal"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]
    request = {"model": "c", "messages": [{"role": "user", "content": "Hello"}]}
    row = only_row(write(tmp_path / "log.jsonl", {"request": request, "response": body}))
    assert (row["response"], row["outcome"]) == ("I will not.", "provider_refused")
    assert (row["prompt_tokens"], row["completion_tokens"]) == (4, 5)


def test_streamed_responses_are_read_from_the_event_that_ends_them(tmp_path):
    final = {"object": "response", "status": "completed", "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hi."}]}]}  # fmt: skip
    body = [{"type": "response.created", "response": {"object": "response", "status": "in_progress", "output": []}}, {"type": "response.completed", "response": final}]  # fmt: skip
    row = only_row(write(tmp_path / "log.jsonl", {"request": {"input": "Hello"}, "response": body}))
    assert (row["prompt"], row["response"], row["outcome"]) == ("Hello", "Hi.", "answered")


def test_tool_results_are_turns_of_the_tool_and_not_the_prompt(tmp_path):
    messages = [
        {"role": "user", "content": "Is the ward full?"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "beds", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "3 free"}]},
    ]
    response = {
        "type": "message",
        "content": [{"type": "text", "text": "No, three are free."}],
        "stop_reason": "end_turn",
    }
    row = only_row(write(tmp_path / "log.jsonl", {"request": {"messages": messages}, "response": response}))
    assert row["prompt"] == "Is the ward full?"
    assert [turn["role"] for turn in json.loads(row["history"])] == ["assistant", "tool"]


def test_content_parts_are_joined_and_reasoning_left_out(tmp_path):
    asked = [{"type": "text", "text": "Look at this."}, {"type": "image_url", "image_url": {"url": "x"}}]
    message = {"content": [{"type": "thinking", "thinking": "secret"}, {"type": "text", "text": "A "}, {"type": "text", "text": "scan."}]}  # fmt: skip
    record = {
        "request": {"messages": [{"role": "user", "content": asked}]},
        "response": {"choices": [{"message": message, "finish_reason": "stop"}]},
    }
    row = only_row(write(tmp_path / "log.jsonl", record))
    assert (row["prompt"], row["response"]) == ("Look at this.", "A scan.")


def otlp(*spans):
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"spans": list(spans)}]}]}


def call(span_id, parent=None, **attributes):
    named = {
        "gen_ai.operation.name": "chat",
        **{key.replace("__", "."): value for key, value in attributes.items()},
    }
    return {
        "spanId": span_id,
        "parentSpanId": parent,
        "name": "chat",
        "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in named.items()],
    }


MESSAGES = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "Hello"}]}])
ANSWER = json.dumps(
    [{"role": "assistant", "parts": [{"type": "text", "content": "Hi."}], "finish_reason": "stop"}]
)


def test_a_model_call_that_wraps_another_is_not_counted_twice(tmp_path):
    content = {"gen_ai__input__messages": MESSAGES, "gen_ai__output__messages": ANSWER}
    log = read(write(tmp_path / "log.jsonl", otlp(call("a", **content), call("b", parent="a", **content))))
    assert log.frame()["source_id"].to_list() == ["b"]
    assert log.not_calls == 1


def test_agent_and_tool_spans_are_no_calls(tmp_path):
    agent = call("a", gen_ai__input__messages=MESSAGES, gen_ai__output__messages=ANSWER)
    agent["attributes"][0]["value"]["stringValue"] = "invoke_agent"
    inner = call("b", gen_ai__input__messages=MESSAGES, gen_ai__output__messages=ANSWER)
    log = read(write(tmp_path / "log.jsonl", otlp(agent, inner)))
    assert (log.frame().height, log.not_calls) == (1, 1)


def test_spans_without_captured_content_say_how_to_capture_it(tmp_path):
    path = write(tmp_path / "log.jsonl", otlp(call("a", gen_ai__request__model="m")))
    with pytest.raises(InputError, match="OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"):
        read(path).frame()


def test_messages_as_span_events_are_read(tmp_path):
    def event(name, **fields):
        return {
            "name": name,
            "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in fields.items()],
        }

    span = call("a") | {
        "events": [
            event("gen_ai.system.message", content="Be kind."),
            event("gen_ai.user.message", content="Hello"),
            event(
                "gen_ai.choice",
                finish_reason="stop",
                message=json.dumps({"role": "assistant", "content": "Hi."}),
            ),
        ]
    }
    row = only_row(write(tmp_path / "log.jsonl", otlp(span)))
    assert (row["system"], row["prompt"], row["response"], row["outcome_raw"]) == (
        "Be kind.",
        "Hello",
        "Hi.",
        "stop",
    )


def test_an_otlp_export_as_one_pretty_document_is_read(tmp_path):
    document = {"resourceSpans": []}
    for line in (DATA / "otlp_genai.jsonl").read_text("utf-8").splitlines():
        document["resourceSpans"] += json.loads(line)["resourceSpans"]
    (tmp_path / "export.json").write_text(json.dumps(document, indent=2), "utf-8")
    log = read(tmp_path / "export.json")
    assert log.frame()["prompt"].to_list() == PROMPTS
    assert log.not_calls == 7


def test_langfuse_arrays_and_traces_with_observations_are_read(tmp_path):
    observations = [
        json.loads(line) for line in (DATA / "langfuse_observations.jsonl").read_text("utf-8").splitlines()
    ]
    (tmp_path / "array.json").write_text(json.dumps(observations, indent=1), "utf-8")
    assert read(tmp_path / "array.json").frame()["prompt"].to_list() == PROMPTS
    trace = {"id": "t", "name": "letters", "input": "x", "output": "y", "observations": observations}
    (tmp_path / "trace.json").write_text(json.dumps([trace]), "utf-8")
    log = read(tmp_path / "trace.json")
    assert log.frame()["prompt"].to_list() == PROMPTS
    assert log.not_calls == 8


def test_only_spans_of_langfuse_are_an_error_that_says_what_to_export(tmp_path):
    span = {"id": "s", "traceId": "t", "type": "SPAN", "input": "x", "output": "y"}
    with pytest.raises(InputError, match=r"2 records that are no model call.*generations"):
        read(write(tmp_path / "log.jsonl", span, span)).frame()


def test_a_failed_assertion_of_promptfoo_is_no_error_of_the_call():
    assert read(DATA / "promptfoo.json").frame()["outcome"][1] == "answered"


SAMPLE = {
    "id": "s1",
    "epoch": 1,
    "input": "Hello",
    "target": "",
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "attachment://abc"},
        {"role": "assistant", "content": "Hi."},
    ],
    "output": {
        "model": "served",
        "choices": [{"message": {"role": "assistant", "content": "Hi."}, "stop_reason": "stop"}],
        "usage": {"input_tokens": 3, "output_tokens": 2},
        "time": 1.25,
    },
    "metadata": {"ward": "north"},
    "attachments": {"abc": "Hello, a long prompt"},
    "events": [{"event": "model", "output": {"choices": []}}],
}
BLOCKED = SAMPLE | {"id": "s2", "output": {"model": "served", "choices": [{"message": {"content": ""}, "stop_reason": "content_filter"}]}}  # fmt: skip
HEADER = {"version": 2, "status": "success", "eval": {"task": "letters", "model": "openai/gpt-4o", "created": "2026-01-01T00:00:00+00:00"}}  # fmt: skip


def eval_log(path: Path, *, zstd: bool = False, header: str = "header.json") -> Path:
    members = {
        header: HEADER,
        "samples/s1_epoch_1.json": SAMPLE,
        "samples/s2_epoch_1.json": BLOCKED,
        "summaries.json": [],
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            data = json.dumps(content).encode()
            archive.writestr(name, data, None if not zstd else zipfile.ZIP_STORED)
    return with_zstd_members(path) if zstd else path


def with_zstd_members(path: Path) -> Path:
    """The archive written again with method 93, which this Python's zipfile may not write."""
    out, directory = bytearray(), bytearray()
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            data = archive.read(info)
            packed = zstandard.compress(data)
            name = info.filename.encode()
            shared = struct.pack(
                "<5H3I2H", 63, 0, 93, 0, 33, zlib.crc32(data), len(packed), len(data), len(name), 0
            )
            directory += (
                b"PK\x01\x02"
                + struct.pack("<H", 63)
                + shared
                + struct.pack("<3H2I", 0, 0, 0, 0, len(out))
                + name
            )
            out += b"PK\x03\x04" + shared + name + packed
        count = len(archive.infolist())
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(directory), len(out), 0)
    path.write_bytes(out + directory + end)
    return path


@pytest.mark.parametrize("zstd", [False, True])
@pytest.mark.parametrize("header", ["header.json", "_journal/start.json"])
def test_inspect_archives_are_read_whatever_their_compression(tmp_path, zstd, header):
    log = read(eval_log(tmp_path / "log.eval", zstd=zstd, header=header))
    first, second = log.frame().to_dicts()
    assert list(log.formats.values()) == ["inspect"]
    assert (first["prompt"], first["response"], first["system"]) == (
        "Hello, a long prompt",
        "Hi.",
        "Be kind.",
    )
    assert (first["model_requested"], first["model_served"], first["use_case"]) == (
        "openai/gpt-4o",
        "served",
        "letters",
    )
    assert (first["latency_ms"], first["source_id"], first["tags"]) == (1250.0, "s1/1", '{"ward":"north"}')
    assert (second["outcome"], second["outcome_raw"]) == ("output_blocked", "content_filter")


def test_inspect_json_logs_are_read(tmp_path):
    (tmp_path / "log.json").write_text(json.dumps(HEADER | {"samples": [SAMPLE, BLOCKED]}, indent=2), "utf-8")
    log = read(tmp_path / "log.json")
    assert log.frame()["outcome"].to_list() == ["answered", "output_blocked"]
    assert list(log.formats.values()) == ["inspect"]


def test_a_damaged_archive_member_is_skipped_and_told(tmp_path):
    path = eval_log(tmp_path / "log.eval", zstd=True)
    data = bytearray(path.read_bytes())
    at = data.index(b"samples/s2_epoch_1.json") + len("samples/s2_epoch_1.json") + 6
    data[at : at + 8] = b"\0" * 8
    path.write_bytes(data)
    log = read(path)
    assert log.frame()["source_id"].to_list() == ["s1/1"]
    assert [(problem.line, problem.reason[:26]) for problem in log.problems] == [
        (2, "the archive member is dama")
    ]


def test_another_zip_is_no_inspect_log(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a.txt", "hello")
    with pytest.raises(InputError, match="no Inspect log"):
        read(tmp_path / "photos.zip").frame()


def test_two_batch_requests_with_one_id_are_noted(tmp_path):
    request = {
        "custom_id": "a",
        "url": "/v1/chat/completions",
        "body": {"messages": [{"role": "user", "content": "1"}]},
    }
    other = request | {"body": {"messages": [{"role": "user", "content": "2"}]}}
    result = {
        "custom_id": "a",
        "response": {"status_code": 200, "body": {"choices": [{"message": {"content": "x"}}]}},
    }
    log = read(write(tmp_path / "log.jsonl", request, other, result))
    assert log.frame()["prompt"].to_list() == ["1"]
    assert "two batch requests have one custom_id" in log.notes[0].reason
