"""`aligntax weights train`."""

from __future__ import annotations

import click


@click.command("train", short_help="(under construction)")
def command() -> None:
    """Under construction."""
