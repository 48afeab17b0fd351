"""OpenAI Responses. Answers are not stored at OpenAI (`store` is false): suites may hold what nobody should keep."""

from __future__ import annotations

from typing import Any

import msgspec

from ..types import Request
from .answer import Answer, Wire, bearer
from .names import Target
from .schemas import is_strict
from .settings import ClientSettings


class _Part(msgspec.Struct):
    type: str = ""
    text: str | None = None
    refusal: str | None = None


class _Item(msgspec.Struct):
    type: str = "message"
    content: str | list[_Part] | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class _Body(msgspec.Struct):
    output: list[_Item] | None = None
    status: str | None = None
    incomplete_details: _Incomplete | None = None
    model: str | None = None
    usage: _Usage | None = None
    error: Any = None


class _Event(msgspec.Struct):
    type: str = ""
    response: _Body | None = None
    error: Any = None
    code: str | None = None
    message: str | None = None


_LAST = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Body)
_event_decoder = msgspec.json.Decoder(_Event)


def encode(request: Request, target: Target, settings: ClientSettings) -> bytes:
    """The body of the request. This interface has no seed, so none is sent."""
    body: dict[str, Any] = {
        "model": target.model,
        "input": [{"role": message.role, "content": message.content} for message in request.messages],
        "store": False,
    }
    if request.system is not None:
        body["instructions"] = request.system
    if request.max_tokens is not None:
        body["max_output_tokens"] = request.max_tokens
    for field in ("temperature", "top_p"):
        value = getattr(request, field)
        if value is not None:
            body[field] = value
    if request.schema is not None:
        wanted = {"name": "answer", "schema": request.schema, "strict": is_strict(request.schema)}
        body["text"] = {"format": {"type": "json_schema", **wanted}}
    if settings.stream:
        body["stream"] = True
    return _encoder.encode(body | settings.extra if settings.extra else body)


def decode(content: bytes) -> Answer:
    """The answer in the body of a reply."""
    return _answer(_decoder.decode(content))


def _answer(body: _Body) -> Answer:
    if body.output is None and body.error is None:
        raise msgspec.ValidationError("a reply without output")
    texts, refusals, calls = _said(body.output or [])
    reason = body.incomplete_details.reason if body.incomplete_details else None
    usage = body.usage or _Usage()
    return Answer(
        text="\n\n".join(texts or refusals),
        raw=reason or body.status,
        refused=bool(refusals),
        tool_calls=calls,
        error=body.error,
        model=body.model,
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
    )


def _said(items: list[_Item]) -> tuple[list[str], list[str], int]:
    """Texts and refusals of the messages, and how many tools were called."""
    texts, refusals, calls = [], [], 0
    for item in items:
        calls += item.type.endswith("_call")
        if item.type != "message":
            continue
        parts = [_Part(text=item.content)] if isinstance(item.content, str) else item.content or []
        text = "".join(part.text for part in parts if part.text and part.type != "refusal")
        refusal = "".join(part.refusal for part in parts if part.refusal)
        texts += [text] if text else []
        refusals += [refusal] if refusal else []
    return texts, refusals, calls


class _Assembler:
    """The events of one streamed response; the last one holds all of it."""

    def __init__(self) -> None:
        self.finished = False
        self._answer = Answer()

    def feed(self, data: bytes) -> None:
        """Take one event."""
        if data == b"[DONE]":
            return
        event = _event_decoder.decode(data)
        if event.type == "error":
            self._answer.error = event.error or {"code": event.code, "message": event.message}
        elif event.type in _LAST and event.response is not None:
            self.finished = True
            self._answer = _answer(event.response)

    def answer(self) -> Answer:
        """What the last event says."""
        return self._answer


WIRE = Wire("/responses", bearer, encode, decode, _Assembler, idempotent=True)
