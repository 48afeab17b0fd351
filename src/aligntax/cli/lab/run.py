"""`aligntax lab run`."""

from __future__ import annotations

import click


@click.command("run", short_help="(under construction)")
def command() -> None:
    """Under construction."""
