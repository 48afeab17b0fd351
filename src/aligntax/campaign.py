"""One round of labelling: a draw kept in the store, labels recorded as they come, the pilot turned into the rest.

Joins what the workers do apart: `label` says which exchanges to ask for, `store` keeps them and the answers.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import polars as pl

from . import label
from .errors import InputError
from .estimate import slice_columns
from .stats.profile import profile_interval
from .types import CONTENT_COLUMNS, Annotation, Draw, Item, Stratum

if TYPE_CHECKING:
    from .store import Store

LEARNED = "recalibration"
"""Under this name a saved estimate keeps what its labels say of the detector's scores, as JSON."""

_TEXTS = ("source_id", "use_case", *(name for name in CONTENT_COLUMNS if name != "tags"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Imported:
    """What became of a set of labels that came from elsewhere."""

    labels: int  # taken over
    unasked: int  # left out: the draw never asked for them
    draw: Draw


def start(
    store: Store,
    verdicts: pl.LazyFrame,
    *,
    by: Sequence[str] = (),
    texts: pl.LazyFrame | None = None,
    **settings: Any,
) -> Draw:
    """Draw from `verdicts` and keep the draw, with the text that annotators will see, in the store.

    `by` names the slices that get labels of their own; `settings` are those of `label.plan`. `texts` holds the
    content columns by id, where the verdicts were kept without text. Raises InputError where the drawn
    exchanges have no text anywhere, and what `label.plan` raises.
    """
    sliced = with_slices(verdicts, by)
    draw, items = label.plan(sliced, by=by, now=dt.datetime.now(dt.UTC), **settings)
    store.add_draw(draw, _with_texts(items, verdicts if texts is None else texts))
    return draw


def learned(store: Store, verdicts: pl.LazyFrame, by: Sequence[str]) -> dict[str, tuple[float, float]]:
    """What the labels of an earlier draw say of the detector's scores: `recalibration` for the next draw.

    From the newest estimate whose draw had the same slices and detector; {} where there is none. Those labels take no
    part in the estimates of the next draw, so no label is scored by a fit on itself.
    """
    detectors = verdicts.select(pl.col("detector").drop_nulls().unique().sort()).collect(engine="streaming")
    name = ", ".join(detectors.to_series())
    draws = {draw.id: draw for draw in store.draws()}
    for saved in store.estimates():
        draw = draws.get(saved.draw or "")
        if draw and draw.by == tuple(by) and draw.detector == name and LEARNED in saved.inputs:
            lines: dict[str, list[float]] = json.loads(saved.inputs[LEARNED])
            return {key: (slope, intercept) for key, (slope, intercept) in lines.items()}
    return {}


def record(store: Store, draw_id: str, annotation: Annotation) -> Draw:
    """Keep one label, durably, and return the draw as it is then.

    A positive in a stratum where positives are rare asks for a second opinion. The label that completes the pilot
    starts the second phase.
    """
    draw = store.draw(draw_id)
    store.label(draw.id, annotation, second=_needs_second(store, draw, annotation))
    return advance(store, draw.id)


def take_over(store: Store, draw_id: str, annotations: Sequence[Annotation]) -> Imported:
    """Keep labels made elsewhere, all or none of those that the draw asks for, and return what became of them.

    An annotation may name its exchange by our id or by the log's own. What the second phase asks for is taken over
    once the first is complete. Labels of other exchanges are not kept: nobody knows how they were chosen.
    """
    draw = store.draw(draw_id)
    waiting, taken = list(annotations), 0
    for _phase in ("pilot", "rest"):
        asked = _asked(store, draw.id)
        named = [(asked.get(note.exchange), note) for note in waiting]
        known = [msgspec.structs.replace(note, exchange=exchange) for exchange, note in named if exchange]
        second = {note.exchange for note in known if _needs_second(store, draw, note)}
        taken += store.import_annotations(draw.id, known, second=second)
        waiting = [note for exchange, note in named if not exchange]
        before, draw = draw, advance(store, draw.id)
        if draw.phase == before.phase:
            break
    return Imported(labels=taken, unasked=len(waiting), draw=draw)


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


def known_labels(store: Store, draw: Draw) -> list[Annotation]:
    """The right labels of the items that were planted to check the annotators."""
    return [item.known for item in store.items(draw.id) if item.known is not None]


def unlabelled_known(store: Store, draw: Draw) -> int:
    """Planted items that nobody has labelled; labels that were made elsewhere hold none."""
    done = {note.exchange for note in store.annotations(draw.id)}
    return sum(label.exchange not in done for label in known_labels(store, draw))


def with_slices(verdicts: pl.LazyFrame, by: Sequence[str]) -> pl.LazyFrame:
    """The verdicts with the columns that `by` names, `model` and `tags.KEY` among them, as plain columns."""
    return verdicts.with_columns(slice_columns(by, verdicts.collect_schema()))


def _with_texts(items: Sequence[Item], verdicts: pl.LazyFrame) -> list[Item]:
    """Items with what annotators see. Known items bring their own text."""
    asked = [item.exchange for item in items if item.known is None]
    if "response" not in verdicts.collect_schema():
        raise InputError(
            "these verdicts were kept without text, so nobody could label them",
            where="column response",
            remedy="name the logs with --logs, or scan again without --no-text",
        )
    found = {row["id"]: row for row in label.texts(verdicts, asked).iter_rows(named=True)}
    if len(found) < len(asked):
        raise InputError(
            f"{len(asked) - len(found)} of the drawn exchanges are not in these logs",
            remedy="name the logs that were scanned",
        )
    return label.disguised(
        [item if item.known else _with_text(item, found[item.exchange]) for item in items]
    )


def _with_text(item: Item, row: dict[str, Any]) -> Item:
    return msgspec.structs.replace(
        item, **{name: row[name] for name in _TEXTS if row.get(name) is not None and name != "id"}
    )


def _asked(store: Store, draw_id: str) -> dict[str, str]:
    """Id of every exchange that the draw asks for, by that id and by the log's own."""
    asked = [(item.exchange, item.source_id) for item in store.items(draw_id) if item.phase != "reserve"]
    by_source = {source: exchange for exchange, source in asked if source is not None}
    return by_source | {exchange: exchange for exchange, _ in asked}


def _needs_second(store: Store, draw: Draw, annotation: Annotation) -> bool:
    if annotation.adjudicated or annotation.skipped is not None:
        return False
    return label.second_label(draw, store.item(draw.id, annotation.exchange), annotation)
