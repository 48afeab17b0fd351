"""Any table with a column of prompts: ours by their names or usual other ones, or as `columns` says."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ..types import Prompt
from . import own
from .rows import BadRow, Row, intent_of, maybe_text, text_in

ALIASES: dict[str, tuple[str, ...]] = {
    "id": ("id", "prompt_id", "key"),
    "text": ("text", "prompt", "question", "query", "instruction", "request", "user_prompt"),
    "family": ("family", "pair", "pair_id", "group"),
    "side": ("side",),
    "domain": ("domain", "use_case"),
    "intent": ("intent", "expected", "label"),
    "terms": ("terms", "term", "trigger", "focus"),
    "facts": ("facts",),
    "system": ("system", "system_prompt"),
    "source": ("source",),
    "licence": ("licence", "license"),
}
"""Our field -> what tables call it, the first that is there counts."""

_LONGEST_TAG = 200


def matches(row: Row) -> bool:
    """Whether some column can be the text."""
    return any(name in _plain(row.values) for name in ALIASES["text"])


def prompt_of(row: Row, columns: Mapping[str, str] | None = None) -> Prompt:
    """One prompt; other columns with short values become its tags.

    Terms are separated by ";" or "|"; facts are JSON, as in our own format. Raises BadRow where a column of
    `columns` is missing.
    """
    chosen = columns or {}
    unknown = [name for name in chosen if name not in ALIASES]
    if unknown:
        raise BadRow("a column is given to a field that prompts do not have", f"use {', '.join(ALIASES)}")
    if any(name not in row.values for name in chosen.values()):
        raise BadRow("a column that was named is missing", "check the names of the columns")
    plain = _plain(row.values)
    places = {
        field: chosen.get(field) or next((plain[name] for name in names if name in plain), None)
        for field, names in ALIASES.items()
    }
    if places["text"] is None:
        raise BadRow("no column holds the prompts", "say which with --map text=NAME")
    found = {field: maybe_text(row, place) if place else None for field, place in places.items()}
    prompt = Prompt(
        id=found["id"] or "",
        text=text_in(row, places["text"]),
        family=found["family"],
        side=found["side"].lower() if found["side"] else None,
        domain=found["domain"],
        terms=_terms(row.values.get(places["terms"] or "")),
        system=found["system"],
        source=found["source"],
        licence=found["licence"],
        tags=_rest(row, {place for place in places.values() if place}),
    )
    if found["intent"]:
        prompt = msgspec.structs.replace(prompt, intent=intent_of(found["intent"]))
    return _with_facts(prompt, row.values.get(places["facts"] or ""))


def _plain(values: Mapping[str, object]) -> dict[str, str]:
    """Names in lower case with _ for spaces and dashes -> as the table has them."""
    return {name.strip().lower().replace(" ", "_").replace("-", "_"): name for name in values}


def _terms(value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(str(term) for term in value)
    parts = str(value or "").replace("|", ";").split(";")
    return tuple(part.strip() for part in parts if part.strip())


def _rest(row: Row, used: set[str]) -> dict[str, str] | None:
    tags = {name: maybe_text(row, name) for name in row.values if name and name not in used}
    return {name: value for name, value in tags.items() if value and len(value) <= _LONGEST_TAG} or None


def _with_facts(prompt: Prompt, facts: object) -> Prompt:
    if isinstance(facts, str) and facts.strip():
        try:
            facts = msgspec.json.decode(facts)
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadRow("its facts are not JSON", "write them as in our own format") from error
    if not facts:
        return prompt
    found = own.prompt_of(Row(0, {"id": "facts", "text": "facts", "facts": facts}, ""))
    return msgspec.structs.replace(prompt, facts=found.facts)
