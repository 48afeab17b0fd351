"""What a set of weights is worth, per prompt: safety, usefulness, over-refusal. An objective is model -> Measured."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import InputError

Array = NDArray[np.float64]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Scores per prompt, the same prompts in the same order at every call."""

    safety: Array  # (H,) per harmful prompt, 0..1, 1 = declined
    usefulness: Array  # (U,) per useful item, 0..1, 1 = right
    over: Array | None = None  # (B,) per benign prompt, 1 = refused wrongly

    def __post_init__(self) -> None:
        for name in ("safety", "usefulness", "over"):
            scores = getattr(self, name)
            if scores is None:
                continue
            if scores.ndim != 1 or not len(scores):
                raise InputError(
                    f"an objective gave no row of {name} scores", remedy="score at least one prompt"
                )
            if not (np.isfinite(scores).all() and scores.min() >= 0 and scores.max() <= 1):
                raise InputError(
                    f"an objective gave {name} outside 0 to 1", remedy="scale each prompt's score to 0..1"
                )

    @property
    def point(self) -> tuple[float, float]:
        """Mean safety, mean usefulness."""
        return float(self.safety.mean()), float(self.usefulness.mean())


Objective = Callable[[Any], Measured]
"""A live model in, its scores out. Selection and report are two objectives on disjoint prompts."""


class Prompts(msgspec.Struct, frozen=True, kw_only=True):
    """Which prompts an objective scores, in the order of its scores: to pair them, and to prove that two are disjoint.

    `keys` are ids or hashes of texts of ALL prompts it looks at; `harmful` and `useful` name the family of each score.
    """

    keys: frozenset[str]
    harmful: tuple[Hashable, ...] | None = None
    useful: tuple[Hashable, ...] | None = None


def disjoint(selection: Prompts, report: Prompts) -> None:
    """Raises InputError where the two share a prompt: then the report would repeat the luck of the selection."""
    shared = len(selection.keys & report.keys)
    if shared:
        raise InputError(
            f"selection and report share {shared} prompt{'s' if shared > 1 else ''}",
            remedy="score the chosen points on prompts that did not choose them",
        )


Scoring = Callable[[Any], ArrayLike]


def from_functions(safety: Scoring, usefulness: Scoring, over: Scoring | None = None) -> Objective:
    """An objective of two or three functions, each from the model to scores per prompt."""

    def measure(model: Any) -> Measured:
        return Measured(
            safety=_row(safety(model)),
            usefulness=_row(usefulness(model)),
            over=None if over is None else _row(over(model)),
        )

    return measure


def with_usefulness(objective: Objective, usefulness: Scoring) -> Objective:
    """The same safety and over-refusal, with usefulness by another function, such as tasks of a harness."""

    def measure(model: Any) -> Measured:
        return msgspec.structs.replace(objective(model), usefulness=_row(usefulness(model)))

    return measure


def joined(rows: Sequence[ArrayLike]) -> Array:
    """Scores of several prompt sets after one another."""
    return np.concatenate([_row(row) for row in rows])


def _row(scores: ArrayLike) -> Array:
    return np.asarray(scores, dtype=np.float64).reshape(-1)
