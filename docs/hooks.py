"""Build hooks of the documentation: pages that say what the code says are written by the code."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from aligntax.cli import COMMANDS, commands

WIDTH = 92  # of help in a page's code block


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the help of every command where a page asks for it."""
    return markdown.replace("<!-- help of every command -->", help_of_commands())


def help_of_commands() -> str:
    """What `--help` prints, a section a command."""
    parent = commands.make_context("aligntax", [], resilient_parsing=True, terminal_width=WIDTH)
    sections = [_section("aligntax", commands.get_help(parent))]
    for name, place in COMMANDS.items():
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        context = command.make_context(name, [], parent, resilient_parsing=True, terminal_width=WIDTH)
        sections.append(_section(f"aligntax {name}", command.get_help(context)))
    return "\n\n".join(sections)


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n```text\n{text}\n```"
