"""What happens at the labelling page: which exchange somebody sees, what is kept, and what they see next."""

from __future__ import annotations

import collections
import datetime as dt
import hashlib
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from .. import campaign
from ..errors import InputError
from ..label.codebook import load_codebook
from ..types import Annotation, Draw, Item
from . import pages, questions, session
from .pages import KEYS, Stand
from .questions import NOTE_LIMIT, Form, Tampered

if TYPE_CHECKING:
    from ..store import Store

Read = TypeVar("Read")

SIDES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

NEXT_STEPS = {
    "annotator": (
        "Your labels are stored. Together with those of the others they become rates with an interval: how often "
        "legitimate requests go without a full answer, and how often a no was deserved.",
        "Where two people disagreed, somebody looks at both labels and settles it. Now and then more exchanges "
        "come up; this link keeps working until the page is closed down.",
    ),
    "adjudicator": (
        "Your decisions are stored and stand above the labels that disagreed.",
        "When more labels come in there may be more to settle; this link keeps working until the page is closed "
        "down.",
    ),
}
WAITING = "Others are labelling the last of what is open now. There may be more for you when they are done."


class Refused(Exception):
    """A request that is not taken; `status` is that of the reply."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(str(status))


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """Who is at the page."""

    name: str
    role: str  # "annotator" or "adjudicator"
    token: str


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A page to be: the status of the reply, and what its template is filled with."""

    status: int
    shown: dict[str, Any]


