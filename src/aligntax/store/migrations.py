"""From any older schema to the newest, in one transaction. A migration that was released is never edited."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa

from ..errors import InputError
from . import schema

_FIRST = """
CREATE TABLE schema_version (version INTEGER NOT NULL PRIMARY KEY, applied VARCHAR NOT NULL);
CREATE TABLE runs (
    id {serial}, kind VARCHAR NOT NULL, time VARCHAR NOT NULL,
    inputs VARCHAR NOT NULL, settings VARCHAR NOT NULL, result VARCHAR);
CREATE TABLE draws (
    id VARCHAR NOT NULL PRIMARY KEY, created VARCHAR NOT NULL, fingerprint VARCHAR NOT NULL,
    phase VARCHAR NOT NULL, record VARCHAR NOT NULL);
CREATE INDEX ix_draws_fingerprint ON draws (fingerprint);
CREATE TABLE items (
    draw VARCHAR NOT NULL REFERENCES draws (id), exchange VARCHAR NOT NULL,
    stratum INTEGER, place INTEGER NOT NULL, position DOUBLE PRECISION NOT NULL, phase VARCHAR NOT NULL,
    wanted INTEGER NOT NULL, known VARCHAR, source_id VARCHAR, use_case VARCHAR, outcome VARCHAR NOT NULL,
    prompt VARCHAR NOT NULL, response VARCHAR NOT NULL, system VARCHAR, history VARCHAR,
    PRIMARY KEY (draw, exchange));
CREATE TABLE annotators (
    draw VARCHAR NOT NULL REFERENCES draws (id), name VARCHAR NOT NULL, role VARCHAR NOT NULL,
    token_hash VARCHAR UNIQUE, PRIMARY KEY (draw, name));
CREATE TABLE labels (
    draw VARCHAR NOT NULL, exchange VARCHAR NOT NULL, annotator VARCHAR NOT NULL, adjudicated BOOLEAN NOT NULL,
    answered VARCHAR, kinds VARCHAR, disclaimer BOOLEAN, hedging INTEGER, should_answer VARCHAR,
    skipped VARCHAR, note VARCHAR NOT NULL, time VARCHAR NOT NULL,
    PRIMARY KEY (draw, exchange, annotator, adjudicated),
    FOREIGN KEY (draw, exchange) REFERENCES items (draw, exchange))
"""

# History, leases, and a queue that is found by index: in version 1 it was searched through the labels.
_SECOND = """
CREATE TABLE label_history (
    id {serial}, draw VARCHAR NOT NULL REFERENCES draws (id), exchange VARCHAR NOT NULL,
    annotator VARCHAR NOT NULL, time VARCHAR NOT NULL, action VARCHAR NOT NULL, label VARCHAR, replaced VARCHAR);
CREATE INDEX label_history_by_person ON label_history (draw, annotator, id);
CREATE TABLE leases (
    draw VARCHAR NOT NULL, exchange VARCHAR NOT NULL, annotator VARCHAR NOT NULL, expires VARCHAR NOT NULL,
    PRIMARY KEY (draw, exchange, annotator),
    FOREIGN KEY (draw, exchange) REFERENCES items (draw, exchange) ON DELETE CASCADE);
CREATE TABLE estimates (
    id {serial}, draw VARCHAR REFERENCES draws (id), time VARCHAR NOT NULL,
    inputs VARCHAR NOT NULL, rows VARCHAR NOT NULL);
CREATE TABLE decisions (id {serial}, time VARCHAR NOT NULL, record VARCHAR NOT NULL);
ALTER TABLE draws ADD COLUMN asked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE draws ADD COLUMN asked_pilot INTEGER NOT NULL DEFAULT 0;
ALTER TABLE draws ADD COLUMN asked_twice INTEGER NOT NULL DEFAULT 0;
ALTER TABLE labels ADD COLUMN second BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE labels ADD COLUMN change BIGINT NOT NULL DEFAULT 0;
ALTER TABLE items ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
ALTER TABLE items ADD COLUMN planned INTEGER NOT NULL DEFAULT 1;
ALTER TABLE items ADD COLUMN done INTEGER NOT NULL DEFAULT 0;
ALTER TABLE items ADD COLUMN missing INTEGER NOT NULL DEFAULT 0;
ALTER TABLE items ADD COLUMN first_by VARCHAR NOT NULL DEFAULT '';
ALTER TABLE items ADD COLUMN contested INTEGER NOT NULL DEFAULT 0;
INSERT INTO label_history (draw, exchange, annotator, time, action, label)
    SELECT draw, exchange, annotator, time, 'label', {label_as_json} FROM labels
    ORDER BY time, exchange, annotator;
UPDATE labels SET change = (SELECT MAX(id) FROM label_history
    WHERE label_history.draw = labels.draw AND label_history.exchange = labels.exchange
    AND label_history.annotator = labels.annotator AND label_history.time = labels.time);
