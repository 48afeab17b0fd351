"""What a comparison measures beside rates: hedge density, length at equal coverage, and the detector's own calls.

Pairs first: the same prompt on both sides takes the difference between prompts out. Where prompts do not match, one
use case is compared with the same use case, so that a change of the mix does not read as a change of the model.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import polars as pl

from ..stats.difference import family_t, mcnemar_midp, paired_ratio, ratio_of_medians, tango
from ..types import Estimate
from .families import MIX

FEWEST = 6  # families on a side: the median of fewer has no interval at 95 %
_SEED = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """One measure on two sides. `change` is a difference, or a ratio for lengths; None where a side has none."""

    base: float | None
    aligned: float | None
    change: Estimate | None
    n_base: int
    n_aligned: int
    pairs: int
    method: str


def calls_on_pairs(together: pl.DataFrame, name: str, *, level: float) -> tuple[Estimate, float | None]:
    """How the detector's calls of matching prompts differ, aligned - base, and the p-value of no difference.

    One exchange a prompt and side: Tango's interval and McNemar's mid-p. Repeats: t over prompts, no p-value.
    """
    column = f"call.{name}"
    repeated = together.filter((pl.col("exchanges_base") > 1) | (pl.col("exchanges_aligned") > 1)).height
    rates = [together[f"{column}_{side}"] / together[f"exchanges_{side}"] for side in ("aligned", "base")]
    differences = rates[0] - rates[1]
    if repeated:
        return family_t(differences.to_numpy(), range(together.height), level=level), None
    gained, lost = int((differences > 0).sum()), int((differences < 0).sum())
    return tango(gained, lost, together.height, level=level), mcnemar_midp(gained, lost)


def hedge_densities(
    base: pl.DataFrame, aligned: pl.DataFrame, together: pl.DataFrame | None, *, mixed: bool, level: float
) -> Measured:
    """Mean hedge density of answers that gave something, aligned - base, per 100 words of answering text.

    `base` and `aligned` are `families` of one slice, `together` their `pairs` where those are used. `mixed`: sides are
    compared within each use case.
    """
    if together is not None:
        both = together.filter(pl.col("answers_base") > 0, pl.col("answers_aligned") > 0)
        if both.height >= FEWEST:
            differences = both["hedge_density_aligned"] - both["hedge_density_base"]
            return Measured(
                base=_mean(both["hedge_density_base"]),
                aligned=_mean(both["hedge_density_aligned"]),
                change=family_t(differences.to_numpy(), range(both.height), level=level),
                n_base=int(both["answers_base"].sum()),
                n_aligned=int(both["answers_aligned"].sum()),
                pairs=both.height,
                method="mean difference over pairs, t interval",
            )
    return _within_use_cases(
        base,
        aligned,
        _Measure("hedge_density", "answers", _welch, "difference of means"),
        mixed=mixed,
        level=level,
    )


def lengths(
    base: pl.DataFrame, aligned: pl.DataFrame, together: pl.DataFrame | None, *, mixed: bool, level: float
) -> Measured:
    """Words of complete answers, aligned / base: how much longer an answer is where both sides gave it in full.

    Pairs: geometric mean of the ratios where both are complete. Else the ratio of medians. Arguments as in
    `hedge_densities`. Which answers are complete is what the detector says.
    """
    if together is not None:
        both = together.filter(pl.col("complete_base") > 0, pl.col("complete_aligned") > 0)
        if both.height >= FEWEST:
            logs = both["length_aligned"].log() - both["length_base"].log()
            return Measured(
                base=math.exp(_mean(both["length_base"].log())),
                aligned=math.exp(_mean(both["length_aligned"].log())),
                change=paired_ratio(logs.to_numpy(), level=level)[0],
                n_base=int(both["complete_base"].sum()),
                n_aligned=int(both["complete_aligned"].sum()),
                pairs=both.height,
                method="geometric mean of ratios over pairs, t interval",
            )
    return _within_use_cases(
        base, aligned, _Measure("length", "complete", _ratio, "ratio of medians"), mixed=mixed, level=level
    )


@dataclasses.dataclass(frozen=True)
class _Part:
    """Both sides of one use case, on the scale on which differences are taken."""

    base: float
    aligned: float
    low: float | None  # of aligned - base
    high: float | None
    weight: float


@dataclasses.dataclass(frozen=True)
class _Measure:
    column: str
    count: str
    compare: Callable[[pl.Series, pl.Series, float], _Part]
    words: str


def _within_use_cases(
    base: pl.DataFrame, aligned: pl.DataFrame, measure: _Measure, *, mixed: bool, level: float
) -> Measured:
    sides = [side.filter(pl.col(measure.count) > 0) for side in (base, aligned)]
    if not all(side.height for side in sides):
        counts = [int(side[measure.count].sum()) for side in sides]
        return Measured(
            base=None, aligned=None, change=None, n_base=counts[0], n_aligned=counts[1], pairs=0,
            method=f"a side has no {'complete ' if measure.count == 'complete' else ''}answers",
        )  # fmt: skip
    use_cases = _in_both(*sides) if mixed else []
    if use_cases:
        sides = [side.filter(pl.col(MIX).is_in(use_cases, nulls_equal=True)) for side in sides]
        chunks = [[side.filter(pl.col(MIX).eq_missing(name)) for side in sides] for name in use_cases]
    else:
        chunks = [sides]
    parts = [measure.compare(chunk[0][measure.column], chunk[1][measure.column], level) for chunk in chunks]
    logs = measure.compare is _ratio
    counts = [int(side[measure.count].sum()) for side in sides]
    return _pooled(parts, counts, _said(measure.words, len(use_cases)), logs=logs, level=level)


def _said(words: str, use_cases: int) -> str:
    if use_cases > 1:
        return f"{words} within each of {use_cases} use cases, pooled"
    return words if use_cases else f"{words}, use cases taken together"


def _in_both(base: pl.DataFrame, aligned: pl.DataFrame) -> list[str | None]:
    """Use cases with enough families on both sides to be compared by themselves."""
    counts = [side.group_by(MIX).len().filter(pl.col("len") >= FEWEST) for side in (base, aligned)]
    return counts[0].join(counts[1], on=MIX, nulls_equal=True)[MIX].sort(nulls_last=True).to_list()


def _pooled(
    parts: Sequence[_Part], counts: Sequence[int], method: str, *, logs: bool, level: float
) -> Measured:
    """Weighted means of parts, their ends recovered as in MOVER: the squares of the distances add up.

    Ref: Zou, Huang and Zhang 2009, confidence interval of a linear function of proportions.
    """
    total = sum(part.weight for part in parts)
    shares = [part.weight / total for part in parts]
    base = sum(share * part.base for share, part in zip(shares, parts, strict=True))
    aligned = sum(share * part.aligned for share, part in zip(shares, parts, strict=True))
    value, low, high = aligned - base, None, None
    if all(part.low is not None and part.high is not None for part in parts):
        pulls = [part.aligned - part.base - (part.low or 0.0) for part in parts]
        pushes = [(part.high or 0.0) - (part.aligned - part.base) for part in parts]
        low = value - math.hypot(*(share * pull for share, pull in zip(shares, pulls, strict=True)))
        high = value + math.hypot(*(share * push for share, push in zip(shares, pushes, strict=True)))
    if low is None or low == high:
        low = high = None
        method += "; too few, or too much alike, for an interval"

    def back(number: float | None) -> float | None:
        return math.exp(number) if logs and number is not None else number

    change = Estimate(
        value=back(value),
        low=back(low),
        high=back(high),
        level=level,
        n=sum(counts),
        n_labels=0,
        method=method,
        corrected=False,
    )
    return Measured(
        base=back(base),
        aligned=back(aligned),
        change=change,
        n_base=counts[0],
        n_aligned=counts[1],
        pairs=0,
        method=method,
    )


def _welch(base: pl.Series, aligned: pl.Series, level: float) -> _Part:
    """Difference of two means of independent families. Ref: Welch 1947, Satterthwaite's degrees of freedom."""
    sizes = [len(side) for side in (base, aligned)]
    means = [_mean(side) for side in (base, aligned)]
    low = high = None
    if min(sizes) >= FEWEST:
        from scipy.stats import t

        errors = [float(side.var()) / len(side) for side in (base, aligned)]  # type: ignore[arg-type]
        error = sum(errors)
        half = 0.0
        if error > 0:
            freedom = error**2 / sum(part**2 / (size - 1) for part, size in zip(errors, sizes, strict=True))
            half = float(t.ppf((1 + level) / 2, freedom)) * math.sqrt(error)
        low, high = means[1] - means[0] - half, means[1] - means[0] + half
    return _Part(means[0], means[1], low, high, _weight(sizes))


def _ratio(base: pl.Series, aligned: pl.Series, level: float) -> _Part:
    ratio = ratio_of_medians(aligned.to_numpy(), base.to_numpy(), seed=_SEED, level=level)
    middles = [math.log(float(side.median())) for side in (base, aligned)]  # type: ignore[arg-type]
    ends = [None if end is None else math.log(end) for end in (ratio.low, ratio.high)]
    return _Part(middles[0], middles[1], ends[0], ends[1], _weight([len(base), len(aligned)]))


def _weight(sizes: Sequence[int]) -> float:
    """As sure as a part is where all parts are spread alike."""
    return sizes[0] * sizes[1] / (sizes[0] + sizes[1])


def _mean(values: pl.Series) -> float:
    return float(values.mean())  # type: ignore[arg-type]
