"""Plain JSON records, one exchange each: JSON lines, or a JSON array of such objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .plain import PlainRecords
from .rows import frames
from .source import Source

if TYPE_CHECKING:
    import polars as pl


def read(source: Source) -> Iterator[pl.DataFrame]:
    """Frames of exchanges; keys are found by their usual names or by the column mapping."""
    return frames(source, PlainRecords(source.settings.columns))
