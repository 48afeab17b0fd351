"""What a database complains of, said in one line that holds no text of logs and no password."""

from __future__ import annotations

import sqlalchemy as sa

from ..errors import InputError

_SQLITE = {  # beginning of SQLite's name of the error -> what it means, what to do
    "SQLITE_FULL": ("the disk is full", "free some space; what was acknowledged is kept"),
    "SQLITE_READONLY": ("cannot be written", "make the file and its folder writable, or name another place"),
    "SQLITE_CANTOPEN": ("cannot be opened", "make the file and its folder readable and writable"),
    "SQLITE_PERM": ("cannot be opened", "make the file and its folder readable and writable"),
    "SQLITE_NOTADB": ("is not a database", "name another file"),
    "SQLITE_CORRUPT": ("is damaged", "restore a copy; `sqlite3 FILE .recover` saves what can be read"),
    "SQLITE_BUSY": ("is locked by another process", "try again when that one is done"),
    "SQLITE_LOCKED": ("is locked by another process", "try again when that one is done"),
    "SQLITE_IOERR": (
        "the disk failed",
        "see whether it is full, or a network folder: SQLite needs a local disk",
    ),
    "SQLITE_TOOBIG": ("a text is too long for SQLite", "leave texts of a gigabyte out"),
}
_POSTGRESQL = {  # beginning of the SQLSTATE -> what it means, what to do
    "53100": ("the disk of the server is full", "free some space there; what was acknowledged is kept"),
    "53300": ("the server takes no more connections", "raise max_connections, or try again later"),
    "42501": ("this user may not do that", "grant CREATE on the schema, and the rights on its tables"),
    "25006": ("the server is read-only", "name the primary server"),
    "57P": ("the server is shutting down or starting", "try again"),
    "55P03": ("is locked by another process", "try again when that one is done"),
    "40": ("is too busy: other writers were always first", "try again"),
    "08": (
        "the server cannot be reached, or lets nobody in",
        "check that it runs, host, port, user and password",
    ),
}
_UNREACHABLE = ("OperationalError", "ConnectionTimeout")  # of psycopg, where the server did not say anything
_PASSING = ("40001", "40P01")  # serialization failure, deadlock: the same transaction may succeed at once


def code_of(error: BaseException) -> str:
    """SQLite's name of the error, or the server's SQLSTATE; 08000 where a server sent none."""
    cause = getattr(error, "orig", None) or error
    return (
        getattr(cause, "sqlite_errorname", None)
        or getattr(cause, "sqlstate", None)
        or ("08000" if type(cause).__name__ in _UNREACHABLE else "")
    )


def is_passing(error: sa.exc.DBAPIError) -> bool:
    """Whether the same transaction may go through when it is tried again at once."""
    return code_of(error) in _PASSING


def explained(error: sa.exc.SQLAlchemyError, place: str) -> InputError:
    """The error for people. What the driver says is left out: it quotes rows, and those hold text of logs."""
    if isinstance(error, sa.exc.TimeoutError):
        return InputError("too many threads use it at once", where=place, remedy="try again")
    code = code_of(error)
    for start, (what, remedy) in (_SQLITE | _POSTGRESQL).items():
        if code.startswith(start):
            return InputError(what, where=place, remedy=remedy)
    return InputError(f"the database said no ({code or type(error).__name__})", where=place)
