"""Data sets of Hugging Face, where the package `datasets` is installed: hf:ORG/NAME[/CONFIG][:SPLIT]."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from ..errors import InputError
from .rows import BadRow, Row


def rows_of_set(name: str) -> Iterator[tuple[int, Row | BadRow]]:
    """The rows of a data set, numbered from 1. It is fetched now, unless it is in the cache of `datasets`.

    Without a split the set must have just one. Raises InputError when the package, the set or the split is missing.
    """
    place, _, split = name.partition(":")
    parts = place.split("/")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise InputError(
            "is not the name of a data set", where=f"hf:{name}", remedy="write hf:ORG/NAME[/CONFIG][:SPLIT]"
        )
    found = _load("/".join(parts[:2]), parts[2] if len(parts) == 3 else None, split or None)
    if not split:
        splits = [str(each) for each in found]
        if len(splits) != 1:
            raise InputError(
                "has several splits", where=f"hf:{name}", remedy=f"add one: :{', :'.join(splits)}"
            )
        found = found[splits[0]]
    return ((number, Row(number, record, f"hf:{name}")) for number, record in enumerate(found, 1))


def _load(name: str, config: str | None, split: str | None) -> Any:
    try:
        load_dataset = import_module("datasets").load_dataset
    except ImportError as error:
        raise InputError(
            "this needs the package datasets", where=f"hf:{name}", remedy="pip install datasets"
        ) from error
    try:
        return load_dataset(name, config, split=split)
    except Exception as error:  # each of its sources of data raises errors of its own
        what = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"datasets cannot load it: {what}", where=f"hf:{name}", remedy="check name, split and access"
        ) from error
