"""The option `--store`, which every command has that keeps or reads labels."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError

if TYPE_CHECKING:
    import polars as pl

    from ..store import Store
    from ..types import Annotation, Draw

store_option: Callable[[Any], Any] = click.option(
    "--store",
    "where",
    envvar="ALIGNTAX_STORE",
    metavar="WHERE",
    help="Where labels are kept: a file, or postgresql://...  [default: .aligntax/aligntax.db]",
)


def open_store(where: str | None) -> Store:
    """The store that the option names, else the one of aligntax.yaml, else the one of this folder."""
    from ..store import Store

    return Store.open(_place(where))


def open_labels(where: str | None) -> Store:
    """The same, for what needs a draw: a file that is not there is not made. Raises InputError instead."""
    place = _place(where)
    if not _is_there(place):
        raise InputError("there is no draw yet", where=place, remedy="make one: aligntax label plan VERDICTS")
    return open_store(place)


def labels_if_any(where: str | None) -> contextlib.AbstractContextManager[Store | None]:
    """The same, for what can do without labels: None where nobody has made a store. Reading leaves no trace.

    Raises InputError where the option itself names a file that is not there.
    """
    place = _place(where)
    if _is_there(place):
        return open_store(place)
    if where is not None:
        raise InputError("there is no store", where=place, remedy="correct --store, or leave it out")
    return contextlib.nullcontext()


def labels_of(store: Store | None, verdicts: pl.LazyFrame) -> tuple[Draw | None, list[Annotation]]:
    """The draw of exactly these verdicts and its labels; nothing where there is no store."""
    from ..campaign import load

    return load(store, verdicts) if store else (None, [])


def without_planted(
    store: Store | None, draw: Draw | None, annotations: Sequence[Annotation]
) -> list[Annotation]:
    """The labels of the log's own exchanges, on which every rate rests."""
    from ..campaign import known_labels

    planted = {known.exchange for known in known_labels(store, draw)} if store and draw else set()
    return [label for label in annotations if label.exchange not in planted]


def _place(where: str | None) -> str:
    from ..config import find_config
    from ..store.database import DEFAULT

    if where is None:
        config = find_config()
        where = config.store if config else None
    return where or DEFAULT


def _is_there(place: str) -> bool:
    """Whether the file of a store exists; a server is asked when it is opened."""
    scheme, separator, rest = place.partition("://")
    if not separator:
        return Path(place).exists()
    return not scheme.startswith("sqlite") or Path(rest.removeprefix("/")).exists()
