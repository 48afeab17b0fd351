"""From what a judge preferred to a number: how often A is preferred, as said and with order and length taken out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..stats.profile import tail_of
from ..types import Estimate
from .asking import Judging
from .davidson import LOSES, TIE, WINS, Fit, chances, fit

if TYPE_CHECKING:
    import polars as pl

FEWEST = 6
"""Families under which no interval is given."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SAID = {"a": WINS, "tie": TIE, "b": LOSES}
_SCORE = {"a": 1.0, "tie": 0.5, "b": 0.0}
_FLAT = 1e-12


class Preference(msgspec.Struct, frozen=True, kw_only=True):
    """How A fares against B before one judge. Every number is the judge's, and uncorrected by labels."""

    judge: str
    raw: Estimate  # share of pairs where A is preferred, a tie half, 0 to 1; orders that differ are a tie
    controlled: Estimate  # the same at equal lengths and without the order, from the model
    strength: Estimate  # th_A - th_B, log-odds: 0 where neither is better at equal lengths
    position: Estimate  # beta, log-odds that standing first adds to an answer: 0 for an unbiased judge
    length: Estimate  # gamma, log-odds that a difference of many standard deviations in length adds
    flip_rate: Estimate  # share of pairs where the two orders name different answers, 0 to 1
    ties: float | None  # share of ties among all that was said, 0 to 1
    longer_a: float | None  # share of pairs in which A is longer: near 0 or 1 the length term is a guess
    length_sd: float  # standard deviation of the difference in characters
    pairs: int
    judged: int  # in both orders
    unjudged: dict[str, int]  # value of Judging -> calls of an order that brought no preference


def preference(compared: pl.DataFrame, *, level: float = 0.95) -> Preference:
    """How often A is preferred over B, from what `Judge.preferences` gives.

    The model is log(P(A) / P(B)) = th_A - th_B + beta s + gamma tanh(d / sd), s = +1/2 where A stands first and -1/2 where
    B does, d the characters of A less those of B and sd the deviation of d, with ties by Davidson. It takes each order as one
    row, also where the other order was not judged, and leaves out a term that does not vary. `controlled` is P(A) + P(tie) / 2
    at s = d = 0. All intervals are clustered on families: t on F - 1 degrees of freedom, those of `raw` and `flip_rate` on
    the families' totals, those of the model by leaving out one family at a time. There is no interval under 6 families, where
    nothing varies, or where the model has no finite fit because one side always wins.

    Raises InputError for verdicts of several judges, and where nothing was judged.

    Ref: Davidson 1970; arXiv:2404.04475 for the length term; arXiv:2306.05685 for both orders.
    """
    import polars as pl

    judges = compared["judge"].unique().to_list()
    rows = pl.concat(
        [
            compared.select(
                "family", "length_a", "length_b", pl.col(column).alias("said"), pl.lit(side).alias("side")
            )
            for column, side in (("a_first", 0.5), ("b_first", -0.5))
        ]
    ).drop_nulls("said")
    if len(judges) != 1 or rows.is_empty():
        what = "these are preferences of several judges" if len(judges) > 1 else "there is no preference"
        raise InputError(what, where="compared", remedy="give what one judge says")
    both = compared.drop_nulls("preferred")
    differences = (compared["length_a"] - compared["length_b"]).to_numpy().astype(np.float64)
    spread = float(differences.std())
    model = _Model(rows, spread, level)
    groups = _groups(both["family"])
    scores = np.array([_SCORE[value] for value in both["preferred"]])
    endings = [*compared["judging_a_first"], *compared["judging_b_first"]]
    return Preference(
        judge=judges[0],
        raw=_share(scores, groups, level, "share of pairs, a tie half"),
        controlled=model.controlled(),
        strength=model.term("strength"),
        position=model.term("position"),
        length=model.term("length"),
        flip_rate=_share(
            both["flipped"].to_numpy().astype(np.float64), groups, level, "share of pairs that flip"
        ),
        ties=float((rows["said"] == "tie").sum()) / len(rows),
        longer_a=float((differences > 0).mean()),
        length_sd=spread,
        pairs=len(compared),
        judged=len(both),
        unjudged={
            ending.value: count
            for ending in Judging
            if ending is not Judging.JUDGED and (count := _without(compared, endings, ending))
        },
    )


