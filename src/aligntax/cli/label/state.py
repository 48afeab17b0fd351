"""How far a draw is, as values."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ... import campaign
from ...estimate import agreement

if TYPE_CHECKING:
    from ...store import Store
    from ...types import Draw

_TOLD = ("answered", "should_answer")  # axes that the over-refusal rate rests on


def state_of(store: Store, draw: Draw) -> dict[str, Any]:
    """Counts of labels in all and by person, planted items apart, and how far people agree.

    `to_label` is what the draw asks for so far, `to_label_in_all` what it will ask for when the pilot is done.
    """
    progress = store.progress(draw.id)
    planted = {label.exchange for label in campaign.known_labels(store, draw)}
    notes = store.annotations(draw.id)
    own = [note for note in notes if note.exchange not in planted]
    planted_done = len({note.exchange for note in notes} & planted)
    people = [
        {
            "name": name,
            "labels": count,
            "seconds_each": store.progress(draw.id, name).seconds_per_item,
        }
        for name, count in sorted(Counter(note.annotator for note in notes).items())
    ]
    return {
        "draw": draw.id,
        "source": draw.source,
        "phase": draw.phase,
        "labelled": progress.labelled - planted_done,
        "to_label": progress.labelled + progress.to_label - len(planted),
        "to_label_in_all": min(draw.budget, draw.population),
        "planted": len(planted),
        "planted_left": len(planted) - planted_done,
        "pilot_left": progress.pilot_left,
        "double_left": progress.double_left,
        "disagreements": progress.disagreements,
        "people": people,
        "agreement": [row for row in agreement(own).to_dicts() if row["axis"] in _TOLD] if own else [],
    }
