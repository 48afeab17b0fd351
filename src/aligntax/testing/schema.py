"""Fills a JSON schema with valid, seeded values, for answers that must follow one."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

_WORDS = ["alpha", "brook", "cedar", "delta", "ember", "field", "grove", "harbour", "inlet", "jasper"]
_DEEPEST = 12  # a schema that refers to itself ends here


def filled(schema: dict[str, Any], chance: Random) -> str:
    """JSON text that follows the schema: types, enums, constants, bounds, required and other properties, `$ref`."""
    return msgspec.json.encode(_value(schema, chance, schema, 0)).decode()


def _value(schema: Any, chance: Random, root: dict[str, Any], depth: int) -> Any:
    if not isinstance(schema, dict):
        return None
    if isinstance(target := schema.get("$ref"), str):
        return _value(_resolved(target, root), chance, root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return chance.choice(schema["enum"])
    for several in ("anyOf", "oneOf"):
        if schema.get(several):
            choices = schema[several]
            choice = chance.choice(choices) if depth < _DEEPEST else choices[-1]
            return _value(choice, chance, root, depth + 1)
    if schema.get("allOf"):
        whole: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
        for part in schema["allOf"]:
            whole = _merged(whole, _resolved(part["$ref"], root) if "$ref" in part else part)
        return _value(whole, chance, root, depth + 1)
    kind = schema.get("type") or ("object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = chance.choice(kind)
    return _of_kind(kind, schema, chance, root, depth)


def _of_kind(kind: str, schema: dict[str, Any], chance: Random, root: dict[str, Any], depth: int) -> Any:
    if kind == "object":
        properties = schema.get("properties", {})
        names = properties if depth < _DEEPEST else schema.get("required", ())
        return {name: _value(properties.get(name, {}), chance, root, depth + 1) for name in names}
    if kind == "array":
        least = schema.get("minItems", 0 if depth >= _DEEPEST else 1)
        count = chance.randint(least, max(least, min(schema.get("maxItems", least + 1), least + 1)))
        count = count if depth < _DEEPEST else least
        return [_value(schema.get("items", {}), chance, root, depth + 1) for _ in range(count)]
    if kind == "integer":
        low, high = _bounds(schema, 1)
        return chance.randint(int(-(-low // 1)), int(high // 1))
    if kind == "number":
        low, high = _bounds(schema, 1e-6)
        return round(chance.uniform(low, high), 6)
    if kind == "boolean":
        return chance.random() < 0.5
    return None if kind == "null" else _text(schema, chance)


def _bounds(schema: dict[str, Any], step: float) -> tuple[float, float]:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    low = (0 if high is None else min(0, high - 10)) if low is None else low
    high = low + 10 if high is None else high
    low += step if "exclusiveMinimum" in schema and "minimum" not in schema else 0
    high -= step if "exclusiveMaximum" in schema and "maximum" not in schema else 0
    return low, max(low, high)


def _text(schema: dict[str, Any], chance: Random) -> str:
    text = " ".join(chance.sample(_WORDS, 3))
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    while len(text) < least:
        text += f" {chance.choice(_WORDS)}"
    return text if most is None else text[:most]


def _resolved(target: str, root: dict[str, Any]) -> Any:
    found: Any = root
    for step in target.lstrip("#/").split("/") if target != "#" else ():
        found = found.get(step, {}) if isinstance(found, dict) else {}
    return found


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    both = {**one, **other}
    if "properties" in one and "properties" in other:
        both["properties"] = {**one["properties"], **other["properties"]}
    return both
