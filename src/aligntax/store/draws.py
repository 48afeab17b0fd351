"""Draws, their items and their people, within a transaction of the caller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ..errors import InputError
from ..types import Draw, Item
from . import records
from .labels import join
from .schema import annotators, draws, items, labels

PAGE = 500  # rows that are read or written at a time, where texts come along


def check(connection: sa.Connection, draw_id: str, *, alone: bool = False) -> None:
    """Raises InputError where there is no such draw; with `alone`, others who ask so wait until we are done."""
    which = sa.select(draws.c.id).where(draws.c.id == records.clean(draw_id))
    row = connection.execute(which.with_for_update(key_share=True) if alone else which).one_or_none()
    if row is None:
        raise InputError("there is no such draw", where=f"draw {records.clean(draw_id)[:80]}")


def find(connection: sa.Connection, draw_id: str) -> Draw:
    """The draw whose id is, or begins with, `draw_id`. Raises InputError where none does, or several do."""
    ids = connection.scalars(sa.select(draws.c.id)).all()
    found = [draw_id] if draw_id in ids else [name for name in ids if draw_id and name.startswith(draw_id)]
    where = f"draw {records.clean(draw_id)[:80]}"
    if not found:
        raise InputError("there is no such draw", where=where, remedy="plan one, or name another store")
    if len(found) > 1:
        raise InputError(f"{len(found)} draws begin like that", where=where, remedy="give more of the id")
    return records.draw_of(connection.scalars(sa.select(draws.c.record).where(draws.c.id == found[0])).one())


def add(connection: sa.Connection, draw: Draw, rows: Sequence[dict[str, Any]]) -> None:
    """Keep a draw with the rows of its items."""
    if connection.execute(sa.select(draws.c.id).where(draws.c.id == draw.id)).one_or_none() is not None:
        raise InputError("is there already", where=f"draw {draw.id}", remedy="draw with another seed")
    if len({row["exchange"] for row in rows}) < len(rows):
        raise InputError("names an exchange twice", where=f"draw {draw.id}")
    none_yet = {"asked": 0, "asked_pilot": 0, "asked_twice": 0}
    connection.execute(sa.insert(draws).values(records.draw_row(draw) | none_yet))
    for start in range(0, len(rows), PAGE):
        connection.execute(sa.insert(items), rows[start : start + PAGE])
    _count(connection, draw.id)
    if (
        connection.dialect.name == "postgresql"
    ):  # or a long queue is searched row by row until autovacuum comes
        connection.exec_driver_sql("ANALYZE items")


def extend(connection: sa.Connection, draw: Draw) -> bool:
    """Ask for the first `labels` items of each stratum and delete the others; False: somebody has done it."""
    check(connection, draw.id)
    pilot = sa.update(draws).where(draws.c.id == draw.id, draws.c.phase == "pilot")
    if not connection.execute(pilot.values(records.draw_row(draw))).rowcount:
        return False
    reserve = items.c.draw == draw.id, items.c.phase == "reserve", items.c.stratum.is_not(None)
    taken = {"phase": "rest", "turn": records.TURNS["rest"]}
    for position, stratum in enumerate(draw.strata):
        first = items.c.stratum == position, items.c.place < stratum.labels
        connection.execute(sa.update(items).where(*reserve, *first).values(taken))
    others = sa.select(items.c.exchange).where(*reserve)
    connection.execute(sa.delete(labels).where(labels.c.draw == draw.id, labels.c.exchange.in_(others)))
    connection.execute(sa.delete(items).where(*reserve))
    _count(connection, draw.id)
    return True


def _count(connection: sa.Connection, draw_id: str) -> None:
    """Count what a phase asks for, once."""

    def count(*which: Any) -> Any:
        return sa.select(sa.func.count()).where(items.c.draw == draw_id, *which).scalar_subquery()

    asked = items.c.phase != "reserve"
    counts = {
        "asked": count(asked),
        "asked_pilot": count(items.c.phase == "pilot", items.c.stratum.is_not(None)),
        "asked_twice": count(asked, items.c.planned == 2),
    }
    connection.execute(sa.update(draws).where(draws.c.id == draw_id).values(counts))


def item(connection: sa.Connection, draw_id: str, exchange: str) -> Item:
    """One item. Raises InputError where it is not in the draw."""
    exchange = records.clean(exchange)
    found = sa.select(items).where(items.c.draw == draw_id, items.c.exchange == exchange)
    row = connection.execute(found).mappings().one_or_none()
    if row is None:
        raise InputError("is not in this draw", where=f"exchange {exchange[:80]}")
    return records.item_of(row)


def some(connection: sa.Connection, draw_id: str, exchanges: Sequence[str]) -> list[Item]:
    """These items, in this order; those that are gone meanwhile are left out."""
    found = sa.select(items).where(items.c.draw == draw_id, items.c.exchange.in_(exchanges))
    read = {row["exchange"]: records.item_of(row) for row in connection.execute(found).mappings()}
    return [read[exchange] for exchange in exchanges if exchange in read]


def link(connection: sa.Connection, draw_id: str, name: str, *, role: str, token_hash: str) -> None:
    """Give a person a secret, in place of the one they had."""
    join(connection, draw_id, name)
    same = annotators.c.draw == draw_id, annotators.c.name == name
    connection.execute(sa.update(annotators).where(*same).values(role=role, token_hash=token_hash))
