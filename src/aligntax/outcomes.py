"""How a call ended: every vendor's fields, one `Outcome`.

Pure functions over plain values; nothing here reads an answer's wording, except that a text which is
nothing but a filter's placeholder ("[CONTENT_FILTERED]") is taken for what it is.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from .json_text import parsed
from .types import Outcome


class Ending(NamedTuple):
    """`outcome`, the vendor's own value (unchanged), and the category or code behind it."""

    outcome: Outcome
    raw: str | None
    detail: str | None


ENDED_BY_ITSELF = frozenset(
    {
        *("stop", "completed", "complete", "eos", "eos_token", "finished", "success"),
        *(
            "end_turn",
            "stop_sequence",
            "pause_turn",
        ),  # pause_turn: a server tool runs on, the text so far stands
    }
)
"""Values that say nothing but "the model stopped": the content then decides (text, tool call, nothing)."""

OUTCOMES: dict[str, Outcome] = {
    # OpenAI, Azure, vLLM, Mistral, LiteLLM
    "length": Outcome.TRUNCATED,
    "max_output_tokens": Outcome.TRUNCATED,
    "model_length": Outcome.TRUNCATED,
    "content_filter": Outcome.OUTPUT_BLOCKED,
    "tool_calls": Outcome.TOOL_CALL,
    "function_call": Outcome.TOOL_CALL,
    "error": Outcome.ERROR,
    "failed": Outcome.ERROR,
    "cancelled": Outcome.ERROR,
    "abort": Outcome.ERROR,
    "timeout": Outcome.ERROR,
    # Anthropic
    "max_tokens": Outcome.TRUNCATED,
    "model_context_window_exceeded": Outcome.TRUNCATED,
    "tool_use": Outcome.TOOL_CALL,
    "refusal": Outcome.PROVIDER_REFUSED,
    # Gemini
    "safety": Outcome.OUTPUT_BLOCKED,
    "recitation": Outcome.OUTPUT_BLOCKED,
    "blocklist": Outcome.OUTPUT_BLOCKED,
    "prohibited_content": Outcome.OUTPUT_BLOCKED,
    "spii": Outcome.OUTPUT_BLOCKED,
    "image_safety": Outcome.OUTPUT_BLOCKED,
    "image_prohibited_content": Outcome.OUTPUT_BLOCKED,
    "model_armor": Outcome.OUTPUT_BLOCKED,
    "malformed_function_call": Outcome.ERROR,
    "unexpected_tool_call": Outcome.ERROR,
    # Bedrock
    "guardrail_intervened": Outcome.OUTPUT_BLOCKED,
    "content_filtered": Outcome.OUTPUT_BLOCKED,
    "malformed_model_output": Outcome.ERROR,
    "malformed_tool_use": Outcome.ERROR,
    # Cohere
    "error_toxic": Outcome.OUTPUT_BLOCKED,
    "error_limit": Outcome.TRUNCATED,
    "user_cancel": Outcome.ERROR,
    # What gateways and evaluation tools write
    "blocked": Outcome.OUTPUT_BLOCKED,
    "moderation": Outcome.OUTPUT_BLOCKED,
    "tool_call": Outcome.TOOL_CALL,
    "truncated": Outcome.TRUNCATED,
}
"""Finish values in lower case with `_` for `-`, `.` and blanks. The vendors' words do not collide."""

_BLOCK_CODE = re.compile(
    r"content_?filter|content_?policy_?violation|responsible_?ai_?policy|data_?inspection_?failed|cyber_policy"
    r"|safety_violation|prohibited_content|sensitive_words?|content management policy|content filtering policy",
    re.IGNORECASE,
)
# Words that a service in trouble may use of itself as well ("guardrail timed out"): believed of 4xx alone.
_BLOCK_WORD = re.compile(
    r"flagged|moderation|guardrail|usage polic|content_policy|inappropriate content|safety system",
    re.IGNORECASE,
)
_BLOCKED_OUTPUT = re.compile(
    r"output (?:data|text|was)?\s?(?:may|blocked|contain)|output blocked|generated (?:text|content)|flagged_?output",
    re.IGNORECASE,
)
_MARKER = re.compile(
    r"\s*[\[<(*_]*\s*(?:content|output|response|message)[ _-](?:filter(?:ed)?|blocked|removed|withheld)"
    r"(?: by [\w ]{1,40})?\s*[\])>*_.]*\s*",
    re.IGNORECASE,
)
_MARKED = re.compile(r"\s*[\[<(*_]")
_LONGEST_MARKER = 80
_LONGEST_CODE = 80
_LONGEST_MESSAGE = 2000
_DEEPEST = 6
_ERROR_KEYS = ("code", "type", "message", "raw", "reasons", "error", "innererror", "metadata", "body")


