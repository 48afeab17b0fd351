"""Verdicts and the labels of the store to a survey, and the survey back into the store."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__, campaign
from ..estimate import Survey, survey
from ..estimate.correction import Population
from .result import default_slices
from .where import labels_of

if TYPE_CHECKING:
    import polars as pl

    from ..store import Store


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimated:
    """A survey, with what is known of where its labels might be."""

    survey: Survey
    source: str  # name of the verdict file
    detector: str  # what judged these verdicts
    other: campaign.OtherState | None  # labels of another state of the file, where these verdicts have none


def estimates(
    store: Store | None,
    verdicts: pl.LazyFrame,
    *,
    source: str,
    by: Sequence[str] | None,
    level: float,
    population: Population,
    random_sample: bool,
) -> Estimated:
    """All that the labels of these verdicts say; `by` is by default what the draw was sliced by."""
    draw, annotations = labels_of(store, verdicts)
    if by is None:
        by = draw.by if draw else default_slices(verdicts)
    found = survey(
        verdicts,
        draw,
        annotations,
        by=by,
        level=level,
        population=population,
        random_sample=random_sample,
        known=campaign.known_labels(store, draw) if store and draw else (),
    )
    other = campaign.other_state(store, verdicts) if store and not annotations else None
    return Estimated(survey=found, source=source, detector=campaign.detector_of(verdicts), other=other)


def keep(store: Store, found: Survey, source: Path) -> int:
    """Keep the rates with what they were made from, for whoever asks later how they came about."""
    rows = [*found.total.to_dicts(), *(found.slices.to_dicts() if found.by else ())]
    inputs = {
        "verdicts": source.name,
        "verdicts_sha256": sha256(source),
        "population": found.population,
        "by": ",".join(found.by),
        "aligntax": __version__,
    }
    if found.draw:
        inputs |= {"draw": found.draw.id, "fingerprint": found.draw.fingerprint}
        inputs |= {campaign.LEARNED: json.dumps(found.recalibration)}
    return store.save_estimates(found.draw.id if found.draw else None, rows, inputs)


def sha256(path: Path) -> str:
    """Of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
