"""Labels and their history, within a transaction of the caller."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ..errors import InputError
from ..types import Annotation, Answered, ShouldAnswer
from . import records
from .schema import annotators, items, label_history, labels, leases

_PAGE = 500  # exchanges that one statement names


def put(
    connection: sa.Connection,
    draw_id: str,
    annotations: Sequence[Annotation],
    *,
    second: Collection[str] = (),
    now: dt.datetime,
    action: str = "label",
) -> None:
    """Make these the current labels of their people; `second` names exchanges that want another one.

    Raises InputError where an exchange is not in the draw, or in its reserve and this is no import.
    """
    every = [records.as_kept(annotation, now) for annotation in annotations]
    for start in range(0, len(every), _PAGE):
        page = every[start : start + _PAGE]
        exchanges = sorted({annotation.exchange for annotation in page})
        _lock_items(connection, draw_id, exchanges, reserve=action == "import")
        before = _standing(connection, draw_id, exchanges)
        for person in {annotation.annotator for annotation in page}:
            join(connection, draw_id, person)
        history = []
        for annotation in page:
            replaced = before.get(_whose(annotation))
            history.append(_change(draw_id, annotation, now, action, label=annotation, replaced=replaced))
            before[_whose(annotation)] = (
                annotation  # the same person may speak of it again in the same import
            )
        changes = _add_to_history(connection, history)
        rows = {
            _whose(annotation): records.label_row(
                draw_id, annotation, second=annotation.exchange in second, change=change
            )
            for annotation, change in zip(page, changes, strict=True)
        }
        put_row = _insert(connection, labels)
        keys = [column.name for column in labels.primary_key]
        rest = {
            column.name: put_row.excluded[column.name] for column in labels.columns if column.name not in keys
        }
        connection.execute(put_row.on_conflict_do_update(index_elements=keys, set_=rest), list(rows.values()))
        connection.execute(
            _END_LEASE, [{"d": draw_id, "e": row["exchange"], "a": row["annotator"]} for row in rows.values()]
        )


def take_back(
    connection: sa.Connection, draw_id: str, annotator: str, *, now: dt.datetime, lease: dt.timedelta
) -> Annotation | None:
    """Remove the person's newest label and give the item back to them; None where there is no label."""
    row = newest(connection, draw_id, annotator)
    if row is None:
        return None
    _lock_items(connection, draw_id, [row["exchange"]], reserve=True)
    annotation = records.annotation_of(row)
    gone = connection.execute(
        sa.delete(labels).where(labels.c.draw == draw_id, labels.c.change == row["change"])
    )
    if not gone.rowcount:  # the same person took it back elsewhere, while this one waited for the item
        return None
    _add_to_history(connection, [_change(draw_id, annotation, now, "undo", label=None, replaced=annotation)])
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
            contested=sa.case((~reserve & ~settled & contested, 1), else_=0),
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


def _lock_items(connection: sa.Connection, draw_id: str, exchanges: Sequence[str], *, reserve: bool) -> None:
    """Let no other writer at the labels of these items. Raises InputError where one is not there to label."""
    which = sa.select(items.c.exchange, items.c.phase).where(
        items.c.draw == draw_id, items.c.exchange.in_(exchanges)
    )
    in_order = which.order_by(items.c.exchange).with_for_update(key_share=True)  # so that two do not deadlock
    phases = {row.exchange: row.phase for row in connection.execute(in_order)}
    for exchange in exchanges:
        if exchange not in phases:
            raise InputError("is not in this draw", where=f"exchange {exchange[:80]}")
        if phases[exchange] == "reserve" and not reserve:
            raise InputError(
                "is in the reserve",
                where=f"exchange {exchange}",
                remedy="label the pilot first: it decides on the rest",
            )


def _whose(annotation: Annotation) -> tuple[str, str, bool]:
    """What there is one current label of."""
    return annotation.exchange, annotation.annotator, annotation.adjudicated


def _standing(
    connection: sa.Connection, draw_id: str, exchanges: Sequence[str]
) -> dict[tuple[str, str, bool], Annotation]:
    found = sa.select(labels).where(labels.c.draw == draw_id, labels.c.exchange.in_(exchanges))
    standing = [records.annotation_of(row) for row in connection.execute(found).mappings()]
    return {_whose(annotation): annotation for annotation in standing}


def _change(
    draw_id: str,
    annotation: Annotation,
    now: dt.datetime,
    action: str,
    **said: Annotation | None,
) -> dict[str, Any]:
    return {
        "draw": draw_id,
        "exchange": annotation.exchange,
        "annotator": annotation.annotator,
        "time": now,
        "action": action,
        **{name: None if value is None else records.as_json(value) for name, value in said.items()},
    }


def _add_to_history(connection: sa.Connection, rows: list[dict[str, Any]]) -> Sequence[int]:
    """Numbers of the new entries, in the order of the rows."""
    added = sa.insert(label_history).returning(label_history.c.id, sort_by_parameter_order=True)
    return connection.scalars(added, rows).all()


def _insert(connection: sa.Connection, table: sa.Table) -> Any:
    """An insert that may say what happens on conflict, which each dialect spells for itself."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


_END_LEASE = sa.delete(leases).where(
    leases.c.draw == sa.bindparam("d"),
    leases.c.exchange == sa.bindparam("e"),
    leases.c.annotator == sa.bindparam("a"),
)