class Desk:
    """The page of one draw. Thread-safe; everything that must last is in the store."""

    def __init__(self, store: Store, draw_id: str, *, now: Callable[[], dt.datetime] | None = None) -> None:
        self.store, self.draw_id = store, store.draw(draw_id).id
        self.codebook = load_codebook()
        self._now = now or (lambda: dt.datetime.now(dt.UTC))
        self._busy: collections.defaultdict[str, threading.Lock] = collections.defaultdict(threading.Lock)
        self._fresh: dict[str, str] = {}  # person -> exchange that they were shown and have not labelled

    def visitor(self, token: str) -> Visitor | None:
        """Who this token belongs to; None for nobody, and for people of other draws."""
        person = self.store.annotator(token) if session.looks_like_token(token) else None
        if person is None or person.draw != self.draw_id:
            return None
        return Visitor(name=person.name, role=person.role, token=token)

    def home(self, visitor: Visitor, *, said: str = "", saved: str = "", notice: str = "") -> View:
        """The next exchange for this person, or why there is none."""
        message: dict[str, Any] = {"said": said, "saved_key": saved and self._key(saved), "notice": notice}
        if visitor.role == "adjudicator":
            contested = self.store.contested(self.draw_id)
            stand = self._settled(visitor, len(contested))
            if contested:
                return self._settle_view(visitor, contested[0], stand, **message)
            return self._end(visitor, stand, **message)
        item = self.store.next_item(self.draw_id, visitor.name, now=self._now())
        stand, waiting = self._stand(visitor)
        if item is None:
            return self._end(visitor, stand, waiting=waiting, **message)
        self._fresh[visitor.name] = item.exchange
        return self._item_view(visitor, item, stand, **message)

    def label(self, visitor: Visitor, form: Form) -> View:
        """Keep the labels of a form, then show the next exchange. A form that comes twice is kept once."""
        item = self._asked_for(visitor, form, "annotator")
        axes = questions.asked_axes(self.codebook, item)
        annotation = self._read(form, axes, visitor)
        if fault := questions.faults(annotation, axes):
            stand, _ = self._stand(visitor)
            return self._item_view(visitor, item, stand, status=422, notice=fault, filled=annotation)
        return self._keep(visitor, annotation)

    def skip(self, visitor: Visitor, form: Form) -> View:
        """Keep why an exchange cannot be labelled, then show the next one."""
        item = self._asked_for(visitor, form, "annotator")
        reason = "".join(form.get("reason", ()))
        if not reason:
            stand, _ = self._stand(visitor)
            return self._item_view(visitor, item, stand, status=422, notice="Not skipped. Say why.")
        if reason not in {one.name for one in self.codebook.skip}:
            raise Refused(400)
        annotation = Annotation(
            exchange=item.exchange,
            annotator=visitor.name,
            skipped=reason,
            note=_taken(lambda: questions.note_of(form)),
            time=self._now(),
        )
        return self._keep(visitor, annotation)

    def undo(self, visitor: Visitor) -> View:
        """Take back this person's last label and show its exchange again, filled in."""
        with self._busy[visitor.name]:
            annotation = self.store.undo(self.draw_id, visitor.name, now=self._now())
            if annotation is None:
                return self.home(visitor, notice="There is nothing to take back.")
            self._fresh[visitor.name] = annotation.exchange
        message: dict[str, Any] = {"said": "Taken back. Change it and save again.", "filled": annotation}
        if annotation.adjudicated:
            stand = self._settled(visitor, len(self.store.contested(self.draw_id)))
            return self._settle_view(visitor, annotation.exchange, stand, **message)
        item = self.store.item(self.draw_id, annotation.exchange)
        stand, _ = self._stand(visitor)
        return self._item_view(visitor, item, stand, **message)

    def settle(self, visitor: Visitor, form: Form) -> View:
        """Keep what an adjudicator decides, then show the next disagreement."""
        item = self._asked_for(visitor, form, "adjudicator")
        axes = questions.asked_axes(self.codebook, item)
        annotation = msgspec.structs.replace(self._read(form, axes, visitor), adjudicated=True)
        if fault := questions.faults(annotation, axes):
            stand = self._settled(visitor, len(self.store.contested(self.draw_id)))
            return self._settle_view(
                visitor, item.exchange, stand, status=422, notice=fault, filled=annotation
            )
        return self._keep(visitor, annotation)

    def _keep(self, visitor: Visitor, annotation: Annotation) -> View:
        """Commit, then go on. What this person said of the exchange before decides what they are told."""
        notice = ""
        with self._busy[visitor.name]:
            before = self._said_before(visitor, annotation)
            if before is None or not questions.same_labels(before, annotation):
                campaign.record(self.store, self.draw_id, annotation)
            if before is not None:
                notice = "You had labelled the last one before. What counts now is what you sent last."
                if questions.same_labels(before, annotation):
                    notice = "That one was saved already. Here is the next one."
            self._fresh.pop(visitor.name, None)
        view = self.home(visitor, saved=annotation.exchange, notice=notice)
        view.shown["said"] = f"Saved, {view.shown['done']} of {view.shown['total']}. {notice}".strip()
        return view

    def _said_before(self, visitor: Visitor, annotation: Annotation) -> Annotation | None:
        """The label that this one would replace. All labels are read only where a form is not the latest page."""
        if self._fresh.get(visitor.name) == annotation.exchange:
            return None
        mine = (
            label
            for label in self._labels_of(annotation.exchange)
            if label.annotator == visitor.name and label.adjudicated == annotation.adjudicated
        )
        return next(mine, None)

    def _labels_of(self, exchange: str) -> list[Annotation]:
        return [label for label in self.store.annotations(self.draw_id) if label.exchange == exchange]

    def _asked_for(self, visitor: Visitor, form: Form, role: str) -> Item:
        """The exchange of a form. Raises Refused where this person was not shown it."""
        exchange, given = "".join(form.get("exchange", ())), "".join(form.get("ticket", ()))
        if visitor.role != role or not session.same(given, session.ticket(visitor.token, exchange)):
            raise Refused(403)
        try:
            return self.store.item(self.draw_id, exchange)
        except InputError:
            raise Refused(404) from None

    def _read(self, form: Form, axes: Sequence[Any], visitor: Visitor) -> Annotation:
        exchange = "".join(form["exchange"])
        return _taken(
            lambda: questions.annotation_of(
                form, axes, exchange=exchange, annotator=visitor.name, now=self._now()
            )
        )

    def _stand(self, visitor: Visitor) -> tuple[Stand, bool]:
        """How far an annotator is, and whether others still hold what could come to them."""
        progress = self.store.progress(self.draw_id, visitor.name)
        draw = self.store.draw(self.draw_id)
        open_items = progress.to_label + _not_yet_asked(draw)
        people = sum(person.role == "annotator" for person in self.store.annotators(self.draw_id))
        left = pages.time_left(open_items, progress.seconds_per_item, shared=people > 1)
        return Stand(done=progress.labelled, total=progress.labelled + open_items, left=left), open_items > 0

    def _settled(self, visitor: Visitor, contested: int) -> Stand:
        mine = self.store.progress(self.draw_id, visitor.name).labelled
        return Stand(done=mine, total=mine + contested, left="")

    def _item_view(
        self, visitor: Visitor, item: Item, stand: Stand, *, filled: Annotation | None = None, **message: Any
    ) -> View:
        axes = questions.asked_axes(self.codebook, item)
        return self._view(
            visitor,
            stand,
            state="item",
            title="Label",
            heading=f"Exchange {stand.done + 1}",
            questions=questions.questions(axes, filled),
            note=filled.note if filled else "",
            filled=filled is not None,
            **self._texts(visitor, item),
            **message,
        )

    def _settle_view(
        self,
        visitor: Visitor,
        exchange: str,
        stand: Stand,
        *,
        filled: Annotation | None = None,
        **message: Any,
    ) -> View:
        item = self.store.item(self.draw_id, exchange)
        axes = questions.asked_axes(self.codebook, item)
        labels = [label for label in self._labels_of(exchange) if not label.adjudicated]
        labels.sort(key=lambda label: self._shuffled(exchange, label.annotator))
        sides = list(zip(SIDES, labels, strict=False))
        judged = [label for label in labels if label.skipped is None]
        said = {axis.name: [questions.said(label, axis.name) for label in labels] for axis in axes}
        return self._view(
            visitor,
            stand,
            state="settle",
            title="Settle",
            heading=f"Disagreement {stand.done + 1}",
            questions=questions.questions(axes, filled or questions.agreed(judged, axes), sides),
            note=filled.note if filled else "",
            filled=filled is not None,
            sides=[side for side, _ in sides],
            compared=pages.compared(axes, said),
            notes=[(side, pages.passage(label.note).text) for side, label in sides if label.note],
            **self._texts(visitor, item),
            **message,
        )

    def _end(self, visitor: Visitor, stand: Stand, *, waiting: bool = False, **message: Any) -> View:
        noun = "disagreement" if visitor.role == "adjudicator" else "exchange"
        did = "settled" if visitor.role == "adjudicator" else "labelled"
        return self._view(
            visitor,
            stand,
            state="waiting" if waiting else "done",
            title="Nothing open" if waiting else "Done",
            waiting=WAITING,
            thanks="Thank you" if stand.done else "There is nothing to do yet",
            achieved=f"That was everything. You {did} {stand.done:,} {noun}{'' if stand.done == 1 else 's'}."
            if stand.done
            else f"No {noun} waits for you at the moment.",
            next_steps=NEXT_STEPS[visitor.role],
            **message,
        )

    def _texts(self, visitor: Visitor, item: Item) -> dict[str, Any]:
        return {
            **pages.item_texts(item),
            "item_key": self._key(item.exchange),
            "exchange": item.exchange,
            "ticket": session.ticket(visitor.token, item.exchange),
            "reasons": self.codebook.skip,
        }

    def _view(self, visitor: Visitor, stand: Stand, *, status: int = 200, **shown: Any) -> View:
        whole = {
            "annotator": visitor.name,
            "role": visitor.role,
            "form_key": session.form_key(visitor.token),
            "done": stand.done,
            "total": stand.total,
            "left": stand.left,
            "can_undo": stand.done > 0,
            "item_key": "",
            "saved_key": "",
            "said": "",
            "notice": "",
            "filled": False,
            "keys": KEYS,
            "note_limit": NOTE_LIMIT,
        }
        return View(status=status, shown=whole | shown)

    def _key(self, exchange: str) -> str:
        """Names an exchange in a browser's storage, which outlives the page: no id of the log goes there."""
        return hashlib.sha256(f"{self.draw_id} {exchange}".encode()).hexdigest()[:20]

    def _shuffled(self, exchange: str, annotator: str) -> str:
        """Puts people in an order of its own for each exchange, so that A is not always the same person."""
        return hashlib.sha256(f"{self.draw_id} {exchange} {annotator}".encode()).hexdigest()


def _not_yet_asked(draw: Draw) -> int:
    """Exchanges that the second phase will ask for: people are told the whole, and not that there are two."""
    if draw.phase != "pilot":
        return 0
    return max(min(draw.budget, draw.population) - sum(stratum.labels for stratum in draw.strata), 0)


def _taken(read: Callable[[], Read]) -> Read:
    try:
        return read()
    except Tampered:
        raise Refused(400) from None
