"""Anthropic Messages: request and response pairs, kept streams, and the results of message batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..outcomes import classify
from .kept_streams import join_anthropic
from .pairs import is_request, pair_of, remember, shared_fields
from .rows import Row, frames, told
from .source import BadRow, Source
from .turns import answer_of, as_messages, split
from .values import as_int, as_text

if TYPE_CHECKING:
    import polars as pl

_BATCH_TYPES = frozenset({"succeeded", "errored", "canceled", "expired"})


def read(source: Source) -> Iterator[pl.DataFrame]:
    """Frames of exchanges, one a message."""
    return frames(source, exchanges)


def matches(record: dict[str, Any]) -> bool:
    """Whether this is a Messages call, a batch result or a batch request."""
    if is_request(record):
        return "params" in record
    pair = pair_of(record)
    body = join_anthropic(pair.response)
    if not isinstance(body, dict):
        return False
    if body.get("type") in _BATCH_TYPES and "custom_id" in record:
        return True
    if body.get("type") == "error":
        return isinstance(body.get("error"), dict)
    return body.get("type") == "message" or ("stop_reason" in body and isinstance(body.get("content"), list))


def exchanges(record: dict[str, Any], source: Source) -> list[Row]:
    """The exchange of one record; a batch request is kept until its result comes."""
    if remember(record, source):
        return []
    pair = pair_of(record, source)
    body, raw = join_anthropic(pair.response), None
    error = pair.failure.get("error")
    if isinstance(body, dict) and body.get("type") in _BATCH_TYPES:
        if body["type"] != "succeeded":
            raw, error = body["type"], body.get("error") or body["type"]
        body = body.get("message") or {}
    if not isinstance(body, dict):
        if not error and pair.status is None:
            raise BadRow("a request without a response")
        body = {}
    if not ("content" in body or error or body.get("error") or (pair.status or 0) >= 400):
        raise BadRow("a response without content")
    answer = answer_of(body)
    request = pair.request if isinstance(pair.request, dict) else {}
    ending = classify(
        raw or as_text(body.get("stop_reason")),
        answer.text,
        refused=answer.refused,
        tool_calls=answer.tool_calls,
        status=pair.status,
        error=body.get("error") or error,
        detail=_category(body.get("stop_details")),
    )
    turns = split(as_messages(request.get("messages")) or [], request.get("system"))
    usage = body.get("usage") or {}
    return [
        {
            **shared_fields(pair, record, request, body),
            **told(turns, answer, ending),
            "prompt_tokens": as_int(usage.get("input_tokens")),
            "completion_tokens": as_int(usage.get("output_tokens")),
            "time": pair.time,
        }
    ]


def _category(details: Any) -> str | None:
    """The category of a refusal, or its type where no category is given."""
    if not isinstance(details, dict):
        return None
    return as_text(details.get("category")) or as_text(details.get("type"))
