"""Messages in any vendor's shape: what was asked, what came before, what was answered.

One set of functions reads OpenAI content parts, Anthropic blocks, OpenTelemetry parts and plain strings:
a part is text when it says so or carries only text, and reasoning is never part of an answer.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec

from ..json_text import parsed

_TEXT = frozenset({"text", "input_text", "output_text", None})
_REASONING = frozenset({"reasoning", "thinking", "redacted_thinking", "reasoning_content"})
_TOOL_CALLS = frozenset(
    {"tool_call", "tool_use", "function_call", "server_tool_use", "mcp_tool_use", "custom_tool_call"}
)
_TOOL_RESULTS = frozenset({"tool_result", "tool_call_response", "function_call_output"})
_ROLES = {
    "developer": "system",
    "human": "user",
    "ai": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "function": "tool",
}


class Turns(NamedTuple):
    """`prompt` is the last user turn. `history` holds the other user, assistant and tool turns in their
    order, as a JSON array, or None: those before the prompt, and any tool exchange between it and the answer.
    """

    system: str | None
    history: str | None
    prompt: str


class Answer(NamedTuple):
    """What an assistant message says; `refused` when the vendor put the text into a refusal field."""

    text: str
    refused: bool
    tool_calls: int


def text_of(content: Any, joint: str = "\n") -> str:
    """The text of a content value: a string, a part, or parts; images, tools and reasoning have none.

    Adjacent text parts are joined by `joint`, parts with something else between them by a blank line.
    """
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, dict):
        return _part_text(content) or ""
    if not isinstance(content, list):
        return str(content)
    pieces: list[str] = []
    apart = False
    for part in content:
        piece = part if isinstance(part, str) else _part_text(part)
        if piece is None:
            apart = bool(pieces)
            continue
        if pieces:
            pieces.append("\n\n" if apart else joint)
        pieces.append(piece)
        apart = False
    return "".join(pieces)


def _part_text(part: Any) -> str | None:
    if not isinstance(part, dict) or part.get("type") not in _TEXT:
        return None
    text = part.get("text", part.get("content"))
    if isinstance(text, dict):  # {"text": {"value": ...}} of the Assistants API
        text = text.get("value")
    return text if isinstance(text, str) else text_of(text) if isinstance(text, list) else None


def split(messages: list[Any], system: Any = None) -> Turns:
    """The turns of a request. `system` is a system text given apart, as Anthropic and Responses do."""
    systems = [text_of(system)] if system else []
    talk: list[dict[str, str]] = []
    asked = None
    for message in messages:
        role, content = _role_and_content(message)
        if role is None:
            continue
        if role == "system":
            systems.append(text_of(content))
            continue
        if role == "user":
            asked = len(talk)
        talk.append({"role": role, "content": text_of(content)})
    if asked is None and talk:  # no user turn: a completion of whatever came last
        asked = len(talk) - 1
    prompt = talk.pop(asked)["content"] if asked is not None else ""
    history = msgspec.json.encode(talk).decode() if talk else None
    return Turns("\n\n".join(s for s in systems if s) or None, history, prompt)


def _role_and_content(message: Any) -> tuple[str | None, Any]:
    if isinstance(message, str):
        return "user", message
    if not isinstance(message, dict):
        return None, None
    kind = message.get("type")
    if kind in _TOOL_CALLS or kind in _REASONING:  # items of a Responses input
        return (None, None) if kind in _REASONING else ("assistant", "")
    if kind in _TOOL_RESULTS:
        return "tool", message.get("output")
    role = message.get("role") or message.get("from") or kind
    if not isinstance(role, str):
        return None, None
    content = message.get("content")
    if content is None:
        content = message.get("parts", message.get("text", message.get("value")))
    role = _ROLES.get(role.lower(), role.lower())
    if role == "user" and _only_tool_results(content):
        role = "tool"
    return role, content


def _only_tool_results(content: Any) -> bool:
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(part, dict) and part.get("type") in _TOOL_RESULTS for part in content)
    )


def answer_of(message: Any) -> Answer:
    """What an assistant message (a dict, its content parts, or a plain string) says."""
    if not isinstance(message, dict):
        message = {"content": message}
    content = message.get("content")
    if content is None:
        content = message.get("parts", message.get("text"))
    text = text_of(content, joint="")
    refusal = message.get("refusal")
    calls = message.get("tool_calls")
    count = len(calls) if isinstance(calls, list | dict) else 0
    if message.get("function_call"):
        count += 1
    if isinstance(content, list):
        count += sum(isinstance(part, dict) and part.get("type") in _TOOL_CALLS for part in content)
        refusal = refusal or "".join(
            str(part.get("refusal") or "")
            for part in content
            if isinstance(part, dict) and part.get("type") == "refusal"
        )
    if isinstance(refusal, str) and refusal:
        return Answer(f"{text}\n\n{refusal}" if text else refusal, True, count)
    return Answer(text, False, count)


_SPEAKER = re.compile(r"^\s*(system|user|human|assistant|ai)\s*:[ \t]*", re.IGNORECASE | re.MULTILINE)
_TRANSCRIPT = re.compile(r"\s*(?:user|human)\s*:", re.IGNORECASE)


def transcript(text: str) -> list[dict[str, str]] | None:
    """The messages of a talk written out as "user: ... assistant: ... user: ..."; None for any other text.

    It must start with the user, hold an answer, and end with the user (or an open "assistant:"), which a
    prompt that only quotes a talk seldom does.
    """
    if not _TRANSCRIPT.match(text):
        return None
    marks = list(_SPEAKER.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    talk = [
        {"role": mark[1].lower(), "content": text[mark.end() : end].strip()}
        for mark, end in zip(marks, ends, strict=True)
    ]
    if talk[-1]["role"] in {"assistant", "ai"} and not talk[-1]["content"]:
        talk.pop()
    spoken = [turn["role"] in {"assistant", "ai"} for turn in talk]
    return talk if any(spoken) and not spoken[-1] else None


def as_messages(value: Any) -> list[Any] | None:
    """The messages in a request value: a list, {"messages": [...]}, either as JSON text, or a transcript; else None."""
    if isinstance(value, str):
        if not (value.lstrip()[:1] in {"[", "{"} and '"role"' in value):
            return transcript(value)
        value = parsed(value)
    if isinstance(value, dict):
        value = value.get("messages", [value] if "role" in value else None)
    if (
        isinstance(value, list)
        and value
        and all(isinstance(turn, dict) and ("role" in turn) for turn in value)
    ):
        return value
    return None
