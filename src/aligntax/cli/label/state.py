"""How far a draw is, as values."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ... import campaign

if TYPE_CHECKING:
    from ...store import Store
    from ...types import Draw


def state_of(store: Store, draw: Draw) -> dict[str, Any]:
    """Counts of labels in all and by person."""
    progress = store.progress(draw.id)
    planted = campaign.unlabelled_known(store, draw)
    given = Counter(note.annotator for note in store.annotations(draw.id))
    people = [
        {
            "name": name,
            "labels": count,
            "seconds_each": store.progress(draw.id, name).seconds_per_item,
        }
        for name, count in sorted(given.items())
    ]
    return {
        "draw": draw.id,
        "phase": draw.phase,
        "labelled": progress.labelled,
        "to_label": progress.labelled + progress.to_label - planted,
        "planted_left": planted,
        "pilot_left": progress.pilot_left,
        "double_left": progress.double_left,
        "disagreements": progress.disagreements,
        "people": people,
    }
