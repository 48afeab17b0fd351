"""From what the caller names to the files meant: files, folders, globs, standard input."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

from ..errors import InputError

STDIN = "-"

PathName = str | PathLike[str]


def expand(paths: PathName | Iterable[PathName]) -> list[str]:
    """The files meant, without repeats: folders in full and sorted, globs sorted; "-" stays.

    Raises InputError for a path that is not there, a pattern that matches nothing and a folder without files.
    """
    named = [paths] if isinstance(paths, str | PathLike) else list(paths)
    if not named:
        raise InputError("no log was named", remedy="name a file, a folder, a glob or - for standard input")
    files: dict[str, None] = {}
    for name in map(str, named):
        files.update(dict.fromkeys([STDIN] if name == STDIN else _files_of(name)))
    return list(files)


def _files_of(name: str) -> list[str]:
    path = Path(name).expanduser()
    if path.is_dir():
        inside = (found for found in sorted(path.rglob("*")) if found.is_file())
        files = [str(found) for found in inside if not _hidden(found.relative_to(path))]
        if not files:
            raise InputError(
                "the folder holds no files", where=name, remedy="name the folder that holds the logs"
            )
        return files
    if path.exists():
        return [str(path)]
    files = [found for found in sorted(glob.glob(str(path), recursive=True)) if Path(found).is_file()]
    if not files:
        what = "no file matches the pattern" if glob.has_magic(name) else "there is no such file or folder"
        raise InputError(what, where=name, remedy="check the path")
    return files


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
