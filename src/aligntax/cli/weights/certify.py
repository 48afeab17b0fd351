"""`aligntax weights certify`."""

from __future__ import annotations

import click


@click.command("certify", short_help="(under construction)")
def command() -> None:
    """Under construction."""
