"""The vendors' forms, from the server's side: a body becomes a `Request`, a `Reply` a body or the events of a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from ..types import Message, Outcome, Reply, Request

PIECE = 24  # characters of one event of a stream


class Unreadable(Exception):
    """The body is not what this protocol asks for."""


class Protocol(NamedTuple):
    """One vendor's form: what it reads, what it writes, and the events that it streams."""

    request: Callable[[dict[str, Any]], Request]
    body: Callable[[Reply, str, str | None], dict[str, Any]]
    events: Callable[[Reply, str, str | None], Iterator[bytes]]
    error: Callable[[int, str, str], dict[str, Any]]


def _chat_request(body: dict[str, Any]) -> Request:
    wanted = (body.get("response_format") or {}).get("json_schema") or {}
    return _request(body, _list(body, "messages"), body.get("max_completion_tokens") or body.get("max_tokens"),
                    wanted.get("schema"))  # fmt: skip


def _responses_request(body: dict[str, Any]) -> Request:
    asked = body.get("input")
    turns = [{"role": "user", "content": asked}] if isinstance(asked, str) else _list(body, "input")
    form = (body.get("text") or {}).get("format") or {}
    request = _request(body, turns, body.get("max_output_tokens"), form.get("schema"))
    return msgspec.structs.replace(request, system=body.get("instructions") or request.system)


def _anthropic_request(body: dict[str, Any]) -> Request:
    if not isinstance(body.get("max_tokens"), int):
        raise Unreadable("max_tokens: field required")
    schema = (
        _asked_tool(body).get("input_schema") if _asked_tool(body) else _anthropic_format(body).get("schema")
    )
    request = _request(body, _list(body, "messages"), body["max_tokens"], schema)
    return msgspec.structs.replace(request, system=_text(body.get("system")) or None)


def _request(body: dict[str, Any], turns: list[Any], max_tokens: Any, schema: Any) -> Request:
    systems: list[str] = []
    messages: list[Message] = []
    for turn in turns:
        if not isinstance(turn, dict) or "role" not in turn:
            raise Unreadable("a message without a role")
        text = _text(turn.get("content"))
        if turn["role"] in {"system", "developer"}:
            systems.append(text)
        else:
            messages.append(Message(role=turn["role"], content=text))
    return Request(
        messages=tuple(messages),
        system="\n\n".join(systems) or None,
        max_tokens=max_tokens,
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        seed=body.get("seed"),
        schema=schema,
    )


def _list(body: dict[str, Any], field: str) -> list[Any]:
    turns = body.get(field)
    if not isinstance(turns, list) or not turns:
        raise Unreadable(f"{field}: a list that is not empty is required")
    return turns


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _asked_tool(body: dict[str, Any]) -> dict[str, Any]:
    """The tool that the caller insists on, which stands for a schema; empty where there is none."""
    choice = body.get("tool_choice") or {}
    if choice.get("type") not in {"tool", "any"}:
        return {}
    name = choice.get("name")
    return next((tool for tool in body.get("tools", ()) if name in {None, tool.get("name")}), {})


def _anthropic_format(body: dict[str, Any]) -> dict[str, Any]:
    found = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    return found if isinstance(found, dict) else {}


_CHAT_ENDS = {
    Outcome.ANSWERED: "stop", Outcome.TRUNCATED: "length", Outcome.OUTPUT_BLOCKED: "content_filter",
    Outcome.EMPTY: "stop", Outcome.PROVIDER_REFUSED: "stop",
}  # fmt: skip
_REFUSAL_TEXT = "I'm sorry, but I can't assist with that request."


def _chat_body(reply: Reply, model: str, _tool: str | None) -> dict[str, Any]:
    refused = reply.outcome is Outcome.PROVIDER_REFUSED
    message = {
        "role": "assistant",
        "content": None if refused else reply.text,
        "refusal": _REFUSAL_TEXT if refused else None,
    }
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": _CHAT_ENDS[reply.outcome]}],
        "usage": _chat_usage(reply),
    }


