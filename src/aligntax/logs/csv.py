"""Plain CSV with a header, one exchange a row; comma, semicolon, tab or bar between fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .plain import PlainRecords
from .rows import frames
from .source import Source

if TYPE_CHECKING:
    import polars as pl


def read(source: Source) -> Iterator[pl.DataFrame]:
    """Frames of exchanges; columns are found by their usual names or by the column mapping."""
    return frames(source, PlainRecords(source.settings.columns))
