"""Ways to make one tensor of several. Each is a function `(name, tensors, settings) -> tensor` over float64 arrays.

`tensors` are theta0 (before safety training) and one or more theta_i, flat and of one length: a whole tensor, or a
stretch of it that starts at `settings.offset`. `settings.ratio` is `a`, the share of the aligned model. What an operation must know
of the whole tensor before it can work on a stretch is measured first (`MEASURES`), in passes of bounded memory.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import msgspec
import numpy as np

from .dtypes import Floats

OPERATIONS = {
    "linear": "aligntax.weights.averaging.operations:linear",
    "slerp": "aligntax.weights.averaging.operations:slerp",
    "task_arithmetic": "aligntax.weights.averaging.operations:task_arithmetic",
    "ties": "aligntax.weights.averaging.operations:ties",
    "dare": "aligntax.weights.averaging.operations:dare",
}
"""Name of an operation -> "module:function", read when asked for."""

MEASURES = {
    "slerp": "aligntax.weights.averaging.operations:measure_slerp",
    "ties": "aligntax.weights.averaging.operations:measure_ties",
}
"""Operations that look at the whole tensor first: `(stretches, settings) -> numbers`, found in `settings.measured`."""

EXPLAINED = {
    "linear": "theta0 + a * (mean of the aligned models - theta0)",
    "slerp": "along the arc from theta0 to theta1, tensor by tensor, lengths kept",
    "task_arithmetic": "theta0 + a * sum of weight_i * (theta_i - theta0)",
    "ties": "theta0 + a * mean of the largest changes that agree in sign",
    "dare": "theta0 + a * sum of weight_i * (changes dropped at random, the rest scaled up)",
}

_ABOVE_ALL = float(np.finfo(np.float32).max)

Stretches = Callable[[], Iterator[Sequence[Floats]]]
"""Gives all stretches of a tensor in order, anew at every call."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operation is told. `weights`: one for each theta_i. `density`: share of changes that TIES keeps.

    `drop`: share of changes that DARE drops. `offset`: where in the whole tensor this stretch starts, in elements.
    """

    ratio: float
    weights: tuple[float, ...] = (1.0,)
    density: float = 0.2
    drop: float = 0.5
    seed: int = 0
    offset: int = 0
    measured: Mapping[str, float] = {}


def loaded(place: str) -> Callable[..., Any]:
    """The function that an entry "module:function" of a table names."""
    module, _, name = place.partition(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function


def linear(name: str, tensors: Sequence[Floats], settings: Settings) -> Floats:
    """`theta0 + a * (theta1 - theta0)`; several aligned models are averaged first, by their weights.

    Ref: arXiv:2309.06256 (averaging before and after alignment), arXiv:2203.05482 (soups).
    """
    base, *others = tensors
    if len(others) == 1:
        moved = others[0] - base
    else:
        total = sum(settings.weights)
        moved = np.zeros_like(base)
        for weight, other in zip(settings.weights, others, strict=True):
            moved += (weight / total) * (other - base)
    moved *= settings.ratio
    moved += base
    return moved


def task_arithmetic(name: str, tensors: Sequence[Floats], settings: Settings) -> Floats:
    """`theta0 + a * sum_i weight_i * (theta_i - theta0)`. With one task vector of weight 1 this is `linear`.

    Ref: arXiv:2212.04089.
    """
    base, *others = tensors
    moved = np.zeros_like(base)
    for weight, other in zip(settings.weights, others, strict=True):
        moved += (settings.ratio * weight) * (other - base)
    moved += base
    return moved


def slerp(name: str, tensors: Sequence[Floats], settings: Settings) -> Floats:
    """From theta0 to theta1 along the arc of the flat tensor; a straight line where they are parallel or one is zero.

    Ref: Shoemake 1985; arXiv:2406.16768 uses it for weights.
    """
    base, other = tensors
    found = settings.measured or measure_slerp(lambda: iter((tensors,)), settings)
    angle, ratio = found["angle"], settings.ratio
    if math.sin(angle) < 1e-6:
        return linear(name, tensors, settings)
    return (math.sin((1 - ratio) * angle) * base + math.sin(ratio * angle) * other) / math.sin(angle)


def measure_slerp(stretches: Stretches, settings: Settings) -> Mapping[str, float]:
    """The angle between the two tensors, in radians; 0 where one of them is zero. One pass."""
    first = second = both = 0.0
    for base, other in stretches():
        first += float(np.einsum("i,i->", base, base))  # not by BLAS: see pieces.py
        second += float(np.einsum("i,i->", other, other))
        both += float(np.einsum("i,i->", base, other))
    product = first * second
    return {"angle": math.atan2(math.sqrt(max(product - both * both, 0.0)), both) if product > 0 else 0.0}


def ties(name: str, tensors: Sequence[Floats], settings: Settings) -> Floats:
    """Keep the largest changes of each model, elect a sign by their sum, average those that agree; `a` scales the result.

    With one task vector there is no sign to elect: it is pruning by magnitude, and nothing else.
    Ref: arXiv:2306.01708.
    """
    base, *others = tensors
    found = settings.measured or measure_ties(lambda: iter((tensors,)), settings)
    kept = []
    for at, (weight, other) in enumerate(zip(settings.weights, others, strict=True)):
        change = other - base
        small = np.abs(change).astype(np.float32) < found[f"threshold_{at}"]
        change[small] = 0.0
        kept.append(weight * change)
    elected = np.sign(np.sum(kept, axis=0))
    total, mass = np.zeros_like(base), np.zeros_like(base)
    for weight, change in zip(settings.weights, kept, strict=True):
        agrees = (np.sign(change) == elected) & (change != 0)
        total += np.where(agrees, change, 0.0)
        mass += np.where(agrees, abs(weight), 0.0)
    np.divide(total, mass, out=total, where=mass > 0)
    return base + settings.ratio * total


def measure_ties(stretches: Stretches, settings: Settings) -> Mapping[str, float]:
    """The size, in float32, of the smallest change to keep in each model. Two passes, and 65,536 counts a model.

    The order of positive floats is that of their bits: the first pass counts upper halves, the second the lower halves
    within the one where the limit lies. So the limit is exact and no tensor is ever sorted or held.
    """
    n_others = len(settings.weights)
    upper = np.zeros((n_others, 1 << 16), np.int64)
    for base, *others in stretches():
        for at, other in enumerate(others):
            upper[at] += np.bincount(_bits(other - base) >> 16, minlength=1 << 16)
    wanted = round(settings.density * int(upper[0].sum()))
    if not wanted:
        return {f"threshold_{at}": _ABOVE_ALL for at in range(n_others)}
    halves, missing = zip(*(_reach(counts, wanted) for counts in upper), strict=True)
    lower = np.zeros((n_others, 1 << 16), np.int64)
    for base, *others in stretches():
        for at, other in enumerate(others):
            bits = _bits(other - base)
            lower[at] += np.bincount(bits[bits >> 16 == halves[at]] & 0xFFFF, minlength=1 << 16)
    limits = [(halves[at] << 16) | _reach(lower[at], missing[at])[0] for at in range(n_others)]
    return {f"threshold_{at}": float(np.uint32(limit).view(np.float32)) for at, limit in enumerate(limits)}


def dare(name: str, tensors: Sequence[Floats], settings: Settings) -> Floats:
    """Drop a share of the changes at random and scale the rest by 1 / (1 - drop), so that the mean change stays.

    What is dropped depends on the seed, the tensor's name and the place in it alone: not on order, chunks or threads.
    Ref: arXiv:2311.03099.
    """
    base, *others = tensors
    moved = np.zeros_like(base)
    for at, (weight, other) in enumerate(zip(settings.weights, others, strict=True)):
        kept = _uniform(f"{settings.seed}:{at}:{name}", settings.offset, len(base)) >= settings.drop
        moved += (settings.ratio * weight / (1 - settings.drop)) * np.where(kept, other - base, 0.0)
    moved += base
    return moved


def _uniform(seed: str, offset: int, count: int) -> Floats:
    """Numbers in [0, 1) at places `offset` .. `offset + count` of the endless row that `seed` names."""
    key = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:16], "little")
    before = offset % 4  # the counter steps by four numbers
    source = np.random.Philox(key=key).advance(offset // 4)
    return np.random.Generator(source).random(count + before)[before:]


def _bits(change: Floats) -> Any:
    return np.abs(change).astype(np.float32).view(np.uint32).astype(np.int64)


def _reach(counts: Any, wanted: int) -> tuple[int, int]:
    """The highest place from which on there are `wanted` or more, and how many of them must come from it."""
    above = np.cumsum(counts[::-1])
    back = int(np.searchsorted(above, wanted))
    return len(counts) - 1 - back, int(wanted - (above[back] - counts[::-1][back]))
