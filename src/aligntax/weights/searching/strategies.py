"""Ways to look for ratios, in one table. Each gets the same number of evaluations."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ...errors import InputError, MissingExtra
from ..ratios import Ratios

if TYPE_CHECKING:
    from ..layout import Role
    from .proxy import Batch
    from .resident import Resident

STEP = 0.05
"""Ratios of a search are multiples of it, so that a recipe can be read and typed."""

Attempt = Callable[[Ratios], tuple[float, float]]
"""Ratios in, (safety, usefulness) on the selection prompts out."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What a strategy has to work with. It calls `attempt` exactly `budget` times."""

    attempt: Attempt
    n_blocks: int
    roles: bool  # whether attention and mlp have ratios of their own in each block
    budget: int
    seed: int
    resident: Resident | None = None
    batches: Sequence[Batch] = ()  # good answers, for the likelihood


Strategy = Callable[[Task], None]

STRATEGIES: Mapping[str, str] = {
    "uniform": "aligntax.weights.searching.strategies:uniform",
    "blocks": "aligntax.weights.searching.strategies:blocks",
    "likelihood": "aligntax.weights.searching.strategies:likelihood",
}
"""Name -> where it is. `uniform` is a baseline and always runs."""


def strategy(name: str) -> Strategy:
    """The strategy of this name. Raises InputError where there is none."""
    from importlib import import_module

    if name not in STRATEGIES:
        raise InputError(f"there is no strategy {name}", remedy=f"use {', '.join(STRATEGIES)}")
    module, _, function = STRATEGIES[name].partition(":")
    found: Strategy = getattr(import_module(module), function)
    return found


def uniform(task: Task) -> None:
    """One ratio for all weights, evenly from 0 to 1, the aligned model first."""
    for at in reversed(range(task.budget)):
        share = round(at / (task.budget - 1), 4) if task.budget > 1 else 1.0
        task.attempt(Ratios(blocks=(share,)))


def blocks(task: Task) -> None:
    """A ratio for each block (and role), by two-objective search: Optuna's tree-structured Parzen estimator, seeded.

    Starts from the aligned model, some uniform ratios and each block alone at a half, as far as a third of the budget
    goes. The sampler sees means over the selection prompts and nothing else.

    Ref: Ozaki et al. 2022, multiobjective TPE (JAIR 73).
    """
    optuna = _optuna()
    names = _names(task)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=task.seed, multivariate=True, n_startup_trials=max(task.budget // 3, 2)
        )
    study = optuna.create_study(directions=["maximize", "maximize"], sampler=sampler)
    for start in _starts(task, names)[: max(task.budget // 3, 1)]:
        study.enqueue_trial(start)
    for _ in range(task.budget):
        trial = study.ask()
        drawn = {name: trial.suggest_float(name, 0.0, 1.0, step=STEP) for name in names}
        study.tell(trial, task.attempt(_ratios(task, drawn)))


def likelihood(task: Task) -> None:
    """The averaging paper's recipe (`proxy`), at means evenly from 0 to 1: one evaluation each, after fitting."""
    from .proxy import fit

    if task.resident is None or not task.batches:
        raise InputError(
            "the likelihood strategy needs answers of the aligned model that are as they should be",
            remedy="it had none: leave this strategy out",
        )
    for at in reversed(range(task.budget)):
        share = (at + 1) / task.budget
        found = fit(task.resident, task.batches, share=share, n_blocks=task.n_blocks)
        task.attempt(Ratios(blocks=tuple(round(ratio, 4) for ratio in found.ratios.blocks)))


def _names(task: Task) -> list[str]:
    kinds = ("attention", "mlp") if task.roles else ("block",)
    return [f"{kind} {block}" for kind in kinds for block in range(task.n_blocks)]


def _starts(task: Task, names: list[str]) -> list[dict[str, float]]:
    level = [dict.fromkeys(names, share) for share in (1.0, 0.8, 0.6)]
    alone = [dict.fromkeys(names, 1.0) | {name: 0.5} for name in names]
    return [level[0], *alone, *level[1:]]


def _ratios(task: Task, drawn: Mapping[str, float]) -> Ratios:
    """Numbers of the search as ratios. With roles, what is neither attention nor mlp takes the mean of the two."""

    def row(kind: str) -> tuple[float, ...]:
        return tuple(round(drawn[f"{kind} {block}"], 4) for block in range(task.n_blocks))

    if not task.roles:
        return Ratios(blocks=row("block"))
    attention, mlp = row("attention"), row("mlp")
    rest = tuple(round((one + two) / 2, 4) for one, two in zip(attention, mlp, strict=True))
    own: dict[Role, Any] = {"attention": attention, "mlp": mlp}
    return Ratios(blocks=rest, roles=own)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as absent:
        raise MissingExtra("optuna", "weights") from absent
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
