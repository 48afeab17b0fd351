"""Answers that were paid for once: kept in a folder, found again by what was asked of whom."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sqlite3
import threading
import time
from pathlib import Path

import msgspec

from ..errors import InputError
from ..types import Reply, Request
from .names import Target
from .settings import ClientSettings

_VERSION = 1  # of keys and of what is kept
_FILE = "answers.db"
_BUSY_S = 10.0

_canonical = msgspec.json.Encoder(order="deterministic")
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Reply)


def cache_key(request: Request, target: Target, settings: ClientSettings, sample: int) -> bytes:
    """Names the answer to this request by this model at this address; 16 bytes of BLAKE2b.

    Everything that the answer may depend on is in it, and nothing that only changes how it is fetched.
    """
    asked = (
        _VERSION, target.protocol, target.base_url, target.model, settings.max_tokens, settings.extra, sample, request,
    )  # fmt: skip
    return hashlib.blake2b(_canonical.encode(asked), digest_size=16).digest()


class Cache:
    """Kept answers of one folder; several processes may share it.

    Writes are gathered: one transaction holds all that came while the last one ran, and `put` returns when its
    own is done. Where writing fails (a full disk), `trouble` says so and nothing more is kept: answers go on.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = Path(folder) / _FILE
        self.trouble: str | None = None
        self._lock = threading.Lock()
        self._new = threading.Condition(self._lock)
        self._queue: list[tuple[bytes, bytes, asyncio.Future[None]]] = []
        self._closing = False
        try:
            _make_file(self.path)
            self._reader = _open(self.path)
            self._writer = _open(self.path)
        except (OSError, sqlite3.Error) as error:
            raise InputError(
                f"the cache cannot be opened: {_words(error)}",
                where=str(self.path),
                remedy="name another folder, or delete this file",
            ) from None
        self._thread = threading.Thread(target=self._write_all, name="aligntax cache", daemon=True)
        self._thread.start()

    async def get(self, key: bytes) -> Reply | None:
        """The kept answer, at no cost; None where there is none."""
        try:
            row = self._reader.execute("SELECT reply FROM answers WHERE key = ?", (key,)).fetchone()
            if row is None:
                return None
            kept = _decoder.decode(row[0])
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            self.trouble = _words(error)
            return None
        return msgspec.structs.replace(kept, cached=True, cost_usd=0.0)

    async def put(self, key: bytes, reply: Reply) -> None:
        """Keep an answer; it is in the file when this returns, unless `trouble` says why not."""
        if self.trouble:
            return
        done = asyncio.get_running_loop().create_future()
        with self._lock:
            self._queue.append((key, _encoder.encode(reply), done))
            self._new.notify()
        await done

    def close(self) -> None:
        """Write what waits, and let go of the file."""
        with self._lock:
            self._closing = True
            self._new.notify()
        self._thread.join()
        self._reader.close()
        self._writer.close()

    def _write_all(self) -> None:
        while True:
            with self._lock:
                while not self._queue and not self._closing:
                    self._new.wait()
                batch, self._queue = self._queue, []
            if not batch:
                return
            try:
                with self._writer:
                    self._writer.executemany(
                        "INSERT OR IGNORE INTO answers (key, reply) VALUES (?, ?)", [row[:2] for row in batch]
                    )
            except sqlite3.Error as error:
                self.trouble = _words(error)
            with contextlib.suppress(RuntimeError):  # the loop is gone, and nobody waits
                batch[0][2].get_loop().call_soon_threadsafe(_all_done, [row[2] for row in batch])


def _all_done(waiting: list[asyncio.Future[None]]) -> None:
    for done in waiting:
        if not done.done():
            done.set_result(None)


def _make_file(path: Path) -> None:
    """For the owner's eyes, and not for version control: it holds what people wrote."""
    folder = path.parent
    if not folder.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # another process may make it at this moment
        (folder / ".gitignore").write_text("*\n", "utf-8")
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite's own files beside it get the same rights


def _open(path: Path) -> sqlite3.Connection:
    # Each connection has its own thread, but the one that opens and closes them is the main one.
    connection = sqlite3.connect(path, timeout=_BUSY_S, check_same_thread=False)
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            _prepare(connection)
        except sqlite3.OperationalError as error:
            # Where two processes turn a new file to WAL at once, SQLite says "busy" to one of them at once: its
            # own wait would be a deadlock. Whoever asks again finds the file turned.
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > deadline:
                connection.close()
                raise
            time.sleep(0.01)
        except BaseException:
            connection.close()
            raise
        else:
            return connection


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # a lost answer can be had again
    connection.execute(
        "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, reply BLOB NOT NULL) WITHOUT ROWID"
    )
    connection.commit()


def _words(error: Exception) -> str:
    return error.strerror or "no access" if isinstance(error, OSError) else str(error)
