"""Answers kept as the events of a stream, joined into the body that an unstreamed call would have given."""

from __future__ import annotations

from typing import Any

from ..json_text import parsed


def events(value: Any) -> list[dict[str, Any]] | None:
    """The events in a list of chunks or in the raw text of a server-sent-event stream; else None."""
    if isinstance(value, str) and value.lstrip()[:5] in {"data:", "event"}:
        lines = (line[5:].strip() for line in value.splitlines() if line.startswith("data:"))
        value = [parsed(line) for line in lines]  # "[DONE]" is none
    elif isinstance(value, list):
        value = [parsed(chunk.removeprefix("data:")) if isinstance(chunk, str) else chunk for chunk in value]
    else:
        return None
    return [chunk for chunk in value if isinstance(chunk, dict)] or None


def join_chat(body: Any) -> Any:
    """A chat completion from its chunks; anything else is given back as it is."""
    chunks = events(body)
    if not chunks or not any("choices" in chunk for chunk in chunks):
        return body
    joined: dict[str, Any] = {}
    texts: dict[str, list[str]] = {"content": [], "refusal": []}
    calls: dict[Any, Any] = {}
    finish: Any = None
    for chunk in chunks:
        joined.update(
            {key: chunk[key] for key in ("id", "model", "created", "usage", "error") if chunk.get(key)}
        )
        for choice in chunk.get("choices") or []:
            if choice.get("index", 0) != 0:
                continue
            delta = choice.get("delta") or choice.get("message") or {}
            for key, pieces in texts.items():
                if isinstance(delta.get(key), str):
                    pieces.append(delta[key])
            for call in delta.get("tool_calls") or []:
                calls[call.get("index", len(calls))] = call
            finish = choice.get("finish_reason") or finish
    message = {
        "content": "".join(texts["content"]),
        "refusal": "".join(texts["refusal"]) or None,
        "tool_calls": list(calls.values()),
    }
    return {**joined, "choices": [{"message": message, "finish_reason": finish}]}


def join_anthropic(body: Any) -> Any:
    """A message from its stream events; anything else is given back as it is."""
    parts = events(body)
    if not parts or not any(part.get("type") == "message_start" for part in parts):
        return body
    message: dict[str, Any] = {}
    blocks: dict[Any, dict[str, Any]] = {}
    for part in parts:
        match part.get("type"):
            case "message_start":
                message.update(part.get("message") or {})
            case "content_block_start":
                blocks[part.get("index")] = dict(part.get("content_block") or {})
            case "content_block_delta":
                delta, block = part.get("delta") or {}, blocks.setdefault(part.get("index"), {"type": "text"})
                if delta.get("type") == "text_delta":
                    block["text"] = block.get("text", "") + str(delta.get("text", ""))
            case "message_delta":
                message.update(part.get("delta") or {})
                message["usage"] = {**(message.get("usage") or {}), **(part.get("usage") or {})}
            case "error":
                message["error"] = part.get("error")
    return {**message, "content": list(blocks.values())}


def join_responses(body: Any) -> Any:
    """The response of a Responses stream, from the event that ends it; anything else as it is."""
    parts = events(body)
    ended = [part["response"] for part in parts or () if isinstance(part.get("response"), dict)]
    return ended[-1] if ended else body
