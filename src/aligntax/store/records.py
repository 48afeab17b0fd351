"""What the store hands out, and how records become rows and rows records again."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ..errors import InputError
from ..types import Annotation, Answered, Draw, Item, Kind, Outcome, ShouldAnswer


class Annotator(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who labels a draw."""

    draw: str
    name: str
    role: str  # "annotator" or "adjudicator"
    linked: bool = True  # has a link that works


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the history of labels, which is only ever added to."""

    id: int
    exchange: str
    annotator: str
    time: dt.datetime  # UTC, when it was written
    action: str  # "label", "import" or "undo"
    label: Annotation | None  # None: taken back
    replaced: Annotation | None  # what stood before


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a draw has come; of one person, where one was named. Skipped items count as labelled."""

    labelled: int  # items with a label; of a person: labels that they gave
    to_label: (
        int  # items that are asked for and still lack their first label; of a person: that they may be given
    )
    pilot_left: int  # items of the pilot, known ones aside, that nobody has labelled
    double_left: int  # second labels that are still to come
    disagreements: int  # items that wait for an adjudicator
    seconds_per_item: float | None  # median between one label and the next, pauses aside; None: not known yet


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a command: what went in, how it was set, what came out."""

    id: int
    kind: str
    time: dt.datetime  # UTC
    inputs: dict[str, str]  # name -> hash
    settings: dict[str, Any]
    result: dict[str, Any] | None


class SavedEstimates(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of one table of estimates, as they were saved."""

    id: int
    draw: str | None
    time: dt.datetime  # UTC
    inputs: dict[str, str]  # name -> hash
    rows: list[dict[str, Any]]


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A record that was kept for the audit trail, such as a gate decision."""

    id: int
    time: dt.datetime  # UTC
    record: dict[str, Any]


_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_LONGEST_NAME = 100


def clean(text: str) -> str:
    """The text with what PostgreSQL cannot hold (NUL, half a surrogate pair) replaced by U+FFFD.

    For both databases, so that a store says the same wherever it lies.
    """
    return _UNSTORABLE.sub("\ufffd", text)


def name_of(name: str) -> str:
    """A person's name as it is kept. Raises InputError where it is empty, too long or not printable."""
    name = clean(name).strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InputError("an annotator needs a name of 1 to 100 printable characters")
    return name


def as_json(value: Any) -> str:
    """JSON of a record or of plain values; numpy's numbers are taken as numbers, and a NaN as null."""
    try:
        return msgspec.json.encode(value, enc_hook=_plain).decode()
    except UnicodeEncodeError:
        raise InputError("holds half a surrogate pair, which no file can hold") from None


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be kept as JSON")


def from_json(text: str | None) -> Any:
    """Plain values from JSON; None for a null column."""
    return None if text is None else msgspec.json.decode(text)


def annotation_from_json(text: str | None) -> Annotation | None:
    """The annotation that a column holds as JSON."""
    return None if text is None else msgspec.json.decode(text, type=Annotation)


def draw_row(draw: Draw) -> dict[str, Any]:
    """The row of a draw."""
    return {
        "id": draw.id,
        "created": draw.created,
        "fingerprint": draw.fingerprint,
        "phase": draw.phase,
        "record": as_json(draw),
    }


def draw_of(record: str) -> Draw:
    """The draw that a row holds as JSON."""
    return msgspec.json.decode(record, type=Draw)


TURNS = {"pilot": 0, "rest": 1, "reserve": 2}
_TEXTS = ("source_id", "use_case", "prompt", "response", "system", "history")


def item_row(draw_id: str, item: Item) -> dict[str, Any]:
    """The row of an item, its texts clean. Raises InputError where it cannot be kept as it is."""
    if item.phase not in TURNS or item.wanted not in (1, 2) or _UNSTORABLE.search(item.exchange):
        raise InputError("an item needs a known phase, one or two labels and a printable id")
    texts = {name: getattr(item, name) for name in _TEXTS}
    return {
        "draw": draw_id,
        "exchange": item.exchange,
        "stratum": item.stratum,
        "place": item.place,
        "position": item.position,
        "phase": item.phase,
        "wanted": item.wanted,
        "known": None if item.known is None else as_json(item.known),
        "outcome": item.outcome.value,
        **{name: None if text is None else clean(text) for name, text in texts.items()},
        "turn": TURNS[item.phase],
        "planned": item.wanted,
        "done": 0,
        "missing": 0 if item.phase == "reserve" else item.wanted,
        "first_by": "",
        "contested": 0,
    }


def item_of(row: Mapping[Any, Any]) -> Item:
    """The item of a row."""
    plain = {
        name: row[name] for name in ("exchange", "stratum", "place", "position", "phase", "wanted", *_TEXTS)
    }
    return Item(**plain, outcome=Outcome(row["outcome"]), known=annotation_from_json(row["known"]))


def label_row(draw_id: str, annotation: Annotation, *, second: bool, change: int) -> dict[str, Any]:
    """The row of a current label; `change` is the entry of the history that brought it."""
    return {
        "draw": draw_id,
        "exchange": annotation.exchange,
        "annotator": annotation.annotator,
        "adjudicated": annotation.adjudicated,
        "answered": annotation.answered,
        "kinds": None if annotation.kinds is None else as_json(annotation.kinds),
        "disclaimer": annotation.disclaimer,
        "hedging": annotation.hedging,
        "should_answer": annotation.should_answer,
        "skipped": annotation.skipped,
        "note": annotation.note,
        "time": annotation.time,
        "second": second,
        "change": change,
    }


def annotation_of(row: Mapping[Any, Any]) -> Annotation:
    """The annotation of a row."""
    kinds, answered, should = row["kinds"], row["answered"], row["should_answer"]
    plain = ("exchange", "annotator", "adjudicated", "disclaimer", "hedging", "skipped", "note", "time")
    return Annotation(
        **{name: row[name] for name in plain},
        answered=None if answered is None else Answered(answered),
        kinds=None if kinds is None else tuple(Kind(kind) for kind in from_json(kinds)),
        should_answer=None if should is None else ShouldAnswer(should),
    )


def change_of(row: Mapping[Any, Any]) -> Change:
    """The change of a row of the history."""
    plain = {name: row[name] for name in ("id", "exchange", "annotator", "time", "action")}
    label, replaced = annotation_from_json(row["label"]), annotation_from_json(row["replaced"])
    return Change(**plain, label=label, replaced=replaced)


def as_kept(annotation: Annotation, now: dt.datetime) -> Annotation:
    """The annotation as it will be read back: clean text, kinds in one order, a time in UTC."""
    time = annotation.time or now
    kinds = annotation.kinds
    return msgspec.structs.replace(
        annotation,
        exchange=clean(annotation.exchange),
        annotator=name_of(annotation.annotator),
        kinds=None if kinds is None else tuple(sorted(set(kinds))),
        skipped=None if annotation.skipped is None else clean(annotation.skipped),
        note=clean(annotation.note),
        time=time.astimezone(dt.UTC) if time.tzinfo else time.replace(tzinfo=dt.UTC),
    )
