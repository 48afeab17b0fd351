"""Request and response pairs: finding the two halves in whatever wrapper a gateway wrote around them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ..json_text import parsed
from .source import Source
from .values import as_float, as_int, as_tags, as_text, as_time, elapsed_ms, use_case_of

if TYPE_CHECKING:
    from .rows import Row

REQUEST_KEYS = ("request", "request_body", "req", "input", "body", "kwargs")
RESPONSE_KEYS = ("response", "response_body", "res", "resp", "output", "result", "completion")
TIME_KEYS = ("ts", "time", "timestamp", "created_at", "startTime", "start_time", "start", "date", "created")
LATENCY_MS_KEYS = ("latency_ms", "duration_ms", "response_time_ms", "elapsed_ms")
ID_KEYS = ("custom_id", "exchange_id", "request_id", "id")


class Pair(NamedTuple):
    """The halves of a call. `failure` is the wrapper's or the response's own error, as {"error": ...}."""

    request: Any
    response: Any
    status: int | None
    failure: dict[str, Any]
    time: dt.datetime | None


def pair_of(record: dict[str, Any], source: Source | None = None) -> Pair:
    """The halves of a record. With a source, the request of a batch result is the one that was remembered."""
    response, status = _response(record)
    request = _request(record)
    if request is None and source is not None and isinstance(name := record.get("custom_id"), str):
        kept = source.tally.requests.pop((source.format == "anthropic", name), None)
        if kept is None:
            source.note(
                "results without their requests: prompts are empty; name the batch input file as well"
            )
        else:
            request = msgspec.json.decode(kept)
    failure = record.get("error") or record.get("exception") or record.get("error_str")
    moment = next((found for key in TIME_KEYS if (found := as_time(record.get(key)))), None)
    return Pair(request, response, status, {"error": failure} if failure else {}, moment)


def _response(record: dict[str, Any]) -> tuple[Any, int | None]:
    status = as_int(record.get("status_code", record.get("http_status", record.get("status"))))
    for key in RESPONSE_KEYS:
        half = parsed(record.get(key))
        if isinstance(half, dict) and "body" in half:
            status = as_int(half.get("status_code", half.get("status"))) or status
            half = parsed(half["body"])
        if half is not None:
            return half, status
    bare = "choices" in record or record.get("type") == "message" or record.get("object") == "response"
    return (record if bare else None), status


def _request(record: dict[str, Any]) -> Any:
    for key in REQUEST_KEYS:
        half = parsed(record.get(key))
        if isinstance(half, dict) and isinstance(half.get("body"), dict | str):
            half = parsed(half["body"])
        if isinstance(half, dict) and ({"messages", "prompt", "input", "contents"} & half.keys()):
            return half
        if key == "input" and isinstance(half, list):
            return {"messages": half, "input": half}
    if "messages" in record:
        messages = parsed(record["messages"])
        return {**record, **messages} if isinstance(messages, dict) else {**record, "messages": messages}
    return None


def is_request(record: dict[str, Any]) -> bool:
    """Whether this is one line of a batch input file, OpenAI's ("body") or Anthropic's ("params")."""
    if not isinstance(record.get("custom_id"), str):
        return False
    return isinstance(record.get("params"), dict) or (
        isinstance(record.get("body"), dict) and "url" in record
    )


def remember(record: dict[str, Any], source: Source) -> bool:
    """Keep a batch request, in its JSON form, for its result; False if the record is none."""
    if not is_request(record):
        return False
    name = ("params" in record, record["custom_id"])
    body = msgspec.json.encode(record.get("params") or record["body"])
    if source.tally.requests.setdefault(name, body) != body:
        source.note("two batch requests have one custom_id: read each batch with its own results, apart")
    return True


def shared_fields(pair: Pair, record: dict[str, Any], request: dict[str, Any], body: dict[str, Any]) -> Row:
    """What every pair format takes from the wrapper: ids, models, use case, latency, tags."""
    metadata = request.get("metadata") if isinstance(request.get("metadata"), dict) else {}
    own = record.get("metadata") if isinstance(record.get("metadata"), dict) else {}
    wrapper = {} if body is record else record
    name = next((text for key in ID_KEYS if (text := as_text(wrapper.get(key)))), None)
    latency = next((ms for key in LATENCY_MS_KEYS if (ms := as_float(wrapper.get(key))) is not None), None)
    return {
        "source_id": name or as_text(body.get("id")),
        "model_requested": as_text(request.get("model") or wrapper.get("model")),
        "model_served": as_text(body.get("model")),
        "use_case": use_case_of(wrapper, own, metadata),
        "latency_ms": latency
        if latency is not None
        else elapsed_ms(pair.time, as_time(wrapper.get("endTime") or wrapper.get("end_time"))),
        "tags": as_tags(own, metadata),
    }
