"""What a live reply means: the values that these vendors' interfaces send today, one `Outcome`.

Logs of many more vendors and years are read by `aligntax.logs`; a test holds this table and these rules equal to those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from ..types import Outcome
from .answer import Answer

ENDED_BY_ITSELF = frozenset(
    {"stop", "completed", "end_turn", "stop_sequence", "pause_turn", "eos", "eos_token"}
)
"""Values that say nothing but "the model stopped": what came back then decides."""

OUTCOMES: dict[str, Outcome] = {
    # OpenAI, Azure, vLLM, Mistral, OpenRouter
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
    # Anthropic
    "max_tokens": Outcome.TRUNCATED,
    "model_context_window_exceeded": Outcome.TRUNCATED,
    "tool_use": Outcome.TOOL_CALL,
    "refusal": Outcome.PROVIDER_REFUSED,
    # Gemini's and Bedrock's words, which gateways in OpenAI's form pass on
    "safety": Outcome.OUTPUT_BLOCKED,
    "recitation": Outcome.OUTPUT_BLOCKED,
    "blocklist": Outcome.OUTPUT_BLOCKED,
    "prohibited_content": Outcome.OUTPUT_BLOCKED,
    "spii": Outcome.OUTPUT_BLOCKED,
    "guardrail_intervened": Outcome.OUTPUT_BLOCKED,
    "content_filtered": Outcome.OUTPUT_BLOCKED,
}

_BLOCK_CODE = re.compile(
    r"content_?filter|content_?policy_?violation|responsible_?ai_?policy|data_?inspection_?failed|cyber_policy"
    r"|safety_violation|prohibited_content|sensitive_words?|content management policy|content filtering policy",
    re.IGNORECASE,
)
# Words that a service in trouble may use of itself as well: believed of 4xx alone.
_BLOCK_WORD = re.compile(
    r"flagged|moderation|guardrail|usage polic|content_policy|inappropriate content|safety system",
    re.IGNORECASE,
)
_BLOCKED_OUTPUT = re.compile(
    r"output (?:data|text|was)?\s?(?:may|blocked|contain)|output blocked|generated (?:text|content)|flagged_?output",
    re.IGNORECASE,
)
_MARKER = re.compile(
    r"\s*[\[<(*_]+\s*(?:content|output|response|message)[ _-](?:filter(?:ed)?|blocked|removed|withheld)"
    r"(?: by [\w ]{1,40})?\s*[\])>*_.]*\s*",
    re.IGNORECASE,
)
_LONGEST_MARKER = 80
_LONGEST_CODE = 80
_LONGEST_MESSAGE = 2000
_DEEPEST = 6
_ERROR_KEYS = ("code", "type", "message", "raw", "reasons", "error", "innererror", "metadata", "body")


class Ending(NamedTuple):
    """The outcome, the vendor's own value, and the category or code behind it."""

    outcome: Outcome
    raw: str | None
    detail: str | None


def ending(answer: Answer, status: int = 200) -> Ending:
    """How a call ended that brought `answer` with this HTTP status. The wording of an answer never decides."""
    if answer.error or status >= 300:
        return _failed(answer, status)
    word = re.sub(r"[\s.\-]+", "_", answer.raw.strip().lower()) if answer.raw else ""
    raw, detail, text = answer.raw, answer.detail, answer.text
    if answer.structured and word in {
        "tool_use",
        "end_turn",
    }:  # we asked for the tool, as the form of the answer
        return Ending(Outcome.ANSWERED, raw, detail)
    if len(text) <= _LONGEST_MARKER and _MARKER.fullmatch(text):
        return Ending(Outcome.OUTPUT_BLOCKED, raw, detail or "filter marker in place of the text")
    known = None if word in ENDED_BY_ITSELF else OUTCOMES.get(word)
    if known is not None:
        return Ending(known, raw, detail)
    if answer.refused:
        return Ending(Outcome.PROVIDER_REFUSED, raw, detail or "refusal field")
    if text and not text.isspace():
        return Ending(Outcome.ANSWERED, raw, detail)
    return Ending(Outcome.TOOL_CALL if answer.tool_calls else Outcome.EMPTY, raw, detail)


def filtered_categories(results: Any) -> str | None:
    """The categories that Azure's content filter acted on, from `content_filter_result(s)`."""
    if not isinstance(results, dict):
        return None
    names = [name for name, result in results.items() if isinstance(result, dict) and result.get("filtered")]
    return ", ".join(sorted(names)) or None


def _failed(answer: Answer, status: int) -> Ending:
    signs = Signs(answer.error)
    value = answer.raw or signs.code or (str(status) if status >= 400 else None)
    detail = answer.detail or signs.categories or (signs.code if signs.code != value else None)
    said = " ".join(signs.texts)
    trouble = status >= 500 or status in {408, 429}
    if _BLOCK_CODE.search(said) or (not trouble and _BLOCK_WORD.search(said)):
        cut = bool(answer.text.strip()) or bool(_BLOCKED_OUTPUT.search(said))
        return Ending(Outcome.OUTPUT_BLOCKED if cut else Outcome.INPUT_BLOCKED, value, detail)
    return Ending(Outcome.ERROR, value, detail)


class Signs:
    """The codes and messages in an error body, however deep a gateway has wrapped it."""

    def __init__(self, error: Any) -> None:
        self.texts: list[str] = []
        self.message: str | None = None  # the innermost that is for people
        self.categories: str | None = None
        self.codes: list[str] = []
        for key, value in _walk(error, None, 0):
            if isinstance(value, dict):
                results = value.get("content_filter_result") or value.get("content_filter_results")
                self.categories = self.categories or filtered_categories(results)
                continue
            if key in {"code", "type"}:
                self.codes.append(str(value)[:_LONGEST_CODE])
            if isinstance(value, str):
                self.texts.append(value[:_LONGEST_MESSAGE])
                if key in {"message", None} and not value.lstrip().startswith(("{", "[", "<")):
                    self.message = value[:_LONGEST_MESSAGE]

    @property
    def code(self) -> str | None:
        """The code that says most: one of a policy, else a word, else a number."""
        words = [code for code in self.codes if not code.isdigit() and code != "error"]
        blocked = [code for code in words if _BLOCK_CODE.search(code)]
        return next(iter(blocked or words or self.codes), None)


def _walk(value: Any, key: str | None, depth: int) -> Iterator[tuple[str | None, Any]]:
    """Every text, code and object in an error body, with the key it stands under."""
    if isinstance(value, str):
        yield key, value
        if value.lstrip()[:1] in {"{", "["}:  # a provider's body, which a gateway passed on as text
            try:
                yield from _walk(msgspec.json.decode(value), key, depth + 1)
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                return
    elif isinstance(value, int) and key == "code" and not isinstance(value, bool):
        yield key, value
    elif isinstance(value, list):
        for inner in value[:20]:
            yield from _walk(inner, key, depth + 1)
    elif isinstance(value, dict) and depth < _DEEPEST:
        yield key, value
        for name in _ERROR_KEYS:
            if name in value:
                yield from _walk(value[name], name, depth + 1)
