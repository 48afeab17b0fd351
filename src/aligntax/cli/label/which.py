"""Which draw a command means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import InputError

if TYPE_CHECKING:
    from ...store import Store
    from ...types import Draw


def newest(store: Store, name: str | None) -> Draw:
    """The draw of this id or beginning of an id, else the newest one. Raises InputError where there is none."""
    if name is not None:
        return store.draw(name)
    draws = store.draws()
    if not draws:
        raise InputError(
            "there is no draw yet", where=store.place, remedy="make one: aligntax label plan VERDICTS"
        )
    return draws[0]
