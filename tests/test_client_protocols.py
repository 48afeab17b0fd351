"""Each protocol: what is asked, and what its replies mean, at once and streamed."""

from __future__ import annotations

import asyncio
import json

import pytest

from aligntax.client import ClientSettings, open_model
from aligntax.errors import InputError, UpstreamError
from aligntax.types import Message, Outcome, Request
from model_server import (
    ModelServer,
    Stream,
    Whole,
    asking,
    chat,
    events,
    failing,
    message,
    response,
    spoken,
    text_part,
)

SCHEMA = {
    "type": "object",
    "properties": {"verdict": {"type": "string"}},
    "required": ["verdict"],
    "additionalProperties": False,
}
FULL = Request(
    messages=(
        Message(role="user", content="Hi"),
        Message(role="assistant", content="Yes?"),
        Message(role="user", content="Dose?"),
    ),
    system="Be brief.",
    max_tokens=50,
    temperature=0.5,
    top_p=0.9,
    seed=7,
)
QUICK = ClientSettings(attempts=2, backoff_s=0.0, idle_s=5, total_s=5)


def ask(provider, answer, request=None, settings=QUICK):
    """The reply, and the call that the server saw."""

    async def run():
        async with ModelServer(lambda call: answer) as server:
            async with open_model(
                f"{provider}/asked-1", base_url=server.url, api_key="k", settings=settings
            ) as model:
                reply = await model.send(request or asking())
            return reply, server.calls[0]

    return asyncio.run(run())


def streamed(provider, *datas, end="well", settings=None):
    pieces = events(*datas)
    whole = b"".join(pieces)
    odd = [whole[at : at + 7] for at in range(0, len(whole), 7)]  # cut anywhere, as networks do
    settings = settings or ClientSettings(stream=True, attempts=1, idle_s=5, total_s=5)
    return ask(provider, Stream(odd, end), settings=settings)[0]


def test_chat_is_asked_in_its_own_words():
    reply, call = ask("openai", chat(), FULL)
    assert call.path == "/v1/chat/completions"
    assert call.headers["authorization"] == "Bearer k"
    assert call.body == {
        "model": "asked-1",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": "Dose?"},
        ],
        "max_tokens": 50,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
    }
    assert (reply.text, reply.outcome, reply.outcome_raw) == ("Ten milligrams.", Outcome.ANSWERED, "stop")
    assert (reply.model_requested, reply.model_served) == ("asked-1", "served-1")
    assert (reply.prompt_tokens, reply.completion_tokens, reply.attempts) == (10, 5, 1)
    assert reply.cost_usd is None
    assert reply.latency_ms > 0


def test_responses_are_asked_in_their_own_words_and_not_stored():
    reply, call = ask("openai-responses", response(spoken(text_part("Ten "), text_part("mg."))), FULL)
    assert call.path == "/v1/responses"
    assert call.body["instructions"] == "Be brief."
    assert call.body["max_output_tokens"] == 50
    assert call.body["store"] is False
    assert [turn["role"] for turn in call.body["input"]] == ["user", "assistant", "user"]
    assert "seed" not in call.body
    assert (reply.text, reply.outcome, reply.completion_tokens) == ("Ten mg.", Outcome.ANSWERED, 5)


def test_messages_are_asked_in_their_own_words():
    reply, call = ask("anthropic", message([{"type": "text", "text": "Ten mg."}]), FULL)
    assert call.path == "/v1/messages"
    assert call.headers["x-api-key"] == "k"
    assert "authorization" not in call.headers
    assert call.headers["anthropic-version"] == "2023-06-01"
    assert call.body["system"] == "Be brief."
    assert call.body["max_tokens"] == 50
    assert "seed" not in call.body
    assert (reply.text, reply.outcome, reply.prompt_tokens) == ("Ten mg.", Outcome.ANSWERED, 10)


def test_more_fields_of_the_vendor_can_be_sent():
    settings = ClientSettings(extra={"reasoning_effort": "low"})
    for provider, answer in (
        ("openai", chat()),
        ("anthropic", message([])),
        ("openai-responses", response([])),
    ):
        assert ask(provider, answer, settings=settings)[1].body["reasoning_effort"] == "low"


