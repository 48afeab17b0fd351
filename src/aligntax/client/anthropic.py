"""Anthropic Messages. A schema is asked for as the input of one tool that the model must use: every model has that."""

from __future__ import annotations

from typing import Any

import msgspec

from ..errors import InputError
from ..types import Request
from .answer import Answer, Wire
from .names import Target
from .settings import ClientSettings

_VERSION = "2023-06-01"
_TOOL = "answer"


class _Block(msgspec.Struct):
    type: str = ""
    text: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"")


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None

    @property
    def prompt_tokens(self) -> int | None:
        """All of the prompt: what a cache of the vendor held is counted apart."""
        if self.input_tokens is None:
            return None
        return (
            self.input_tokens + (self.cache_creation_input_tokens or 0) + (self.cache_read_input_tokens or 0)
        )


class _Details(msgspec.Struct):
    type: str | None = None
    category: str | None = None


class _Body(msgspec.Struct):
    content: list[_Block] | None = None
    stop_reason: str | None = None
    stop_details: _Details | None = None
    model: str | None = None
    usage: _Usage | None = None
    error: Any = None


class _Delta(msgspec.Struct):
    text: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    stop_details: _Details | None = None


class _Event(msgspec.Struct):
    type: str = ""
    index: int = 0
    message: _Body | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: Any = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Body)
_event_decoder = msgspec.json.Decoder(_Event)


def headers(key: str | None) -> dict[str, str]:
    """The headers that every call needs."""
    return {"anthropic-version": _VERSION, **({"x-api-key": key} if key else {})}


def encode(request: Request, target: Target, settings: ClientSettings) -> bytes:
    """The body of the request. This interface has no seed, so none is sent; it insists on `max_tokens`."""
    body: dict[str, Any] = {
        "model": target.model,
        "max_tokens": request.max_tokens or settings.max_tokens,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
    }
    if request.system:  # an empty one is refused
        body["system"] = request.system
    for field in ("temperature", "top_p"):
        value = getattr(request, field)
        if value is not None:
            body[field] = value
    if request.schema is not None:
        if request.schema.get("type") != "object":
            raise InputError(
                "the schema of an answer is not an object", where="schema", remedy='give it "type": "object"'
            )
        body["tools"] = [{"name": _TOOL, "description": "Give the answer.", "input_schema": request.schema}]
        body["tool_choice"] = {"type": "tool", "name": _TOOL}
    if settings.stream:
        body["stream"] = True
    return _encoder.encode(body | settings.extra if settings.extra else body)


def decode(content: bytes) -> Answer:
    """The answer in the body of a reply."""
    body = _decoder.decode(content)
    if body.content is None and body.error is None:
        raise msgspec.ValidationError("a reply without content")
    return _answer(body)


def _answer(body: _Body) -> Answer:
    blocks, usage, details = body.content or [], body.usage or _Usage(), body.stop_details
    tools = [block for block in blocks if block.type.endswith("tool_use")]
    wanted = [block for block in tools if block.name == _TOOL]
    text = "".join(block.text for block in blocks if block.type == "text" and block.text)
    return Answer(
        text=bytes(wanted[0].input).decode() if wanted else text,
        raw=body.stop_reason,
        structured=bool(wanted),
        tool_calls=len(tools) - len(wanted),
        detail=(details.category or details.type) if details else None,
        error=body.error,
        model=body.model,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.output_tokens,
    )


class _Assembler:
    """The events of one streamed message."""

    def __init__(self) -> None:
        self.finished = False
        self._body = _Body()
        self._blocks: dict[int, _Block] = {}
        self._pieces: dict[int, list[str]] = {}

    def feed(self, data: bytes) -> None:
        """Take one event."""
        event = _event_decoder.decode(data)
        if event.type == "message_start" and event.message is not None:
            self._body = event.message
        elif event.type == "content_block_start" and event.content_block is not None:
            self._blocks[event.index] = event.content_block
            self._pieces[event.index] = [event.content_block.text or ""]
        elif event.type == "content_block_delta" and event.delta is not None:
            piece = event.delta.text or event.delta.partial_json
            if piece:
                self._pieces.setdefault(event.index, []).append(piece)
        elif event.type == "message_delta":
            self._end(event)
        elif event.type == "message_stop":
            self.finished = True
        elif event.type == "error":
            self._body.error = event.error

    def answer(self) -> Answer:
        """What the events say together."""
        for index, block in self._blocks.items():
            whole = "".join(self._pieces[index])
            if block.type == "text":
                block.text = whole
            elif whole:
                block.input = msgspec.Raw(whole.encode())
        self._body.content = [block for _, block in sorted(self._blocks.items())]
        return _answer(self._body)

    def _end(self, event: _Event) -> None:
        if event.delta is not None:
            self._body.stop_reason = event.delta.stop_reason or self._body.stop_reason
            self._body.stop_details = event.delta.stop_details or self._body.stop_details
        if event.usage is None:
            return
        usage = self._body.usage or _Usage()
        for field in _Usage.__struct_fields__:  # counts are running totals; a later one stands for all
            value = getattr(event.usage, field)
            if value is not None:
                setattr(usage, field, value)
        self._body.usage = usage


WIRE = Wire("/messages", headers, encode, decode, _Assembler, idempotent=False)
