"""The search for a steering: fewer false refusals, as long as harmful requests are provably still declined."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from ...errors import InputError, MissingExtra, NotEnoughData
from ...stats.binomial import clopper_pearson
from ...stats.front import FrontRow, difference_of, mean_of, nondominated
from ...types import Estimate
from ..searching.journal import Journal
from ..searching.objectives import Measured, Objective, Prompts
from .directions import Directions, Tokens, last_log_probabilities
from .edit import Steering, Tent, Writers

if TYPE_CHECKING:
    import torch


class Trial(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One state of the model on the SELECTION prompts: means, and what it moved. `steering` None: not steered."""

    number: int
    steering: Steering | None
    parameters: dict[str, float]
    safety: float  # share of harmful prompts declined
    usefulness: float
    over: float | None  # share of benign prompts declined
    kl: float  # nats, of the first token of the answer, from the model as it was; mean over benign prompts
    along: float  # cosine of the direction with the true refusal vectors of the edited layers


class Tested(msgspec.Struct, frozen=True, kw_only=True):
    """A trial on the REPORT prompts. Differences are to the model as it was, paired by prompt."""

    trial: Trial
    row: FrontRow
    bound: Estimate  # of safety, one-sided, exact
    safety_change: Estimate
    usefulness_change: Estimate
    over_change: Estimate | None
    holds: bool  # its bound, and those of all tested before it, are at or above the floor


class Certified(msgspec.Struct, frozen=True, kw_only=True):
    """What the report prompts say. `tested` in the order of the test, safest first; `chosen` is None where none holds."""

    floor: float
    level: float
    untouched: FrontRow
    untouched_bound: Estimate
    tested: tuple[Tested, ...]
    chosen: Tested | None


def search(  # noqa: PLR0913 - each is a choice of its own
    writers: Writers,
    directions: Directions,
    objective: Objective,
    benign: Tokens,
    *,
    budget: int,
    seed: int = 0,
    embedding: bool = False,
    journal: Journal | None = None,
    show: Callable[[Trial], None] | None = None,
) -> tuple[Trial, ...]:
    """`budget` evaluations of `objective`, the first of the model as it was; the model is left as it was.

    Two objectives, both up: mean safety and mean usefulness, by multivariate TPE (arXiv:2011.14631 in Optuna), after
    full ablation at some layers. Each trial has a random stream of its own, made from `seed` and its number, so a
    search that is repeated with its `journal` measures nothing twice and finds what one without a stop finds.
    `benign`: prompts for the KL. Raises MissingExtra without optuna.
    """
    optuna = _optuna()
    kept = journal or Journal(None, {})
    writers.restore()
    before = last_log_probabilities(writers.model, benign)
    study = optuna.create_study(directions=["maximize", "maximize"])
    space = _space(directions.layers, embedding=embedding, optuna=optuna)
    done: list[Trial] = []
    for number in range(budget):
        if number == 0:
            trial = _trial(0, None, {}, _measured(None, writers.model, objective, kept), 0.0, 0.0)
        else:
            parameters = _suggested(study, number, budget, seed, directions.layers, space, optuna)
            steering = steering_of(parameters, directions)
            direction = writers.direction_of(steering, directions)
            along = directions.along_refusal(direction, {steering.layer, *steering.edited(directions.layers)})
            with writers.steered(steering, directions) as model:
                kl = first_token_kl(before, last_log_probabilities(model, benign))
                measured = _measured(steering, model, objective, kept)
            trial = _trial(number, steering, parameters, measured, kl, along)
            _tell(study, trial, space, optuna)
        done.append(trial)
        if show is not None:
            show(trial)
    return tuple(done)


def steering_of(parameters: dict[str, float], directions: Directions) -> Steering:
    """The steering that a point of the search space means; its lambda is the least allowed there, or above it."""

    def tent(name: str) -> Tent | None:
        weight = parameters[f"{name}_weight"]
        if weight < 0.02:  # a half that is hardly edited is better not edited
            return None
        return Tent(
            peak=parameters[f"{name}_peak"],
            width=parameters[f"{name}_width"],
            weight=weight,
            edge=weight * parameters[f"{name}_edge"],
        )

    drawn = Steering(
        layer=int(parameters["layer"]),
        attention=tent("attention"),
        mlp=tent("mlp"),
        embedding=parameters.get("embedding", 0.0),
    )
    least = directions.least_lambda(drawn.layer, drawn.edited(directions.layers))
    return msgspec.structs.replace(drawn, orthogonality=1 - parameters["slack"] * (1 - least))