def test_a_schema_is_asked_for_in_each_vendors_way():
    wanted = asking(schema=SCHEMA)
    text = '{"verdict":"full"}'
    reply, call = ask("openai", chat(text), wanted)
    assert call.body["response_format"]["json_schema"] == {"name": "answer", "schema": SCHEMA, "strict": True}
    assert json.loads(reply.text) == {"verdict": "full"}

    reply, call = ask("openai-responses", response(spoken(text_part(text))), wanted)
    assert call.body["text"]["format"] == {
        "type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True,
    }  # fmt: skip
    assert json.loads(reply.text) == {"verdict": "full"}

    used = [{"type": "tool_use", "id": "t", "name": "answer", "input": {"verdict": "full"}}]
    reply, call = ask("anthropic", message(used, "tool_use"), wanted)
    assert call.body["tool_choice"] == {"type": "tool", "name": "answer"}
    assert call.body["tools"][0]["input_schema"] == SCHEMA
    assert (json.loads(reply.text), reply.outcome) == ({"verdict": "full"}, Outcome.ANSWERED)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {}}, "required": ["a"]},  # more properties are allowed
        {"type": "object", "properties": {"a": {}}, "additionalProperties": False},  # none is required
        {**SCHEMA, "properties": {"verdict": {"type": "object"}}},  # one inside is open
    ],
)
def test_a_schema_that_openai_would_not_hold_to_is_not_called_strict(schema):
    _, call = ask("openai", chat("{}"), asking(schema=schema))
    assert call.body["response_format"]["json_schema"]["strict"] is False


def test_anthropic_takes_objects_only():
    with pytest.raises(InputError, match='give it "type": "object"'):
        ask("anthropic", message([]), asking(schema={"type": "array"}))


AZURE = {"message": "The response was filtered due to the prompt triggering Azure's content management policy.",
         "code": "content_filter",
         "innererror": {"content_filter_result": {"violence": {"filtered": True}, "hate": {"filtered": False}}}}  # fmt: skip


@pytest.mark.parametrize(
    ("provider", "answer", "outcome", "raw", "text"),
    [
        ("openai", chat("Cut", finish_reason="length"), "truncated", "length", "Cut"),
        ("openai", chat(None, finish_reason="content_filter"), "output_blocked", "content_filter", ""),
        ("openai", chat(None, refusal="I can't."), "provider_refused", "stop", "I can't."),
        ("openai", chat(""), "empty", "stop", ""),
        ("openai", chat("[CONTENT_FILTERED]"), "output_blocked", "stop", "[CONTENT_FILTERED]"),
        ("openai", chat(None, tool_calls=[{"id": "1"}], finish_reason="tool_calls"), "tool_call", "tool_calls", ""),
        ("openai", chat([{"type": "text", "text": "Parts."}]), "answered", "stop", "Parts."),
        ("openai", failing(400, **AZURE), "input_blocked", "content_filter", ""),
        ("openai", failing(403, "flagged", code="moderation"), "input_blocked", "moderation", ""),
        ("openai", Whole(b'{"error":{"message":"blocked","code":"content_filter"}}'), "input_blocked", "content_filter", ""),
        ("anthropic", message([], "refusal", stop_details={"type": "refusal", "category": "bio"}), "provider_refused", "refusal", ""),
        ("anthropic", message([{"type": "text", "text": "Cut"}], "max_tokens"), "truncated", "max_tokens", "Cut"),
        ("anthropic", message([], "end_turn"), "empty", "end_turn", ""),
        ("anthropic", message([{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "Yes."}]), "answered", "end_turn", "Yes."),
        ("anthropic", failing(400, "Output blocked by content filtering policy", type="invalid_request_error"), "output_blocked", "invalid_request_error", ""),
        ("openai-responses", response(spoken({"type": "refusal", "refusal": "No."})), "provider_refused", "completed", "No."),
        ("openai-responses", response(spoken(text_part("Cut")), "incomplete", incomplete_details={"reason": "max_output_tokens"}), "truncated", "max_output_tokens", "Cut"),
        ("openai-responses", response([], "incomplete", incomplete_details={"reason": "content_filter"}), "output_blocked", "content_filter", ""),
        ("openai-responses", response([{"type": "function_call", "name": "f"}]), "tool_call", "completed", ""),
        ("openai-responses", response([]), "empty", "completed", ""),
    ],
)  # fmt: skip
def test_refusals_filters_and_cut_answers_are_outcomes(provider, answer, outcome, raw, text):
    reply, _ = ask(provider, answer)
    assert (reply.outcome, reply.outcome_raw, reply.text, reply.attempts) == (outcome, raw, text, 1)


