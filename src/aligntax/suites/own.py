"""Our own format: a prompt a line, the fields of `Prompt`; those that have their default may be left out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from ..types import Fact, Intent, Prompt
from .rows import SIDES, BadRow, Row

VERSION = 1
HEADER = "aligntax_suite"
"""The first line is {"aligntax_suite": 1}; a file that a person writes may leave it out."""

_FIELDS = frozenset(Prompt.__struct_fields__)
_FACT_FIELDS = frozenset(Fact.__struct_fields__)
_DEFAULTS = {
    kind: {field.name: field.default for field in msgspec.structs.fields(kind)} for kind in (Prompt, Fact)
}


def matches(row: Row) -> bool:
    """Whether the record has the names of our own format; a list of facts or terms forgives one that is wrong."""
    names = row.values.keys()
    ours = any(isinstance(row.values.get(name), list) for name in ("facts", "terms"))
    return names <= _FIELDS or ({"id", "text"} <= names and ours)


def prompt_of(row: Row) -> Prompt:
    """The prompt of a row. Raises BadRow where a field is unknown, missing or of another kind."""
    values = row.values
    _refuse_unknown(values, _FIELDS, "")
    _refuse_intent(values)
    facts = values.get("facts") or []
    if isinstance(facts, list):
        for number, fact in enumerate(facts, 1):
            if isinstance(fact, dict):
                _refuse_unknown(fact, _FACT_FIELDS, f" in fact {number}")
    try:
        prompt = msgspec.convert(values, Prompt)
    except msgspec.ValidationError as error:
        raise BadRow(*_in_our_words(str(error))) from error
    refuse_unusable(prompt)
    return prompt


def refuse_unusable(prompt: Prompt) -> None:
    """Raise BadRow for a prompt that cannot be asked, or not be stored and read back."""
    if not prompt.id.strip():
        raise BadRow("its id is blank", "give each prompt an id of its own")
    if not prompt.text.strip():
        raise BadRow("its text is blank", "write the prompt, or take the line out")
    if prompt.side is not None and prompt.side not in SIDES:
        raise BadRow("its side is none that we know", f"use {' or '.join(SIDES)}, or leave it out")
    if prompt.side is not None and prompt.family is None:
        raise BadRow("it has a side and no family", "name the family that its twin is in")
    for fact in prompt.facts:
        if not all(math.isfinite(number) for number in (fact.value or 0.0, fact.tolerance)):
            raise BadRow("a number of its facts is not finite", "write an ordinary number")


def record_of(prompt: Prompt) -> dict[str, Any]:
    """The fields of a prompt that do not have their default, ready to be written."""
    record = _without_defaults(prompt)
    if prompt.facts:
        record["facts"] = [_without_defaults(fact) for fact in prompt.facts]
    return record


def _without_defaults(record: Prompt | Fact) -> dict[str, Any]:
    defaults = _DEFAULTS[type(record)]
    return {
        name: value for name in record.__struct_fields__ if (value := getattr(record, name)) != defaults[name]
    }


def _refuse_unknown(values: Mapping[str, Any], known: frozenset[str], place: str) -> None:
    unknown = [name for name in values if name not in known]
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        name = unknown[0] if unknown[0].isidentifier() and len(unknown[0]) < 30 else "a field"
        raise BadRow(f"{name}{more} is not a field{place}", f"use {', '.join(sorted(known))}")


def _refuse_intent(values: Mapping[str, Any]) -> None:
    if values.get("intent", Intent.BENIGN) not in [*Intent]:
        raise BadRow("its intent is none that we know", f"use {', '.join(Intent)}")


def _in_our_words(error: str) -> tuple[str, str]:
    """A validation error without what the row holds: what is wrong, and the remedy."""
    what, _, path = error.partition(" - at ")
    field = path.strip("`").removeprefix("$.") or "the line"
    if what.startswith("Object missing required field"):
        return f"{what.rpartition(' ')[2].strip('`')} is missing", "every prompt has an id and a text"
    return f"{field} is of another kind ({what[0].lower()}{what[1:]})", "see docs/reference/suites.md"
