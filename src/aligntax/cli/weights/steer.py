"""`aligntax weights steer`."""

from __future__ import annotations

import click


@click.command("steer", short_help="(under construction)")
def command() -> None:
    """Under construction."""
