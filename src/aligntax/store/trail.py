"""Runs, estimates and decisions: records that are only ever added, within a transaction of the caller."""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa

from . import records

_PLAIN = ("id", "kind", "draw", "time")  # columns that are not JSON


def keep(connection: sa.Connection, table: sa.Table, row: dict[str, Any], now: dt.datetime) -> int:
    """Add a row and return its number."""
    values = {
        name: value if name in _PLAIN or value is None else records.as_json(value)
        for name, value in row.items()
    }
    added = connection.execute(sa.insert(table).values(**values, time=now).returning(table.c.id))
    return int(added.scalar_one())


def kept(connection: sa.Connection, table: sa.Table) -> list[dict[str, Any]]:
    """All rows, the newest first."""
    rows = connection.execute(sa.select(table).order_by(table.c.id.desc())).mappings()
    return [
        {name: value if name in _PLAIN else records.from_json(value) for name, value in row.items()}
        for row in rows
    ]