class _Model:
    """The fitted model, and what is read from it."""

    def __init__(self, rows: pl.DataFrame, spread: float, level: float) -> None:
        said = np.array([_SAID[value] for value in rows["said"]], dtype=np.int64)
        side = rows["side"].to_numpy()
        terms = {"strength": np.ones(len(rows))}
        if np.ptp(side) > 0:
            terms["position"] = side
        if spread > _FLAT:
            longer = (rows["length_a"] - rows["length_b"]).to_numpy().astype(np.float64)
            squeezed = np.tanh(longer / spread)
            if np.ptp(squeezed) > _FLAT:
                terms["length"] = squeezed
        self._names = list(terms)
        self._ties = bool((said == TIE).any())
        self._rows, self._level = len(rows), level
        self._all_ties = bool((said == TIE).all())
        families = _groups(rows["family"])
        self._fit: Fit = fit(said, np.column_stack(list(terms.values())), families)
        self._method = f"Davidson's model of {len(rows)} judgings, clustered on {self._fit.families} families"

    def term(self, name: str) -> Estimate:
        """One slope, in log-odds; nothing where the term does not vary or the fit is not finite."""
        if name not in self._names or self._fit.separated or self._all_ties:
            return self._estimate(None, None)
        place = self._names.index(name)
        value = float(self._fit.values[place])
        half = self._half(np.eye(len(self._fit.values))[place])
        return self._estimate(value, None if half is None else (value - half, value + half))

    def controlled(self) -> Estimate:
        """P(A) + P(tie) / 2 where neither order nor length differs; its interval by the delta method on log-odds."""
        if self._fit.separated or self._all_ties:
            return self._estimate(None, None)
        value, slope = self._preferred()
        half = self._half(slope / (value * (1 - value)))
        if half is None:
            return self._estimate(value, None)
        centre = math.log(value / (1 - value))
        ends = tuple(1 / (1 + math.exp(-(centre + sign * half))) for sign in (-1, 1))
        return self._estimate(value, (ends[0], ends[1]))

    def _preferred(self) -> tuple[float, Floats]:
        """The preference at equal lengths without an order, and its slope in the parameters."""
        point = np.zeros((1, len(self._names)))
        point[0, 0] = 1.0

        def at(values: Floats) -> float:
            wins, ties, _ = chances(values, point, ties=self._ties)[0]
            return float(wins + ties / 2)

        values, step = self._fit.values, 1e-5
        moves = np.eye(len(values)) * step
        return at(values), np.array([(at(values + move) - at(values - move)) / (2 * step) for move in moves])

    def _half(self, slope: Floats) -> float | None:
        covariance, families = self._fit.covariance, self._fit.families
        if covariance is None or families < FEWEST:
            return None
        variance = float(slope @ covariance @ slope)
        return _quantile(self._level, families) * math.sqrt(variance) if variance > _FLAT else None

    def _estimate(self, value: float | None, ends: tuple[float, float] | None) -> Estimate:
        low, high = ends if ends is not None else (None, None)
        return _estimate(value, low, high, level=self._level, n=self._rows, method=self._method)


def _share(values: Floats, groups: Ints, level: float, what: str) -> Estimate:
    """The mean of values, its interval from the totals of families: t on F - 1, linearised."""
    families = int(groups.max()) + 1 if len(groups) else 0
    method = f"{what}, t interval over {families} families"
    if not families:
        return _estimate(None, None, None, level=level, n=0, method=method)
    mean = float(values.mean())
    low = high = None
    if families >= FEWEST:
        totals = np.bincount(groups, values - mean)
        variance = families / (families - 1) * float((totals**2).sum()) / len(values) ** 2
        if variance > _FLAT:
            half = _quantile(level, families) * math.sqrt(variance)
            low, high = max(mean - half, 0.0), min(mean + half, 1.0)
    return _estimate(mean, low, high, level=level, n=len(values), method=method)


def _groups(families: pl.Series) -> Ints:
    """The family of each row as a number from 0."""
    return np.unique(families.to_numpy().astype(str), return_inverse=True)[1].astype(np.int64)


def _without(compared: pl.DataFrame, endings: list[str], ending: Judging) -> int:
    """Calls that ended so and brought no preference: two equal answers are a tie that nobody was asked about."""
    said = [*compared["a_first"], *compared["b_first"]]
    return sum(one == ending.value and value is None for one, value in zip(endings, said, strict=True))


def _quantile(level: float, families: int) -> float:
    from scipy.stats import t

    return float(t.isf(tail_of(level, "two"), families - 1))


def _estimate(
    value: float | None, low: float | None, high: float | None, *, level: float, n: int, method: str
) -> Estimate:
    return Estimate(
        value=value, low=low, high=high, level=level, n=n, n_labels=0, method=method, corrected=False
    )
