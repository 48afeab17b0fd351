"""The table of readers. A value is "module:function", imported when a file needs it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

READERS: dict[str, str] = {
    "jsonl": "aligntax.logs.jsonl:read",
    "csv": "aligntax.logs.csv:read",
    "parquet": "aligntax.logs.parquet:read",
    "openai_chat": "aligntax.logs.openai_chat:read",
    "openai_responses": "aligntax.logs.openai_responses:read",
    "anthropic": "aligntax.logs.anthropic:read",
    "otlp": "aligntax.logs.otlp:read",
    "langfuse": "aligntax.logs.langfuse:read",
    "inspect": "aligntax.logs.inspect:read",
    "promptfoo": "aligntax.logs.promptfoo:read",
}

PLAIN = ("jsonl", "csv", "parquet")
"""Formats without a shape of their own; every other module also has `matches(record)`, asked in this order."""

RECORD_FORMATS = {
    name: READERS[name].partition(":")[0]
    for name in ("otlp", "langfuse", "inspect", "promptfoo", "openai_responses", "anthropic", "openai_chat")
}


def matches(name: str, record: dict[str, Any]) -> bool:
    """Whether the record has the shape of this format."""
    return bool(import_module(RECORD_FORMATS[name]).matches(record))


def format_of(first: list[dict[str, Any]]) -> str | None:
    """The first record format that knows one of the records; None when they are plain."""
    return next((name for record in first for name in RECORD_FORMATS if matches(name, record)), None)
