"""The table of readers. A value is "module:function", imported when a file needs it."""

from __future__ import annotations

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
    for name in ("otlp", "langfuse", "openai_responses", "anthropic", "openai_chat", "promptfoo", "inspect")
}
