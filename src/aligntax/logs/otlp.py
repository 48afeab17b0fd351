"""OpenTelemetry spans as OTLP JSON: GenAI conventions, old and new names, and OpenInference.

Only spans of model calls are exchanges. The spans around them (requests, chains, agents, tools) repeat
their text and are counted apart, and so is a model call that only wraps another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from .rows import Row, frames
from .source import BadRow, Source
from .spans import exchange_of_call, is_call, is_genai

if TYPE_CHECKING:
    import polars as pl


class Span(NamedTuple):
    """A span, or a log record that stands for one, with its attributes as plain values."""

    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    resource: dict[str, Any]
    span_id: str | None
    parent_id: str | None
    start: Any
    end: Any
    failure: str | None


def read(source: Source) -> Iterator[pl.DataFrame]:
    """Frames of exchanges, one a model call."""
    return frames(source, exchanges)


def matches(record: dict[str, Any]) -> bool:
    """Whether this is an OTLP export request, a part of one, or a single GenAI span."""
    if {"resourceSpans", "scopeSpans", "resourceLogs", "scopeLogs"} & record.keys():
        return True
    attributes = record.get("attributes")
    return isinstance(attributes, dict | list) and is_genai(_attributes(attributes))


def exchanges(record: dict[str, Any], source: Source) -> list[Row]:
    """The exchanges of the model calls in one export request."""
    if not matches(record):
        raise BadRow("no OTLP export request and no GenAI span")
    spans = list(spans_of(record))
    calls = [span for span in spans if is_call(span.attributes)]
    wrapped = {span.parent_id for span in calls}
    calls = [span for span in calls if span.span_id is None or span.span_id not in wrapped]
    source.tally.not_calls += len(spans) - len(calls)
    rows: list[Row] = []
    bare = 0
    for span in calls:
        try:
            rows.append(exchange_of_call(span))
        except BadRow:
            bare += 1
    if bare and not rows:
        raise BadRow(
            "spans of model calls without messages: turn on content capture in the instrumentation "
            "(OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT)"
        )
    if bare:
        source.note(f"{bare} or more spans of model calls hold no messages and were left out")
    return rows


def spans_of(record: dict[str, Any]) -> Iterable[Span]:
    """All spans and event records in an export request, in order."""
    groups = record.get("resourceSpans") or record.get("resourceLogs") or [record]
    for group in groups:
        resource = _attributes((group.get("resource") or {}).get("attributes"))
        scopes = group.get("scopeSpans") or group.get("scopeLogs") or group.get("instrumentationLibrarySpans")
        for scope in scopes if scopes is not None else [{"spans": [group]}]:
            for span in scope.get("spans") or scope.get("logRecords") or ():
                yield _span(span, resource)


def _span(span: dict[str, Any], resource: dict[str, Any]) -> Span:
    attributes = _attributes(span.get("attributes"))
    events = [
        (str(event.get("name") or ""), {**_body(event.get("body")), **_attributes(event.get("attributes"))})
        for event in span.get("events") or ()
    ]
    context = span.get("context") or {}
    for name, inner in events:
        if name == "gen_ai.client.inference.operation.details":
            attributes = {**inner, **attributes}
    status = span.get("status") or {}
    failed = status.get("code", status.get("status_code")) in {2, "2", "ERROR", "STATUS_CODE_ERROR"}
    said = next((inner.get("exception.message") for name, inner in events if name == "exception"), None)
    return Span(
        attributes=attributes,
        events=events,
        resource=resource,
        span_id=span.get("spanId") or span.get("span_id") or context.get("span_id"),
        parent_id=span.get("parentSpanId") or span.get("parent_id"),
        start=span.get("startTimeUnixNano") or span.get("start_time") or span.get("timeUnixNano"),
        end=span.get("endTimeUnixNano") or span.get("end_time"),
        failure=str(status.get("message") or status.get("description") or said or "error")
        if failed
        else None,
    )


def _body(body: Any) -> dict[str, Any]:
    value = _value(body) if isinstance(body, dict) else None
    return value if isinstance(value, dict) else {}


def _attributes(attributes: Any) -> dict[str, Any]:
    """Attributes as a dict: from OTLP's list of keys and typed values, or from one that is a dict already."""
    if isinstance(attributes, dict):
        return attributes
    return {pair["key"]: _value(pair.get("value") or {}) for pair in attributes or ()}


def _value(typed: dict[str, Any]) -> Any:
    for kind, value in typed.items():
        if kind == "arrayValue":
            return [_value(inner) for inner in value.get("values") or ()]
        if kind == "kvlistValue":
            return _attributes(value.get("values"))
        return int(value) if kind == "intValue" else value
    return None