UPDATE items SET
    turn = CASE phase WHEN 'pilot' THEN 0 WHEN 'rest' THEN 1 ELSE 2 END,
    planned = wanted,
    done = (SELECT COUNT(*) FROM labels
        WHERE labels.draw = items.draw AND labels.exchange = items.exchange),
    first_by = COALESCE((SELECT MIN(annotator) FROM labels
        WHERE labels.draw = items.draw AND labels.exchange = items.exchange), ''),
    contested = (SELECT CASE WHEN MAX(CASE WHEN adjudicated THEN 1 ELSE 0 END) = 0 AND (
            COUNT(DISTINCT answered) > 1 OR COUNT(DISTINCT should_answer) > 1 OR COUNT(DISTINCT kinds) > 1)
            THEN 1 ELSE 0 END
        FROM labels WHERE labels.draw = items.draw AND labels.exchange = items.exchange);
UPDATE items SET missing = wanted - done WHERE phase <> 'reserve' AND done < wanted AND NOT EXISTS (
    SELECT 1 FROM labels
    WHERE labels.draw = items.draw AND labels.exchange = items.exchange AND adjudicated);
UPDATE draws SET
    asked = (SELECT COUNT(*) FROM items WHERE items.draw = draws.id AND items.phase <> 'reserve'),
    asked_pilot = (SELECT COUNT(*) FROM items
        WHERE items.draw = draws.id AND items.phase = 'pilot' AND stratum IS NOT NULL),
    asked_twice = (SELECT COUNT(*) FROM items
        WHERE items.draw = draws.id AND items.phase <> 'reserve' AND planned = 2);
CREATE INDEX items_queue ON items (draw, first_by, turn, position) WHERE missing > 0;
CREATE INDEX items_tally ON items (draw, phase, done, missing, planned, stratum);
CREATE INDEX items_contested ON items (draw, contested) WHERE contested > 0;
CREATE INDEX labels_by_person ON labels (draw, annotator, change)
"""

MIGRATIONS = (_FIRST, _SECOND)
"""SQL of each version, the first to the newest."""

_SPELLING = {
    "sqlite": {
        "serial": "INTEGER PRIMARY KEY AUTOINCREMENT",
        "label_as_json": """json_object(
            'exchange', exchange, 'annotator', annotator, 'answered', answered, 'kinds', json(kinds),
            'disclaimer', CASE WHEN disclaimer THEN json('true') WHEN NOT disclaimer THEN json('false') END,
            'hedging', hedging, 'should_answer', should_answer, 'skipped', skipped, 'note', note, 'time', time,
            'adjudicated', CASE WHEN adjudicated THEN json('true') ELSE json('false') END)""",
    },
    "postgresql": {
        "serial": "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
        "label_as_json": """CAST(json_build_object(
            'exchange', exchange, 'annotator', annotator, 'answered', answered, 'kinds', CAST(kinds AS json),
            'disclaimer', disclaimer, 'hedging', hedging, 'should_answer', should_answer, 'skipped', skipped,
            'note', note, 'time', time, 'adjudicated', adjudicated) AS VARCHAR)""",
    },
}

_LOCK = 0x616C69676E746178  # "aligntax": one who migrates at a time, on a server


def version_of(connection: sa.Connection, place: str) -> int:
    """Number of the schema that the database has; 0 where it is empty.

    Raises InputError where the tables are another program's, or those of a newer aligntax.
    """
    ours, there = set(schema.metadata.tables), set(sa.inspect(connection).get_table_names())
    if "schema_version" not in there:
        taken = there if connection.dialect.name == "sqlite" else there & ours
        if taken:
            raise InputError(
                "holds tables of another program", where=place, remedy="give aligntax its own database"
            )
        return 0
    if "draws" not in there:
        raise InputError(
            "holds tables of another program", where=place, remedy="give aligntax its own database"
        )
    version: int = connection.execute(sa.select(sa.func.max(schema.schema_version.c.version))).scalar_one()
    if version > len(MIGRATIONS):
        raise InputError(
            f"was written by a newer aligntax (schema {version}, this one knows {len(MIGRATIONS)})",
            where=place,
            remedy="update aligntax",
        )
    return version


def migrate(connection: sa.Connection, place: str, *, upto: int | None = None) -> None:
    """Bring the database to schema `upto` (None: the newest), within the transaction of the connection.

    Safe when several processes start at once: SQLite's transaction holds the write lock from its first
    statement (`database.Database.write`), a server's is given here, and the version is read under it.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    spelling = _SPELLING[connection.dialect.name]
    version = version_of(connection, place)
    for number, script in enumerate(MIGRATIONS[version:upto], version + 1):
        for statement in script.format(**spelling).split(";"):
            connection.exec_driver_sql(statement)
        connection.execute(
            sa.insert(schema.schema_version).values(version=number, applied=dt.datetime.now(dt.UTC))
        )
