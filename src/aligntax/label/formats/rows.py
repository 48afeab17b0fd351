"""One label as a plain row, whatever the file: names of columns, values, and what is wrong with them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec

from ...types import Annotation, Answered, Kind, Label, ShouldAnswer
from ..codebook import load_codebook

COLUMNS = (
    "id",
    "annotator",
    "answered",
    "kinds",
    "disclaimer",
    "hedging",
    "should_answer",
    "skipped",
    "note",
    "time",
    "adjudicated",
)
"""A label as we write it: a column each, `id` being the exchange's."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "id": ("exchange", "exchange_id", "id", "item_id", "external_id", "source_id"),
    "annotator": (
        "annotator",
        "annotated_by",
        "labeller",
        "labeler",
        "labelled_by",
        "labeled_by",
        "rater",
        "user",
    ),
    "answered": ("answered", "completeness", "how_much_answered"),
    "label": ("label", "class"),
    "kinds": ("kinds", "kind"),
    "disclaimer": ("disclaimer", "has_disclaimer"),
    "hedging": ("hedging", "hedging_grade"),
    "should_answer": ("should_answer", "should_have_been_answered", "should_be_answered"),
    "skipped": ("skipped", "skip", "skip_reason"),
    "note": ("note", "notes", "comment", "comments", "remark", "remarks"),
    "time": ("time", "timestamp", "labelled_at", "labeled_at", "updated_at", "created_at", "date"),
    "adjudicated": ("adjudicated", "settled", "ground_truth"),
}
"""What a column may be called; of several in one file the first of these counts. Case, blanks and hyphens do not."""

_SAYS = ("answered", "label", "kinds", "disclaimer", "hedging", "should_answer", "skipped", *Kind)
_YES = {"yes", "y", "true", "t", "1", "1.0", "x"}
_NO = {"no", "n", "false", "f", "0", "0.0"}
_ANSWERED = {
    Answered.FULL: ("full", "f", "fully", "complete", "completely", "all"),
    Answered.PART: ("part", "p", "partial", "partially", "partly", "in_part"),
    Answered.NONE: ("none", "n", "nothing", "not_at_all"),
}
_OF_LABEL = {
    Label.COMPLETE: Answered.FULL,
    Label.PARTIALLY_HEDGED: Answered.PART,
    Label.REFUSED: Answered.NONE,
}
_UNCLEAR = {"unclear", "unsure", "maybe", "depends", "it_depends", "?"}
_HIGHEST_GRADE = 3

_Meaning = TypeVar("_Meaning")


class BadRow(Exception):
    """A row that is no label; the message says what is wrong and what to do, and holds nothing of the row."""


def plain_name(name: object) -> str:
    """A column's name without case, blanks and hyphens."""
    return re.sub(r"[\s\-]+", "_", str(name).strip().lower())


def says_something(names: Iterable[object]) -> bool:
    """Whether columns of these names hold labels."""
    plain = {plain_name(name) for name in names}
    return any(plain.intersection(SYNONYMS.get(axis, (axis,))) for axis in _SAYS)


def names_exchange(names: Iterable[object]) -> bool:
    """Whether one of the columns says which exchange it is."""
    return not {plain_name(name) for name in names}.isdisjoint(SYNONYMS["id"])


def annotation_of(row: Mapping[Any, Any], annotator: str | None) -> Annotation | None:
    """The label in a row; None where the row says nothing yet. `annotator` is who made it where it does not say.

    Raises BadRow.
    """
    values = {plain_name(name): value for name, value in row.items()}
    fields = {field: _first(values, names) for field, names in SYNONYMS.items()}
    exchange = _identity(fields["id"])
    if not exchange:
        raise BadRow("does not say which exchange it labels: give its id")
    kinds = _kinds(fields["kinds"], values)
    says: dict[str, Any] = {
        "answered": _answered(fields["answered"], fields["label"]),
        "kinds": kinds,
        "disclaimer": _yes_or_no(fields["disclaimer"], "disclaimer"),
        "hedging": _grade(fields["hedging"]),
        "should_answer": _should_answer(fields["should_answer"]),
    }
    skipped = _skipped(fields["skipped"])
    note = "" if fields["note"] is None else str(fields["note"])
    if skipped is None and all(value is None for value in says.values()):
        if note.strip():
            raise BadRow("has a note and no label: give it a label or a reason to skip")
        return None
    if skipped is not None and any(value is not None for value in says.values()):
        raise BadRow("is skipped and labelled at once: keep one of the two")
    who = _identity(fields["annotator"]) or annotator
    if not who:
        raise BadRow("does not say who labelled it: name the annotator")
    return Annotation(
        exchange=exchange,
        annotator=who,
        skipped=skipped,
        note=note,
        time=_time(fields["time"]),
        adjudicated=_yes_or_no(fields["adjudicated"], "adjudicated") or False,
        **says,
    )


def row_of(annotation: Annotation) -> dict[str, Any]:
    """The label as a row of `COLUMNS`, in types that JSON has; None where an axis has no value."""
    row = msgspec.to_builtins(annotation)
    row["id"] = row.pop("exchange")
    row["kinds"] = None if annotation.kinds is None else [kind.value for kind in annotation.kinds]
    return {name: row[name] for name in COLUMNS}


