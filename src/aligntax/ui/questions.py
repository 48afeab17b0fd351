"""What is asked of one exchange, and how a form that was sent becomes an annotation."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence

import msgspec

from ..label.codebook import Axis, Codebook
from ..types import PROVIDER_BLOCKED, Annotation, Answered, Item, Kind, ShouldAnswer

NOTE_LIMIT = 2000  # characters

NAMES = {
    "answered": "how much was given",
    "kinds": "how it falls short",
    "disclaimer": "disclaimer",
    "hedging": "weakening",
    "should_answer": "whether it should have been answered",
}
"""Axis -> its name within a sentence."""

COLUMNS = {
    "answered": "Given",
    "kinds": "Falls short",
    "disclaimer": "Disclaimer",
    "hedging": "Weakening",
    "should_answer": "Should have been answered",
}
"""Axis -> its name at the head of a row."""

FITTING = {
    Kind.HARD_REFUSAL: (Answered.NONE,),
    Kind.SOFT_REFUSAL: (Answered.FULL, Answered.PART),
    Kind.TOPIC_AVOIDANCE: (Answered.PART, Answered.NONE),
}
"""Kind -> how much was given where it can be. The others follow from what the kind means; kinds not named fit all."""

_LAYOUTS = {
    "answered": "row",
    "kinds": "pairs",
    "disclaimer": "row",
    "hedging": "pairs",
    "should_answer": "row",
}

Form = Mapping[str, Sequence[str]]
"""The fields of a form that was sent, each with all of its values."""


class Tampered(Exception):
    """A form holds what no page of ours offers."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One button."""

    value: str
    title: str
    means: str
    key: str
    fits: str  # values of `answered`, with spaces between, that it goes with; empty: all
    on: bool
    said: tuple[str, ...]  # sides that chose it, where a disagreement is settled


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One axis as it is asked."""

    field: str
    name: str
    text: str
    several: bool
    layout: str
    choices: tuple[Choice, ...]


def asked_axes(codebook: Codebook, item: Item) -> tuple[Axis, ...]:
    """What people are asked of this exchange: of one that the provider stopped, only whether it should have been."""
    if item.outcome in PROVIDER_BLOCKED:
        return (codebook.axis("should_answer"),)
    return codebook.axes


def questions(
    axes: Sequence[Axis], filled: Annotation | None, sides: Sequence[tuple[str, Annotation]] = ()
) -> tuple[Question, ...]:
    """The axes as buttons; those of `filled` are pressed, and each bears the sides that said so."""
    return tuple(
        Question(
            field=axis.name,
            name=NAMES[axis.name],
            text=axis.question,
            several=axis.several,
            layout=_LAYOUTS[axis.name],
            choices=tuple(
                Choice(
                    value=value.name,
                    title=value.title,
                    means=value.means,
                    key=value.key,
                    fits=" ".join(FITTING.get(Kind(value.name), ())) if axis.name == "kinds" else "",
                    on=filled is not None and value.name in said(filled, axis.name),
                    said=tuple(side for side, label in sides if value.name in said(label, axis.name)),
                )
                for value in axis.values
            ),
        )
        for axis in axes
    )


def said(annotation: Annotation, axis: str) -> tuple[str, ...]:
    """Names of the values that an annotation gives an axis; none where it says nothing."""
    value = getattr(annotation, axis)
    if value is None:
        return ()
    if axis == "kinds":
        return tuple(kind.value for kind in value)
    if axis == "disclaimer":
        return ("yes" if value else "no",)
    return (str(value),)


def annotation_of(
    form: Form, axes: Sequence[Axis], *, exchange: str, annotator: str, now: dt.datetime
) -> Annotation:
    """What the form says; axes that it leaves open are None. Raises Tampered for values that no axis has."""
    given = {axis.name: _chosen(form, axis) for axis in axes}

    def one(name: str) -> str | None:
        return next(iter(given.get(name, ())), None)

    answered, should, hedging, disclaimer = map(one, ("answered", "should_answer", "hedging", "disclaimer"))
    return Annotation(
        exchange=exchange,
        annotator=annotator,
        answered=None if answered is None else Answered(answered),
        kinds=tuple(Kind(kind) for kind in given["kinds"]) if "kinds" in given else None,
        disclaimer=None if disclaimer is None else disclaimer == "yes",
        hedging=None if hedging is None else int(hedging),
        should_answer=None if should is None else ShouldAnswer(should),
        note=note_of(form),
        time=now,
    )


def note_of(form: Form) -> str:
    """The note as it is kept. Raises Tampered where it is longer than the page lets it be."""
    note = "\n".join(form.get("note", ())).replace("\r\n", "\n").strip()
    if len(note) > NOTE_LIMIT:
        raise Tampered
    return note


def faults(annotation: Annotation, axes: Sequence[Axis]) -> str:
    """Why it cannot be saved, as a sentence; empty where it can."""
    missing = [NAMES[axis.name] for axis in axes if not axis.several and not said(annotation, axis.name)]
    if missing:
        return f"Not saved. Still to say: {', '.join(missing)}."
    titles = {value.name: value.title for axis in axes if axis.name == "kinds" for value in axis.values}
    wrong = [
        kind for kind in annotation.kinds or () if annotation.answered not in FITTING.get(kind, Answered)
    ]
    if wrong:
        return f"Not saved. “{titles[wrong[0]]}” does not go with how much was given."
    return ""


def same_labels(one: Annotation, other: Annotation) -> bool:
    """Whether they say the same, whenever they said it."""
    return _timeless(one) == _timeless(other)


def agreed(labels: Sequence[Annotation], axes: Sequence[Axis]) -> Annotation:
    """What all of them say alike, and nothing where they differ: where an adjudicator starts from."""
    alike: Collection[str] = [
        axis.name for axis in axes if len({frozenset(said(label, axis.name)) for label in labels}) == 1
    ]
    first = labels[0]
    return Annotation(exchange=first.exchange, annotator="", **{name: getattr(first, name) for name in alike})


def _timeless(annotation: Annotation) -> Annotation:
    kinds = annotation.kinds
    return msgspec.structs.replace(
        annotation,
        time=None,
        kinds=None if kinds is None else tuple(sorted(kinds)),
        note=annotation.note.strip(),
    )


def _chosen(form: Form, axis: Axis) -> tuple[str, ...]:
    values = tuple(dict.fromkeys(form.get(axis.name, ())))
    known = {value.name for value in axis.values}
    if not known.issuperset(values) or (len(values) > 1 and not axis.several):
        raise Tampered
    return values
