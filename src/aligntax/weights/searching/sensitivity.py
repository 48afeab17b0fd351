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
from .journal import Journal
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
    journal: Journal | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Moved, ...]:
    """Each block of layers, then each role that differs, at each of `levels` with the rest at 1: 1 + moves evaluations.

    While a block moves, what stands outside the layers stays aligned; embedding, norms and head are roles of their own.
    `prompts` names the families of the scores. Intervals are widened for the number of rows (Bonferroni). `journal`: what
    it has is not measured again, and a search that is given the same one need not measure the aligned model again.
    """
    journal = journal or Journal(None, {})
    moves = [
        (part, kind, share, ratios)
        for part, kind, of in _parts(resident, n_blocks)
        for share in levels
        for ratios in [of(share)]
    ]
    resident.prove()
    whole = _measured(resident, objective, Ratios(blocks=(1.0,)), journal)
    held, rows = 1 - (1 - level) / max(len(moves), 1), []
    for done, (part, kind, share, ratios) in enumerate(moves, start=1):
        measured = _measured(resident, objective, ratios, journal)
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


def evaluations_of(rows: Sequence[Moved]) -> int:
    """How many evaluations a scan took: one for each row and one of the aligned model."""
    return len(rows) + 1


def readings(rows: Sequence[Moved]) -> list[tuple[str, tuple[str, ...]]]:
    """What a scan says in words, with the parts of which it says so; a part stands under the first that holds.

    A part costs safety where safety falls beyond noise at any share, and is free to restore where it is shown to be
    held at the lowest share.
    """
    shares: dict[str, list[Moved]] = {}
    for row in rows:
        shares.setdefault(row.part, []).append(row)
    found: dict[str, list[str]] = {"free to restore": [], "costs safety": [], "unclear": []}
    for part, moved in shares.items():
        lowest = min(moved, key=lambda row: row.share)
        if any(row.word == "costs safety" for row in moved):
            found["costs safety"].append(part)
        else:
            found["free to restore" if lowest.word == "free" else "unclear"].append(part)
    return [(word, tuple(parts)) for word, parts in found.items() if parts]


def _measured(resident: Resident, objective: Objective, ratios: Ratios, journal: Journal) -> Measured:
    what = {"side": "selection", "ratios": msgspec.to_builtins(ratios)}  # as the search keeps it
    found = journal.get(what)
    if found is None:
        resident.set(ratios)
        found = objective(resident.model)
        journal.add(what, found)
    return found


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
