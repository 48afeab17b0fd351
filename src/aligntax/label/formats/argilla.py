"""Argilla: the records of `Dataset.records.to_json`, nested as in version 2, flattened, or as in version 1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ...types import Annotation, Item
from .rows import kinds_were_asked, row_of

_FIELDS = ("use_case", "outcome", "system", "history", "prompt", "response")
_FLAT, _USERS = ".responses", ".responses.users"


def is_record(record: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a record of Argilla, of any of the three shapes."""
    nested = isinstance(record.get("fields"), dict) and ("responses" in record or "suggestions" in record)
    return nested or any(str(name).endswith(_FLAT) for name in record)


def rows_of(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A row per person who has responded. Suggestions are nobody's labels."""
    people: dict[Any, dict[str, Any]] = {}
    for question, answer in _responses(record):
        status = str(answer.get("status") or "submitted")
        if status == "draft":
            continue
        row = people.setdefault(answer.get("user_id"), {})
        if status == "discarded":
            row["discarded"] = True
        elif question:
            row[question] = answer.get("value")
    metadata = record.get("metadata") or {}
    exchange = metadata.get("exchange") or record.get("id") or record.get("external_id")
    for user, row in people.items():
        # Discarding is Argilla's way to skip; what was ticked before does not count.
        said = {"skipped": row.get("skipped") or "other"} if row.pop("discarded", False) else row
        yield kinds_were_asked({**said, "id": exchange, "annotator": None if user is None else str(user)})


def tasks_to_label(items: Iterable[Item]) -> list[dict[str, Any]]:
    """Records to log into a dataset; `id` is the exchange's."""
    return [
        _record(item.exchange, {name: getattr(item, name) or "" for name in _FIELDS}, "pending")
        for item in items
    ]


def labelled_records(annotations: Iterable[Annotation]) -> list[dict[str, Any]]:
    """A record per exchange with all that was said of it, and no text; each field of a label is a question."""
    records: dict[str, dict[str, Any]] = {}
    for annotation in annotations:
        record = records.setdefault(annotation.exchange, _record(annotation.exchange, {}, "completed"))
        row = {name: value for name, value in row_of(annotation).items() if name not in ("id", "annotator")}
        if annotation.kinds is None and annotation.answered is not None:
            row["not_asked"] = ["kinds"]
        for name, value in row.items():
            if value not in (None, "", False) or (name == "disclaimer" and value is False) or value == 0:
                said = {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
                record["responses"].setdefault(name, []).append(
                    {"value": said, "user_id": annotation.annotator}
                )
    return list(records.values())


def _record(exchange: str, fields: dict[str, str], status: str) -> dict[str, Any]:
    return {
        "id": exchange,
        "status": status,
        "fields": fields,
        "metadata": {},
        "suggestions": {},
        "responses": {},
        "vectors": {},
    }


def _responses(record: Mapping[str, Any]) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
    """Question and response, for everybody and every question."""
    responses = record.get("responses")
    if isinstance(responses, Mapping):
        for question, answers in responses.items():
            yield from ((question, answer) for answer in answers or ())
    elif isinstance(responses, list):  # version 1: a response holds the values of all questions
        for response in responses:
            who = {"user_id": response.get("user_id"), "status": response.get("status")}
            yield None, who
            for question, answer in (response.get("values") or {}).items():
                yield question, {**who, "value": answer.get("value")}
    for name, values in record.items():
        if name.endswith(_FLAT):
            question = name.removesuffix(_FLAT)
            users = record.get(f"{question}{_USERS}") or [None] * len(values or ())
            statuses = record.get(f"{question}{_FLAT}.status") or [None] * len(values or ())
            for value, user, status in zip(values or (), users, statuses, strict=False):
                yield question, {"value": value, "user_id": user, "status": status}
