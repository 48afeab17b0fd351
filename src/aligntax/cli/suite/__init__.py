"""`aligntax suite`: sets of prompts. A file a command."""

from __future__ import annotations

import click

from .. import LazyGroup

COMMANDS = {
    "list": "aligntax.cli.suite.listing:command",
    "show": "aligntax.cli.suite.show:command",
    "check": "aligntax.cli.suite.check:command",
    "from-logs": "aligntax.cli.suite.from_logs:command",
    "review": "aligntax.cli.suite.review:command",
    "generate": "aligntax.cli.suite.generate:command",
}


@click.group("suite", cls=LazyGroup, places=COMMANDS, short_help="Sets of prompts: list, show, check, make.")
def command() -> None:
    """Look at sets of prompts and check them: packs that come with aligntax, published sets, your own.

    Start with:  aligntax suite list
    """
