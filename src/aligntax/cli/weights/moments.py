"""`aligntax weights moments`."""

from __future__ import annotations

import click


@click.command("moments", short_help="(under construction)")
def command() -> None:
    """Under construction."""
