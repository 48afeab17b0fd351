"""The attributes of a model call, in each generation of the conventions, as one exchange."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..json_text import parsed
from ..outcomes import classify
from .rows import told
from .source import BadRow
from .turns import answer_of, as_messages, split, text_of
from .values import as_int, as_tags, as_text, as_time, elapsed_ms, use_case_of

if TYPE_CHECKING:
    from .otlp import Span
    from .rows import Row

_CALL_OPERATIONS = frozenset({"chat", "text_completion", "generate_content", "completion", "message"})
_CONTENT = (
    "gen_ai.input.messages",
    "gen_ai.prompt.0.",
    "gen_ai.completion.0.",
    "llm.input_messages.0.",
    "llm.prompts.",
)
_OURS = ("gen_ai.", "llm.", "openinference.", "input.", "output.", "telemetry.")


def is_genai(attributes: dict[str, Any]) -> bool:
    """Whether any attribute belongs to a GenAI convention."""
    return any(str(key).startswith(("gen_ai.", "llm.", "openinference.")) for key in attributes)


def is_call(attributes: dict[str, Any]) -> bool:
    """Whether these are the attributes of a model call itself, not of something around it."""
    if kind := attributes.get("openinference.span.kind"):
        return str(kind).upper() == "LLM"
    if operation := attributes.get("gen_ai.operation.name") or attributes.get("llm.request.type"):
        return str(operation).lower() in _CALL_OPERATIONS
    return any(key.startswith(_CONTENT) for key in attributes)


def exchange_of_call(span: Span) -> Row:
    """The exchange of a call's span; BadRow where the instrumentation kept no content."""
    has = span.attributes
    asked, said = _messages(span)
    if asked is None and said is None and not span.failure:
        raise BadRow("no messages")
    message = said[0] if said else {}
    answer = answer_of(message)
    finish = (
        has.get("gen_ai.response.finish_reasons")
        or message.get("finish_reason")
        or has.get("llm.finish_reason")
    )
    if isinstance(finish, list):
        finish = finish[0] if finish else None
    ending = classify(
        as_text(finish) or as_text(_json(has.get("output.value"), "finish_reason")),
        answer.text,
        refused=answer.refused,
        tool_calls=answer.tool_calls,
        error={"message": span.failure, "type": has.get("error.type")} if span.failure else None,
    )
    turns = split(asked or [], parsed(has.get("gen_ai.system_instructions")))
    start, end = as_time(span.start), as_time(span.end)
    metadata = parsed(has.get("metadata"))
    own = {key: value for key, value in has.items() if not key.startswith(_OURS) and key != "metadata"}
    return {
        "source_id": span.span_id or as_text(has.get("gen_ai.response.id")),
        "time": start,
        **told(turns, answer, ending),
        "model_requested": as_text(has.get("gen_ai.request.model") or has.get("llm.model_name")),
        "model_served": as_text(has.get("gen_ai.response.model")),
        "use_case": use_case_of(own, metadata) or as_text(span.resource.get("service.name")),
        "latency_ms": elapsed_ms(start, end),
        "prompt_tokens": _tokens(has, "input", "prompt"),
        "completion_tokens": _tokens(has, "output", "completion"),
        "tags": as_tags(own, metadata),
    }


def _tokens(has: dict[str, Any], new: str, old: str) -> int | None:
    names = (f"gen_ai.usage.{new}_tokens", f"gen_ai.usage.{old}_tokens", f"llm.token_count.{old}")
    return next((count for name in names if (count := as_int(has.get(name))) is not None), None)


def _messages(span: Span) -> tuple[list[Any] | None, list[Any] | None]:
    """Messages in and out, from the first place that has any; None where nothing was captured."""
    has = span.attributes
    asked = _list(has.get("gen_ai.input.messages"))
    said = _list(has.get("gen_ai.output.messages"))
    if asked is None:
        asked = _indexed(has, "gen_ai.prompt.") or _openinference(has, "llm.input_messages.")
    if said is None:
        said = _indexed(has, "gen_ai.completion.") or _openinference(has, "llm.output_messages.")
    for name, inner in span.events:
        if name == "gen_ai.content.prompt":
            asked = asked or _list(inner.get("gen_ai.prompt"))
        elif name == "gen_ai.content.completion":
            said = said or _list(inner.get("gen_ai.completion"))
        elif name == "gen_ai.choice":
            said = said or [{**inner, **(_dict(inner.get("message")) or {})}]
        elif name.startswith("gen_ai.") and name.endswith(".message"):
            asked = [*(asked or []), {"role": name.split(".")[1], **inner}]
    if asked is None and (value := has.get("input.value", has.get("gen_ai.prompt"))) is not None:
        asked = as_messages(value) or [text_of(value)]
    if said is None and (value := has.get("output.value", has.get("gen_ai.completion"))) is not None:
        said = [_output_value(value)]
    return asked, said


def _output_value(value: Any) -> dict[str, Any]:
    body = _dict(value)
    choices = body.get("choices") if body else None
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return {**(choices[0].get("message") or {}), "finish_reason": choices[0].get("finish_reason")}
    return body if body and {"content", "parts"} & body.keys() else {"content": text_of(value)}


def _indexed(has: dict[str, Any], prefix: str) -> list[Any] | None:
    """Messages spread over attributes such as gen_ai.prompt.0.content (OpenLLMetry)."""
    messages = _nested(has, prefix)
    for message in messages or ():
        content = message.get("content")
        if isinstance(content, str) and content.startswith("[{"):  # content parts in JSON
            message["content"] = _list(content) or content
    return messages


def _openinference(has: dict[str, Any], prefix: str) -> list[Any] | None:
    """Messages spread over attributes such as llm.input_messages.0.message.content."""
    messages = [entry.get("message") or {} for entry in _nested(has, prefix) or ()]
    for message in messages:
        if isinstance(message.get("contents"), list) and message.get("content") is None:
            message["content"] = [part.get("message_content") for part in message["contents"]]
    return messages or None


def _nested(has: dict[str, Any], prefix: str) -> list[dict[str, Any]] | None:
    """The list of dicts that attributes with this prefix spell out, positions being numbers in their names."""
    tree: dict[str, Any] = {}
    for key, value in has.items():
        if not key.startswith(prefix):
            continue
        *steps, last = key[len(prefix) :].split(".")
        at = tree
        for step in steps:
            inner = at.setdefault(step, {})
            at = inner if isinstance(inner, dict) else {}
        at[last] = value
    found = _listed(tree)
    return (
        [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) and found else None
    )


def _listed(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    if tree and all(key.isdigit() for key in tree):
        return [_listed(tree[key]) for key in sorted(tree, key=int)]
    return {key: _listed(value) for key, value in tree.items()}


def _list(value: Any) -> list[Any] | None:
    found = parsed(value)
    return found if isinstance(found, list) else None


def _dict(value: Any) -> dict[str, Any] | None:
    found = parsed(value)
    return found if isinstance(found, dict) else None


def _json(value: Any, key: str) -> Any:
    body = _dict(value)
    return body.get(key) if body else None
