"""A lock that one process holds on a path, and that the system lets go of when the process dies."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from ..errors import InputError

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        os.lseek(descriptor, 2**20, os.SEEK_SET)  # far behind the pid, which others must be able to read
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLock:
    """The right to write `what`, held through a lock file; its folder is made when it is not there."""

    def __init__(self, path: Path, *, what: str) -> None:
        self._path, self._what = path, what
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock. Raises InputError when another process holds it; a dead one's is taken over."""
        while True:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            try:
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            except FileNotFoundError:
                continue  # the holder finished and removed the folder just now
            try:
                _try_lock(descriptor)
            except OSError as error:
                holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
                os.close(descriptor)
                raise InputError(
                    f"is being written by {holder or 'another process'}",
                    where=self._what,
                    remedy="wait until it is done, or name another file with -o",
                ) from error
            if self._still_there(descriptor):
                break
            os.close(descriptor)
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, f"process {os.getpid()}".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go; the lock file stays, for only its folder's owner knows whether anyone else needs it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _still_there(self, descriptor: int) -> bool:
        """Whether the file that was locked is the one others will open, and not one removed meanwhile."""
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        return False
