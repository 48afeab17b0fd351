"""OpenAI chat completions: request and response pairs as gateways, proxies and Batch files keep them.

Read are wrappers {"request": ..., "response": ...} of any usual naming, LiteLLM payloads, Batch API input
and output joined by custom_id, Azure errors, bare response bodies, and answers kept as stream chunks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..outcomes import classify, filtered_categories
from .kept_streams import join_chat
from .pairs import is_request, pair_of, remember, shared_fields
from .rows import Row, frames, told
from .source import BadRow, Source
from .turns import answer_of, as_messages, split
from .values import as_int, as_text, as_time

if TYPE_CHECKING:
    import polars as pl


def read(source: Source) -> Iterator[pl.DataFrame]:
    """Frames of exchanges, one a call; its first choice is the answer."""
    return frames(source, exchanges)


def matches(record: dict[str, Any]) -> bool:
    """Whether this is a chat completion, or a request for one with what came back."""
    pair = pair_of(record)
    body = join_chat(pair.response)
    if isinstance(body, dict) and isinstance(body.get("choices"), list):
        return True
    asked = isinstance(pair.request, dict) and "messages" in pair.request
    return asked and (
        "error" in pair.failure or is_request(record) or (isinstance(body, dict) and "error" in body)
    )


def exchanges(record: dict[str, Any], source: Source) -> list[Row]:
    """The exchange of one record; a batch request is kept until its result comes."""
    if remember(record, source):
        return []
    pair = pair_of(record, source)
    body = join_chat(pair.response)
    error = pair.failure.get("error")
    if not isinstance(body, dict):
        if not error and pair.status is None:
            raise BadRow("a request without a response")
        body = {}
    choices = body.get("choices")
    if choices is None and not (error or body.get("error") or (pair.status or 0) >= 400):
        raise BadRow("a response without choices")
    choice = choices[0] if isinstance(choices, list) and choices else {}
    message = choice.get("message") or ({"content": choice["text"]} if "text" in choice else {})
    answer = answer_of(message)
    request = pair.request if isinstance(pair.request, dict) else {}
    ending = classify(
        as_text(choice.get("finish_reason")),
        answer.text,
        refused=answer.refused,
        tool_calls=answer.tool_calls,
        status=pair.status,
        error=choice.get("error") or body.get("error") or error,
        detail=filtered_categories(choice.get("content_filter_results")),
    )
    turns = split(as_messages(request.get("messages")) or [str(request.get("prompt") or "")])
    usage = body.get("usage") or {}
    return [
        {
            **shared_fields(pair, record, request, body),
            **told(turns, answer, ending),
            "prompt_tokens": as_int(usage.get("prompt_tokens", record.get("prompt_tokens"))),
            "completion_tokens": as_int(usage.get("completion_tokens", record.get("completion_tokens"))),
            "time": pair.time or as_time(body.get("created")),
        }
    ]
