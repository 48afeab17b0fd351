"""Labels and their history, within a transaction of the caller."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ..errors import InputError
from ..types import Annotation, Answered, ShouldAnswer
from . import records
from .schema import annotators, items, label_history, labels, leases


def put(
    connection: sa.Connection,
    draw_id: str,
    annotation: Annotation,
    *,
    second: bool,
    now: dt.datetime,
    action: str = "label",
) -> None:
    """Make this the person's current label of the exchange; `recount` has to follow."""
    annotation = records.as_kept(annotation, now)
    phase = _lock_item(connection, draw_id, annotation.exchange)
    if phase == "reserve" and action != "import":
        raise InputError(
            "is in the reserve",
            where=f"exchange {annotation.exchange}",
            remedy="label the pilot first: it decides on the rest",
        )
    key = _key(draw_id, annotation)
    before = connection.execute(sa.select(labels).where(*key)).mappings().one_or_none()
    change = _add_to_history(
        connection,
        draw_id,
        annotation,
        now=now,
        action=action,
        label=annotation,
        replaced=None if before is None else records.annotation_of(before),
    )
    row = records.label_row(draw_id, annotation, second=second, change=change)
    if before is None:
        join(connection, draw_id, annotation.annotator)
        connection.execute(sa.insert(labels).values(row))
    else:
        connection.execute(sa.update(labels).where(*key).values(row))
    connection.execute(
        sa.delete(leases).where(*_same_lease(draw_id, annotation.exchange, annotation.annotator))
    )


def take_back(
    connection: sa.Connection, draw_id: str, annotator: str, *, now: dt.datetime, lease: dt.timedelta
) -> Annotation | None:
    """Remove the person's newest label and give the item back to them; None where there is no label."""
    row = newest(connection, draw_id, annotator)
    if row is None:
        return None
    _lock_item(connection, draw_id, row["exchange"])
    annotation = records.annotation_of(row)
    gone = connection.execute(
        sa.delete(labels).where(*_key(draw_id, annotation), labels.c.change == row["change"])
    )
    if not gone.rowcount:  # the same person took it back elsewhere, while this one waited for the item
        return None
    _add_to_history(connection, draw_id, annotation, now=now, action="undo", label=None, replaced=annotation)
    recount(connection, draw_id, [annotation.exchange])
    hold(connection, draw_id, annotation.exchange, annotator, now + lease)
    return annotation


def newest(connection: sa.Connection, draw_id: str, annotator: str) -> sa.RowMapping | None:
    """The row of the person's label that was written last."""
    mine = sa.select(labels).where(labels.c.draw == draw_id, labels.c.annotator == annotator)
    return connection.execute(mine.order_by(labels.c.change.desc()).limit(1)).mappings().one_or_none()


def hold(connection: sa.Connection, draw_id: str, exchange: str, annotator: str, until: dt.datetime) -> None:
    """Keep the item for this person until then."""
    row = {"draw": draw_id, "exchange": exchange, "annotator": annotator, "expires": until}
    connection.execute(
        _insert(connection, leases)
        .values(row)
        .on_conflict_do_update(index_elements=["draw", "exchange", "annotator"], set_={"expires": until})
    )


def join(connection: sa.Connection, draw_id: str, name: str) -> None:
    """Count a person among those of the draw, so that the queue knows whose labels there are."""
    row = {"draw": draw_id, "name": name, "role": "annotator", "token_hash": None}
    connection.execute(_insert(connection, annotators).values(row).on_conflict_do_nothing())


def current(connection: sa.Connection, draw_id: str) -> list[Annotation]:
    """All labels of exchanges that are asked for, in the order in which they were given."""
    asked = sa.select(labels).join(items, sa.and_(*_SAME_ITEM)).where(items.c.phase != "reserve")
    found = asked.where(labels.c.draw == draw_id).order_by(labels.c.change)
    return [records.annotation_of(row) for row in connection.execute(found).mappings()]


def recount(connection: sa.Connection, draw_id: str, exchanges: Sequence[str] | None = None) -> None:
    """Work out again what the queue knows of these items (None: of all), from their current labels."""
    if exchanges is None:
        connection.execute(_RECOUNT, {"d": draw_id})
    elif exchanges:
        each = _RECOUNT.where(items.c.exchange == sa.bindparam("e"))
        connection.execute(each, [{"d": draw_id, "e": exchange} for exchange in exchanges])


