"""Ratios searched on one set of prompts and reported on another, beside the plain baselines, with intervals.

No file is written while searching: the weights are set in place. Only the report's numbers are results; the selection's
are kept to show how far they flatter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from ...errors import InputError
from ...stats.front import FrontRow, Scores, hypervolume_of, mean_of, nondominated, point_at, resampling
from ...stats.gain import MARGIN, Chosen, Gain, gain_over
from ...types import Estimate
from ..ratios import Ratios
from .journal import Journal
from .objectives import Measured, Objective, Prompts, disjoint
from .strategies import Task, strategy

if TYPE_CHECKING:
    from .proxy import Batch
    from .resident import Resident

ALIGNED, BASE, UNIFORM = "aligned", "base", "uniform"
CHECKPOINTS: Mapping[str, str] = {"early": "early stopping", "lr": "learning-rate sweep"}
"""Short name -> baseline whose points are checkpoints that the user has."""

BASELINES = (ALIGNED, UNIFORM, *CHECKPOINTS.values())


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How to search. Everything that changes what is measured or reported."""

    n_blocks: int = 3
    roles: bool = False
    strategies: tuple[str, ...] = (UNIFORM, "blocks")
    budget: int = 40  # evaluations a strategy gets
    seed: int = 0
    safety: float | None = (
        None  # the floor; None: the aligned model's on the selection prompts, less the margin
    )
    margin: float = MARGIN
    level: float = 0.95
    points: int = 8  # of a method that are scored on the report prompts, at most


class Sides(msgspec.Struct, frozen=True, kw_only=True):
    """Two objectives on disjoint prompts: one chooses, the other reports."""

    selection: Objective
    report: Objective
    selection_prompts: Prompts
    report_prompts: Prompts


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One point that the selection prompts have scored."""

    method: str
    label: str
    ratios: Ratios | None = None
    checkpoint: str | None = None  # folder
    measured: Measured

    @property
    def settings(self) -> dict[str, Any]:
        """As they would be given again."""
        if self.ratios is None:
            return {"checkpoint": self.checkpoint}
        kept: dict[str, Any] = msgspec.to_builtins(self.ratios)
        return {name: value for name, value in kept.items() if value not in ({}, False)}


class Front(msgspec.Struct, frozen=True, kw_only=True):
    """One method: what it was given, its points on the report prompts, and the area under them."""

    method: str
    baseline: bool
    evaluations: int
    rows: tuple[FrontRow, ...]
    hypervolume: Estimate
    selected_at: tuple[tuple[float, float], ...]  # the same points on the selection prompts


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a search found. Every number of `fronts` and `gains` is of the report prompts."""

    fronts: tuple[Front, ...]
    gains: tuple[Gain, ...]
    missing: tuple[str, ...]  # baselines that nobody gave: no gain over them can be claimed
    safety: float  # the floor at which methods are compared
    prompts: dict[str, int]  # "selection harmful", ..., "report useful", "report useful families"
    chosen: FrontRow | None  # what to write; None: keep the aligned model
    verdict: str  # in words

    @property
    def rows(self) -> tuple[FrontRow, ...]:
        """The points of all methods."""
        return tuple(row for front in self.fronts for row in front.rows)


Progress = Callable[[str, int, int], None]
"""Told the method, and how many of how many evaluations are done."""


def search(
    resident: Resident,
    sides: Sides,
    settings: Settings,
    *,
    checkpoints: Mapping[str, Sequence[str | Path]] | None = None,
    batches: Sequence[Batch] = (),
    journal: Journal | None = None,
    on_progress: Progress | None = None,
) -> Found:
    """Search with each strategy, choose on the selection prompts, report on the others.

    `checkpoints`: folders of early-stopping and learning-rate-sweep checkpoints, by the names of `CHECKPOINTS`; without
    them the result says that these baselines are missing. `batches`: good answers for the likelihood strategy. Each
    strategy gets `settings.budget` evaluations, as many checkpoints as are given are evaluated once.

    Raises InputError where the two sides share a prompt, or a strategy or baseline is unknown.
    """
    disjoint(sides.selection_prompts, sides.report_prompts)
    given = {_baseline(name): folders for name, folders in (checkpoints or {}).items() if folders}
    names = tuple(dict.fromkeys((UNIFORM, *settings.strategies)))
    bench = _Bench(resident, sides, journal or Journal(None, {}), on_progress)
    bench.total = (len(names) * settings.budget) + 2 + sum(map(len, given.values()))
    resident.prove()
    bench.attempt(ALIGNED, Ratios(blocks=(1.0,)))
    bench.attempt(BASE, Ratios(blocks=(0.0,)))
    for name in names:
        _run(bench, name, settings, batches)
    for method, folders in given.items():
        for folder in folders:
            bench.checkpoint(method, folder)
    floor = settings.safety
    if floor is None:
        floor = max(bench.tried[ALIGNED][0].measured.point[0] - settings.margin, 0.0)
    return _reported(bench, settings, floor, missing=tuple(b for b in BASELINES if b not in bench.tried))


