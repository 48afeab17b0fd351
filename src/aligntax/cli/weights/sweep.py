"""`aligntax weights sweep`."""

from __future__ import annotations

import click


@click.command("sweep", short_help="(under construction)")
def command() -> None:
    """Under construction."""
