"""From what a rubric asks to the JSON schema that is sent, and to the type that the reply is read into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ..errors import InputError

_REMEDY = "use texts with an enum, arrays of these, booleans, integers or numbers with bounds, or plain texts"


class Field(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"least": "from"}):
    """One question of a rubric file: exactly one way to answer it."""

    choices: tuple[str, ...] = ()
    several: tuple[str, ...] = ()  # any number of these, or none
    least: int | None = None  # whole numbers from this one on; `from` in the file
    to: int | None = None
    yes_or_no: bool = False
    text: bool = False

    def schema(self) -> dict[str, Any]:
        """Its JSON schema. Raises ValueError for a question that has no way, or several, to be answered."""
        numbers = self.least is not None or self.to is not None
        if sum(map(bool, (self.choices, self.several, numbers, self.yes_or_no, self.text))) != 1:
            raise ValueError("needs one of: choices, several, from and to, yes_or_no, text")
        if self.choices:
            return {"type": "string", "enum": list(self.choices)}
        if self.several:
            return {"type": "array", "items": {"type": "string", "enum": list(self.several)}}
        if numbers:
            if self.least is None or self.to is None or self.least >= self.to:
                raise ValueError("needs a `from` below its `to`")
            return {"type": "integer", "minimum": self.least, "maximum": self.to}
        return {"type": "boolean" if self.yes_or_no else "string"}


def object_of(properties: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """A JSON schema of an object with these properties, all of them required and no others: vendors can hold to it."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def answer_type(schema: Mapping[str, Any], where: str) -> type[msgspec.Struct]:
    """The record that a reply is decoded into: strict, with all fields required and no others.

    Raises InputError for a schema beyond what can be checked: properties of plain types, nothing nested.
    """
    properties = schema.get("properties")
    if schema.get("type") != "object" or not isinstance(properties, Mapping) or not properties:
        raise InputError("the schema is no object with properties", where=where, remedy=_REMEDY)
    if set(schema.get("required", ())) != set(properties) or schema.get("additionalProperties") is not False:
        raise InputError(
            "the schema does not require all of its properties, and nothing else",
            where=where,
            remedy='list them all under "required" and set "additionalProperties" to false',
        )
    for name in properties:
        if not str(name).isidentifier() or str(name).startswith("_"):
            raise InputError("a field has no plain name", where=where, remedy="use letters, digits and _")
    fields = [(name, _type(part, f"{where}, {name}")) for name, part in properties.items()]
    return msgspec.defstruct("Answer", fields, kw_only=True, frozen=True, forbid_unknown_fields=True)


def fields_of(record: msgspec.Struct) -> dict[str, Any]:
    """What a reply says, by field; of several choices each once."""
    values = msgspec.structs.asdict(record)
    return {
        name: list(dict.fromkeys(value)) if isinstance(value, list) else value
        for name, value in values.items()
    }


def _type(schema: Any, where: str) -> Any:
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    if kind == "string" and "enum" in schema:
        return _literal(schema["enum"], where)
    if kind == "string" and set(schema) <= {"type", "description"}:
        return str
    if kind == "boolean":
        return bool
    if kind in {"integer", "number"} and "minimum" in schema and "maximum" in schema:
        bounds = Meta(ge=schema["minimum"], le=schema["maximum"])
        return Annotated[int, bounds] if kind == "integer" else Annotated[float, bounds]
    if kind == "array" and isinstance(items := schema.get("items"), Mapping) and "enum" in items:
        return list[_literal(items["enum"], where)]  # type: ignore[misc]
    raise InputError("the answer to this cannot be checked", where=where, remedy=_REMEDY)


def _literal(choices: Any, where: str) -> Any:
    if not isinstance(choices, Sequence) or not choices or not all(isinstance(one, str) for one in choices):
        raise InputError("the choices are not texts", where=where, remedy="put yes, no and numbers in quotes")
    return Literal[tuple(choices)]
