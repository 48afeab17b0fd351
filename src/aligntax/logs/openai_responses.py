"""OpenAI Responses: request and response pairs, kept streams, and Batch files of that endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..outcomes import classify
from .kept_streams import join_responses
from .pairs import is_request, pair_of, remember, shared_fields
from .rows import Row, frames, told
from .source import BadRow, Source
from .turns import Answer, answer_of, split
from .values import as_int, as_text, as_time

if TYPE_CHECKING:
    import polars as pl


def read(source: Source) -> Iterator[pl.DataFrame]:
    """Frames of exchanges, one a response."""
    return frames(source, exchanges)


def matches(record: dict[str, Any]) -> bool:
    """Whether this is a response of the Responses endpoint, or a batch request to it."""
    if is_request(record):
        return str(record.get("url", "")).endswith("/responses")
    body = join_responses(pair_of(record).response)
    if not isinstance(body, dict):
        return False
    items = body.get("output")
    typed = isinstance(items, list) and any(isinstance(item, dict) and "type" in item for item in items)
    return body.get("object") == "response" or (typed and "choices" not in body)


def exchanges(record: dict[str, Any], source: Source) -> list[Row]:
    """The exchange of one record; a batch request is kept until its result comes."""
    if remember(record, source):
        return []
    pair = pair_of(record, source)
    body = join_responses(pair.response)
    error = pair.failure.get("error")
    if not isinstance(body, dict):
        if not error and pair.status is None:
            raise BadRow("a request without a response")
        body = {}
    if not ("output" in body or error or body.get("error") or (pair.status or 0) >= 400):
        raise BadRow("a response without output")
    answer = _answer(body.get("output"))
    request = pair.request if isinstance(pair.request, dict) else {}
    incomplete = body.get("incomplete_details") or {}
    ending = classify(
        as_text(incomplete.get("reason")) or as_text(body.get("status")),
        answer.text,
        refused=answer.refused,
        tool_calls=answer.tool_calls,
        status=pair.status,
        error=body.get("error") or error,
    )
    asked = request.get("input", [])
    turns = split(
        asked if isinstance(asked, list) else [asked], request.get("instructions") or body.get("instructions")
    )
    usage = body.get("usage") or {}
    return [
        {
            **shared_fields(pair, record, request, body),
            **told(turns, answer, ending),
            "prompt_tokens": as_int(usage.get("input_tokens")),
            "completion_tokens": as_int(usage.get("output_tokens")),
            "time": pair.time or as_time(body.get("created_at")),
        }
    ]


def _answer(items: Any) -> Answer:
    """What the output items say together: messages in their order, and every kind of call counted."""
    said = [item for item in items or () if isinstance(item, dict)]
    answers = [answer_of(item) for item in said if item.get("type", "message") == "message"]
    calls = sum(str(item.get("type", "")).endswith("_call") for item in said)
    return Answer(
        "\n\n".join(answer.text for answer in answers if answer.text),
        any(answer.refused for answer in answers),
        calls,
    )