def _chat_usage(reply: Reply) -> dict[str, int]:
    asked, said = reply.prompt_tokens or 0, reply.completion_tokens or 0
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def _chat_events(reply: Reply, model: str, _tool: str | None) -> Iterator[bytes]:
    refused = reply.outcome is Outcome.PROVIDER_REFUSED
    field, text = ("refusal", _REFUSAL_TEXT) if refused else ("content", reply.text)

    def chunk(delta: dict[str, Any], end: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": end}
        return _event({"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 0, "model": model,
                       "choices": [choice]})  # fmt: skip

    yield chunk({"role": "assistant", "content": "" if not refused else None})
    for piece in _pieces(text):
        yield chunk({field: piece})
    yield chunk({}, _CHAT_ENDS[reply.outcome])
    yield _event({"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 0, "model": model,
                  "choices": [], "usage": _chat_usage(reply)})  # fmt: skip
    yield b"data: [DONE]\n\n"


def _responses_body(reply: Reply, model: str, _tool: str | None) -> dict[str, Any]:
    refused = reply.outcome is Outcome.PROVIDER_REFUSED
    part = (
        {"type": "refusal", "refusal": _REFUSAL_TEXT}
        if refused
        else {"type": "output_text", "text": reply.text, "annotations": []}
    )
    message = {
        "type": "message",
        "id": "msg_fake",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }
    reasons = {Outcome.TRUNCATED: "max_output_tokens", Outcome.OUTPUT_BLOCKED: "content_filter"}
    reason = reasons.get(reply.outcome)
    asked, said = reply.prompt_tokens or 0, reply.completion_tokens or 0
    return {
        "id": "resp_fake",
        "object": "response",
        "created_at": 0,
        "model": model,
        "status": "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None,
        "error": None,
        "output": [] if reply.outcome is Outcome.EMPTY else [message],
        "usage": {"input_tokens": asked, "output_tokens": said, "total_tokens": asked + said},
    }


def _responses_events(reply: Reply, model: str, _tool: str | None) -> Iterator[bytes]:
    whole = _responses_body(reply, model, None)
    started = {**whole, "status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
    refused = reply.outcome is Outcome.PROVIDER_REFUSED
    kind, text = ("refusal", _REFUSAL_TEXT) if refused else ("output_text", reply.text)
    sequence = 0

    def event(name: str, **fields: Any) -> bytes:
        nonlocal sequence
        sequence += 1
        return _event({"type": name, "sequence_number": sequence - 1, **fields}, name)

    where: dict[str, Any] = {"item_id": "msg_fake", "output_index": 0, "content_index": 0}
    yield event("response.created", response=started)
    if whole["output"]:
        item = whole["output"][0]
        yield event(
            "response.output_item.added",
            output_index=0,
            item={**item, "status": "in_progress", "content": []},
        )
        for piece in _pieces(text):
            yield event(f"response.{kind}.delta", delta=piece, **where)
        yield event(f"response.{kind}.done", **{"refusal" if refused else "text": text}, **where)
        yield event("response.output_item.done", output_index=0, item=item)
    yield event(f"response.{whole['status']}", response=whole)


_ANTHROPIC_ENDS = {
    Outcome.ANSWERED: "end_turn", Outcome.TRUNCATED: "max_tokens", Outcome.OUTPUT_BLOCKED: "refusal",
    Outcome.EMPTY: "end_turn", Outcome.PROVIDER_REFUSED: "refusal",
}  # fmt: skip


def _anthropic_body(reply: Reply, model: str, tool: str | None) -> dict[str, Any]:
    end = _ANTHROPIC_ENDS[reply.outcome]
    blocks: list[dict[str, Any]] = [{"type": "text", "text": reply.text}] if reply.text else []
    if tool is not None and reply.outcome is Outcome.ANSWERED:
        value = msgspec.json.decode(reply.text)
        blocks, end = [{"type": "tool_use", "id": "toolu_fake", "name": tool, "input": value}], "tool_use"
    return {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": blocks,
        "stop_reason": end,
        "stop_sequence": None,
        "usage": {"input_tokens": reply.prompt_tokens or 0, "output_tokens": reply.completion_tokens or 0},
    }


def _anthropic_events(reply: Reply, model: str, tool: str | None) -> Iterator[bytes]:
    whole = _anthropic_body(reply, model, tool)
    usage = {**whole["usage"], "output_tokens": 0}

    def event(name: str, **fields: Any) -> bytes:
        return _event({"type": name, **fields}, name)

    yield event("message_start", message={**whole, "content": [], "stop_reason": None, "usage": usage})
    yield event("ping")
    for block in whole["content"]:
        text = block["type"] == "text"
        yield event(
            "content_block_start",
            index=0,
            content_block={**block, **({"text": ""} if text else {"input": {}})},
        )
        for piece in _pieces(reply.text):
            delta = (
                {"type": "text_delta", "text": piece}
                if text
                else {"type": "input_json_delta", "partial_json": piece}
            )
            yield event("content_block_delta", index=0, delta=delta)
        yield event("content_block_stop", index=0)
    ended = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield event("message_delta", delta=ended, usage={"output_tokens": whole["usage"]["output_tokens"]})
    yield event("message_stop")


def _openai_error(status: int, code: str, text: str) -> dict[str, Any]:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": text, "type": kind, "param": None, "code": code}}


def _anthropic_error(status: int, code: str, text: str) -> dict[str, Any]:
    kinds = {429: "rate_limit_error", 401: "authentication_error", 400: "invalid_request_error"}
    return {"type": "error", "error": {"type": kinds.get(status, "api_error"), "message": f"{text} ({code})"}}


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), PIECE):
        yield text[start : start + PIECE]


def _event(data: dict[str, Any], name: str | None = None) -> bytes:
    head = b"" if name is None else f"event: {name}\n".encode()
    return head + b"data: " + msgspec.json.encode(data) + b"\n\n"


def tool_of(body: dict[str, Any]) -> str | None:
    """Name of the tool by way of which an Anthropic body asks for a schema; None where it does not."""
    return _asked_tool(body).get("name")


PROTOCOLS: dict[str, Protocol] = {
    "/chat/completions": Protocol(_chat_request, _chat_body, _chat_events, _openai_error),
    "/responses": Protocol(_responses_request, _responses_body, _responses_events, _openai_error),
    "/messages": Protocol(_anthropic_request, _anthropic_body, _anthropic_events, _anthropic_error),
}
"""Path after the base URL -> the form spoken there."""
