"""Several people's labels of one exchange to one, and where they differ."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from ..types import Annotation

AXES = ("answered", "kinds", "disclaimer", "hedging", "should_answer")
"""Fields of an annotation that say something about the exchange."""
CONTESTED_AXES = ("answered", "kinds", "should_answer")
"""Those on which two people have to agree, or somebody settles it."""

_Value = TypeVar("_Value", bound=Hashable)
_LONG_AGO = dt.datetime.min.replace(tzinfo=dt.UTC)


def settled(annotations: Iterable[Annotation]) -> list[Annotation]:
    """One annotation per exchange, in the order in which exchanges first appear.

    An adjudication decides; what it leaves open, and everything where there is none, is decided axis by axis: by
    agreement, else by the majority of those who answered, else by who labelled first (the earliest `time`, then the
    order given). Each kind is an axis of its own there. An exchange is skipped when more people skipped than
    labelled it. A person's later annotation of an exchange replaces the earlier one. The `annotator` of a settled
    annotation names everybody whose label is in it.
    """
    return [_settle(given) for given in _by_exchange(annotations).values()]


def disagreements(
    annotations: Iterable[Annotation], axes: Sequence[str] = CONTESTED_AXES
) -> dict[str, tuple[str, ...]]:
    """Exchanges that nobody has adjudicated -> those of `axes` on which two people differ, where there are any.

    Who skipped, or was not asked, differs from nobody.
    """
    found = {}
    for exchange, given in _by_exchange(annotations).items():
        if any(note.adjudicated for note in given):
            continue
        differing = tuple(
            axis for axis in axes if len({_comparable(value) for value in _said(given, axis)}) > 1
        )
        if differing:
            found[exchange] = differing
    return found


def alone(annotations: Iterable[Annotation]) -> dict[str, list[Annotation]]:
    """Each annotator, sorted, with what this person alone has said; adjudications are nobody's.

    An estimate repeated with each of them shows how much it depends on who labels.
    """
    given = [note for row in _by_exchange(annotations).values() for note in row if not note.adjudicated]
    names = sorted({note.annotator for note in given})
    return {name: [note for note in given if note.annotator == name] for name in names}


def _by_exchange(annotations: Iterable[Annotation]) -> dict[str, list[Annotation]]:
    """What was said of each exchange, first said first; of one person the last word."""
    latest: dict[str, dict[tuple[str, bool], Annotation]] = {}
    for note in annotations:
        row = latest.setdefault(note.exchange, {})
        former = row.get((note.annotator, note.adjudicated))
        if former is None or _when(former) <= _when(note):
            row[note.annotator, note.adjudicated] = note
    return {exchange: sorted(row.values(), key=_when) for exchange, row in latest.items()}


def _settle(given: list[Annotation]) -> Annotation:
    rulings = [note for note in given if note.adjudicated]
    others = [note for note in given if not note.adjudicated]
    if not rulings:
        return _by_majority(others)
    ruling = rulings[-1]
    if ruling.skipped or not others:
        return ruling
    rest = _by_majority(others)
    open_axes = {axis: getattr(rest, axis) for axis in AXES if getattr(ruling, axis) is None}
    return msgspec.structs.replace(ruling, **open_axes)


def _by_majority(given: list[Annotation]) -> Annotation:
    if len(given) == 1:
        return given[0]
    skipped = [note for note in given if note.skipped]
    labelled = [note for note in given if not note.skipped]
    if len(skipped) > len(labelled):
        return skipped[0]
    first = labelled[0]
    if len(labelled) == 1:
        return first
    single = {
        axis: _most_common(values) if (values := _said(labelled, axis)) else None
        for axis in AXES
        if axis != "kinds"
    }
    return msgspec.structs.replace(
        first,
        **single,
        kinds=_kinds(_said(labelled, "kinds")),
        annotator=", ".join(note.annotator for note in labelled),
        note="\n".join(note.note for note in labelled if note.note),
        time=max((note.time for note in labelled if note.time), default=None),
    )


def _kinds(given: list[tuple[Any, ...]]) -> tuple[Any, ...] | None:
    """The kinds that most of them saw; where half did, the first one decides."""
    if not given:
        return None
    seen = list(dict.fromkeys(kind for kinds in given for kind in kinds))
    return tuple(kind for kind in seen if _most_common([kind in kinds for kinds in given]))


def _most_common(values: Sequence[_Value]) -> _Value:
    """The most frequent value; of several, the one that comes first."""
    return Counter(values).most_common(1)[0][0]


def _said(given: Iterable[Annotation], axis: str) -> list[Any]:
    return [value for note in given if (value := getattr(note, axis)) is not None]


def _comparable(value: object) -> object:
    return frozenset(value) if isinstance(value, tuple) else value


def _when(note: Annotation) -> dt.datetime:
    return note.time or _LONG_AGO
