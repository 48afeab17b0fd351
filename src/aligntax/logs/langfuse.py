"""Langfuse observations: JSON lines or arrays, blob exports, traces with their observations, CSV of the UI.

Only generations are model calls; spans, events and traces repeat their text and are counted apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..outcomes import classify
from .rows import Row, frames, told
from .source import BadRow, Source
from .turns import Answer, answer_of, as_messages, split, text_of
from .values import as_int, as_tags, as_text, as_time, elapsed_ms, seconds_to_ms, use_case_of

if TYPE_CHECKING:
    import polars as pl

_CALL = "GENERATION"
_TYPES = frozenset(
    {_CALL, "SPAN", "EVENT", "AGENT", "TOOL", "CHAIN", "RETRIEVER", "EVALUATOR", "EMBEDDING", "GUARDRAIL"}
)
_FINISH_IN_STATUS = re.compile(r"(?:finish|stop)_reason\W+(\w+)")


def read(source: Source) -> Iterator[pl.DataFrame]:
    """Frames of exchanges, one a generation."""
    return frames(source, exchanges)


def matches(record: dict[str, Any]) -> bool:
    """Whether this is an observation, or a trace that holds its observations."""
    if str(record.get("type", "")).upper() in _TYPES and _either(record, "traceId", "trace_id") is not None:
        return True
    inner = record.get("observations")
    return isinstance(inner, list) and any(isinstance(item, dict) and matches(item) for item in inner)


def exchanges(record: dict[str, Any], source: Source) -> list[Row]:
    """The exchanges of a record: of a generation one, of a trace those of its generations."""
    inner = record.get("observations")
    if isinstance(inner, list):
        source.tally.not_calls += 1
        return [row for item in inner if isinstance(item, dict) for row in exchanges(item, source)]
    if not matches(record):
        raise BadRow("no observation: its type and trace id are missing")
    if str(record["type"]).upper() != _CALL:
        source.tally.not_calls += 1
        return []
    return [_generation(record)]


def _generation(record: dict[str, Any]) -> Row:
    metadata = own if isinstance(own := record.get("metadata"), dict) else {}
    answer, raw = _output(record.get("output"))
    status = text_of(_either(record, "statusMessage", "status_message"))
    if raw is None:
        raw = as_text(metadata.get("finish_reason") or metadata.get("stop_reason"))
    if raw is None and (said := _FINISH_IN_STATUS.search(status)):
        raw = said[1]
    failed = str(record.get("level", "")).upper() == "ERROR"
    ending = classify(
        raw,
        answer.text,
        refused=answer.refused,
        tool_calls=answer.tool_calls,
        error=(status or "error") if failed else None,
    )
    asked = record.get("input")
    messages = as_messages(asked)
    turns = split(messages if messages is not None else [text_of(asked)] if asked else [])
    start = as_time(_either(record, "startTime", "start_time"))
    return {
        "source_id": as_text(record.get("id")),
        "time": start,
        **told(turns, answer, ending),
        "model_requested": as_text(_either(record, "providedModelName", "provided_model_name", "model")),
        "use_case": use_case_of(metadata) or as_text(_either(record, "traceName", "trace_name")),
        "latency_ms": seconds_to_ms(record.get("latency"))
        or elapsed_ms(start, as_time(_either(record, "endTime", "end_time"))),
        "prompt_tokens": _tokens(record, "input", "promptTokens"),
        "completion_tokens": _tokens(record, "output", "completionTokens"),
        "tags": as_tags(metadata, {"environment": record.get("environment")}),
    }


def _output(output: Any) -> tuple[Answer, str | None]:
    """The answer in an output (a message, a whole body of any vendor, or text), and its finish reason."""
    message, finish = output, None
    if isinstance(output, list) and output and isinstance(output[-1], dict) and "role" in output[-1]:
        message = output[-1]
    if isinstance(output, dict):
        finish = output.get("finish_reason") or output.get("stop_reason")
        choices = output.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            finish = choices[0].get("finish_reason") or finish
            message = choices[0].get("message") or {}
        elif not {"content", "parts", "text", "refusal", "tool_calls"} & output.keys():
            message = next(
                (output[key] for key in ("output", "completion", "response", "answer") if key in output), None
            )
    return answer_of(message), as_text(finish)


def _tokens(record: dict[str, Any], side: str, old: str) -> int | None:
    for key in ("usageDetails", "usage_details", "providedUsageDetails", "usage"):
        usage = record.get(key)
        if isinstance(usage, dict) and (count := as_int(usage.get(side, usage.get(old)))) is not None:
            return count
    return as_int(record.get(f"{side}Usage", record.get(old)))


def _either(record: dict[str, Any], *keys: str) -> Any:
    return next((record[key] for key in keys if record.get(key) is not None), None)
