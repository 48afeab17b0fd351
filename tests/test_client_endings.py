"""A live reply means what it would mean in a log."""

from __future__ import annotations

import importlib
import json

import pytest

from aligntax.client.answer import Answer
from aligntax.client.endings import ending
from aligntax.client.names import WIRES
from aligntax.client.openai_chat import decode
from aligntax.logs import classify, read
from model_server import chat, message, response, spoken, text_part

ERRORS = [
    {"message": "The response was filtered", "code": "content_filter",
     "innererror": {"content_filter_result": {"violence": {"filtered": True}}}},
    {"message": "Your input was flagged by our moderation", "type": "invalid_request_error", "code": None},
    {"type": "overloaded_error", "message": "Overloaded"},
    {"message": "Output data may contain inappropriate content.", "code": "data_inspection_failed"},
    {"message": "Provider returned error", "code": 403, "metadata": {"raw": '{"error":{"code":"content_policy_violation"}}'}},
    {"code": 429, "message": "Rate limit", "metadata": {"reasons": ["violence"]}},
    {"code": "rate_limit_exceeded", "message": "guardrail timed out"},
    "upstream connect error", "", None, {}, [], 7,
    {"error": {"error": {"error": {"error": {"error": {"error": {"code": "content_filter"}}}}}}},
]  # fmt: skip


@pytest.mark.parametrize("status", [400, 403, 408, 429, 500, 503])
@pytest.mark.parametrize("error", ERRORS)
def test_errors_mean_what_they_mean_in_logs(status, error):
    assert ending(Answer(error=error), status) == classify(None, "", status=status, error=error)


@pytest.mark.parametrize("raw", ["stop", "length", "refusal", "Content-Filter", "brand new", None])
@pytest.mark.parametrize("text", ["An answer.", " ", "[CONTENT_FILTERED]"])
@pytest.mark.parametrize("calls", [0, 1])
@pytest.mark.parametrize("refused", [False, True])
def test_finish_values_mean_what_they_mean_in_logs(raw, text, calls, refused):
    answer = Answer(text=text, raw=raw, tool_calls=calls, refused=refused)
    assert ending(answer) == classify(raw, text, tool_calls=calls, refused=refused)


@pytest.mark.parametrize(
    ("raw", "outcome"), [("tool_use", "answered"), ("end_turn", "answered"), ("max_tokens", "truncated")]
)
def test_a_tool_that_was_the_form_of_the_answer_is_no_tool_call(raw, outcome):
    assert ending(Answer(text='{"a": 1}', raw=raw, tool_calls=1, structured=True)).outcome == outcome


def test_a_redirection_brought_no_answer():
    assert ending(Answer(text="moved"), 302).outcome == "error"


@pytest.mark.parametrize(
    ("protocol", "body"),
    [
        ("openai_chat", chat().body),
        ("openai_chat", chat(None, refusal="No.").body),
        ("openai_chat", chat("Cut", finish_reason="length").body),
        ("anthropic", message([{"type": "text", "text": "One. "}, {"type": "text", "text": "Two."}]).body),
        ("anthropic", message([], "refusal", stop_details={"type": "refusal", "category": "bio"}).body),
        ("openai_responses", response(spoken(text_part("Ten."))).body),
        ("openai_responses", response(spoken({"type": "refusal", "refusal": "No."})).body),
        ("openai_responses", response([], "incomplete", incomplete_details={"reason": "content_filter"}).body),
    ],
)  # fmt: skip
def test_a_body_is_read_as_the_reader_of_logs_reads_it(protocol, body, tmp_path):
    module, _, name = WIRES[protocol].partition(":")
    answer = getattr(importlib.import_module(f"aligntax.client.{module}"), name).decode(body)
    request = {"model": "m", "messages": [{"role": "user", "content": "Q"}]}
    if protocol == "openai_responses":
        request = {"model": "m", "input": "Q"}
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps({"request": request, "response": json.loads(body)}) + "\n", "utf-8")
    row = read(log).frame().row(0, named=True)
    assert tuple(ending(answer)) == (row["outcome"], row["outcome_raw"], row["outcome_detail"])
    assert answer.text == row["response"]
    assert (answer.prompt_tokens, answer.completion_tokens) == (
        row["prompt_tokens"],
        row["completion_tokens"],
    )


def test_an_unknown_field_and_a_missing_one_do_no_harm():
    answer = decode(
        b'{"choices":[{"message":{"content":"Hi","odd":1},"logprobs":null}],"usage":null,"x":[{}]}'
    )
    assert (answer.text, answer.prompt_tokens) == ("Hi", None)
