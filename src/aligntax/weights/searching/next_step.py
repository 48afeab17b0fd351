"""What to try where a search proposes no weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .search import ALIGNED, UNIFORM

if TYPE_CHECKING:
    from .search import Found


def next_step(found: Found) -> str:
    """One sentence: keep the aligned model, and what could show more, by what the rulings lack. Empty where a point is chosen."""
    if found.chosen is not None:
        return ""
    rulings = {gain.ruling for gain in found.gains}
    tries = []
    if "no gain beyond noise" in rulings:
        tries.append(
            f"more benign prompts ({found.prompts['report useful families']} show large differences only)"
        )
    if "safety not shown" in rulings:
        tries.append(
            f"more harmful prompts ({found.prompts['report harmful families']} do not show that safety is held)"
        )
    if "no operating point" in rulings:
        tries.append(f"a --safety under {found.safety:.3g}, which not every method reaches")
    elif _stays(found):
        tries.append(
            f"a larger --budget, or a --safety under {found.safety:.3g}: no lower share that uniform averaging tried is as safe"
        )
    if found.missing:
        tries.append(f"checkpoints of {' and '.join(found.missing)} (--checkpoint)")
    keep = f"Next: keep {ALIGNED.upper()}"
    return f"{keep}, or try {'; '.join(tries)}." if tries else f"{keep}."


def _stays(found: Found) -> bool:
    """Whether the operating point of uniform averaging is the aligned model itself."""
    chosen = (row for front in found.fronts if front.method == UNIFORM for row in front.rows if row.chosen)
    return any(set(row.settings["blocks"]) == {1.0} for row in chosen)