def test_the_category_behind_a_block_is_kept():
    assert ask("openai", failing(400, **AZURE))[0].outcome_detail == "violence"
    refused = message([], "refusal", stop_details={"type": "refusal", "category": "bio"})
    assert ask("anthropic", refused)[0].outcome_detail == "bio"


def test_a_streamed_chat_is_put_together():
    def chunk(delta, finish=None):
        return {"model": "served-1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    usage = {"model": "served-1", "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}
    reply = streamed(
        "openai", chunk({"role": "assistant", "content": ""}), chunk({"content": "Zehn "}), chunk({"content": "µg."}),
        chunk({}, "stop"), usage, "[DONE]",
    )  # fmt: skip
    assert (reply.text, reply.outcome, reply.outcome_raw) == ("Zehn µg.", Outcome.ANSWERED, "stop")
    assert (reply.model_served, reply.prompt_tokens, reply.completion_tokens) == ("served-1", 10, 5)
    refused = streamed(
        "openai", chunk({"refusal": "I "}), chunk({"refusal": "can't."}), chunk({}, "stop"), "[DONE]"
    )
    assert (refused.text, refused.outcome) == ("I can't.", Outcome.PROVIDER_REFUSED)


def test_a_streamed_message_is_put_together():
    start = {
        "type": "message_start",
        "message": {"model": "served-1", "content": [], "usage": {"input_tokens": 10, "output_tokens": 1}},
    }
    end = [
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]

    def block(kind, *deltas, index=0, **fields):
        yield {"type": "content_block_start", "index": index, "content_block": {"type": kind, **fields}}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}

    thinking = block("thinking", {"type": "thinking_delta", "thinking": "Hm"}, thinking="")
    text = block(
        "text",
        {"type": "text_delta", "text": "Zehn "},
        {"type": "text_delta", "text": "µg."},
        index=1,
        text="",
    )
    reply = streamed("anthropic", start, *thinking, {"type": "ping"}, *text, *end)
    assert (reply.text, reply.outcome, reply.outcome_raw) == ("Zehn µg.", Outcome.ANSWERED, "end_turn")
    assert (reply.model_served, reply.prompt_tokens, reply.completion_tokens) == ("served-1", 10, 5)
    pieces = ('{"verdict"', ': "full"}')
    tool = block(
        "tool_use",
        *({"type": "input_json_delta", "partial_json": piece} for piece in pieces),
        name="answer",
        input={},
    )
    assert json.loads(streamed("anthropic", start, *tool, *end).text) == {"verdict": "full"}


def test_a_streamed_response_is_put_together():
    whole = json.loads(response(spoken(text_part("Ten."))).body)
    reply = streamed(
        "openai-responses", {"type": "response.created", "response": {"status": "in_progress", "output": []}},
        {"type": "response.output_text.delta", "delta": "Ten."}, {"type": "response.completed", "response": whole},
    )  # fmt: skip
    assert (reply.text, reply.outcome, reply.completion_tokens) == ("Ten.", Outcome.ANSWERED, 5)


@pytest.mark.parametrize("end", ["well", "reset"])
def test_a_stream_that_stops_before_its_end_is_no_answer(end):
    begun = {"choices": [{"index": 0, "delta": {"content": "Half of an ans"}}]}
    with pytest.raises(UpstreamError, match=r"ended before|broke") as caught:
        streamed("openai", begun, end=end)
    assert caught.value.retryable


def test_an_error_inside_a_stream_is_an_error():
    begun = {"type": "message_start", "message": {"content": []}}
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    with pytest.raises(UpstreamError, match="overloaded_error") as caught:
        streamed("anthropic", begun, error)
    assert caught.value.retryable
    with pytest.raises(UpstreamError, match="server_error"):
        streamed("openai", {"error": {"code": "server_error", "message": "The server had an error"}})


def test_a_server_that_does_not_stream_is_read_all_the_same():
    reply, _ = ask("openai", chat("Whole."), settings=ClientSettings(stream=True))
    assert reply.text == "Whole."
