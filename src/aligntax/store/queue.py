"""Who labels what next, and how far it has come, within a transaction of the caller."""

from __future__ import annotations

import datetime as dt
import statistics
from itertools import pairwise
from typing import Any

import sqlalchemy as sa

from .labels import hold
from .records import Progress
from .schema import CONTESTED, OPEN, annotators, draws, items, label_history, labels, leases

_PAUSE_S = 600.0  # a longer gap between two labels is no time spent on an item
_RECENT = 50  # labels that say how quick somebody is


def take_next(
    connection: sa.Connection, draw_id: str, annotator: str, *, now: dt.datetime, lease: dt.timedelta
) -> str | None:
    """Id of the exchange that this person labels next, held for them; None where there is nothing for them.

    The caller holds the draw, so no two ask at once.
    """
    connection.execute(sa.delete(leases).where(leases.c.draw == draw_id, leases.c.expires <= now))
    found = _held(connection, draw_id, annotator) or _free(connection, draw_id, annotator)
    if found is not None:
        hold(connection, draw_id, found, annotator, now + lease)
    return found


def _held(connection: sa.Connection, draw_id: str, annotator: str) -> str | None:
    """What the person was given already: a page that is loaded again shows the same item."""
    theirs = sa.select(leases.c.exchange).where(leases.c.draw == draw_id, leases.c.annotator == annotator)
    held = connection.scalars(theirs).all()
    if not held:
        return None
    mine = sa.select(items.c.exchange).where(items.c.draw == draw_id, items.c.exchange.in_(held), OPEN)
    first = mine.where(~_labelled_by(annotator)).order_by(items.c.turn, items.c.position).limit(1)
    return connection.execute(first).scalar_one_or_none()


def _free(connection: sa.Connection, draw_id: str, annotator: str) -> str | None:
    """The first in the queue that is not spoken for.

    An open item has at most one label, for at most two are wanted. So what this person may be given lies in
    the parts of the queue that nobody or one of the others began, and the head of each is found by index,
    however much they have labelled themselves.
    """
    others = sa.select(annotators.c.name).where(annotators.c.draw == draw_id, annotators.c.name != annotator)
    heads = [
        head
        for name in ["", *connection.scalars(others)]
        if (head := connection.execute(_HEAD, {"d": draw_id, "begun": name, "me": annotator}).one_or_none())
    ]
    return min(heads)[-1] if heads else None


def _labelled_by(annotator: Any) -> Any:
    same = (labels.c.draw == items.c.draw, labels.c.exchange == items.c.exchange)
    return sa.exists().where(*same, labels.c.annotator == annotator)


def _head_of_queue() -> Any:
    mine: Any = sa.bindparam("me")
    spoken_for = (
        sa.select(sa.func.count())
        .where(
            leases.c.draw == items.c.draw, leases.c.exchange == items.c.exchange, leases.c.annotator != mine
        )
        .scalar_subquery()
    )
    return (
        sa.select(items.c.turn, items.c.position, items.c.exchange)
        .where(items.c.draw == sa.bindparam("d"), items.c.first_by == sa.bindparam("begun"), OPEN)
        .where(spoken_for < items.c.missing)
        .order_by(items.c.turn, items.c.position)
        .limit(1)
    )


_HEAD = _head_of_queue()


def progress(connection: sa.Connection, draw_id: str, annotator: str | None) -> Progress:
    """How far the draw, or the person in it, has come. Looks at labelled items only: the queue may be long."""
    totals = sa.select(draws.c.asked, draws.c.asked_pilot, draws.c.asked_twice).where(draws.c.id == draw_id)
    asked, asked_pilot, asked_twice = connection.execute(totals).one()
    done, done_pilot, done_twice, closed, missing = connection.execute(_LABELLED, {"d": draw_id}).one()
    labelled, to_label = done, asked - done
    if annotator is not None:
        labelled = _given_by(connection, draw_id, annotator)
        begun = sa.select(sa.func.count()).where(items.c.draw == draw_id, items.c.first_by == annotator, OPEN)
        to_label = asked - closed - connection.execute(begun).scalar_one()
    contested = sa.select(sa.func.count()).where(items.c.draw == draw_id, CONTESTED)
    return Progress(
        labelled=labelled,
        to_label=to_label,
        pilot_left=asked_pilot - done_pilot,
        double_left=asked_twice - done_twice + missing,
        disagreements=connection.execute(contested).scalar_one(),
        seconds_per_item=_seconds_per_item(connection, draw_id, annotator),
    )


def _tally_of_labelled() -> Any:
    """Of items with a label: all, those of the pilot, those planned twice, those that are done; labels missing."""

    def total(value: Any) -> Any:
        return sa.func.coalesce(sa.func.sum(value), 0)

    pilot = (items.c.phase == "pilot") & items.c.stratum.is_not(None)
    return sa.select(
        sa.func.count(),
        total(sa.case((pilot, 1), else_=0)),
        total(items.c.planned - 1),
        total(sa.case((items.c.missing == 0, 1), else_=0)),
        total(items.c.missing),
    ).where(items.c.draw == sa.bindparam("d"), items.c.phase.in_(("pilot", "rest")), items.c.done > 0)


_LABELLED = _tally_of_labelled()


def _given_by(connection: sa.Connection, draw_id: str, annotator: str) -> int:
    """How many labels the person gave, those of the reserve aside, which wait."""
    given = sa.select(sa.func.count()).where(labels.c.draw == draw_id, labels.c.annotator == annotator)
    waiting = sa.select(sa.func.count()).where(items.c.draw == draw_id, items.c.phase == "reserve")
    theirs = waiting.where(items.c.done > 0, _labelled_by(annotator))
    return int(connection.execute(given).scalar_one() - connection.execute(theirs).scalar_one())


def _seconds_per_item(connection: sa.Connection, draw_id: str, annotator: str | None) -> float | None:
    names = sa.select(annotators.c.name).where(annotators.c.draw == draw_id)
    people = connection.scalars(names).all() if annotator is None else [annotator]
    gaps: list[float] = []
    for name in people:
        when = (
            sa.select(label_history.c.time)
            .where(label_history.c.draw == draw_id, label_history.c.annotator == name)
            .where(label_history.c.action == "label")
            .order_by(label_history.c.id.desc())
            .limit(_RECENT)
        )
        times = connection.scalars(when).all()
        gaps += [(later - earlier).total_seconds() for later, earlier in pairwise(times)]
    worked = [gap for gap in gaps if 0 <= gap <= _PAUSE_S]
    return statistics.median(worked) if worked else None
