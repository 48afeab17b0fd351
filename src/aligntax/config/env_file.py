"""Keys from a `.env` of the working directory. They are handed on, never put into the environment, never shown."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..errors import InputError

ENV_FILE = ".env"
_LARGEST = 100_000  # characters
_LINE = re.compile(
    r"""\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(?:'([^']*)'|"([^"]*)"|([^\s'"#][^\s'"]*)|)\s*(?:(?<=\s)\#.*)?\Z""",
    re.ASCII,
)


def read_env(path: str | Path = ENV_FILE) -> dict[str, str]:
    """Variable -> value of the lines KEY=VALUE in a file; none where there is no file.

    Quotes around a value, `export` before a name and comments are left out; of two lines the last counts. Lines of
    another form are another tool's and are passed over. Raises InputError, without the content, for a file that
    cannot be read.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", errors="replace") as file:
            lines = file.read(_LARGEST).splitlines()
    except (FileNotFoundError, IsADirectoryError):  # a folder of this name is a virtual environment
        return {}
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", where=str(path), remedy="let your user read it, or move it"
        ) from None
    found = (_LINE.match(line) for line in lines)
    return {line[1]: line[2] or line[3] or line[4] or "" for line in found if line}


def key_of(variable: str) -> str | None:
    """The value that `.env` has for a variable which the environment leaves unset or empty; else None."""
    if os.environ.get(variable, "").strip():
        return None
    return read_env().get(variable) or None
