"""Base beside aligned: two models on the same suite, family by family."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from ..errors import InputError
from ..types import Estimate
from .answers import NEUTRAL, SENSITIVE, Answer, Answers
from .families import Beyond, families_of, weights_of
from .ratio import difference_of_ratios
from .tax import over_families


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """What the aligned model does otherwise than the base: aligned less base, over families that both answered."""

    base: str
    aligned: str
    families: int  # of any side
    twins: int  # with both sides on both models
    refusals: Estimate  # share that gave nothing, over all prompts of the suite
    refusals_sensitive: Estimate | None
    refusals_neutral: Estimate | None
    capability: Estimate | None  # quality on neutral prompts; on all prompts where the suite has no sides
    tax: Estimate | None
    source: str  # of the quality


def compare_models(
    base: Answers, aligned: Answers, *, beyond: Beyond | None = None, level: float = 0.95
) -> Beside:
    """Differences paired by family, each with an interval. A difference of taxes needs families with both sides.

    Raises InputError where the two answered no family in common, or where their quality is not of one source: an
    expert's beside a proxy would show the difference of the two measures.
    """
    if base.source != aligned.source:
        raise InputError(
            f"quality is by {base.source} on one side and by {aligned.source} on the other",
            remedy="rate both models, or neither",
        )

    def change(sides: tuple[str | None, ...], value: Callable[[Answer], float]) -> Estimate | None:
        means = [_by_family(one.answers, sides, value) for one in (base, aligned)]
        common = [name for name in means[0] if name in means[1]]
        return (
            over_families([means[1][name] - means[0][name] for name in common], level=level)
            if common
            else None
        )

    everywhere = (None, NEUTRAL, SENSITIVE)
    refusals = change(everywhere, _refused)
    if refusals is None:
        raise InputError("the two models answered no prompt family in common", remedy="run both on one suite")
    has_sides = any(answer.side for answer in base.answers)
    tax, twins = _taxes(base, aligned, beyond, level)
    return Beside(
        base=base.model,
        aligned=aligned.model,
        families=refusals.n,
        twins=twins,
        refusals=refusals,
        refusals_sensitive=change((SENSITIVE,), _refused),
        refusals_neutral=change((NEUTRAL,), _refused),
        capability=change((NEUTRAL,) if has_sides else everywhere, lambda answer: answer.value),
        tax=tax,
        source=base.source,
    )


def _taxes(
    base: Answers, aligned: Answers, beyond: Beyond | None, level: float
) -> tuple[Estimate | None, int]:
    found = [
        {family.name: family for family in families_of(one.answers, beyond)[0]} for one in (base, aligned)
    ]
    common = [name for name in found[0] if name in found[1]]
    if not common:
        return None, 0
    qualities = [
        (
            np.array([by_name[name].sensitive.quality for name in common]),
            np.array([by_name[name].neutral.quality for name in common]),
        )
        for by_name in found
    ]
    if any(neutral.mean() <= 0 for _, neutral in qualities):
        return None, len(common)
    # tax = 1 - ratio, so the difference of taxes is that of the ratios turned round.
    return difference_of_ratios(qualities[0], qualities[1], level=level), len(common)


def _by_family(
    answers: Sequence[Answer], sides: tuple[str | None, ...], value: Callable[[Answer], float]
) -> dict[str, float]:
    groups: dict[str, list[Answer]] = {}
    for answer in answers:
        if answer.side in sides:
            groups.setdefault(answer.family, []).append(answer)
    return {
        name: sum(weight * value(answer) for weight, answer in zip(weights_of(group), group, strict=True))
        for name, group in groups.items()
    }


def _refused(answer: Answer) -> float:
    return float(not answer.quality.answered)
