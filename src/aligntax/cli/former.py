"""Labels of another state of a verdict file: why labels that are there do not count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from .. import campaign
from ..types import PROVIDER_BLOCKED, Annotation, Outcome
from .summary import plural
from .terminal import clean

if TYPE_CHECKING:
    from ..store import Store

_LABELLED = [Outcome.ANSWERED.value, *(outcome.value for outcome in PROVIDER_BLOCKED)]


def former_labels(
    store: Store | None, verdicts: pl.LazyFrame, annotations: Sequence[Annotation], *, source: str
) -> str | None:
    """What to say where these verdicts have no labels, and an earlier state of their file has; else None."""
    other = campaign.other_state(store, verdicts) if store and not annotations else None
    if other is None:
        return None
    now = verdicts.filter(pl.col("outcome").cast(pl.String).is_in(_LABELLED)).select(pl.len())
    return former_words(
        other,
        source=source,
        exchanges=now.collect(engine="streaming").item(),
        detector=campaign.detector_of(verdicts),
    )


def former_words(other: campaign.OtherState, *, source: str, exchanges: int, detector: str) -> str:
    """What the other state was, and how these verdicts, with so many `exchanges` to label, differ from it."""
    draw, name = other.draw, clean(source)
    if draw.population != exchanges:
        difference = f"when it held {plural(draw.population, 'exchange')} that can be labelled; {name} now holds {exchanges:,}"
    elif draw.detector != detector:
        difference = f"as {clean(draw.detector)} had judged it; it has been judged by {clean(detector)} since"
    else:
        difference = f"as it was then; {name} has other exchanges or scores now"
    drawn = plural(sum(stratum.labels for stratum in draw.strata), "exchange")
    return (
        f"draw {draw.id[:8]} ({plural(other.labelled, 'exchange')} labelled) was made from "
        f"{clean(draw.source) or 'verdicts'} {difference}, and {other.present:,} of the {drawn} drawn "
        f"{'is' if other.present == 1 else 'are'} in it. Its labels speak of that state alone."
    )
