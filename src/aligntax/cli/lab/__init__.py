"""`aligntax lab`: a tiny world in which a model is trained, taxed and repaired. A file a command."""

from __future__ import annotations

import click

from .. import LazyGroup

COMMANDS = {
    "run": "aligntax.cli.lab.run:command",
    "export": "aligntax.cli.lab.export:command",
}


@click.group(
    "lab",
    cls=LazyGroup,
    places=COMMANDS,
    short_help="Train, tax and repair a tiny model, and compare methods.",
)
def command() -> None:
    """A laboratory: a tiny language model is trained, made safe, taxed and repaired, by every method at equal budgets.

    Start with:  aligntax lab run --quick
    """
