"""Build hooks of the documentation: pages that say what the code says are written by the code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from aligntax.cli import commands

WIDTH = 92  # of help in a page's code block


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the help of every command where a page asks for it."""
    return markdown.replace("<!-- help of every command -->", help_of_commands())


def help_of_commands() -> str:
    """What `--help` prints, a section a command."""
    parent = commands.make_context("aligntax", [], resilient_parsing=True, terminal_width=WIDTH)
    sections = [_section("aligntax", commands.get_help(parent))]
    return "\n\n".join([*sections, *_commands_of(commands, parent, "aligntax")])


def _commands_of(group: click.Group, parent: click.Context, path: str) -> Iterator[str]:
    """A section for each command of a group, and for each of its own."""
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        assert command is not None
        context = click.Context(
            command, info_name=name, parent=parent, resilient_parsing=True, terminal_width=WIDTH
        )
        yield _section(f"{path} {name}", command.get_help(context))
        if isinstance(command, click.Group):
            yield from _commands_of(command, context, f"{path} {name}")


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n```text\n{text}\n```"
