"""A sample of a generated suite for people, as a table that any office program opens, and what they said of it."""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from ...errors import InputError
from ...stats.rate import clopper_pearson
from ...types import Estimate, Prompt

COLUMNS = ("id", "category", "text", "benign", "note")

_YES, _NO = frozenset({"yes", "y", "true", "1", "benign"}), frozenset({"no", "n", "false", "0", "harmful"})
_UNSURE = frozenset({"unsure", "?"})
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet runs a cell that begins so


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """What people said of a sample. A rewrite that they are unsure of is not accepted."""

    accepted: tuple[str, ...]  # ids
    rejected: tuple[str, ...]
    unsure: tuple[str, ...]
    open: int  # rows without an answer
    rate: Estimate | None  # share that is accepted, Clopper-Pearson; None where nobody has answered yet


def write_audit(path: Path, prompts: Sequence[Prompt], *, sample: int = 50, seed: int = 0) -> int:
    """Write a random sample with an empty column `benign`, without what the moderators said; returns how many.

    Raises InputError where the file cannot be written. One that is there is not written over: it may hold answers.
    """
    drawn = random.Random(seed).sample(list(prompts), min(sample, len(prompts)))  # noqa: S311 - no secret
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for prompt in drawn:
                cells = [prompt.id, (prompt.tags or {}).get("category", ""), prompt.text]
                writer.writerow([*map(_plain, cells), "", ""])
    except FileExistsError as error:
        raise InputError(
            "is there already", where=str(path), remedy="name another file, or move it away"
        ) from error
    except OSError as error:
        raise InputError(
            "the file cannot be written", where=str(path), remedy="name another place"
        ) from error
    return len(drawn)


def read_audit(path: Path, *, level: float = 0.95) -> Audit:
    """The answers in an audit: yes, no or unsure in the column `benign`.

    The rate speaks for everything that the same models keep, not for the sample alone. Raises InputError with the
    line for another word and for an id that occurs twice.
    """
    answers: dict[str, str] = {}
    unanswered = 0
    for line, row in _rows(path):
        answer, name = (row["benign"] or "").strip().casefold(), (row["id"] or "").strip()
        if not answer:
            unanswered += 1
            continue
        if not name or name in answers:
            what = "its id occurs twice" if name else "has no id"
            raise InputError(what, where=f"{path}:{line}", remedy="keep one row of each prompt, as it was")
        answers[name] = _answer(answer, f"{path}:{line}")
    accepted = _named(answers, "accepted")
    rate = clopper_pearson(len(accepted), len(answers), level=level) if answers else None
    return Audit(
        accepted=accepted,
        rejected=_named(answers, "rejected"),
        unsure=_named(answers, "unsure"),
        open=unanswered,
        rate=rate,
    )


def _answer(answer: str, where: str) -> str:
    for words, name in ((_YES, "accepted"), (_NO, "rejected"), (_UNSURE, "unsure")):
        if answer in words:
            return name
    raise InputError("`benign` is no answer", where=where, remedy="write yes, no or unsure")


def _named(answers: dict[str, str], wanted: str) -> tuple[str, ...]:
    return tuple(name for name, answer in answers.items() if answer == wanted)


def _plain(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "the file cannot be read", where=str(path), remedy="save it as CSV in UTF-8"
        ) from error
    first = text.partition("\n")[0]
    delimiter = max((",", ";", "\t"), key=first.count)  # some office programs write semicolons
    reader = csv.DictReader(text.splitlines(keepends=True), delimiter=delimiter)
    if missing := [name for name in ("id", "benign") if name not in (reader.fieldnames or [])]:
        raise InputError(f"has no column {missing[0]}", where=str(path), remedy="keep the first line")
    yield from ((reader.line_num, row) for row in reader)