def classify(  # noqa: PLR0913 - each is one field of a vendor's reply, and all but two have a default
    raw: str | None,
    text: str,
    *,
    refused: bool = False,
    tool_calls: int = 0,
    status: int | None = None,
    error: Any = None,
    block_reason: str | None = None,
    detail: str | None = None,
) -> Ending:
    """The `Ending` of one call.

    `raw` is the finish or stop reason, `text` what came back, `refused` whether the vendor put that text
    into a refusal field or part, `status` the HTTP status, `error` the error body or message,
    `block_reason` Gemini's `promptFeedback.blockReason`, `detail` the vendor's own category.

    An error wins over a finish reason, a policy block over an error; then the finish reason; and where
    that only says "stopped", or is unknown or absent, what came back decides. Unknown values are kept.
    """
    if block_reason:
        return Ending(Outcome.INPUT_BLOCKED, raw or block_reason, detail or block_reason)
    if error or (status is not None and status >= 400):
        return _failed(raw, text, status, error, detail)
    word = re.sub(r"[\s.\-]+", "_", raw.strip().lower()) if raw else ""
    word = word.removeprefix("finish_reason_").removeprefix("finishreason_")
    if is_filter_marker(text):
        return Ending(Outcome.OUTPUT_BLOCKED, raw, detail or "filter marker in place of the text")
    known = None if word in ENDED_BY_ITSELF else OUTCOMES.get(word)
    if known is not None:
        return Ending(known, raw, detail)
    if refused:
        return Ending(Outcome.PROVIDER_REFUSED, raw, detail or "refusal field")
    if text and not text.isspace():
        return Ending(Outcome.ANSWERED, raw, detail)
    return Ending(Outcome.TOOL_CALL if tool_calls else Outcome.EMPTY, raw, detail)


def is_filter_marker(text: str) -> bool:
    """Whether the text is nothing but a filter's placeholder, such as "[CONTENT_FILTERED]"."""
    return len(text) <= _LONGEST_MARKER and bool(_MARKED.match(text) and _MARKER.fullmatch(text))


def filtered_categories(results: Any) -> str | None:
    """The categories that Azure's content filter acted on, from `content_filter_result(s)`."""
    if not isinstance(results, dict):
        return None
    names = [name for name, result in results.items() if isinstance(result, dict) and result.get("filtered")]
    return ", ".join(sorted(names)) or None


def _failed(raw: str | None, text: str, status: int | None, error: Any, detail: str | None) -> Ending:
    signs = Signs(error)
    value = raw or signs.code or (str(status) if status is not None else None)
    detail = detail or signs.categories or (signs.code if signs.code != value else None)
    said = " ".join(signs.texts)
    trouble = status is not None and (status >= 500 or status in {408, 429})
    if _BLOCK_CODE.search(said) or (not trouble and _BLOCK_WORD.search(said)):
        cut = bool(text.strip()) or bool(_BLOCKED_OUTPUT.search(said))
        return Ending(Outcome.OUTPUT_BLOCKED if cut else Outcome.INPUT_BLOCKED, value, detail)
    return Ending(Outcome.ERROR, value, detail)


class Signs:
    """The codes and messages in an error body, however deep a gateway has wrapped it."""

    def __init__(self, error: Any) -> None:
        self.texts: list[str] = []
        self.message: str | None = None  # the innermost that is for people
        self.categories: str | None = None
        self.codes: list[str] = []
        self._walk(error, None, 0)

    @property
    def code(self) -> str | None:
        """The code that says most: one of a policy, else a word, else a number."""
        words = [code for code in self.codes if not code.isdigit() and code != "error"]
        blocked = [code for code in words if _BLOCK_CODE.search(code)]
        return next(iter(blocked or words or self.codes), None)

    def _walk(self, value: Any, key: str | None, depth: int) -> None:
        if isinstance(value, str):
            self._read(value, key, depth)
        elif isinstance(value, list):
            for inner in value[:20]:
                self._walk(inner, key, depth + 1)
        elif isinstance(value, dict) and depth < _DEEPEST:
            results = value.get("content_filter_result") or value.get("content_filter_results")
            self.categories = self.categories or filtered_categories(results)
            for name in _ERROR_KEYS:
                inner = value.get(name)
                if name in {"code", "type"} and isinstance(inner, str | int):
                    self.codes.append(str(inner)[:_LONGEST_CODE])
                self._walk(inner, name, depth + 1)

    def _read(self, text: str, key: str | None, depth: int) -> None:
        self.texts.append(text[:_LONGEST_MESSAGE])
        if key in {"message", None} and not text.lstrip().startswith(("{", "[", "<")):
            self.message = text[:_LONGEST_MESSAGE]
        if (body := parsed(text)) is not text:  # a provider's, which a gateway passed on as text
            self._walk(body, key, depth + 1)
