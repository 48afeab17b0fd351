"""Numbers over seeds: a mean with Student's t over them, a difference paired by seed, and Holm over what is compared.

A seed is the unit: its training order and its prompts are its own, so that the spread over seeds holds the luck of
both. Prompts are never pooled over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from ..stats.multiple import holm
from ..types import Estimate

LEVEL = 0.95
ALPHA = 1 - LEVEL

Word = Literal["higher", "lower", "no difference beyond noise", "no operating point", "one seed"]


class OverSeeds(msgspec.Struct, frozen=True, kw_only=True):
    """One number per seed, None where a seed has none, and their mean over the seeds that have it."""

    values: tuple[float | None, ...]
    mean: Estimate

    @property
    def whole(self) -> bool:
        """Whether every seed has one."""
        return None not in self.values


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """`first` less `second` in `metric`, paired by seed. `p`: adjusted over what its question compares; None: none."""

    metric: str
    first: str
    second: str
    firsts: OverSeeds
    seconds: OverSeeds
    values: tuple[float | None, ...]
    mean: Estimate
    p: float | None
    word: Word

    @property
    def shown(self) -> bool:
        """Whether a difference is claimed."""
        return self.word in ("higher", "lower")

    @property
    def ahead(self) -> int:
        """On how many seeds the first is higher."""
        return sum(value is not None and value > 0 for value in self.values)


def over_seeds(values: Sequence[float | None], *, grain: float = 0.0) -> OverSeeds:
    """The mean with its t interval (n - 1 degrees of freedom).

    `grain`: the least standard deviation that is believed: one prompt. Seeds that agree to the last prompt
    would otherwise be beyond all doubt.
    """
    known = np.array([value for value in values if value is not None])
    value = float(known.mean()) if len(known) else None
    reach = _reach(known, grain)
    return OverSeeds(
        values=tuple(values),
        mean=Estimate(
            value=value,
            low=None if reach is None or value is None else value - reach,
            high=None if reach is None or value is None else value + reach,
            level=LEVEL, n=len(known), n_labels=0, method=f"mean of {len(known)} seeds, Student's t", corrected=False,
        ),
    )  # fmt: skip


def differences(
    pairs: Sequence[tuple[str, str, OverSeeds, str, OverSeeds]], *, grain: float = 0.0
) -> tuple[Difference, ...]:
    """(metric, first, its numbers, second, its numbers) of one question, ruled on together.

    A difference is claimed where Holm's adjusted p-value is under .05; then its 95 % interval excludes 0, too.
    A pair in which a seed lacks a number on either side is not tested.
    """
    paired = [
        tuple(
            None if one is None or other is None else one - other
            for one, other in zip(first.values, second.values, strict=True)
        )
        for _, _, first, _, second in pairs
    ]
    raw = [_p_value(values, grain) for values in paired]
    tested = [at for at, p in enumerate(raw) if p is not None]
    adjusted = dict(zip(tested, holm([p for p in raw if p is not None]), strict=True)) if tested else {}
    made = []
    for at, ((metric, name, first, other, second), values) in enumerate(zip(pairs, paired, strict=True)):
        mean = _inside(over_seeds(values, grain=grain).mean, whole=metric != "KL")
        p = None if at not in adjusted else float(adjusted[at])
        made.append(
            Difference(
                metric=metric, first=name, second=other, firsts=first, seconds=second, values=values, mean=mean, p=p,
                word=_word(mean, p, values),
            )
        )  # fmt: skip
    return tuple(made)


def _inside(mean: Estimate, *, whole: bool) -> Estimate:
    """A difference of shares ends at -1 and 1."""
    if not whole or mean.low is None or mean.high is None:
        return mean
    return msgspec.structs.replace(mean, low=max(mean.low, -1.0), high=min(mean.high, 1.0))


def _word(mean: Estimate, p: float | None, values: Sequence[float | None]) -> Word:
    if p is None or mean.value is None:
        return "no operating point" if None in values else "one seed"
    if p >= ALPHA:
        return "no difference beyond noise"
    return "higher" if mean.value > 0 else "lower"


def _deviation(known: np.ndarray, grain: float) -> float:
    return max(float(known.std(ddof=1)), grain)


def _reach(known: np.ndarray, grain: float) -> float | None:
    if len(known) < 2:  # one seed has no spread
        return None
    from scipy.stats import t

    tail = float(t.ppf(1 - ALPHA / 2, len(known) - 1))
    return tail * _deviation(known, grain) / math.sqrt(len(known))


def _p_value(values: Sequence[float | None], grain: float) -> float | None:
    known = np.array([value for value in values if value is not None])
    if len(known) < 2 or len(known) < len(values):
        return None
    from scipy.stats import t

    deviation = _deviation(known, grain)
    if deviation == 0:
        return 1.0 if known.mean() == 0 else 0.0
    return float(2 * t.sf(abs(known.mean()) * math.sqrt(len(known)) / deviation, len(known) - 1))
