"""The tables as the newest migration leaves them, for statements; `migrations` is what makes them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa


class Instant(sa.types.TypeDecorator[dt.datetime]):
    """A moment in UTC, kept as text of one width, so that both databases sort and compare it alike."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: sa.Dialect) -> str | None:
        """Text for the database; a time without a zone is taken as UTC."""
        if value is None:
            return None
        value = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
        return value.astimezone(dt.UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> dt.datetime | None:
        """The time that the text says."""
        return None if value is None else dt.datetime.fromisoformat(value)


metadata = sa.MetaData()
_serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

schema_version = sa.Table(
    "schema_version",
    metadata,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("applied", Instant, nullable=False),
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", _serial, primary_key=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("time", Instant, nullable=False),
    sa.Column("inputs", sa.String, nullable=False),  # JSON: name -> hash
    sa.Column("settings", sa.String, nullable=False),  # JSON
    sa.Column("result", sa.String),  # JSON
)

draws = sa.Table(
    "draws",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("created", Instant, nullable=False),
    sa.Column("fingerprint", sa.String, nullable=False, index=True),
    sa.Column("phase", sa.String, nullable=False),
    sa.Column("record", sa.String, nullable=False),  # JSON of the Draw
    # Counted once for each phase (draws.count), so that progress need not look at what nobody has labelled yet.
    sa.Column("asked", sa.Integer, nullable=False),  # items of the pilot and the rest
    sa.Column("asked_pilot", sa.Integer, nullable=False),  # items of the pilot, known ones aside
    sa.Column("asked_twice", sa.Integer, nullable=False),  # items of which two labels were planned
)

items = sa.Table(
    "items",
    metadata,
    sa.Column("draw", sa.ForeignKey("draws.id"), primary_key=True),
    sa.Column("exchange", sa.String, primary_key=True),
    sa.Column("stratum", sa.Integer),
    sa.Column("place", sa.Integer, nullable=False),
    sa.Column("position", sa.Double, nullable=False),
    sa.Column("phase", sa.String, nullable=False),
    sa.Column("wanted", sa.Integer, nullable=False),
    sa.Column("known", sa.String),  # JSON of the Annotation
    sa.Column("source_id", sa.String),
    sa.Column("use_case", sa.String),
    sa.Column("outcome", sa.String, nullable=False),
    sa.Column("prompt", sa.String, nullable=False),
    sa.Column("response", sa.String, nullable=False),
    sa.Column("system", sa.String),
    sa.Column("history", sa.String),
    # What follows is worked out from the labels whenever they change (labels.recount), for a queue that is
    # found by index alone.
    sa.Column("turn", sa.Integer, nullable=False),  # 0 pilot, 1 rest, 2 reserve: what is asked first
    sa.Column("planned", sa.Integer, nullable=False),  # `wanted` without second labels for rare positives
    sa.Column("done", sa.Integer, nullable=False),  # current labels
    sa.Column("missing", sa.Integer, nullable=False),  # labels that are still asked for
    sa.Column("first_by", sa.String, nullable=False),  # who gave the first by name; "" where nobody did
    sa.Column("contested", sa.Integer, nullable=False),  # 1: people differ, and nobody has settled it
)

# Spelled as in the partial indexes, without a parameter, or the indexes are not used.
OPEN = items.c.missing > sa.literal_column("0")
"""Items that somebody is still asked for."""
CONTESTED = items.c.contested > sa.literal_column("0")
"""Items that wait for an adjudicator."""

sa.Index(
    "items_queue",
    items.c.draw,
    items.c.first_by,
    items.c.turn,
    items.c.position,
    sqlite_where=OPEN,
    postgresql_where=OPEN,
)
_tally = (items.c.draw, items.c.phase, items.c.done, items.c.missing, items.c.planned, items.c.stratum)
sa.Index("items_tally", *_tally)
sa.Index(
    "items_contested", items.c.draw, items.c.contested, sqlite_where=CONTESTED, postgresql_where=CONTESTED
)

annotators = sa.Table(
    "annotators",
    metadata,
    sa.Column("draw", sa.ForeignKey("draws.id"), primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("role", sa.String, nullable=False),
    sa.Column("token_hash", sa.String, unique=True),  # null: known from their labels only, has no link
)

labels = sa.Table(
    "labels",
    metadata,
    sa.Column("draw", sa.String, primary_key=True),
    sa.Column("exchange", sa.String, primary_key=True),
    sa.Column("annotator", sa.String, primary_key=True),
    sa.Column("adjudicated", sa.Boolean, primary_key=True),  # settling it leaves one's own label alone
    sa.Column("answered", sa.String),
    sa.Column("kinds", sa.String),  # JSON array, sorted
    sa.Column("disclaimer", sa.Boolean),
    sa.Column("hedging", sa.Integer),
    sa.Column("should_answer", sa.String),
    sa.Column("skipped", sa.String),
    sa.Column("note", sa.String, nullable=False),
    sa.Column("time", Instant, nullable=False),
    sa.Column("second", sa.Boolean, nullable=False),  # this label asks for a second one
    sa.Column("change", sa.BigInteger, nullable=False),  # label_history.id that brought it
    sa.ForeignKeyConstraint(["draw", "exchange"], ["items.draw", "items.exchange"]),
)
sa.Index("labels_by_person", labels.c.draw, labels.c.annotator, labels.c.change)

label_history = sa.Table(
    "label_history",
    metadata,
    sa.Column("id", _serial, primary_key=True),
    sa.Column("draw", sa.ForeignKey("draws.id"), nullable=False),
    sa.Column("exchange", sa.String, nullable=False),
    sa.Column("annotator", sa.String, nullable=False),
    sa.Column("time", Instant, nullable=False),
    sa.Column("action", sa.String, nullable=False),  # label, import or undo
    sa.Column("label", sa.String),  # JSON of the Annotation; null: taken back
    sa.Column("replaced", sa.String),  # JSON of the Annotation that stood before
)
sa.Index("label_history_by_person", label_history.c.draw, label_history.c.annotator, label_history.c.id)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("draw", sa.String, primary_key=True),
    sa.Column("exchange", sa.String, primary_key=True),
    sa.Column("annotator", sa.String, primary_key=True),
    sa.Column("expires", Instant, nullable=False),
    sa.ForeignKeyConstraint(["draw", "exchange"], ["items.draw", "items.exchange"], ondelete="CASCADE"),
)

estimates = sa.Table(
    "estimates",
    metadata,
    sa.Column("id", _serial, primary_key=True),
    sa.Column("draw", sa.ForeignKey("draws.id")),
    sa.Column("time", Instant, nullable=False),
    sa.Column("inputs", sa.String, nullable=False),  # JSON: name -> hash
    sa.Column("rows", sa.String, nullable=False),  # JSON array of objects
)

decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("id", _serial, primary_key=True),
    sa.Column("time", Instant, nullable=False),
    sa.Column("record", sa.String, nullable=False),  # JSON
)
