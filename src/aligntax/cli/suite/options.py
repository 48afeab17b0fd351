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
            metavar="FIELD=COLUMN",
            help="The column of a table that holds a field, such as text=question. Repeat it.",
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
        field, equals, column = pair.partition("=")
        if not (column and equals and field):
            raise InputError("is not FIELD=COLUMN", where="--map", remedy="write --map text=question")
        columns[field] = column
    return columns or None
