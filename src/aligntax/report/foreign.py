"""Files that other commands have printed with --json, read into the records that the page needs and no more."""

from __future__ import annotations

import os
import pathlib
from typing import Annotated, TypeVar

import msgspec

from ..errors import InputError

Number = Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)]
Level = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=10**15)]

MOST_BYTES = 64 * 2**20

_T = TypeVar("_T")


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate as a file states it; ends are None where it has no interval."""

    value: Number | None
    low: Number | None
    high: Number | None
    level: Level = 0.95
    n: Count = 0
    n_labels: Count = 0
    method: str = ""


def read(path: str | os.PathLike[str], shape: type[_T], command: str) -> _T:
    """The file at `path` as `shape`; `command` is what prints such files.

    Raises InputError where it cannot be read, is no JSON, or is not what `command` prints. The error quotes nothing
    of the file.
    """
    file, remedy = pathlib.Path(path), f"write it with {command} --json > FILE"
    try:
        if file.stat().st_size > MOST_BYTES:
            raise InputError("far too large for what the command prints", where=str(file), remedy=remedy)
        content = file.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", where=str(file), remedy=f"give a file; {remedy}"
        ) from error
    try:
        return msgspec.json.decode(content, type=shape)
    except msgspec.ValidationError as error:
        raise InputError(f"not what {command} --json prints", where=str(file), remedy=remedy) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError("not one JSON document", where=str(file), remedy=remedy) from error
