"""The search for a steering: fewer false refusals, as long as harmful requests are provably still declined."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from ...errors import MissingExtra
from ..searching.journal import Journal
from ..searching.objectives import Measured, Objective
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


def first_token_kl(before: torch.Tensor, after: torch.Tensor) -> float:
    """Mean KL(before || after), nats, of log-probabilities (prompts, vocabulary); in float64."""
    first, second = before.double(), after.double()
    # A token of probability 0 before adds nothing, whatever it is after.
    terms = (first.exp() * (first - second)).nan_to_num(nan=0.0)
    return max(float(terms.sum(dim=-1).mean()), 0.0)


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
