"""Suites as files: read any format of the table, write our own."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from ..errors import InputError
from ..types import Problem, Prompt
from . import own
from .containers import rows_of
from .packs import pack_file
from .rows import BadRow, Row, made_id

READERS: dict[str, str] = {
    "suite": "aligntax.suites.own:prompt_of",
    "xstest": "aligntax.suites.xstest:prompt_of",
    "coconot": "aligntax.suites.coconot:prompt_of",
    "or_bench": "aligntax.suites.or_bench:prompt_of",
    "harmbench": "aligntax.suites.harmbench:prompt_of",
    "strongreject": "aligntax.suites.strongreject:prompt_of",
    "promptfoo": "aligntax.suites.promptfoo:prompt_of",
    "inspect": "aligntax.suites.inspect:prompt_of",
    "text": "aligntax.suites.plain_text:prompt_of",
    "columns": "aligntax.suites.columns:prompt_of",
}
"""Name of a format -> the function that makes a row one prompt or several. Each module also has `matches(row)`,
asked in this order when the format is "auto"."""

HUGGING_FACE = "hf:"


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a file of prompts held."""

    format: str  # a name of READERS
    file: str
    prompts: tuple[Prompt, ...]
    lines: tuple[int, ...]  # of each prompt: its line, or the number of its element, from 1
    problems: tuple[Problem, ...]  # rows that are no prompts


def load(
    path_or_name: str | Path, *, format: str = "auto", columns: Mapping[str, str] | None = None
) -> list[Prompt]:
    """The prompts of a suite, in their order, each id once.

    `path_or_name` is a file, a folder with a `prompts.jsonl`, a pack ("clinical", or "clinical/floor" for its
    probes), or a data set of Hugging Face ("hf:ORG/NAME[/CONFIG][:SPLIT]"). `format` is a name of `READERS`, or
    "auto": recognised by the names in the first row. `columns` says what a table calls our fields, as
    {"text": "question"}. Raises InputError with file, line and remedy for the first row that is no prompt.
    """
    reading = read(path_or_name, format=format, columns=columns)
    if reading.problems:
        first, more = reading.problems[0], len(reading.problems) - 1
        what, _, remedy = first.reason.partition(": ")
        rest = f"; {more} more: aligntax suite check lists them" if more else ""
        raise InputError(what, where=f"{first.file}:{first.line}", remedy=f"{remedy}{rest}")
    if not reading.prompts:
        raise InputError("holds no prompts", where=reading.file, remedy="give it one a line")
    return list(reading.prompts)


def read(
    path_or_name: str | Path, *, format: str = "auto", columns: Mapping[str, str] | None = None
) -> Reading:
    """Like `load`, but rows that are no prompts come back as problems beside the others.

    Raises InputError when the file as a whole cannot be read.
    """
    if format not in ("auto", *READERS):
        raise InputError("there is no such format", where="format", remedy=f"use auto, {', '.join(READERS)}")
    where, rows = _rows(path_or_name)
    if columns and format == "auto":
        format = "columns"
    prompts: dict[str, tuple[int, Prompt]] = {}
    problems: list[Problem] = []
    repeats: Counter[str] = Counter()
    for line, row in rows:
        if _is_header(row, where):  # joined files have several
            format = "suite" if format == "auto" else format
            continue
        try:
            if isinstance(row, BadRow):
                raise row
            if format == "auto":
                format = _format_of(row)
            for prompt in _prompts_of(row, format, columns):
                _keep(prompt if prompt.id else _named(prompt, format, repeats), line, prompts)
        except BadRow as bad:
            problems.append(Problem(file=where, line=line, reason=str(bad)))
    return Reading(
        format=format if format != "auto" else "suite",
        file=where,
        prompts=tuple(prompt for _, prompt in prompts.values()),
        lines=tuple(line for line, _ in prompts.values()),
        problems=tuple(problems),
    )


def write(path: str | Path, prompts: Iterable[Prompt]) -> None:
    """Write prompts in our own format; `load` gives the same ones back.

    The file is there whole or not at all. Raises InputError for a prompt that could not be read back, for an id
    that occurs twice, and when the file cannot be written.
    """
    lines = [msgspec.json.encode({own.HEADER: own.VERSION})]
    seen: set[str] = set()
    for number, prompt in enumerate(prompts, 1):
        try:
            own.refuse_unusable(prompt)
            lines.append(msgspec.json.encode(own.record_of(prompt)))
        except BadRow as bad:
            raise InputError(bad.what, where=f"prompt {number}", remedy=bad.remedy) from bad
        except UnicodeEncodeError as error:
            raise InputError(
                "it holds half of a character", where=f"prompt {number}", remedy="replace lone surrogates"
            ) from error
        if prompt.id in seen:
            raise InputError(
                "its id occurs twice", where=f"prompt {number}", remedy="give each prompt an id of its own"
            )
        seen.add(prompt.id)
    _write_whole(Path(path), b"\n".join(lines) + b"\n")


def _rows(path_or_name: str | Path) -> tuple[str, Iterator[tuple[int, Row | BadRow]]]:
    name = str(path_or_name)
    if isinstance(path_or_name, str) and name.startswith(HUGGING_FACE):
        from .hugging_face import rows_of_set

        return name, rows_of_set(name.removeprefix(HUGGING_FACE))
    path = pack_file(path_or_name)
    return str(path), rows_of(path)


def _is_header(row: Row | BadRow, where: str) -> bool:
    """Whether the row is the header of our own format. Raises InputError where that is of a later version."""
    if isinstance(row, BadRow) or own.HEADER not in row.values:
        return False
    version = row.values[own.HEADER]
    if not isinstance(version, int) or version > own.VERSION:
        raise InputError(
            f"is in a format later than {own.VERSION}",
            where=f"{where}:{row.line}",
            remedy="upgrade aligntax",
        )
    return True


def _format_of(row: Row) -> str:
    for name, place in READERS.items():
        if import_module(place.partition(":")[0]).matches(row):
            return name
    return "columns"  # which says what is missing


def _prompts_of(row: Row, format: str, columns: Mapping[str, str] | None) -> Iterable[Prompt]:
    module, _, function = READERS[format].partition(":")
    found: Any = getattr(import_module(module), function)
    made = found(row, columns) if columns else found(row)
    return [made] if isinstance(made, Prompt) else made


def _keep(prompt: Prompt, line: int, prompts: dict[str, tuple[int, Prompt]]) -> None:
    if prompt.id in prompts:
        former = prompts[prompt.id][0]
        raise BadRow(f"has the id of line {former}", "give each prompt an id of its own, or take one out")
    prompts[prompt.id] = (line, prompt)


def _named(prompt: Prompt, format: str, repeats: Counter[str]) -> Prompt:
    """With an id made from its text, so that it stays the same when lines move; a repeated text gets a number."""
    name = made_id(format, prompt.text)
    repeats[name] += 1
    return msgspec.structs.replace(prompt, id=name if repeats[name] == 1 else f"{name}-{repeats[name]}")


def _write_whole(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            part.write_bytes(content)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            "the file cannot be written", where=str(path), remedy="name another place"
        ) from error
