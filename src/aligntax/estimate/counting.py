"""Which labels count, and how many there are of each category in each cell."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..label.settle import settled
from ..types import Annotation, Draw
from .cells import Cells
from .targets import Category, category, known_when_blocked


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pattern:
    """All labels that say the same of exchanges of the same sort."""

    label: Annotation  # any one of them
    blocked: bool
    cells: list[int]  # of each labelled exchange, in the flattened (slices, cells)


def counting(
    found: Cells,
    notes: Sequence[Annotation],
    draw: Draw | None,
    asked: Collection[str] | None,
    *,
    random_sample: bool = False,
) -> tuple[dict[str, Annotation], list[str]]:
    """One settled label per exchange that counts, and the exchanges whose labels do not, as no draw asked for them.

    `asked` and `random_sample` as in `corrected`; exchanges outside of the population are in neither. Raises
    InputError where a stratum has more labels than the draw asked for.
    """
    settled_labels = {label.exchange: label for label in settled(notes) if label.exchange in found.labelled}
    if random_sample:
        return settled_labels, []
    if draw is None:
        return {}, list(settled_labels)
    wanted = settled_labels if asked is None else asked
    labels = {exchange: label for exchange, label in settled_labels.items() if exchange in wanted}
    _refuse_unasked(found, labels, draw)
    return labels, [exchange for exchange in settled_labels if exchange not in labels]


def tally(cells: Cells, labels: Mapping[str, Annotation]) -> list[Pattern]:
    """Labels that say the same, with the cells they are in: a few hundred patterns stand for any number of labels.

    Labels of exchanges outside of the population are left out.
    """
    columns = cells.sizes.shape[1]
    patterns: dict[tuple[object, ...], Pattern] = {}
    for exchange, label in labels.items():
        at = cells.labelled.get(exchange)
        if at is None:
            continue
        said = (label.answered, label.kinds, label.hedging, label.should_answer, bool(label.skipped))
        pattern = patterns.setdefault((*said, at.blocked), Pattern(label=label, blocked=at.blocked, cells=[]))
        pattern.cells.append(at.slice * columns + at.cell)
    return list(patterns.values())


def category_counts(
    cells: Cells, patterns: Iterable[Pattern], target: str, domain: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Counts by `Category` of each cell, (slices, cells, 3), and of the labels alone of each slice, (slices, 3).

    Blocked cells that need no label are counted whole, and are no labels.
    """
    counts = np.zeros((*cells.sizes.shape, len(Category)))
    flat = counts.reshape(-1, len(Category))
    known = known_when_blocked(target, domain)
    for pattern in patterns:
        if pattern.blocked and known is not None:
            continue
        where = category(target, domain, pattern.label, blocked=pattern.blocked)
        if where is not None:
            np.add.at(flat[:, where], pattern.cells, 1)
    labelled = counts.sum(axis=1).astype(np.int64)
    if known is not None:
        counts[cells.blocked, known] = cells.sizes[cells.blocked]
    return counts, labelled


def _refuse_unasked(cells: Cells, labels: Iterable[str], draw: Draw) -> None:
    """Raise InputError where more exchanges of a stratum are labelled than the draw asked for.

    Nobody knows how the surplus was chosen, so no estimate may rest on it.
    """
    counts = np.zeros(len(draw.strata), dtype=int)
    for exchange in labels:
        at = cells.labelled.get(exchange)
        if at is not None and cells.strata[at.slice, at.cell] >= 0:
            counts[cells.strata[at.slice, at.cell]] += 1
    asked = np.array([stratum.labels for stratum in draw.strata], dtype=int)
    surplus = int(np.maximum(counts - asked, 0).sum())
    if surplus:
        raise InputError(
            f"{surplus} exchanges more are labelled than the draw asked for",
            remedy="say which ones it asked for, or that all labelled ones are a random sample",
        )