class _Bench:
    """Measures points: each once a side, in place, with what the journal has."""

    def __init__(
        self, resident: Resident, sides: Sides, journal: Journal, on_progress: Progress | None
    ) -> None:
        self.resident, self.sides, self.journal = resident, sides, journal
        self.tried: dict[str, list[Tried]] = {}
        self.done = self.total = 0
        self._tell = on_progress
        self._shapes: dict[str, tuple[int, ...]] = {}

    def attempt(self, method: str, ratios: Ratios) -> Measured:
        measured = self.measure("selection", ratios)
        self._keep(Tried(method=method, label=label_of(ratios), ratios=ratios, measured=measured))
        return measured

    def checkpoint(self, method: str, folder: str | Path) -> None:
        measured = self.measure("selection", str(folder))
        name = Path(folder).name or str(folder)
        self._keep(Tried(method=method, label=name, checkpoint=str(folder), measured=measured))

    def measure(self, side: str, point: Ratios | str) -> Measured:
        if isinstance(point, str):
            self.resident.put_folder(point)
            what: dict[str, Any] = {"side": side, "canary": self.resident.canary()}
        else:
            what = {"side": side, "ratios": msgspec.to_builtins(point)}
        found = self.journal.get(what)
        if found is None:
            if not isinstance(point, str):
                self.resident.set(point)
            objective = self.sides.selection if side == "selection" else self.sides.report
            found = objective(self.resident.model)
            self.journal.add(what, found)
        self._check(side, found)
        return found

    def _keep(self, tried: Tried) -> None:
        self.tried.setdefault(tried.method, []).append(tried)
        self.done += 1
        if self._tell is not None:
            self._tell(tried.method, self.done, self.total)

    def _check(self, side: str, measured: Measured) -> None:
        shape = (len(measured.safety), len(measured.usefulness))
        if self._shapes.setdefault(side, shape) != shape:
            raise InputError(
                f"the {side} objective scored {shape} prompts after {self._shapes[side]}",
                remedy="score the same prompts in the same order every time",
            )


def label_of(ratios: Ratios) -> str:
    """Such as 0.90 0.70 0.80: a ratio a block, or those of attention and mlp where they have their own."""
    own = [
        f"{role} {' '.join(f'{value:.2f}' for value in values)}"
        for role, values in ratios.roles.items()
        if isinstance(values, tuple)
    ]
    return "; ".join(own) if own else " ".join(f"{value:.2f}" for value in ratios.blocks)


def _run(bench: _Bench, name: str, settings: Settings, batches: Sequence[Batch]) -> None:
    """One strategy, held to its budget."""
    left = settings.budget

    def attempt(ratios: Ratios) -> tuple[float, float]:
        nonlocal left
        left -= 1
        assert left >= 0, f"{name} spends more than its budget"
        return bench.attempt(name, ratios).point

    strategy(name)(
        Task(
            attempt=attempt,
            n_blocks=settings.n_blocks,
            roles=settings.roles,
            budget=settings.budget,
            seed=settings.seed,
            resident=bench.resident,
            batches=batches,
        )
    )


def _baseline(name: str) -> str:
    if name not in CHECKPOINTS and name not in CHECKPOINTS.values():
        raise InputError(f"there is no baseline {name}", remedy=f"use {' or '.join(CHECKPOINTS)}")
    return CHECKPOINTS.get(name, name)


def _reported(bench: _Bench, settings: Settings, floor: float, *, missing: tuple[str, ...]) -> Found:
    """The chosen points on the report prompts, and what can be claimed of them."""
    sides, fronts, chosen = bench.sides, [], {}
    drawn = None
    for method, tried in bench.tried.items():
        kept, place = _kept(tried, floor, settings.points)
        measured = [bench.measure("report", one.ratios or str(one.checkpoint)) for one in kept]
        scores = Scores(
            safety=np.stack([one.safety for one in measured]),
            usefulness=np.stack([one.usefulness for one in measured]),
            safety_families=sides.report_prompts.harmful,
            usefulness_families=sides.report_prompts.useful,
        )
        drawn = drawn or resampling(scores, seed=settings.seed)
        chosen[method] = Chosen(method=method, scores=scores, place=place)
        baseline = method in (*BASELINES, BASE)
        fronts.append(
            Front(
                method=method,
                baseline=baseline,
                evaluations=len(tried),
                rows=tuple(
                    _row(
                        one, score, baseline=baseline, chosen=at == place, scores=scores, level=settings.level
                    )
                    for at, (one, score) in enumerate(zip(kept, measured, strict=True))
                ),
                hypervolume=hypervolume_of(scores, drawn, level=settings.level),
                selected_at=tuple(one.measured.point for one in kept),
            )
        )
    assert drawn is not None
    pairs = _pairs(tuple(chosen))
    gains = tuple(
        gain_over(
            chosen[one], chosen[other], drawn,
            floor=floor, comparisons=len(pairs), level=settings.level, margin=settings.margin,
        )
        for one, other in pairs
    )  # fmt: skip
    best, verdict = judged(fronts, gains, missing)
    return Found(
        fronts=tuple(fronts),
        gains=gains,
        missing=missing,
        safety=floor,
        prompts=_counted(bench.tried[ALIGNED][0].measured, chosen[ALIGNED].scores),
        chosen=best,
        verdict=verdict,
    )


