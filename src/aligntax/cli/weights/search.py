"""`aligntax weights search`."""

from __future__ import annotations

import click


@click.command("search", short_help="(under construction)")
def command() -> None:
    """Under construction."""
