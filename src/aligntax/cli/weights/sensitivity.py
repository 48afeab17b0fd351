"""`aligntax weights sensitivity`."""

from __future__ import annotations

import click


@click.command("sensitivity", short_help="(under construction)")
def command() -> None:
    """Under construction."""
