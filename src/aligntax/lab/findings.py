"""From a run's scores to its numbers: for each method what it is worth over the seeds, and what is compared with what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from ..stats.front import FrontRow, hypervolume, mean_of, nondominated, point_at
from .experiment import FLOORS, Outcome, Point, Results, Seen
from .measures import Scores
from .methods import METHODS
from .over_seeds import Difference, OverSeeds, differences, over_seeds
from .world import BENIGN, HARMFUL

AT = 0.7
"""The floor of safety at which methods are described and compared, where nothing else is said."""

METRICS: dict[str, Callable[[Scores], float | None]] = {
    "UTIL": lambda scores: scores.useful,
    "SAFE": lambda scores: scores.safe,
    "CAP": lambda scores: scores.capability,
    "OVER": lambda scores: scores.over,
    "HELP": lambda scores: scores.help,
    "KL": lambda scores: scores.kl,
    "prefill": lambda scores: scores.prefilled,
    **{family: lambda scores, family=family: float(scores.refused[family].mean()) for family in BENIGN},  # type: ignore[misc]
}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One method over the seeds, on the report exam, at the operating points that the selection exam chose.

    `at`: UTIL at each floor. `scores`: by metric, at the floor of `AT`. `spared`: the lowest CAP among all states
    that the method showed (selection exam): what a wrong choice of its settings costs.
    """

    method: str
    label: str
    group: str
    states: int
    at: dict[str, OverSeeds]
    scores: dict[str, OverSeeds]
    hypervolume: OverSeeds
    spared: OverSeeds
    cpu_s: float
    settings: tuple[str | None, ...]
    """Label of the chosen state, a seed each."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One question with the comparisons that answer it, ruled on together, and the answer in sentences."""

    key: str
    asked: str
    compared: tuple[Difference, ...]
    answer: tuple[str, ...]


class Ends(msgspec.Struct, frozen=True, kw_only=True):
    """Base, gentle run and harsh run at their last step, by metric: what the tax is."""

    scores: dict[str, dict[str, OverSeeds]]


def operating(outcome: Outcome, floor: float) -> Point | None:
    """The state that the selection exam chooses at that floor; None where it finds none safe enough."""
    place = point_at([point.selection.scores.measured.point for point in outcome.points], floor)
    return None if place is None else outcome.points[place]


def front_of(outcome: Outcome) -> list[Point]:
    """The states that no other beats on the selection exam, safest first."""
    table = np.array([point.selection.scores.measured.point for point in outcome.points])
    kept = [outcome.points[at] for at in np.flatnonzero(nondominated(table)).tolist()]
    return sorted(kept, key=lambda point: -point.selection.scores.safe)


def reported(seen: Seen | None) -> Scores:
    """The report exam's scores of a point that may be chosen."""
    assert seen is not None, "a point that the selection exam can choose has no report"
    return seen.scores


def rows_of(results: Results) -> tuple[Row, ...]:
    """Every method of a run, in the order of the table of methods."""
    return tuple(_row(results, name) for name in METHODS if results.of(name))


def _row(results: Results, name: str) -> Row:
    outcomes, grain = results.of(name), grain_of(results)
    chosen = [operating(outcome, AT) for outcome in outcomes]
    volumes = [
        hypervolume([reported(point.report).measured.point for point in front_of(outcome)])
        for outcome in outcomes
    ]
    lowest = [min(point.selection.scores.capability for point in outcome.points) for outcome in outcomes]
    return Row(
        method=name, label=METHODS[name].label, group=METHODS[name].group,
        states=max(len(outcome.points) for outcome in outcomes),
        at={f"{floor:g}": over_seeds(_useful(outcomes, floor), grain=grain) for floor in FLOORS},
        scores={metric: over_seeds([None if one is None else of(reported(one.report)) for one in chosen], grain=grain)
                for metric, of in METRICS.items()},
        hypervolume=over_seeds(volumes, grain=grain), spared=over_seeds(lowest, grain=grain),
        cpu_s=sum(outcome.cpu_s for outcome in outcomes) / len(outcomes),
        settings=tuple(None if one is None else one.label for one in chosen),
    )  # fmt: skip


def _useful(outcomes: Sequence[Outcome], floor: float) -> list[float | None]:
    points = [operating(outcome, floor) for outcome in outcomes]
    return [None if point is None else reported(point.report).useful for point in points]


def grain_of(results: Results) -> float:
    """One prompt of the harmful ones: the least spread over seeds that is believed."""
    return 1 / sum(len(results.grounds[0].untouched.refused[name]) for name in HARMFUL)


def ends_of(results: Results) -> Ends:
    """Base, gentle and harsh run at their ends."""
    grain = grain_of(results)
    states = {
        "base": [ground.untouched for ground in results.grounds],
        "gentle": [ground.curves["gentle"][-1][1] for ground in results.grounds],
        "harsh": [ground.curves["harsh"][-1][1] for ground in results.grounds],
    }
    return Ends(
        scores={
            name: {metric: over_seeds([of(one.scores) for one in seen], grain=grain) for metric, of in METRICS.items()}
            for name, seen in states.items()
        }
    )  # fmt: skip


def front_rows(results: Results, seed: int, method: str) -> tuple[FrontRow, ...]:
    """The front of a method on one seed, as charts take it. Intervals are over that seed's prompts."""
    outcome = next(one for one in results.of(method) if one.seed == seed)
    chosen = operating(outcome, AT)
    return tuple(
        FrontRow(
            method=METHODS[method].label, label=point.label, settings=_plain(point.settings),
            safety=mean_of(scores.measured.safety), usefulness=mean_of(scores.measured.usefulness),
            over=None if scores.measured.over is None else mean_of(scores.measured.over),
            baseline=METHODS[method].group == "baseline" or method == "average", chosen=point is chosen,
        )
        for point in front_of(outcome)
        for scores in [reported(point.report)]
    )  # fmt: skip


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if not isinstance(value, dict)}


def compare(
    rows: Sequence[Row], pairs: Sequence[tuple[str, str, str]], *, grain: float
) -> tuple[Difference, ...]:
    """(metric, method, method) as differences ruled on together; pairs of methods that were not run are left out.

    Metrics are those of `Row.scores`, "UTIL at .5" and the like, and "hypervolume".
    """
    known = {row.method: row for row in rows}
    return differences(
        [
            (metric, known[first].label, number(known[first], metric), known[second].label, number(known[second], metric))
            for metric, first, second in pairs
            if first in known and second in known
        ],
        grain=grain,
    )  # fmt: skip


def number(row: Row, metric: str) -> OverSeeds:
    """One number of a row over the seeds."""
    if metric == "hypervolume":
        return row.hypervolume
    if metric == "lowest CAP":
        return row.spared
    return row.scores[metric]
