"""promptfoo results: the JSON file of an evaluation, or its results as JSON lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from ..outcomes import classify
from .rows import Row, frames, told
from .source import Source
from .turns import Answer, as_messages, split, text_of
from .values import as_float, as_int, as_tags, as_text, use_case_of

if TYPE_CHECKING:
    import polars as pl

_FAILED_BY_ERROR = 2  # failureReason: 0 none, 1 an assertion, 2 the call


def read(source: Source) -> Iterator[pl.DataFrame]:
    """Frames of exchanges, one a test result."""
    return frames(source, exchanges)


def matches(record: dict[str, Any]) -> bool:
    """Whether this is one result of an evaluation."""
    return "provider" in record and "prompt" in record and ("vars" in record or "gradingResult" in record)


def exchanges(record: dict[str, Any], source: Source) -> list[Row]:
    """The exchange of one result. A failed assertion is no error of the call."""
    prompt, provider = record["prompt"], record["provider"]
    asked = prompt.get("raw") if isinstance(prompt, dict) else prompt
    messages = as_messages(asked)
    turns = split(messages if messages is not None else [text_of(asked)])
    response = record.get("response")
    response = response if isinstance(response, dict) else {"output": response}
    output = response.get("output")
    text = (
        output if isinstance(output, str) else "" if output is None else msgspec.json.encode(output).decode()
    )
    error = response.get("error")
    if not error and as_int(record.get("failureReason")) == _FAILED_BY_ERROR:
        error = record.get("error") or "error"
    guardrails = response.get("guardrails") or {}
    raw = as_text(response.get("finishReason"))
    ending = classify(
        raw or ("content_filter" if guardrails.get("flaggedOutput") else None),
        text,
        refused=bool(response.get("isRefusal")),
        error=error,
        block_reason="flaggedInput" if guardrails.get("flaggedInput") else None,
    )
    usage = response.get("tokenUsage") or record.get("tokenUsage") or {}
    variables, metadata = record.get("vars"), record.get("metadata")
    return [
        {
            "source_id": as_text(record.get("id")),
            **told(turns, Answer(text, False, 0), ending),
            "model_requested": as_text(provider.get("id") if isinstance(provider, dict) else provider),
            "use_case": use_case_of(metadata, variables),
            "latency_ms": as_float(record.get("latencyMs")),
            "prompt_tokens": as_int(usage.get("prompt")),
            "completion_tokens": as_int(usage.get("completion")),
            "tags": as_tags(metadata),
        }
    ]
