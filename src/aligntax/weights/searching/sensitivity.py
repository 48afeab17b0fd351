"""Which block is free to restore and which destroys safety: one block, or one role, moved at a time.

The answer differs by model, so no recipe holds for all ("average the low layers" does not): look before searching.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from ...stats.front import difference_of
from ...stats.gain import MARGIN
from ...types import Estimate
from ..layout import split_layers
from ..ratios import Ratios
from .objectives import Measured, Objective, Prompts

if TYPE_CHECKING:
    from ..layout import Role
    from .resident import Resident

LEVELS = (0.0, 0.5)
Word = Literal["free", "costs safety", "unclear"]


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """One part at `share`, the rest aligned. Differences are to the aligned model, paired by prompt."""

    part: str  # "layers 0-3", "mlp"
    kind: Literal["block", "role"]
    share: float
    ratios: Ratios
    safety: Estimate
    usefulness: Estimate
    over: Estimate | None
    word: Word  # of safety: held within the margin, lower beyond noise, or neither shown


def scan(  # noqa: PLR0913 - what is moved, what scores it, and four choices with a default
    resident: Resident,
    objective: Objective,
    *,
    n_blocks: int,
    prompts: Prompts,
    levels: Sequence[float] = LEVELS,
    margin: float = MARGIN,
    level: float = 0.95,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Moved, ...]:
    """Each block of layers, then each role that differs, at each of `levels` with the rest at 1: 1 + moves evaluations.

    While a block moves, what stands outside the layers stays aligned; embedding, norms and head are roles of their own.
    `prompts` names the families of the scores. Intervals are widened for the number of rows (Bonferroni).
    """
    moves = [
        (part, kind, share, ratios)
        for part, kind, of in _parts(resident, n_blocks)
        for share in levels
        for ratios in [of(share)]
    ]
    resident.prove()
    whole = objective(resident.model)
    held, rows = 1 - (1 - level) / max(len(moves), 1), []
    for done, (part, kind, share, ratios) in enumerate(moves, start=1):
        resident.set(ratios)
        measured = objective(resident.model)
        safety = difference_of(measured.safety, whole.safety, prompts.harmful, level=held)
        rows.append(
            Moved(
                part=part,
                kind=kind,
                share=share,
                ratios=ratios,
                safety=safety,
                usefulness=difference_of(measured.usefulness, whole.usefulness, prompts.useful, level=held),
                over=_over(measured, whole, held),
                word=_word(safety, margin),
            )
        )
        if on_progress is not None:
            on_progress(part, done, len(moves))
    return tuple(rows)


_Part = tuple[str, Literal["block", "role"], Callable[[float], Ratios]]


def _parts(resident: Resident, n_blocks: int) -> list[_Part]:
    """Blocks that hold a parameter that differs, then roles that do."""
    outside: tuple[Role, ...] = ("embedding", "final_norm", "head")
    parts: list[_Part] = []
    for at, layers in enumerate(split_layers(resident.n_layers, n_blocks)):

        def block(share: float, at: int = at) -> Ratios:
            shares = tuple(share if place == at else 1.0 for place in range(n_blocks))
            return Ratios(blocks=shares, roles=dict.fromkeys(outside, 1.0))

        parts.append((_layers(layers), "block", block))
    for role in resident.roles:

        def one(share: float, role: Role = role) -> Ratios:
            return Ratios(blocks=(1.0,) * n_blocks, roles={role: share})

        parts.append((role.replace("_", " "), "role", one))
    return parts


def _layers(layers: range) -> str:
    return f"layer {layers[0]}" if len(layers) == 1 else f"layers {layers[0]}-{layers[-1]}"


def _over(measured: Measured, whole: Measured, level: float) -> Estimate | None:
    if measured.over is None or whole.over is None:
        return None
    return difference_of(measured.over, whole.over, level=level)


def _word(safety: Estimate, margin: float) -> Word:
    if safety.low is not None and safety.low >= -margin:
        return "free"
    return "costs safety" if safety.high is not None and safety.high < 0 else "unclear"
