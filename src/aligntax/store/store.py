"""The store: one database, a file by default, a server where several processes share it."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator
from types import TracebackType
from typing import Any, TypeVar

import sqlalchemy as sa

from ..errors import InputError
from ..types import Annotation, Draw, Item
from . import draws, labels, migrations, queue, records, schema, trail
from .database import Database
from .records import Annotator, Change, Kept, Progress, Run, SavedEstimates

LEASE = dt.timedelta(minutes=30)
"""How long an item is kept for the person who was given it."""

ROLES = ("annotator", "adjudicator")

Result = TypeVar("Result")


class Store:
    """Draws, labels, runs, estimates and decisions in one database. Safe to share between threads.

    Whatever a method wrote is on the disk when it returns, all of it or nothing: a process that is killed at any
    moment loses no label that was acknowledged. Every method raises InputError, in one plain line, where the
    database cannot be reached, is locked for longer than the timeout, or is full, and where there is no such draw.
    """

    def __init__(self, where: str | os.PathLike[str] | None = None, *, timeout_s: float = 10.0) -> None:
        """A store at a path or URL, see `open`."""
        self._database = Database(where, timeout_s=timeout_s)
        self.place = self._database.place
        """Where the store lies, for people: a path, or a URL without the password."""
        try:
            self._bring_up_to_date()
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, where: str | os.PathLike[str] | None = None, *, timeout_s: float = 10.0) -> Store:
        """The store at `where`, made or brought to the newest schema when need be.

        `where` is the path of an SQLite file (None: `.aligntax/aligntax.db`, in a folder that only its owner reads and
        git ignores) or the URL of a PostgreSQL database (`postgresql://user:password@host:port/name`). `timeout_s` is
        how long a call waits for other writers.

        Raises InputError where nothing can be kept there, or a newer aligntax made it; MissingExtra without psycopg.
        """
        return cls(where, timeout_s=timeout_s)

    def __repr__(self) -> str:
        return f"Store({self.place!r})"

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def _bring_up_to_date(self) -> None:
        newest = len(migrations.MIGRATIONS)
        if self._database.read(lambda connection: migrations.version_of(connection, self.place)) < newest:
            self._database.write(lambda connection: migrations.migrate(connection, self.place))

    def _read(self, draw_id: str, work: Callable[[sa.Connection], Result]) -> Result:
        """What `work` reads of a draw that is there."""

        def checked(connection: sa.Connection) -> Result:
            draws.check(connection, draw_id)
            return work(connection)

        return self._database.read(checked)

    def _write(self, draw_id: str, work: Callable[[sa.Connection], Result], *, alone: bool = False) -> Result:
        """What `work` writes for a draw that is there; `alone`: one such work at a time."""

        def checked(connection: sa.Connection) -> Result:
            draws.check(connection, draw_id, alone=alone)
            return work(connection)

        return self._database.write(checked)

    # ---- draws

    def add_draw(self, draw: Draw, items: Iterable[Item]) -> None:
        """Keep a new draw with all its items. Raises InputError where a draw of this id is there already."""
        rows = [records.item_row(draw.id, item) for item in items]
        self._database.write(lambda connection: draws.add(connection, draw, rows))

    def draws(self) -> list[Draw]:
        """All draws, the newest first."""
        table = schema.draws
        found = sa.select(table.c.record).order_by(table.c.created.desc(), table.c.id)
        return self._database.read(
            lambda connection: [records.draw_of(row) for row in connection.scalars(found)]
        )

    def draw(self, draw_id: str) -> Draw:
        """The draw whose id is, or begins with, `draw_id`. Raises InputError where none does, or several do."""
        return self._database.read(lambda connection: draws.find(connection, draw_id))

    def extend_draw(self, draw: Draw) -> bool:
        """Take a draw from its pilot to the whole: keep its strata, ask for the first `labels` items of each.

        The rest of the reserve is deleted, with its text. False, and nothing changed, where another process has done
        it already.
        """

        def work(connection: sa.Connection) -> bool:
            done = draws.extend(connection, draw)
            if done:
                labels.recount(connection, draw.id)
            return done

        return self._write(draw.id, work)

    # ---- people

    def add_annotator(self, draw_id: str, name: str, *, role: str = "annotator") -> str:
        """A secret for this person's link to the draw; the one they had before is void.

        Only its hash is kept. Raises InputError where the name or the role is none.
        """
        name = records.name_of(name)
        if role not in ROLES:
            raise InputError("there is no such role", remedy=f"choose from {', '.join(ROLES)}")
        token = secrets.token_urlsafe()
        self._write(
            draw_id,
            lambda connection: draws.link(connection, draw_id, name, role=role, token_hash=_hash(token)),
        )
        return token

    def annotator(self, token: str) -> Annotator | None:
        """Who this secret was given to; None for nobody."""
        people = schema.annotators
        found = sa.select(people.c.draw, people.c.name, people.c.role).where(
            people.c.token_hash == _hash(token)
        )
        row = self._database.read(lambda connection: connection.execute(found).mappings().one_or_none())
        return None if row is None else Annotator(**row)

    def annotators(self, draw_id: str) -> list[Annotator]:
        """Everybody who was given a link to the draw or has labelled in it, by name."""
        people = schema.annotators
        linked = people.c.token_hash.is_not(None).label("linked")
        found = sa.select(people.c.draw, people.c.name, people.c.role, linked).where(people.c.draw == draw_id)
        rows = self._read(draw_id, lambda connection: connection.execute(found).mappings().all())
        return sorted((Annotator(**row) for row in rows), key=lambda person: person.name)

    # ---- the queue

    def next_item(
        self, draw_id: str, annotator: str, *, now: dt.datetime | None = None, lease: dt.timedelta = LEASE
    ) -> Item | None:
        """What this person labels next, kept for them until `lease` has passed; None where nothing is left for them.

        The item they hold already, else the first in the queue that they have not labelled and whose labels and
        other people's leases are together fewer than wanted.
        """
        name, moment = records.name_of(annotator), now or _now()

        def work(connection: sa.Connection) -> Item | None:
            found = queue.take_next(connection, draw_id, name, now=moment, lease=lease)
            return None if found is None else draws.item(connection, draw_id, found)

        return self._write(draw_id, work, alone=True)

    def item(self, draw_id: str, exchange: str) -> Item:
        """One item of a draw. Raises InputError where it is not in it."""
        return self._read(draw_id, lambda connection: draws.item(connection, draw_id, exchange))

    def items(self, draw_id: str) -> Iterator[Item]:
        """All items of a draw, the reserve too, in the order of the queue; texts are read as they are asked for."""
        table = schema.items
        order = (
            sa.select(table.c.exchange)
            .where(table.c.draw == draw_id)
            .order_by(table.c.turn, table.c.position)
        )
        exchanges = self._read(draw_id, lambda connection: connection.scalars(order).all())
        for start in range(0, len(exchanges), draws.PAGE):
            yield from self._items(draw_id, exchanges[start : start + draws.PAGE])

    def _items(self, draw_id: str, exchanges: Collection[str]) -> list[Item]:
        return self._database.read(lambda connection: draws.some(connection, draw_id, list(exchanges)))

    def exchange_ids(self, draw_id: str) -> tuple[set[str], dict[str, str]]:
        """Ids of all exchanges of a draw, and the same ids by the log's own id where it has one."""
        table = schema.items
        found = sa.select(table.c.exchange, table.c.source_id).where(table.c.draw == draw_id)
        rows = self._read(draw_id, lambda connection: connection.execute(found).all())
        return {exchange for exchange, _ in rows}, {source: exchange for exchange, source in rows if source}

    # ---- labels

    def label(
        self, draw_id: str, annotation: Annotation, *, second: bool = False, now: dt.datetime | None = None
    ) -> None:
        """Keep what a person says of an exchange; it replaces what they said before, and history keeps both.

        With `second`, somebody else is asked for it too. A settled disagreement (`adjudicated`) stands beside the
        person's own label. Raises InputError where the exchange is not in the draw, or still in its reserve.
        """
        moment = now or _now()

        def work(connection: sa.Connection) -> None:
            wants = [annotation.exchange] if second else ()
            labels.put(connection, draw_id, [annotation], second=wants, now=moment)
            labels.recount(connection, draw_id, [annotation.exchange])

        self._write(draw_id, work)

    def import_annotations(
        self, draw_id: str, annotations: Iterable[Annotation], *, second: Collection[str] = ()
    ) -> int:
        """Keep many labels, all or none, and return how many; `second` names exchanges that need a second one.

        Labels of the reserve are kept too, and show once the second phase asks for their exchange.
        """
        every, moment = sorted(annotations, key=lambda annotation: annotation.exchange), _now()

        def work(connection: sa.Connection) -> int:
            labels.put(connection, draw_id, every, second=second, now=moment, action="import")
            labels.recount(connection, draw_id, sorted({annotation.exchange for annotation in every}))
            return len(every)

        return self._write(draw_id, work)

    def undo(self, draw_id: str, annotator: str, *, now: dt.datetime | None = None) -> Annotation | None:
        """Take back this person's newest label and return it; None where they have none.

        The item is theirs to label again, and a second label that only this one asked for is not asked for any more.
        """
        name, moment = records.name_of(annotator), now or _now()
        return self._write(
            draw_id, lambda connection: labels.take_back(connection, draw_id, name, now=moment, lease=LEASE)
        )

    def annotations(self, draw_id: str) -> list[Annotation]:
        """All current labels of exchanges that are asked for, in the order in which they were given."""
        return self._read(draw_id, lambda connection: labels.current(connection, draw_id))

    def history(self, draw_id: str) -> list[Change]:
        """Every change of a label, from the first: who, when, what it replaced."""
        table = schema.label_history
        found = sa.select(table).where(table.c.draw == draw_id).order_by(table.c.id)
        rows = self._read(draw_id, lambda connection: connection.execute(found).mappings().all())
        return [records.change_of(row) for row in rows]

    def contested(self, draw_id: str) -> list[str]:
        """Exchanges whose labels differ on `answered`, `should_answer` or `kinds`, and that nobody has settled.

        An axis that somebody left out does not differ. In the order of the queue.
        """
        items = schema.items
        found = sa.select(items.c.exchange).where(items.c.draw == draw_id, schema.CONTESTED)
        in_order = found.order_by(items.c.turn, items.c.position)
        return self._read(draw_id, lambda connection: list(connection.scalars(in_order)))

    def progress(self, draw_id: str, annotator: str | None = None) -> Progress:
        """How far the draw has come, or one person in it."""
        name = None if annotator is None else records.name_of(annotator)
        return self._read(draw_id, lambda connection: queue.progress(connection, draw_id, name))

    def counts(self, draw_id: str) -> list[tuple[int, int]]:
        """Per stratum of the draw, of its pilot: exchanges that were labelled, and positive ones among them.

        Positive is an answer that gives a part or nothing; in a stratum of blocked calls, where only that is asked,
        one that should have been answered. Skipped ones are labelled and not positive; planted ones count in
        neither. Where people differ the adjudicator is believed, else the majority, else the first.
        """
        strata = self.draw(draw_id).strata
        return self._read(draw_id, lambda connection: labels.positives(connection, draw_id, strata))

    # ---- the audit trail

    def record_run(
        self,
        kind: str,
        inputs: dict[str, str],
        settings: dict[str, Any],
        result: dict[str, Any] | None = None,
    ) -> int:
        """Keep that something was run, with the hashes of what went in; returns its number."""
        row = {"kind": kind, "inputs": inputs, "settings": settings, "result": result}
        return self._database.write(lambda connection: trail.keep(connection, schema.runs, row, _now()))

    def runs(self) -> list[Run]:
        """All runs, the newest first."""
        return [Run(**row) for row in self._kept(schema.runs)]

    def save_estimates(self, draw_id: str | None, rows: list[dict[str, Any]], inputs: dict[str, str]) -> int:
        """Keep the rows of a table of estimates, with the hashes of what they were made from; returns its number."""
        row = {"draw": draw_id, "inputs": inputs, "rows": rows}

        def work(connection: sa.Connection) -> int:
            if draw_id is not None:
                draws.check(connection, draw_id)
            return trail.keep(connection, schema.estimates, row, _now())

        return self._database.write(work)

    def estimates(self, draw_id: str | None = None) -> list[SavedEstimates]:
        """Tables of estimates, the newest first: of one draw, or all."""
        saved = [SavedEstimates(**row) for row in self._kept(schema.estimates)]
        return [table for table in saved if draw_id in (None, table.draw)]

    def save_decision(self, decision: dict[str, Any]) -> int:
        """Keep what a gate decided; returns its number."""
        row = {"record": decision}
        return self._database.write(lambda connection: trail.keep(connection, schema.decisions, row, _now()))

    def decisions(self) -> list[Kept]:
        """All decisions, the newest first."""
        return [Kept(**row) for row in self._kept(schema.decisions)]

    def _kept(self, table: sa.Table) -> list[dict[str, Any]]:
        return self._database.read(lambda connection: trail.kept(connection, table))


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _hash(token: str) -> str:
    """A token is random, so one plain hash is enough: there is nothing to guess."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