def check_size(n_harmful: int, floor: float, level: float) -> None:
    """Raises NotEnoughData where so few harmful prompts cannot prove the floor, even if each is declined."""
    if not 0 < floor < 1:
        raise InputError(f"a floor of {floor}", remedy="a floor lies between 0 and 1, such as 0.95")
    needed = math.ceil(math.log(1 - level) / math.log(floor) - 1e-9)
    if n_harmful < needed:
        raise NotEnoughData(
            f"{n_harmful} harmful prompts to report on cannot prove a floor of {floor:g} at {level:.0%} confidence, "
            f"even if every one is declined: that takes {needed}",
            needed=needed - n_harmful,
        )


def certify(
    writers: Writers,
    directions: Directions,
    trials: Sequence[Trial],
    report: Objective,
    *,
    floor: float,
    level: float = 0.95,
    prompts: Prompts | None = None,
) -> Certified:
    """Tests the front of the selection on other prompts, and chooses the most useful point that holds the floor.

    Points go in the order of their SELECTION safety, safest first; the test ends at the first whose exact lower bound
    (Clopper-Pearson, one-sided) is under `floor`. So the chosen one holds it with confidence `level` although
    several were looked at (fixed sequence testing; Ref: arXiv:2110.01052). A harmful prompt counts as declined only
    where its score is 1; with `prompts`, which names the families of the report, a family counts once, and only where
    all of it is declined. Raises NotEnoughData where the report has too few of them to prove the floor at all.
    """
    named = prompts or Prompts(keys=frozenset())
    writers.restore()
    untouched = report(writers.model)
    base = _bound(untouched, named, level)
    check_size(base.n, floor, level)
    tested: list[Tested] = []
    holding = True
    for trial in _sequence(trials):
        assert trial.steering is not None
        with writers.steered(trial.steering, directions) as model:
            measured = report(model)
        bound = _bound(measured, named, level)
        holding = holding and bound.low is not None and bound.low >= floor
        tested.append(_tested(trial, (measured, untouched), bound, named, level, holds=holding))
    held = [test for test in tested if test.holds]
    chosen = max(held, key=lambda test: (test.trial.usefulness, test.trial.safety), default=None)
    if chosen is not None:
        marked = msgspec.structs.replace(chosen, row=msgspec.structs.replace(chosen.row, chosen=True))
        tested[tested.index(chosen)] = chosen = marked
    return Certified(
        floor=floor,
        level=level,
        untouched=_row("untouched", "model as it was", {}, untouched, named, level),
        untouched_bound=base,
        tested=tuple(tested),
        chosen=chosen,
    )


def first_token_kl(before: torch.Tensor, after: torch.Tensor) -> float:
    """Mean KL(before || after), nats, of log-probabilities (prompts, vocabulary); in float64."""
    first, second = before.double(), after.double()
    # A token of probability 0 before adds nothing, whatever it is after.
    terms = (first.exp() * (first - second)).nan_to_num(nan=0.0)
    return max(float(terms.sum(dim=-1).mean()), 0.0)


# -- the points that are tested ---------------------------------------------------------------------------------


def _sequence(trials: Sequence[Trial]) -> list[Trial]:
    """Points that no other beats and that are more useful than the model as it was, safest first."""
    untouched = next(trial for trial in trials if trial.steering is None)
    points = [(trial.safety, trial.usefulness) for trial in trials]
    front = [trial for trial, kept in zip(trials, nondominated(points), strict=True) if kept]
    unique = {(trial.safety, trial.usefulness): trial for trial in reversed(front)}  # of equal ones the first
    better = [
        trial for trial in unique.values() if trial.steering and trial.usefulness > untouched.usefulness
    ]
    return sorted(better, key=lambda trial: (-trial.safety, trial.number))


def _bound(measured: Measured, prompts: Prompts, level: float) -> Estimate:
    """The exact one-sided bound of safety; of families where they are named."""
    names = prompts.harmful or range(len(measured.safety))
    whole: dict[Hashable, bool] = {}
    for name, score in zip(names, measured.safety, strict=True):
        whole[name] = whole.get(name, True) and bool(score >= 1)
    return clopper_pearson(sum(whole.values()), len(whole), level=level, side="low")


def _alike(prompts: Prompts, measured: Measured) -> tuple[Hashable, ...] | None:
    """Families of the over-refusal scores: those of usefulness, where both are of the same prompts."""
    same = measured.over is not None and len(measured.over) == len(measured.usefulness)
    return prompts.useful if same else None


def _row(
    method: str, label: str, settings: dict[str, Any], measured: Measured, prompts: Prompts, level: float
) -> FrontRow:
    return FrontRow(
        method=method,
        label=label,
        settings=settings,
        safety=mean_of(measured.safety, prompts.harmful, level=level),
        usefulness=mean_of(measured.usefulness, prompts.useful, level=level),
        over=None
        if measured.over is None
        else mean_of(measured.over, _alike(prompts, measured), level=level),
        baseline=method == "untouched",
    )


