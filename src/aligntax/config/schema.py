"""The JSON schema of aligntax.yaml, for editors."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from .read import ALIAS
from .shape import TARGETS, Config

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_UNSAID = ("default", "x-aligntax")  # the file's defaults are described; our marks are for ourselves
_PERCENT = r"^(\d+\.?\d*|\.\d+) ?%$"


def schema_text() -> str:
    """The schema as JSON text, made from the records that the reader follows."""
    schema = msgspec.json.schema(Config)
    found = {name: _completed(section) for name, section in schema["$defs"].items()}
    top = found.pop("Config")
    whole = {
        "$schema": DIALECT,
        **top,
        "title": "aligntax.yaml",
        "type": "object",
        "$defs": {**found, **_scalars()},
    }
    return json.dumps(whole, indent=2, ensure_ascii=True) + "\n"


def _completed(schema: Any) -> Any:
    """`schema` with what msgspec cannot say: rates may be percentages, keys of limits are names of rates."""
    if isinstance(schema, list):
        return [_completed(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-aligntax") == "rate":
        above = "exclusiveMinimum" in schema
        return {"$ref": f"#/$defs/{'confidence' if above else 'rate'}"} | _description(schema)
    if schema.get("x-aligntax") == "targets":
        names = {name: {"$ref": "#/$defs/rate", "description": text} for name, text in TARGETS.items()}
        closed = {"type": ["object", "null"], "properties": names, "additionalProperties": False}
        return closed | _description(schema)
    if schema.get("x-aligntax") == "aliases":
        schema = {**schema, "propertyNames": {"pattern": ALIAS.pattern.replace(r"\Z", "$")}}
    if "anyOf" in schema:
        return _only(schema)
    kept = {name: _completed(part) for name, part in schema.items() if name not in _UNSAID}
    if kept.get("type") == "object" and not kept.get("required"):
        kept["type"] = ["object", "null"]  # a section whose lines are all comments is null to YAML
    return kept


def _only(schema: dict[str, Any]) -> dict[str, Any]:
    """An optional field is absent, never null."""
    (one,) = (part for part in schema["anyOf"] if part != {"type": "null"})
    completed: dict[str, Any] = _completed(one)
    return completed | _description(schema)


def _description(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": schema["description"]} if "description" in schema else {}


def _scalars() -> dict[str, Any]:
    percent = {"type": "string", "pattern": _PERCENT}
    return {
        "rate": {
            "title": "rate",
            "description": "From 0 to 1, or as a percentage: 0.05 or 5 %.",
            "anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, percent],
        },
        "confidence": {
            "title": "confidence",
            "description": "Between 0.5 and 1, or as a percentage: 0.95 or 95 %.",
            "anyOf": [{"type": "number", "exclusiveMinimum": 0.5, "exclusiveMaximum": 1}, percent],
        },
    }
