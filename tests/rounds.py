"""A small round of labelling, made by hand: a draw, its items, and a store that holds them."""

from __future__ import annotations

import datetime as dt
import pathlib
from collections.abc import Sequence

from aligntax.store import Store
from aligntax.types import Draw, Item, Stratum

NOW = dt.datetime(2026, 3, 1, 9, 0, tzinfo=dt.UTC)


def a_draw(size: int, *, pilot: int | None = None, phase: str = "whole") -> Draw:
    """One stratum of `size` exchanges, all of which are to be labelled."""
    first = size if pilot is None else pilot
    stratum = Stratum(
        slice=(),
        kind="scored",
        low=0.0,
        high=1.0,
        size=size,
        expected=0.3,
        pilot=first,
        labels=first,
        reserve=size,
    )
    return Draw(
        id=f"draw{size:04}",
        created=NOW,
        seed=1,
        source="sample.parquet",
        fingerprint="f",
        detector="detector-x",
        by=(),
        budget=size,
        level=0.95,
        phase=phase,
        strata=(stratum,),
        population=size,
        left_out={},
        double_share=0.3,
        recalibration={},
        codebook="1",
    )


def an_item(number: int, size: int, **changes: object) -> Item:
    """Item `number` of `size`, in the order of its number."""
    plain = {
        "exchange": f"exchange-{number}",
        "stratum": 0,
        "place": number,
        "position": number / size,
        "phase": "pilot",
        "wanted": 1,
        "prompt": f"Question {number}?",
        "response": f"Reply {number}.",
        "use_case": "discharge letters",
    }
    return Item(**(plain | changes))


def a_store(path: pathlib.Path, items: Sequence[Item], draw: Draw | None = None) -> tuple[Store, Draw]:
    """A store in a file, with one draw of these items."""
    draw = draw or a_draw(len(items))
    store = Store(path)
    store.add_draw(draw, items)
    return store, draw
