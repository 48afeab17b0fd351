"""OpenAI chat completions, as OpenAI, Azure, vLLM, Ollama, OpenRouter and many others speak it."""

from __future__ import annotations

from typing import Any

import msgspec

from ..outcomes import filtered_categories
from ..types import Request
from .answer import Answer, Wire, bearer
from .names import Target
from .schemas import is_strict
from .settings import ClientSettings


class _Part(msgspec.Struct):
    type: str = ""
    text: str | None = None
    refusal: str | None = None


class _Message(msgspec.Struct):
    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: list[msgspec.Raw] | None = None
    function_call: msgspec.Raw | None = None


class _Choice(msgspec.Struct):
    message: _Message | None = None
    delta: _Message | None = None
    finish_reason: str | None = None
    index: int = 0
    content_filter_results: Any = None
    error: Any = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Body(msgspec.Struct):
    choices: list[_Choice] | None = None
    model: str | None = None
    usage: _Usage | None = None
    error: Any = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Body)


def encode(request: Request, target: Target, settings: ClientSettings) -> bytes:
    """The body of the request."""
    messages = [{"role": message.role, "content": message.content} for message in request.messages]
    if request.system is not None:
        messages.insert(0, {"role": "system", "content": request.system})
    body: dict[str, Any] = {"model": target.model, "messages": messages}
    if request.max_tokens is not None:
        body[target.tokens_field] = request.max_tokens
    for field in ("temperature", "top_p", "seed"):
        value = getattr(request, field)
        if value is not None:
            body[field] = value
    if request.schema is not None:
        wanted = {"name": "answer", "schema": request.schema, "strict": is_strict(request.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": wanted}
    if settings.stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return _encoder.encode(body | settings.extra if settings.extra else body)


def decode(content: bytes) -> Answer:
    """The answer in the body of a reply."""
    body = _decoder.decode(content)
    if body.choices is None and body.error is None:
        raise msgspec.ValidationError("a reply without choices")
    answer = Answer(model=body.model, error=body.error)
    if body.usage:
        answer.prompt_tokens, answer.completion_tokens = (
            body.usage.prompt_tokens,
            body.usage.completion_tokens,
        )
    if not body.choices:
        return answer
    choice = body.choices[0]
    message = choice.message or _Message()
    texts, refusals = _said(message)
    answer.refused = bool(refusals)
    answer.text = "".join(texts) or "".join(refusals)
    answer.raw = choice.finish_reason
    answer.tool_calls = len(message.tool_calls or ()) + (_is_set(message.function_call))
    answer.detail = filtered_categories(choice.content_filter_results)
    answer.error = answer.error or choice.error
    return answer


def _said(message: _Message) -> tuple[list[str], list[str]]:
    """Texts, and refusals, in their order."""
    content = message.content
    parts = [_Part(text=content)] if isinstance(content, str) else content or []
    texts = [part.text for part in parts if part.text and part.type != "refusal"]
    refusals = [said for part in parts if (said := part.refusal)]
    return texts, [*refusals, *([message.refusal] if message.refusal else [])]


def _is_set(value: msgspec.Raw | None) -> bool:
    return value is not None and bytes(value) != b"null"


class _Assembler:
    """The chunks of one streamed completion."""

    def __init__(self) -> None:
        self.finished = False
        self._answer = Answer()
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._calls = 0

    def feed(self, data: bytes) -> None:
        """Take one chunk; "[DONE]" is the last, where a server sends it."""
        if data == b"[DONE]":
            self.finished = True
            return
        body, answer = _decoder.decode(data), self._answer
        answer.model = body.model or answer.model
        answer.error = answer.error or body.error
        if body.usage:
            answer.prompt_tokens, answer.completion_tokens = (
                body.usage.prompt_tokens,
                body.usage.completion_tokens,
            )
        for choice in body.choices or ():
            if choice.index == 0:
                self._take(choice)

    def answer(self) -> Answer:
        """What the chunks say together."""
        self._answer.text = "".join(self._texts) or "".join(self._refusals)
        self._answer.refused = bool(self._refusals)
        self._answer.tool_calls = self._calls
        return self._answer

    def _take(self, choice: _Choice) -> None:
        answer = self._answer
        if delta := choice.delta:
            texts, refusals = _said(delta)
            self._texts += texts
            self._refusals += refusals
            self._calls += len(delta.tool_calls or ()) + _is_set(delta.function_call)
        if choice.finish_reason:
            answer.raw, self.finished = choice.finish_reason, True
        answer.detail = filtered_categories(choice.content_filter_results) or answer.detail
        answer.error = answer.error or choice.error


WIRE = Wire("/chat/completions", bearer, encode, decode, _Assembler, idempotent=True)
