"""How commands are told what a file of prompts is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ...errors import InputError

_Command = Callable[..., Any]


def reading_options(command: _Command) -> _Command:
    """Options `--format` and `--map`, as arguments `suite_format` and `mapping`."""
    for option in (
        click.option(
            "--map",
            "mapping",
            multiple=True,
            metavar="COLUMN=FIELD",
            help="A column of a table and the field that it holds, such as question=text. Repeat it.",
        ),
        click.option(
            "--format",
            "suite_format",
            default="auto",
            metavar="NAME",
            help="Format of the file.  [default: recognised by its first row]",
        ),
    ):
        command = option(command)
    return command


def columns_of(mapping: tuple[str, ...]) -> dict[str, str] | None:
    """Field -> column from what `--map` was given; None where it was not. Raises InputError for no pair."""
    columns = {}
    for pair in mapping:
        column, equals, field = pair.rpartition("=")
        if not (column and equals and field):
            raise InputError("is not COLUMN=FIELD", where="--map", remedy="write --map question=text")
        columns[field] = column
    return columns or None
