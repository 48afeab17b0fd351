"""A sample of twins for people to pass or fail, as a table that any office program opens."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from ..errors import InputError
from ..stats.rate import wilson
from ..types import Estimate, Prompt
from .answers import NEUTRAL, SENSITIVE

COLUMNS = ("family", "sensitive", "neutral", "terms", "problems", "pass", "note")

_YES, _NO = frozenset({"yes", "y", "true", "1", "pass", "ok"}), frozenset({"no", "n", "false", "0", "fail"})
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """What people said of a sample of twins."""

    passed: tuple[str, ...]  # families
    failed: tuple[str, ...]
    open: int  # rows without an answer
    rate: Estimate | None  # of passes; None where nobody has answered yet


def write_review(
    path: Path,
    prompts: Sequence[Prompt],
    *,
    sample: int = 50,
    seed: int = 0,
    problems: dict[str, tuple[str, ...]] | None = None,
) -> int:
    """Writes a random sample of families with an empty column `pass`; returns how many.

    Raises InputError where the file cannot be written. A file that is there is not written over: it may hold answers.
    """
    sides: dict[str, dict[str, Prompt]] = {}
    for prompt in prompts:
        if prompt.family is not None and prompt.side is not None:
            sides.setdefault(prompt.family, {}).setdefault(prompt.side, prompt)
    whole = {family: pair for family, pair in sides.items() if {NEUTRAL, SENSITIVE} <= pair.keys()}
    names = list(whole)
    random.Random(seed).shuffle(names)  # noqa: S311 - a sample, not a secret
    try:
        with path.open("x", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for name in names[:sample]:
                pair = whole[name]
                cells = [name, pair[SENSITIVE].text, pair[NEUTRAL].text, ", ".join(pair[SENSITIVE].terms)]
                writer.writerow([*map(_plain, cells), "; ".join((problems or {}).get(name, ())), "", ""])
    except FileExistsError as error:
        raise InputError(
            "is there already", where=str(path), remedy="name another file, or move it away"
        ) from error
    except OSError as error:
        raise InputError(
            "the file cannot be written", where=str(path), remedy="name another place"
        ) from error
    return min(len(names), sample)


def read_review(path: Path, *, level: float = 0.95) -> Review:
    """The answers in a review: yes or no in the column `pass`. Raises InputError, with the line, for another word."""
    passed, failed, unanswered = [], [], 0
    for line, row in _rows(path):
        answer = (row["pass"] or "").strip().casefold()
        family = _unquoted(row["family"] or "")
        if not answer:
            unanswered += 1
        elif answer in _YES:
            passed.append(family)
        elif answer in _NO:
            failed.append(family)
        else:
            raise InputError("`pass` is neither yes nor no", where=f"{path}:{line}", remedy="write yes or no")
    rated = len(passed) + len(failed)
    rate = wilson(len(passed), rated, level=level) if rated else None
    return Review(passed=tuple(passed), failed=tuple(failed), open=unanswered, rate=rate)


def _plain(cell: str) -> str:
    """A cell that no office program takes for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _unquoted(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell


def _rows(path: Path) -> Iterable[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if missing := [name for name in ("family", "pass") if name not in (reader.fieldnames or [])]:
                raise InputError(f"has no column {missing[0]}", where=str(path), remedy="keep the first line")
            yield from ((reader.line_num, row) for row in reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            "the file cannot be read", where=str(path), remedy="save it as CSV in UTF-8"
        ) from error
