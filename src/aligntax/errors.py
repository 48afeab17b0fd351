"""Every error that aligntax raises on purpose."""

# AlignTaxError            exit code 2 unless it says otherwise
# ├── InputError           the caller's input; says what, where and the remedy
# ├── MissingExtra         an optional dependency is not installed; names the extra
# ├── UpstreamError        a model endpoint failed; says whether trying again helps
# └── NotEnoughData        the evidence does not carry a verdict; exit code 3

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Numbers of the errors that say that no more can be written."""


class AlignTaxError(Exception):
    """Base of all errors raised on purpose; the CLI prints it on one line, without a traceback."""

    exit_code = 2


class InputError(AlignTaxError):
    """Something in what the caller handed over is wrong, and this is how to mend it.

    `what` says what is wrong, `where` names file, line or field, `remedy` says what to do.
    Never holds text of a log row: it would leak into terminals and CI logs.
    """

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        self.what, self.where, self.remedy = what, where, remedy
        message = f"{where}: {what}" if where else what
        super().__init__(f"{message} ({remedy})" if remedy else message)


class MissingExtra(AlignTaxError):
    """An optional dependency is needed and absent."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"this needs {package}: pip install 'aligntax[{extra}]'")


class UpstreamError(AlignTaxError):
    """A model endpoint failed. `retryable` says whether the same call may succeed later."""

    def __init__(self, message: str, *, status: int | None = None, retryable: bool = False) -> None:
        self.status, self.retryable = status, retryable
        super().__init__(message)


class NotEnoughData(AlignTaxError):
    """The evidence does not carry a verdict. `needed` says how much more would, when known."""

    exit_code = 3

    def __init__(self, message: str, *, needed: int | None = None) -> None:
        self.needed = needed
        super().__init__(message)


@contextlib.contextmanager
def plain_disk_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Errors of the disk, in writing a file of answers that a command goes on with, in one clear line."""
    try:
        yield
    except OSError as error:
        full = error.errno in DISK_FULL
        raise InputError(
            "the disk is full; every answer so far is stored"
            if full
            else f"cannot be written: {error.strerror or 'no access'}",
            where=str(path),
            remedy="make room and run the same command again to go on"
            if full
            else "name another file with -o",
        ) from error