def kinds_were_asked(row: dict[str, Any]) -> dict[str, Any]:
    """The row with no kinds in place of nothing: tools that write what was ticked are silent where nothing was.

    `not_asked`, which we write, says where the silence means that nobody was asked.
    """
    silent = row.get("kinds") is None and row.get("answered") is not None and not row.get("not_asked")
    return {**row, "kinds": []} if silent else row


def _first(values: Mapping[str, Any], names: Iterable[str]) -> Any:
    """The first of these columns that holds anything."""
    return next((values[name] for name in names if values.get(name) not in (None, "")), None)


def _answered(value: object, label: object) -> Answered | None:
    """How much was answered; a class of the detector's words says it too, where nothing else does."""
    answered = _choice(value, "answered", _answered_words(), "full, part or none")
    if answered is not None or label is None:
        return answered
    return _choice(label, "label", {str(name): of for name, of in _OF_LABEL.items()}, ", ".join(_OF_LABEL))


def _kinds(value: object, values: Mapping[str, Any]) -> tuple[Kind, ...] | None:
    """Kinds from one column that lists them, or from a yes-or-no column for each (hedging is a grade there)."""
    if isinstance(value, str) and value.lstrip().startswith(
        "{"
    ):  # as Label Studio writes several into a cell
        value = _decoded(value)
    if isinstance(value, Mapping):
        value = value.get("choices")
    if value is not None:
        listed = value if isinstance(value, list | tuple) else re.split(r"[,;|\n]+", str(value))
        words = [word for word in map(_word, listed) if word]
        if words in (["none"], ["_"], ["no"]):
            return ()
        if not words and isinstance(value, str):
            return None
        allowed = ", ".join(Kind)
        return tuple(dict.fromkeys(_meaning(word, "kinds", _kind_words(), allowed) for word in words))
    asked = {
        kind: values[kind] for kind in Kind if kind is not Kind.HEDGING and values.get(kind) not in (None, "")
    }
    if not asked:
        return None
    return tuple(kind for kind, answer in asked.items() if _yes_or_no(answer, kind))


def _decoded(cell: str) -> object:
    try:
        return msgspec.json.decode(cell)
    except (msgspec.DecodeError, RecursionError):
        return cell


def _grade(value: object) -> int | None:
    words = {str(grade): grade for grade in range(_HIGHEST_GRADE + 1)}
    return _choice(
        value,
        "hedging",
        words | {f"{word}.0": grade for word, grade in words.items()} | _titles("hedging", int),
        "a grade from 0 to 3",
    )


def _should_answer(value: object) -> ShouldAnswer | None:
    words = (
        dict.fromkeys(_YES, ShouldAnswer.YES)
        | dict.fromkeys(_NO, ShouldAnswer.NO)
        | dict.fromkeys(_UNCLEAR, ShouldAnswer.UNCLEAR)
    )
    return _choice(value, "should_answer", words, "yes, no or unclear")


def _skipped(value: object) -> str | None:
    if _word(value) in _NO:
        return None
    words = {reason.name: reason.name for reason in load_codebook().skip}
    words |= {plain_name(reason.title): reason.name for reason in load_codebook().skip}
    return _choice(
        value, "skipped", words | dict.fromkeys(_YES, "other"), ", ".join(dict.fromkeys(words.values()))
    )


def _yes_or_no(value: object, column: str) -> bool | None:
    return _choice(value, column, dict.fromkeys(_YES, True) | dict.fromkeys(_NO, False), "yes or no")


def _time(value: object) -> dt.datetime | None:
    if value is None:
        return None
    try:
        time = dt.datetime.fromisoformat(_text(value))
    except ValueError:
        raise BadRow(
            "has a time that is not written like 2025-03-31T09:30:00Z: write it so, or leave it out"
        ) from None
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)


def _choice(value: object, column: str, words: Mapping[str, _Meaning], allowed: str) -> _Meaning | None:
    """What the word in a column means; None where there is none."""
    if isinstance(value, Mapping):
        value = value.get("choices")
    if isinstance(value, list | tuple):
        if len(value) > 1:
            raise BadRow(f"has more than one value for {column}: keep one")
        value = value[0] if value else None
    word = _word(value)
    return _meaning(word, column, words, allowed) if word else None


def _meaning(word: str, column: str, words: Mapping[str, _Meaning], allowed: str) -> _Meaning:
    if word not in words:
        raise BadRow(f"has a value for {column} that is not in the codebook: use {allowed}")
    return words[word]


def _identity(value: object) -> str:
    return _text(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _word(value: object) -> str:
    return plain_name(_text(value))


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


@cache
def _answered_words() -> dict[str, Answered]:
    own = {word: value for value, words in _ANSWERED.items() for word in words}
    return own | _titles("answered", Answered)


@cache
def _kind_words() -> dict[str, Kind]:
    return {kind.value: kind for kind in Kind} | _titles("kinds", Kind)


def _titles(axis: str, value: Callable[[str], Any]) -> dict[str, Any]:
    """What stands on the buttons of the codebook: tools that show it may write it back."""
    return {plain_name(entry.title): value(entry.name) for entry in load_codebook().axis(axis).values}