def _tested(
    trial: Trial,
    pair: tuple[Measured, Measured],
    bound: Estimate,
    prompts: Prompts,
    level: float,
    *,
    holds: bool,
) -> Tested:
    after, before = pair
    over = None
    if after.over is not None and before.over is not None:
        over = difference_of(after.over, before.over, _alike(prompts, after), level=level)
    return Tested(
        trial=trial,
        row=_row(
            "steering",
            f"trial {trial.number}",
            msgspec.to_builtins(trial.steering),
            after,
            prompts,
            level,
        ),
        bound=bound,
        safety_change=difference_of(after.safety, before.safety, prompts.harmful, level=level),
        usefulness_change=difference_of(after.usefulness, before.usefulness, prompts.useful, level=level),
        over_change=over,
        holds=holds,
    )


# -- one evaluation -----------------------------------------------------------------------------------------------


def _measured(steering: Steering | None, model: Any, objective: Objective, kept: Journal) -> Measured:
    what = {"steering": msgspec.to_builtins(steering)}
    found = kept.get(what)
    if found is None:
        found = objective(model)
        kept.add(what, found)
    return found


def _trial(
    number: int,
    steering: Steering | None,
    parameters: dict[str, float],
    measured: Measured,
    kl: float,
    along: float,
) -> Trial:
    safety, usefulness = measured.point
    return Trial(
        number=number,
        steering=steering,
        parameters=parameters,
        safety=safety,
        usefulness=usefulness,
        over=None if measured.over is None else float(measured.over.mean()),
        kl=kl,
        along=along,
    )


# -- the space, and Optuna ------------------------------------------------------------------------------------------


def _space(n_layers: int, *, embedding: bool, optuna: Any) -> dict[str, Any]:
    """Name -> distribution. The first tenth of the layers and the last hold no direction worth trying."""
    real = optuna.distributions.FloatDistribution
    first = n_layers // 10
    last = max(first, math.ceil(0.9 * n_layers) - 1)
    space: dict[str, Any] = {
        "layer": optuna.distributions.IntDistribution(first, last),
        "slack": real(0.0, 1.0),  # 0: lambda 1; 1: the least lambda allowed
    }
    for half in ("attention", "mlp"):
        space[f"{half}_weight"] = real(0.0, 1.0)
        space[f"{half}_peak"] = real(0.0, float(max(n_layers - 1, 1)))
        space[f"{half}_width"] = real(1.0, float(max(n_layers, 2)))
        space[f"{half}_edge"] = real(0.0, 1.0)
    if embedding:
        space["embedding"] = real(0.0, 1.0)
    return space


def _suggested(
    study: Any, number: int, budget: int, seed: int, n_layers: int, space: dict[str, Any], optuna: Any
) -> dict[str, float]:
    anchors = _anchors(n_layers, space, at_most=max(1, budget // 5))
    if number <= len(anchors):
        return anchors[number - 1]
    stream = np.random.SeedSequence((seed, number)).generate_state(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # multivariate is called so
        study.sampler = optuna.samplers.TPESampler(
            seed=int(stream[0]), multivariate=True, n_startup_trials=max(10, budget // 3)
        )
    asked = study.ask(space)
    study.tell(
        asked, state=optuna.trial.TrialState.FAIL
    )  # it is told anew, as a trial that a journal can hold
    return {name: float(value) for name, value in asked.params.items()}


def _anchors(n_layers: int, space: dict[str, Any], *, at_most: int) -> list[dict[str, float]]:
    """Full ablation with lambda 1 at layers spread over the model, the middle first: where a search should not be blind."""
    low, high = space["layer"].low, space["layer"].high
    spread = np.linspace(low, high, min(at_most, high - low + 1)).round().astype(int)
    layers = sorted({int(layer) for layer in spread}, key=lambda layer: abs(layer - (low + high) / 2))
    full = {"slack": 0.0} | ({"embedding": 0.0} if "embedding" in space else {})
    for half in ("attention", "mlp"):
        full |= {f"{half}_weight": 1.0, f"{half}_peak": 0.0, f"{half}_edge": 1.0}
        full[f"{half}_width"] = float(max(n_layers, 2))
    return [{"layer": float(layer), **full} for layer in layers]


def _tell(study: Any, trial: Trial, space: dict[str, Any], optuna: Any) -> None:
    parameters: dict[str, Any] = {**trial.parameters, "layer": int(trial.parameters["layer"])}
    study.add_trial(
        optuna.trial.create_trial(
            params=parameters, distributions=space, values=[trial.safety, trial.usefulness]
        )
    )


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as absent:
        raise MissingExtra("optuna", "weights") from absent
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def digest_of(directions: Directions) -> str:
    """A name for these directions: it changes with the weights and with the prompts that they were found with."""
    digest = hashlib.sha256()
    for vectors in (directions.refusal, directions.false_refusal):
        digest.update(vectors.numpy().tobytes())
    return digest.hexdigest()[:16]
