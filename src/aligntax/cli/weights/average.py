"""`aligntax weights average`."""

from __future__ import annotations

import click


@click.command("average", short_help="(under construction)")
def command() -> None:
    """Under construction."""
