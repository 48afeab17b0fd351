"""Runs a plan, seed by seed and method by method; each result is kept as it comes, so that a run goes on after a kill."""

from __future__ import annotations

import os
import secrets
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from ..stats.front import nondominated, point_at
from ..types import Estimate
from .bench import Attempts, Bench
from .measures import Scores
from .methods import METHODS, run_of
from .plan import Plan, digest_of
from .pretraining import Base, cache_folder, pretrained
from .safety import Checkpoint, restore

FLOORS = (0.5, 0.7, 0.8)
"""Safety at which usefulness is compared."""
SEED = "seed"
"""The name of the job that measures what belongs to a seed and to no method."""

_T = TypeVar("_T")
Progress = Callable[[str, int, int], None]
"""Told what begins, and how many of how many jobs are done."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """Scores of one state as they are kept: for each set a text of 0 and 1, a sign a prompt."""

    refused: dict[str, str]
    right: dict[str, str]
    recovered: dict[str, str] | None = None
    kl: float | None = None

    @classmethod
    def of(cls, scores: Scores) -> Seen:
        """The same, to be kept."""
        recovered = None if scores.recovered is None else _packed(scores.recovered)
        return cls(
            refused=_packed(scores.refused), right=_packed(scores.right), recovered=recovered, kl=scores.kl
        )

    @property
    def scores(self) -> Scores:
        """The same, to be counted."""
        recovered = None if self.recovered is None else _unpacked(self.recovered)
        return Scores(
            refused=_unpacked(self.refused), right=_unpacked(self.right), recovered=recovered, kl=self.kl
        )


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One state that a method showed. `report`: only where the selection exam could choose it."""

    label: str
    settings: dict[str, Any]
    selection: Seen
    report: Seen | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One method on one seed. `cpu_s`: its own seconds; the harsh and gentle runs that some start from are the seed's."""

    method: str
    seed: int
    base: int
    points: tuple[Point, ...]
    cpu_s: float


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One block or role set to `share` of the harsh model, the rest left harsh, on the report exam."""

    part: str
    kind: str
    share: float
    safety: Estimate
    usefulness: Estimate
    word: str


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What belongs to a seed: its base, the tax over the steps, and which block is free to restore."""

    seed: int
    base: int
    untouched: Seen
    curves: dict[str, tuple[tuple[int, Seen], ...]]
    parts: tuple[Part, ...]
    null_dimensions: dict[str, tuple[int, int]]
    """By kind of linear: directions of general text's null space, and of its input, summed over the layers."""
    cpu_s: float


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """All that a run measured. `pretraining_s`: seconds spent on bases now; 0 where they were in the cache."""

    plan: Plan
    digest: str
    grounds: tuple[Ground, ...]
    outcomes: tuple[Outcome, ...]
    pretraining_s: float
    resumed: int
    machine: dict[str, str]

    def of(self, method: str) -> tuple[Outcome, ...]:
        """The outcomes of a method, a seed each."""
        return tuple(outcome for outcome in self.outcomes if outcome.method == method)

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all methods and seeds, also of those that an earlier run had measured; without the bases."""
        return sum(one.cpu_s for one in self.grounds) + sum(one.cpu_s for one in self.outcomes)


def run(plan: Plan, *, cache: Path | None = None, on_progress: Progress | None = None) -> Results:
    """Measures every method on every seed. `cache`: a folder for bases and results (default: the user's)."""
    with warnings.catch_warnings():
        # PEFT still uses a name that transformers has changed: no reader of ours can act on it
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        return _run(plan, cache or cache_folder(), on_progress or (lambda _what, _done, _total: None))


def _run(plan: Plan, folder: Path, tell: Progress) -> Results:
    digest = digest_of(plan)
    kept = _Kept(folder / "runs" / digest)
    done, total, spent = 0, len(plan.seeds) * (1 + len(plan.methods)), 0.0
    grounds, outcomes = [], []
    bases: dict[int, Base] = {}
    for seed in plan.seeds:
        number = plan.base_of(seed)
        if number not in bases:
            tell(f"base {number}", done, total)
            started = time.process_time()
            bases[number] = _pretrained(plan, number, folder, lambda text: tell(text, done, total))  # noqa: B023
            spent += time.process_time() - started
        bench = Bench(plan, bases[number], seed)
        tell(f"seed {seed}: the tax over the steps", done, total)
        grounds.append(kept.take(seed, SEED, Ground, lambda: ground(bench)))  # noqa: B023
        done += 1
        for name in plan.methods:
            tell(f"seed {seed}: {METHODS[name].label}", done, total)
            outcomes.append(kept.take(seed, name, Outcome, lambda: outcome(bench, name)))  # noqa: B023
            done += 1
    tell("", done, total)
    return Results(
        plan=plan, digest=digest, grounds=tuple(grounds), outcomes=tuple(outcomes), pretraining_s=spent,
        resumed=kept.found, machine=machine(),
    )  # fmt: skip


def outcome(bench: Bench, name: str) -> Outcome:
    """One method on one seed: its states on the selection exam, and on the report exam those that may be chosen."""
    started = time.process_time()
    lent = _lent(bench, name)
    attempts = Attempts(bench.selection, bench.plan.budget(name))
    run_of(name)(bench, attempts)
    table = np.array([tried.selection.measured.point for tried in attempts.tried])
    wanted, deep = chosen_places(table), operating_places(table)
    points = []
    for at, tried in enumerate(attempts.tried):
        report = Seen.of(bench.report.scores(tried.put(), deep=at in deep)) if at in wanted else None
        points.append(
            Point(
                label=tried.label, settings=tried.settings, selection=Seen.of(tried.selection), report=report
            )
        )
    return Outcome(
        method=name, seed=bench.seed, base=bench.base.seed, points=tuple(points),
        cpu_s=time.process_time() - started - lent,
    )  # fmt: skip


def _lent(bench: Bench, name: str) -> float:
    """Makes what several methods share before one of them is timed; says the seconds that took."""
    started = time.process_time()
    if METHODS[name].group in ("averaging", "baseline"):
        _ = bench.harsh
    if METHODS[name].group == "steering":
        _ = bench.gentle
    if METHODS[name].group == "null space":
        _ = bench.null_spaces
    return time.process_time() - started


def chosen_places(points: Any) -> set[int]:
    """The points that the selection exam can choose: its front, and the operating point at each floor."""
    return set(np.flatnonzero(nondominated(points)).tolist()) | operating_places(points)


def operating_places(points: Any) -> set[int]:
    """The operating point at each floor: their prefill test and KL are measured, too."""
    return {place for floor in FLOORS if (place := point_at(points, floor)) is not None}


def ground(bench: Bench) -> Ground:
    """What belongs to the seed and to no method, all on the report exam: none of it chooses anything."""
    from ..weights.searching.sensitivity import scan
    from .methods.averaged import resident_of

    started = time.process_time()
    untouched = Seen.of(bench.report.scores(bench.base.model, deep=True))
    curves = {"gentle": _curve(bench, bench.gentle), "harsh": _curve(bench, bench.harsh)}
    moved = scan(
        resident_of(bench),
        bench.report,
        n_blocks=bench.plan.n_blocks,
        prompts=bench.cells(bench.report),
        levels=(0.0,),
    )
    parts = tuple(
        Part(part=one.part, kind=one.kind, share=one.share, safety=one.safety, usefulness=one.usefulness, word=one.word)
        for one in moved
    )  # fmt: skip
    return Ground(
        seed=bench.seed, base=bench.base.seed, untouched=untouched, curves=curves, parts=parts,
        null_dimensions=_dimensions(bench), cpu_s=time.process_time() - started,
    )  # fmt: skip


def _curve(bench: Bench, checkpoints: list[Checkpoint]) -> tuple[tuple[int, Seen], ...]:
    model = bench.fresh()
    return tuple(
        (one.step, Seen.of(bench.report.scores(restore(model, one), deep=one is checkpoints[-1])))
        for one in checkpoints
    )


def _dimensions(bench: Bench) -> dict[str, tuple[int, int]]:
    summed: dict[str, tuple[int, int]] = {}
    for name, (null, wide) in bench.null_spaces.dimensions.items():
        kind = name.rsplit(".", 1)[-1]
        before = summed.get(kind, (0, 0))
        summed[kind] = (before[0] + null, before[1] + wide)
    return summed


def machine() -> dict[str, str]:
    """What the numbers were made with: versions and processor."""
    import platform
    from importlib.metadata import version

    names = ("aligntax", "torch", "transformers", "peft", "optuna")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


class _Kept:
    """Results in a folder, a file each, whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.found = folder, 0
        folder.mkdir(parents=True, exist_ok=True)

    def take(self, seed: int, name: str, kind: type[_T], make: Callable[[], _T]) -> _T:
        path = self.folder / f"seed{seed}-{name}.json"
        try:
            before = msgspec.json.decode(path.read_bytes(), type=kind)
        except (OSError, msgspec.DecodeError):
            made = make()
            draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            draft.write_bytes(msgspec.json.encode(made))
            os.replace(draft, path)
            return made
        self.found += 1
        return before


def _pretrained(plan: Plan, number: int, folder: Path, tell: Callable[[str], None]) -> Base:
    steps = plan.scale.recipe.steps

    def on_step(step: int, _loss: float) -> None:
        if step % 50 == 0:
            tell(f"base {number}: pretraining, step {step} of {steps}")

    return pretrained(plan.scale, seed=number, cache=folder, device=plan.device, on_step=on_step)


def _packed(sets: Mapping[str, Any]) -> dict[str, str]:
    return {name: "".join("1" if one else "0" for one in scores) for name, scores in sets.items()}


def _unpacked(sets: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: np.frombuffer(signs.encode(), dtype=np.uint8).astype(np.float64) - 48
        for name, signs in sets.items()
    }