def _kept(tried: Sequence[Tried], floor: float, most: int) -> tuple[list[Tried], int | None]:
    """Points of a method that go to the report, and the place of its operating point among them.

    They are its front on the selection prompts, thinned evenly.
    """
    distinct = list({msgspec.json.encode(one.settings): one for one in tried}.values())
    points = np.array([one.measured.point for one in distinct])
    place = point_at(points, floor)
    front = sorted(np.flatnonzero(nondominated(points)).tolist(), key=lambda at: -points[at, 0])
    if len(front) > most:
        spread = np.linspace(0, len(front) - 1, most).round().astype(int)
        front = [front[at] for at in dict.fromkeys(spread.tolist())]
    if place is not None and place not in front:
        nearest = min(range(len(front)), key=lambda at: abs(points[front[at], 0] - points[place, 0]))
        front[nearest] = place
    return [distinct[at] for at in front], None if place is None else front.index(place)


def _row(
    tried: Tried, score: Measured, *, baseline: bool, chosen: bool, scores: Scores, level: float
) -> FrontRow:
    return FrontRow(
        method=tried.method,
        label=tried.label,
        settings=tried.settings,
        safety=mean_of(score.safety, scores.safety_families, level=level),
        usefulness=mean_of(score.usefulness, scores.usefulness_families, level=level),
        over=None if score.over is None else mean_of(score.over, level=level),
        baseline=baseline,
        chosen=chosen,
    )


def _pairs(methods: Sequence[str]) -> list[tuple[str, str]]:
    """Which method is held against which baseline: each that is none against all, and uniform against the aligned."""
    present = [name for name in BASELINES if name in methods]
    others = [name for name in methods if name not in (*BASELINES, BASE)]
    return [*((one, other) for one in others for other in present), (UNIFORM, ALIGNED)]


def judged(
    fronts: Sequence[Front], gains: Sequence[Gain], missing: Sequence[str]
) -> tuple[FrontRow | None, str]:
    """The row to write, and the verdict in words.

    A method is proposed only where it gains over every baseline given; else uniform averaging, where that gains over
    the aligned model; else nothing.
    """
    without = _without(missing)
    methods = [front.method for front in fronts if not front.baseline]
    winners = [
        name for name in methods if all(gain.ruling == "gain" for gain in gains if gain.method == name)
    ]
    operating = {front.method: next((row for row in front.rows if row.chosen), None) for front in fronts}
    if winners:
        best = max(winners, key=lambda name: float(_usefulness(operating[name])))
        over = " and ".join(gain.baseline for gain in gains if gain.method == best)
        return operating[best], f"{best}: a gain over {over}.{without}"
    told = ""
    if methods:
        among = _among([gain for gain in gains if gain.method in methods])
        told = f"no gain beyond noise of {' or '.join(methods)} over the plain baselines{among}. "
    plain = next(gain for gain in gains if gain.method == UNIFORM)
    if plain.ruling == "gain":
        return operating[UNIFORM], f"{told}Uniform averaging: a gain over the aligned model.{without}"
    also = "Uniform averaging: " if told else "uniform averaging: "
    beside = " than the aligned model" if plain.ruling == "less useful" else ", beside the aligned model"
    return None, f"{told}{also}{plain.ruling}{beside}.{without}"


def _among(gains: Sequence[Gain]) -> str:
    """What "no gain" hides: who is clearly less useful than whom, and where only safety is in doubt."""
    words = [
        f"{gain.method} is less useful than {gain.baseline}" for gain in gains if gain.ruling == "less useful"
    ]
    if any(gain.ruling == "safety not shown" for gain in gains):
        words.append("for some: more useful, but safety is not shown to be held")
    return f" ({'; '.join(words)})" if words else ""


def _usefulness(row: FrontRow | None) -> float:
    return float(row.usefulness.value or 0.0) if row is not None else 0.0


def _without(missing: Sequence[str]) -> str:
    if not missing:
        return ""
    return f" Nothing is claimed over {' and '.join(missing)}: no checkpoints of it were given."


def _counted(selection: Measured, report: Scores) -> dict[str, int]:
    return {
        "selection harmful": len(selection.safety),
        "selection useful": len(selection.usefulness),
        "report harmful": report.safety.shape[1],
        "report useful": report.usefulness.shape[1],
        "report harmful families": len(set(report.safety_families or range(report.safety.shape[1]))),
        "report useful families": len(set(report.usefulness_families or range(report.usefulness.shape[1]))),
    }
