"""The option `--store`, which every command has that keeps or reads labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..store import Store

store_option: Callable[[Any], Any] = click.option(
    "--store",
    "where",
    envvar="ALIGNTAX_STORE",
    metavar="WHERE",
    help="Where labels are kept: a file, or postgresql://...  [default: .aligntax/aligntax.db]",
)


def open_store(where: str | None) -> Store:
    """The store that the option names, else the one of aligntax.yaml, else the one of this folder."""
    from ..config import find_config
    from ..store import Store

    if where is None:
        config = find_config()
        where = config.store if config else None
    return Store.open(where)
