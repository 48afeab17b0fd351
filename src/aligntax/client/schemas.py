"""JSON schemas that answers must follow: what vendors ask of them."""

from __future__ import annotations

from typing import Any


def is_strict(schema: Any) -> bool:
    """Whether a schema is in the part of JSON Schema that OpenAI can hold a model to (`strict`).

    There, objects allow nothing but their properties, and require each of them.
    """
    if isinstance(schema, list):
        return all(is_strict(part) for part in schema)
    if not isinstance(schema, dict):
        return True
    properties = schema.get("properties")
    if isinstance(properties, dict) or schema.get("type") == "object":
        names = set(properties) if isinstance(properties, dict) else set()
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != names:
            return False
        if not all(is_strict(part) for part in (properties or {}).values()):
            return False
    return all(is_strict(part) for key, part in schema.items() if key not in {"properties", "enum", "const"})
