"""What was summed over the rows as statements: matrix by matrix, of what lies outside, and of data that are missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from ..layout import place_of
from ..linears import Linear
from .certificate import Effect, Leak, Matrix, Outside, Why, leak_ruling
from .felt import Change, effects, leaks
from .pair import Step
from .reading import Part, Settings, Watch
from .spectra import spectrum

CALIBRATION_TOKENS = 2
"""Calibration tokens wanted per input of a matrix: fewer inputs than directions leave every change room to hide."""
HELD_OUT_TOKENS = 1
HELD_OUT_ROWS = 40  # with fewer, intervals over rows are too short (benchmarks/coverage_certificate.py)
_MOST_MORE = 1000  # times what is there; a leak that close to the target is not decided by more data


def matrices_of(
    maps: dict[str, Linear],
    changes: dict[str, Change],
    steps: dict[str, Step],
    parts: tuple[Part, Part],
    settings: Settings,
    total: float,
    watch: Watch,
) -> tuple[Matrix, ...]:
    """Every linear map inside the layers, in the model's order, changed or not. `total`: norm of all that changed."""
    norms = [steps[f"{name}.weight"].norm for name in changes]
    widths = [maps[name].n_in for name in changes]
    calibrated, held = (leaks(part.sums, norms, widths, level=settings.level) for part in parts)
    effect = [effects(part.sums) for part in parts]
    columns = {name: column for column, name in enumerate(changes)}
    found = []
    for place, linear in enumerate(maps.values()):
        watch("spectra", place, len(maps))
        column = columns.get(linear.name)
        if column is None:
            found.append(_unchanged(linear))
            continue
        leak = Leak(
            calibration=float(calibrated[0, column]),
            held_out=float(held[0, column]),
            low=float(held[1, column]),
            high=float(held[2, column]),
        )
        seen = all(np.isfinite(msgspec.structs.astuple(leak)))
        step = steps[f"{linear.name}.weight"]
        shape = spectrum(changes[linear.name].matrix())
        enough = _enough(linear.n_in, [part.sums.seen(column) for part in parts], len(parts[1].examples))
        found.append(
            Matrix(
                **_place(linear),
                norm=step.norm,
                relative_norm=step.norm / step.base_norm if step.base_norm else 0.0,
                share=step.norm**2 / total**2,
                spectral_norm=shape.spectral_norm,
                stable_rank=shape.stable_rank,
                effective_rank=shape.effective_rank,
                tokens=parts[1].sums.seen(column),
                leak=leak if seen else None,
                effect=_effect(*(float(part[column]) for part in effect)),
                ruling=leak_ruling(leak, settings.target, enough=enough) if seen else "unmeasured",
            )
        )
    return tuple(found)


def _enough(n_in: int, tokens: Sequence[int], rows: int) -> bool:
    return (
        tokens[0] >= CALIBRATION_TOKENS * n_in
        and tokens[1] >= HELD_OUT_TOKENS * n_in
        and rows >= HELD_OUT_ROWS
    )


def _effect(calibration: float, held_out: float) -> Effect | None:
    found = math.isfinite(calibration) and math.isfinite(
        held_out
    )  # a matrix of zeros has no output to compare with
    return Effect(calibration=calibration, held_out=held_out) if found else None


def _place(linear: Linear) -> dict[str, Any]:
    return {
        "name": linear.name,
        "layer": linear.layer,
        "role": linear.role,
        "n_out": linear.n_out,
        "n_in": linear.n_in,
    }


def _unchanged(linear: Linear) -> Matrix:
    names = ("norm", "relative_norm", "share", "spectral_norm", "stable_rank", "effective_rank")
    zeros: dict[str, Any] = dict.fromkeys(names, 0.0)
    return Matrix(**_place(linear), **zeros, tokens=0, leak=None, effect=None, ruling="unchanged")


def outside_of(step: Step, total: float) -> Outside:
    """A changed parameter of which no leak speaks, and why not."""
    place = place_of(step.name)
    return Outside(
        name=step.name,
        layer=place.layer,
        why=_why(step.name),
        norm=step.norm,
        relative_norm=step.norm / step.base_norm if step.base_norm else None,
        share=step.norm**2 / total**2,
    )


def _why(name: str) -> Why:
    role = place_of(name).role
    if role == "embedding":
        return "embedding"
    if role == "head":
        return "head"
    if role in ("norm", "final_norm"):
        return "norm"
    return "bias" if name.endswith("bias") else "layout"


def more_of(matrices: Sequence[Matrix], parts: tuple[Part, Part], settings: Settings) -> tuple[int, int]:
    """Tokens that are missing on both sides for what is undecided to be decided."""
    undecided = [matrix for matrix in matrices if matrix.ruling == "undecided" and matrix.leak]
    if not undecided:
        return 0, 0
    widest = max(matrix.n_in for matrix in undecided)
    held = parts[1].tokens
    wanted = [HELD_OUT_TOKENS * widest, math.ceil(held * HELD_OUT_ROWS / len(parts[1].examples))]
    for matrix in undecided:
        leak = matrix.leak
        if leak is not None and leak.low <= settings.target < leak.high:
            half, gap = (leak.high - leak.low) / 2, abs(settings.target - leak.held_out)
            wanted.append(math.ceil(held * min((half / gap) ** 2 if gap else math.inf, _MOST_MORE)))
    return max(CALIBRATION_TOKENS * widest - parts[0].tokens, 0), max(*wanted, held) - held
