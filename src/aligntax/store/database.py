"""The way to one database: where it lies, and transactions that are read, written and tried again."""

from __future__ import annotations

import os
import random
import re
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from ..errors import InputError, MissingExtra
from . import faults

FOLDER = ".aligntax"
DEFAULT = f"{FOLDER}/aligntax.db"
_POSTGRESQL = ("postgresql", "postgres", "postgresql+psycopg")
_TRIES = 8  # of a transaction that other writers got in the way of
_MIN_SQLITE = (3, 35)

Result = TypeVar("Result")


class Database:
    """An engine with its manners: short transactions, writers that wait for one another, plain errors."""

    def __init__(self, where: str | os.PathLike[str] | None, *, timeout_s: float) -> None:
        text = os.fspath(where) if where is not None else DEFAULT
        if re.match(r"\w+(\+\w+)?://", text) and not text.startswith("sqlite:"):
            self.place, self._engine = _server(text, timeout_s)
        else:
            path = Path(re.sub(r"^sqlite(\+pysqlite)?:///", "", text))
            self.place = str(path)
            _make_file(path)
            self._engine = _file(path, timeout_s)
        # A server's reader sees one moment in all its statements, as SQLite's does anyway.
        on_server = self._engine.dialect.name == "postgresql"
        self._reader = self._engine.execution_options(
            **{"isolation_level": "REPEATABLE READ"} if on_server else {}
        )
        self._writer = self._engine.execution_options(writes=True)

    def read(self, work: Callable[[sa.Connection], Result]) -> Result:
        """What `work` returns, from one moment of the database."""
        return self._run(work, self._reader)

    def write(self, work: Callable[[sa.Connection], Result]) -> Result:
        """What `work` returns; all that it wrote is on the disk, or none of it. May run `work` several times.

        Raises InputError, in plain words, where the database fails.
        """
        return self._run(work, self._writer)

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()

    def _run(self, work: Callable[[sa.Connection], Result], engine: sa.Engine) -> Result:
        for attempt in range(_TRIES):
            try:
                with engine.begin() as connection:
                    return work(connection)
            except sa.exc.DBAPIError as error:
                if attempt + 1 == _TRIES or not faults.is_passing(error):
                    raise faults.explained(error, self.place) from None
            except sa.exc.SQLAlchemyError as error:
                raise faults.explained(error, self.place) from None
            time.sleep(random.uniform(0, 0.005 * 2**attempt))  # noqa: S311 - so that two do not meet again
        raise AssertionError("unreachable")


def _file(path: Path, timeout_s: float) -> sa.Engine:
    if sqlite3.sqlite_version_info < _MIN_SQLITE:
        raise InputError(
            f"SQLite {sqlite3.sqlite_version} is too old", remedy="use a Python with SQLite 3.35 or newer"
        )
    engine = sa.create_engine(
        sa.URL.create("sqlite+pysqlite", database=str(path)),
        hide_parameters=True,  # they hold text of logs
        connect_args={"timeout": timeout_s},
        pool_size=8,
        max_overflow=40,
    )

    @sa.event.listens_for(engine, "connect")
    def settle(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin below, not where the driver guesses
        _use_wal(connection, timeout_s)
        connection.execute("PRAGMA synchronous = FULL")  # a committed label survives a power cut
        connection.execute("PRAGMA fullfsync = ON")  # on macOS a plain fsync stops at the drive's cache
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")  # text that is deleted is overwritten

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A writer takes the lock at once: one that read first and wrote then could not wait for another.
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _use_wal(connection: Any, timeout_s: float) -> None:
    """Readers and a writer at once. SQLite does not wait for the lock that the change of mode needs."""
    end = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


def _server(text: str, timeout_s: float) -> tuple[str, sa.Engine]:
    url = _server_url(text)
    host = url.query.get("host") or url.host or "localhost"
    port = f":{url.port}" if url.port else ""
    user = f"{url.username}@" if url.username else ""
    place = f"postgresql://{user}{host}{port}/{url.database or ''}"
    try:
        import psycopg  # noqa: F401 - so that what is missing is said in our words
    except ImportError:
        raise MissingExtra("psycopg", "postgres") from None
    engine = sa.create_engine(
        url,
        hide_parameters=True,
        pool_pre_ping=True,  # a server that was restarted costs one connection, not an error
        pool_size=8,
        max_overflow=40,
        connect_args={"connect_timeout": max(2, round(timeout_s)), "application_name": "aligntax"}
        | dict(url.query),
    )

    @sa.event.listens_for(engine, "connect")
    def settle(connection: Any, _record: Any) -> None:
        connection.execute("SELECT set_config('lock_timeout', %s, false)", [f"{round(timeout_s * 1000)}ms"])
        # A label is on the disk before it is acknowledged, also where the server was set to be careless.
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') = 'off'"
        )
        connection.commit()

    return place, engine


def _server_url(text: str) -> sa.URL:
    scheme, _, rest = text.partition("://")
    if scheme not in _POSTGRESQL:
        raise InputError(
            f"{scheme} is no database that labels can be kept in", remedy="name a file, or postgresql://..."
        )
    try:
        url = sa.make_url(f"postgresql+psycopg://{rest}")
    except (sa.exc.ArgumentError, ValueError):
        url = None
    if url is None or "@" in f"{url.host}{url.database}":  # what stands there could be part of the password
        raise InputError(
            "the URL of the database cannot be read",
            remedy="postgresql://USER:PASSWORD@HOST:PORT/NAME, with %40 for an @ in the password",
        )
    return url


def _make_file(path: Path) -> None:
    """An empty file that only its owner reads, for it will hold text of logs; its folder too, where it is ours."""
    folder = path.parent
    try:
        if folder.name == FOLDER and not folder.is_dir():
            folder.mkdir(mode=0o700)
            (folder / ".gitignore").write_text("*\n", encoding="utf-8")
        if path.is_dir():
            raise InputError("is a folder", where=str(path), remedy="name a file in it")
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except FileExistsError:  # another process made the folder just now
        _make_file(path)
    except FileNotFoundError:
        raise InputError("the folder does not exist", where=str(path), remedy="make it first") from None
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror})", where=str(path), remedy="name another place"
        ) from None