def _recount_all() -> sa.Update:
    def over_labels(*columns: Any) -> Any:
        return sa.select(*columns).where(*_SAME_ITEM).correlate(items).scalar_subquery()

    def differ(column: sa.Column[Any]) -> Any:
        return sa.func.count(column.distinct()) > 1

    def any_label(condition: Any) -> Any:
        return sa.exists().where(*_SAME_ITEM, condition).correlate(items)

    reserve = items.c.phase == "reserve"
    settled = any_label(labels.c.adjudicated)
    done = over_labels(sa.func.count())
    wanted = sa.case((any_label(labels.c.second), 2), else_=items.c.planned)
    contested = over_labels(
        differ(labels.c.answered) | differ(labels.c.should_answer) | differ(labels.c.kinds)
    )
    return (
        sa.update(items)
        .where(items.c.draw == sa.bindparam("d"))
        .values(
            done=done,
            wanted=wanted,
            missing=sa.case((reserve | settled | (done >= wanted), 0), else_=wanted - done),
            first_by=sa.func.coalesce(over_labels(sa.func.min(labels.c.annotator)), ""),
            contested=~reserve & ~settled & contested,
        )
    )


_SAME_ITEM = (labels.c.draw == items.c.draw, labels.c.exchange == items.c.exchange)
_RECOUNT = _recount_all()


def positives(connection: sa.Connection, draw_id: str, strata: Sequence[Any]) -> list[tuple[int, int]]:
    """Per stratum of the draw: exchanges of the pilot with a settled label, and those that are positive."""
    found = sa.select(labels, items.c.stratum).join(items, sa.and_(*_SAME_ITEM))
    mine = found.where(labels.c.draw == draw_id, items.c.phase == "pilot", items.c.stratum.is_not(None))
    by_exchange: dict[str, list[sa.RowMapping]] = {}
    for row in connection.execute(mine.order_by(labels.c.change)).mappings():
        by_exchange.setdefault(row["exchange"], []).append(row)
    labelled, positive = Counter[int](), Counter[int]()
    for rows in by_exchange.values():
        stratum = rows[0]["stratum"]
        labelled[stratum] += 1
        positive[stratum] += _says_positive(rows, blocked=strata[stratum].kind == "blocked")
    return [(labelled[position], positive[position]) for position in range(len(strata))]


def _says_positive(rows: list[sa.RowMapping], *, blocked: bool) -> bool:
    """What the labels of one exchange come to: the adjudicator's, else the majority's, else the first one."""
    column, positive = ("should_answer", (ShouldAnswer.YES,)) if blocked else ("answered", _NOT_COMPLETE)
    kept = [row for row in rows if row["adjudicated"]] or rows
    said = Counter(row[column] in positive for row in kept if row[column] is not None)
    return bool(said) and said.most_common(1)[0][0]  # of equals, the first that was counted


_NOT_COMPLETE = (Answered.PART, Answered.NONE)


def _lock_item(connection: sa.Connection, draw_id: str, exchange: str) -> str:
    """Let no other writer at the labels of this item, and return its phase. Raises InputError where there is none."""
    which = sa.select(items.c.phase).where(items.c.draw == draw_id, items.c.exchange == exchange)
    phase: str | None = connection.execute(which.with_for_update(key_share=True)).scalar_one_or_none()
    if phase is None:
        raise InputError("is not in this draw", where=f"exchange {exchange[:80]}")
    return phase


def _add_to_history(
    connection: sa.Connection,
    draw_id: str,
    annotation: Annotation,
    *,
    now: dt.datetime,
    action: str,
    **said: Any,
) -> int:
    row = {
        "draw": draw_id,
        "exchange": annotation.exchange,
        "annotator": annotation.annotator,
        "time": now,
        "action": action,
        **{name: None if value is None else records.as_json(value) for name, value in said.items()},
    }
    added = connection.execute(sa.insert(label_history).values(row).returning(label_history.c.id))
    return int(added.scalar_one())


def _insert(connection: sa.Connection, table: sa.Table) -> Any:
    """An insert that may say what happens on conflict, which each dialect spells for itself."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


def _key(draw_id: str, annotation: Annotation) -> Iterable[Any]:
    return (
        labels.c.draw == draw_id,
        labels.c.exchange == annotation.exchange,
        labels.c.annotator == annotation.annotator,
        labels.c.adjudicated == annotation.adjudicated,
    )


def _same_lease(draw_id: str, exchange: str, annotator: str) -> Iterable[Any]:
    return leases.c.draw == draw_id, leases.c.exchange == exchange, leases.c.annotator == annotator
