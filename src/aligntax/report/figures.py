"""Findings as charts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from markupsafe import Markup

from .charts import Line, Point, histogram, lines, nice_top, stacked_bar
from .findings import COMPARED, Distribution
from .timeline import Bucket, Timeline
from .wording import NAMES, percent, slice_name

OUTCOMES = (
    "complete",
    "partially_hedged",
    "refused",
    "undetermined",
    "provider_blocked",
    "truncated",
    "other",
)
"""The parts of a stacked bar, in order; also their CSS classes. `other` is empty answers and tool calls."""

FOLLOWED = ("refused", "partially_hedged", "provider_blocked")
THIN = 20
"""Points of fewer counted calls are drawn hollow."""


class TimeFigure(msgspec.Struct, frozen=True, kw_only=True):
    """The timeline, and what its lettered rules stand for."""

    chart: Markup
    changes: tuple[tuple[str, Bucket], ...]


def shares(rates: Mapping[str, Any]) -> dict[str, float]:
    """Share of the counted calls by part of a stacked bar; all 0 where nothing was counted."""
    counted = {name: rates.get(name) or 0.0 for name in OUTCOMES}
    return counted | {"other": (rates["empty"] or 0.0) + (rates["tool_call"] or 0.0)}


def outcome_bar(rates: Mapping[str, Any], *, of: str) -> Markup:
    """All outcomes of one slice as a stacked bar."""
    parts = shares(rates)
    said = ", ".join(f"{NAMES[name]} {percent(share)}" for name, share in parts.items() if share)
    return stacked_bar(parts.items(), title=f"{of}: {said or 'nothing counted'}")


def time_figure(timeline: Timeline) -> TimeFigure:
    """Refused, partial and blocked shares over time."""
    first, last = timeline.buckets[0].start, timeline.buckets[-1].start
    changed = [bucket for bucket in timeline.buckets if bucket.entered or bucket.left]
    letters = {bucket.start: _letter(at) for at, bucket in enumerate(changed)}
    labelled = _evenly(len(timeline.buckets), 5)
    points = [
        Point(
            at=(bucket.start - first) / (last - first),
            calls=bucket.rates["counted"],
            thin=bucket.rates["counted"] < THIN,
            label=bucket_name(bucket, timeline.step) if at in labelled else "",
            change=letters.get(bucket.start, ""),
        )
        for at, bucket in enumerate(timeline.buckets)
    ]
    series = [
        Line(css=name, values=tuple(bucket.rates[name] for bucket in timeline.buckets)) for name in FOLLOWED
    ]
    chart = lines(
        series,
        points,
        title=f"Refused, partial and blocked shares by {timeline.step}",
        desc="Lines for each share above a strip of call volumes; the table below holds the numbers.",
    )
    return TimeFigure(chart=chart, changes=tuple((letters[bucket.start], bucket) for bucket in changed))


def bucket_name(bucket: Bucket, step: str) -> str:
    """A bucket as its axis label."""
    pattern = {"year": "%Y", "month": "%b %Y"}.get(step)
    return bucket.start.strftime(pattern) if pattern else f"{bucket.start.day} {bucket.start:%b}"


def histograms(distribution: Distribution) -> dict[str, Markup]:
    """One histogram per label on a common scale, complete answers outlined in each."""
    top = nice_top(max((share for row in distribution.shares.values() for share in row), default=1.0))
    complete = distribution.shares.get(COMPARED[0], ())
    return {
        label: histogram(
            row,
            complete if label != COMPARED[0] else (),
            css=label,
            top=top,
            title=f"{slice_name(NAMES[label])} answers by {distribution.measure.replace('_', ' ')}",
        )
        for label, row in distribution.shares.items()
    }


def bins(distribution: Distribution) -> Sequence[str]:
    """The names of a distribution's bins."""
    if distribution.measure == "words":
        edges = [int(edge) for edge in distribution.edges]
        inner = [f"{low}–{high - 1}" for low, high in itertools.pairwise(edges)]
        return [f"<{edges[0]}", *inner, f"{edges[-1]}+"]
    tenths = [round(edge * 100) for edge in (0.0, *distribution.edges, 1.0)]
    return [f"{low}–{high}%" for low, high in itertools.pairwise(tenths)]


def ends(distribution: Distribution) -> Sequence[str]:
    """What stands under a histogram: left, middle and right."""
    names = bins(distribution)
    return (names[0], names[len(names) // 2], names[-1]) if len(names) % 2 else ("0%", "50%", "100%")


def _letter(at: int) -> str:
    return chr(ord("A") + at) if at < 26 else str(at + 1)


def _evenly(length: int, most: int) -> set[int]:
    """Up to `most` positions, first and last among them."""
    shown = min(length, most)
    return {round(at * (length - 1) / (shown - 1)) for at in range(shown)} if shown > 1 else {0}
