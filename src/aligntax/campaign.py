"""One round of labelling: a draw kept in the store, labels recorded as they come, the pilot turned into the rest.

Joins what the workers do apart: `label` says which exchanges to ask for, `store` keeps them and the answers.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import polars as pl

from . import label
from .errors import InputError
from .estimate import slice_columns
from .stats.profile import profile_interval
from .types import CONTENT_COLUMNS, HEDGING_GRADE, Annotation, Draw, Item, Kind, Outcome, Stratum

if TYPE_CHECKING:
    from .store import Store

LEARNED = "recalibration"
"""Under this name a saved estimate keeps what its labels say of the detector's scores, as JSON."""

_TEXTS = ("source_id", "use_case", *(name for name in CONTENT_COLUMNS if name != "tags"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Imported:
    """What became of a set of labels that came from elsewhere. Every label is counted once."""

    labels: int  # taken over, or there already
    unchanged: int  # of `labels`, those that the same person had given before, word for word
    waiting: int  # kept for the second phase, which asks for their exchange or forgets them
    enough: (
        int  # left out: others have labelled the exchange as often as is wanted; where only that was asked
    )
    unasked: int  # left out: the draw did not ask for them
    draw: Draw


@dataclasses.dataclass(frozen=True, kw_only=True)
class OtherState:
    """A draw from other verdicts that some of these exchanges were drawn for: the file has changed since."""

    draw: Draw
    labelled: int  # exchanges with a label in that draw
    present: int  # of the exchanges that it asked for, those that are in these verdicts


def start(
    store: Store,
    verdicts: pl.LazyFrame,
    *,
    by: Sequence[str] = (),
    texts: Iterable[pl.DataFrame] | None = None,
    **settings: Any,
) -> Draw:
    """Draw from `verdicts` and keep the draw, with the text that annotators will see, in the store.

    `by` names the slices that get labels of their own; `settings` are those of `label.plan`. `texts` are
    frames of exchanges, read once, for verdicts that were kept without text. Raises InputError where the drawn
    exchanges have no text anywhere, and what `label.plan` raises.
    """
    sliced = with_slices(verdicts, by)
    draw, items = label.plan(sliced, by=by, now=dt.datetime.now(dt.UTC), **settings)
    store.add_draw(draw, _with_texts(items, verdicts, texts))
    return draw


def learned(store: Store, verdicts: pl.LazyFrame, by: Sequence[str]) -> dict[str, tuple[float, float]]:
    """What the labels of an earlier draw say of the detector's scores: `recalibration` for the next draw.

    From the newest estimate whose draw had the same slices and detector; {} where there is none. Those labels take no
    part in the estimates of the next draw, so no label is scored by a fit on itself.
    """
    name = detector_of(verdicts)
    draws = {draw.id: draw for draw in store.draws()}
    for saved in store.estimates():
        draw = draws.get(saved.draw or "")
        if draw and draw.by == tuple(by) and draw.detector == name and LEARNED in saved.inputs:
            lines: dict[str, list[float]] = json.loads(saved.inputs[LEARNED])
            return {key: (slope, intercept) for key, (slope, intercept) in lines.items()}
    return {}


def detector_of(verdicts: pl.LazyFrame) -> str:
    """Name and version of what judged the answers, as a draw names it."""
    answered = verdicts.filter(pl.col("outcome").cast(pl.String) == Outcome.ANSWERED.value)
    names = answered.select(pl.col("detector").drop_nulls().cast(pl.String).unique().sort())
    return ", ".join(names.collect(engine="streaming").to_series())


def record(store: Store, draw_id: str, annotation: Annotation) -> Draw:
    """Keep one label, durably, and return the draw as it is then.

    A positive in a stratum where positives are rare asks for a second opinion. The label that completes the pilot
    starts the second phase.
    """
    draw, annotation = store.draw(draw_id), _graded(annotation)
    second = _needs_second(draw, store.item(draw.id, annotation.exchange), annotation)
    store.label(draw.id, annotation, second=second)
    return advance(store, draw.id)


def take_over(
    store: Store, draw_id: str, annotations: Sequence[Annotation], *, wanted_only: bool = False
) -> Imported:
    """Keep labels made elsewhere, all or none of those that the draw may ask for, and return what became of them.

    An annotation may name its exchange by our id or by the log's own. Labels of what only the second phase may ask
    for wait until it begins. Labels of other exchanges are not kept: nobody knows how they were chosen. A label that
    the same person has given already is not written again, and what other people said stays beside it. `wanted_only`
    leaves out what others have labelled often enough.

    Raises InputError where an id of the log stands for several exchanges, and where one person labels an exchange
    twice.
    """
    before = store.draw(draw_id)
    try:
        return _take_over(store, before, annotations, wanted_only=wanted_only)
    except InputError:
        # Somebody who began the second phase meanwhile has thrown the reserve away that we looked at.
        if store.draw(before.id).phase == before.phase:
            raise
        return _take_over(store, before, annotations, wanted_only=wanted_only)


def _take_over(store: Store, draw: Draw, annotations: Sequence[Annotation], *, wanted_only: bool) -> Imported:
    items = {item.exchange: _without_text(item) for item in store.items(draw.id)}
    exchanges = _exchanges(items.values(), annotations)
    known = [
        _graded(msgspec.structs.replace(note, exchange=exchange))
        for exchange, note in zip(exchanges, annotations, strict=True)
        if exchange is not None
    ]
    _refuse_repeated(known)
    given, found = store.annotations(draw.id), len(known)
    if wanted_only:
        known = _still_wanted(known, items, given)
    standing = {(note.exchange, note.annotator, note.adjudicated): note for note in given}
    new = [note for note in known if not _stands(note, standing)]
    second = {note.exchange for note in new if _needs_second(draw, items[note.exchange], note)}
    store.import_annotations(draw.id, new, second=second)
    draw = advance(store, draw.id)
    asked = {item.exchange for item in store.items(draw.id) if item.phase != "reserve"}
    labels = sum(note.exchange in asked for note in known)
    waiting = len(known) - labels if draw.phase == "pilot" else 0
    return Imported(
        labels=labels,
        unchanged=len(known) - len(new),
        waiting=waiting,
        enough=found - len(known),
        unasked=len(annotations) - found + len(known) - labels - waiting,
        draw=draw,
    )


def advance(store: Store, draw_id: str) -> Draw:
    """The draw, with its second phase begun when the pilot is labelled. Safe to call at any time, by anyone."""
    draw = store.draw(draw_id)
    if draw.phase != "pilot" or store.progress(draw.id).pilot_left:
        return draw
    counts = store.counts(draw.id)
    store.extend_draw(label.allocate_rest(draw, [found for _, found in counts], [done for done, _ in counts]))
    return store.draw(draw.id)


def expected(draw: Draw) -> list[dict[str, Any]]:
    """What labelling will show if the scores are right: a row a slice, the whole last where there are several.

    Columns: `slice` (values of `draw.by`, None for the whole), `exchanges`, `labels`, and `value`, `low`, `high` of the
    rate of answers that are not complete, at the level of the draw.
    """
    whole = label.planned(draw)
    slices = list(dict.fromkeys(stratum.slice for stratum in whole.strata))
    groups: list[tuple[tuple[str | None, ...] | None, list[Stratum]]] = [
        (values, [s for s in whole.strata if s.slice == values]) for values in slices
    ]
    if len(groups) > 1:
        groups.append((None, list(whole.strata)))
    return [{"slice": values, **_expected_of(strata, draw.level)} for values, strata in groups]


def _expected_of(strata: Sequence[Stratum], level: float) -> dict[str, Any]:
    # A blocked call is not complete, whatever the labels say.
    labels = np.asarray([s.size if s.kind == "blocked" else s.labels for s in strata], dtype=float)
    rates = np.asarray([1.0 if s.kind == "blocked" else s.expected for s in strata])
    counts = np.stack([labels * rates, labels * (1 - rates)], axis=1)
    sizes = np.asarray([s.size for s in strata], dtype=float)
    found = profile_interval(counts[None], sizes[None], level=level)
    return {
        "exchanges": int(sizes.sum()),
        "labels": sum(s.labels for s in strata),
        "value": float(found.value[0]),
        "low": float(found.low[0]),
        "high": float(found.high[0]),
    }


def load(store: Store, verdicts: pl.LazyFrame) -> tuple[Draw | None, list[Annotation]]:
    """The newest draw made from exactly these verdicts that has labels, and these; None where there is no draw.

    A later draw without a label yet does not hide what an earlier one has shown.
    """
    mark = label.fingerprint(verdicts)
    draws = [draw for draw in store.draws() if draw.fingerprint == mark]
    for draw in draws:
        annotations = store.annotations(draw.id)
        if annotations:
            return draw, annotations
    return (draws[0] if draws else None), []


def other_state(store: Store, verdicts: pl.LazyFrame) -> OtherState | None:
    """The newest draw that asks for exchanges of these verdicts but was made from others, one with labels first.

    A log that has grown, or was judged by another detector, is another population: its labels speak of that one. None
    where no exchange of these verdicts was ever drawn.
    """
    mark = label.fingerprint(verdicts)
    draws = [draw for draw in store.draws() if draw.fingerprint != mark]
    asked = {draw.id: _asked(store, draw) for draw in draws}
    every = pl.Series(sorted({exchange for ids in asked.values() for exchange in ids}), dtype=pl.String)
    here = verdicts.select("id").filter(pl.col("id").is_in(every.implode())).collect(engine="streaming")["id"]
    found = [
        OtherState(
            draw=draw,
            labelled=len({note.exchange for note in store.annotations(draw.id)} & asked[draw.id]),
            present=present,
        )
        for draw in draws
        if (present := len(asked[draw.id].intersection(here)))
    ]
    return next((state for state in found if state.labelled), found[0] if found else None)


def known_labels(store: Store, draw: Draw) -> list[Annotation]:
    """The right labels of the items that were planted to check the annotators."""
    return [item.known for item in store.items(draw.id) if item.known is not None]


def with_slices(verdicts: pl.LazyFrame, by: Sequence[str]) -> pl.LazyFrame:
    """The verdicts with the columns that `by` names, `model` and `tags.KEY` among them, as plain columns."""
    return verdicts.with_columns(slice_columns(by, verdicts.collect_schema()))


def _with_texts(
    items: Sequence[Item], verdicts: pl.LazyFrame, logs: Iterable[pl.DataFrame] | None
) -> list[Item]:
    """Items with what annotators see. Known items bring their own text."""
    asked = [item.exchange for item in items if item.known is None]
    if logs is None and "response" not in verdicts.collect_schema():
        raise InputError(
            "these verdicts were kept without text, so nobody could label them",
            where="column response",
            remedy="name the logs with --logs, or scan again without --no-text",
        )
    found: dict[str, dict[str, Any]] = {}
    for frame in [verdicts] if logs is None else logs:
        found |= {row["id"]: row for row in label.texts(frame, asked).iter_rows(named=True)}
    if len(found) < len(asked):
        raise InputError(
            f"{len(asked) - len(found)} of the {len(asked)} drawn exchanges are not in these logs",
            remedy="name all the logs that were scanned, as they were then",
        )
    return label.disguised([item if item.known else _with_text(item, found[item.exchange]) for item in items])


def _with_text(item: Item, row: dict[str, Any]) -> Item:
    return msgspec.structs.replace(
        item, **{name: row[name] for name in _TEXTS if row.get(name) is not None and name != "id"}
    )


def _asked(store: Store, draw: Draw) -> set[str]:
    """The exchanges of the log that a draw asks for."""
    return {item.exchange for item in store.items(draw.id) if item.phase != "reserve" and item.known is None}


def _without_text(item: Item) -> Item:
    """The item as far as it decides anything: texts of a long queue need not be in memory at once."""
    return msgspec.structs.replace(item, prompt="", response="", system=None, history=None)


def _exchanges(items: Iterable[Item], annotations: Sequence[Annotation]) -> list[str | None]:
    """Which exchange of the draw each label is of, by our id or by the log's own; None: it is not in the draw."""
    named = [(item.exchange, item.source_id) for item in items]
    ours = {exchange for exchange, _ in named}
    by_source = {source: exchange for exchange, source in named if source is not None}
    counts = Counter(source for _, source in named)
    wanted = [note.exchange for note in annotations]
    unclear = sum(name not in ours and counts[name] > 1 for name in wanted)
    if unclear:
        raise InputError(
            f"{unclear} of these labels name their exchange by an id that several exchanges of the draw have",
            remedy="name them by aligntax's own id, which aligntax label export writes",
        )
    return [name if name in ours else by_source.get(name) for name in wanted]


def _graded(note: Annotation) -> Annotation:
    """The label with a grade for hedging in place of the kind, as people give it on our page.

    Who names the kind and who gives the grade say the same, and must not pass for people who differ.
    """
    if note.kinds is None or Kind.HEDGING not in note.kinds:
        return note
    kinds = tuple(kind for kind in note.kinds if kind != Kind.HEDGING)
    return msgspec.structs.replace(note, kinds=kinds, hedging=max(note.hedging or 0, HEDGING_GRADE))


def _refuse_repeated(notes: Iterable[Annotation]) -> None:
    counts = Counter((note.exchange, note.annotator, note.adjudicated) for note in notes)
    repeated = sum(count > 1 for count in counts.values())
    if repeated:
        raise InputError(
            f"{repeated} exchanges are labelled more than once by the same person, so nothing was taken over",
            remedy="keep one label of each exchange and person",
        )


def _still_wanted(
    notes: Iterable[Annotation], items: Mapping[str, Item], given: Iterable[Annotation]
) -> list[Annotation]:
    """Those of exchanges that others have not labelled as often as is wanted."""
    people: dict[str, set[str]] = {}
    for note in given:
        people.setdefault(note.exchange, set()).add(note.annotator)
    return [
        note
        for note in notes
        if len(people.get(note.exchange, set()) - {note.annotator}) < items[note.exchange].wanted
    ]


def _stands(note: Annotation, standing: Mapping[tuple[str, str, bool], Annotation]) -> bool:
    """Whether this label is there already; when it was given counts only where it says so."""
    former = standing.get((note.exchange, note.annotator, note.adjudicated))
    if former is None:
        return False
    kinds = None if note.kinds is None else tuple(sorted(set(note.kinds)))
    return former == msgspec.structs.replace(note, kinds=kinds, time=note.time or former.time)


def _needs_second(draw: Draw, item: Item, annotation: Annotation) -> bool:
    if annotation.adjudicated or annotation.skipped is not None:
        return False
    # Whether it is wanted twice already does not matter: the wish goes with the label, and a corrected one renews it.
    return label.second_label(draw, msgspec.structs.replace(item, wanted=1), annotation)
