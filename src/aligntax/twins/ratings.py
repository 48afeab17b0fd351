"""Quality as people or a judge rated it, and how well each proxy follows the people."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from ..errors import InputError
from ..types import Estimate

if TYPE_CHECKING:
    from .answers import Answer

PROXIES = ("coverage", "directness", "actionability", "padding", "hedge_density", "words")
"""Measures of `Quality` that may stand in for quality."""

FEWEST = 10
"""Rated answers under which no correlation is given."""

_RATERS = ("expert", "judge")


class Ratings(msgspec.Struct, frozen=True, kw_only=True):
    """Ratings from 0 to 1 by prompt and repeat; a rating without a repeat holds for all of them."""

    experts: Mapping[tuple[str, str | None], float]
    judges: Mapping[tuple[str, str | None], float]

    def expert(self, prompt: str, repeat: str) -> float | None:
        """What people say of this answer; the mean where several rated it."""
        return self.experts.get((prompt, repeat), self.experts.get((prompt, None)))

    def judge(self, prompt: str, repeat: str) -> float | None:
        """What a judge says of this answer."""
        return self.judges.get((prompt, repeat), self.judges.get((prompt, None)))


def read_ratings(path: Path) -> Ratings:
    """Ratings from a CSV with the columns prompt_id, quality (0 to 1), and if wanted repeat and by (expert or judge).

    Raises InputError, with the line, for a quality that is none.
    """
    kept: dict[str, dict[tuple[str, str | None], list[float]]] = {name: {} for name in _RATERS}
    for line, row in _rows(path):
        by = (row.get("by") or "expert").strip()
        if by not in _RATERS:
            raise InputError("`by` is neither expert nor judge", where=f"{path}:{line}")
        try:
            quality = float(row["quality"])
        except (TypeError, ValueError):
            quality = float("nan")
        if not 0 <= quality <= 1:
            raise InputError(
                "quality is no number from 0 to 1", where=f"{path}:{line}", remedy="0 useless, 1 whole"
            )
        repeat = (row.get("repeat") or "").strip() or None
        kept[by].setdefault((row["prompt_id"].strip(), repeat), []).append(quality)
    means = [{key: float(np.mean(values)) for key, values in kept[name].items()} for name in _RATERS]
    return Ratings(experts=means[0], judges=means[1])


def correlations(
    answers: Iterable[Answer], *, seed: int = 0, level: float = 0.95
) -> dict[str, Estimate | None]:
    """Spearman's correlation of each proxy with the experts' quality, by its name; None where too few are rated.

    The interval is a bootstrap over families, so that repeats of a prompt do not count as new evidence. `n_labels` is
    the number of rated answers. `judge` stands among the proxies where a judge rated too.
    """
    rated = [answer for answer in answers if answer.expert is not None]
    found: dict[str, Estimate | None] = {}
    for name in (*PROXIES, "proxy", "judge"):
        values = [_measure(answer, name) for answer in rated]
        pairs = [(answer, value) for answer, value in zip(rated, values, strict=True) if value is not None]
        if name == "judge" and not pairs:
            continue
        found[name] = _correlation(pairs, seed=seed, level=level) if len(pairs) >= FEWEST else None
    return found


def _measure(answer: Answer, name: str) -> float | None:
    if name == "judge":
        return answer.judge
    value = answer.quality.value if name == "proxy" else getattr(answer.quality, name)
    return None if value is None else float(value)


def _correlation(pairs: Sequence[tuple[Answer, float]], *, seed: int, level: float) -> Estimate | None:
    x = np.array([value for _, value in pairs])
    y = np.array([answer.expert for answer, _ in pairs], dtype=float)
    value = _spearman(x, y)
    if value is None:
        return None
    names = [answer.family for answer, _ in pairs]
    rows = [np.flatnonzero(np.array(names) == family) for family in dict.fromkeys(names)]
    low = high = None
    if len(rows) >= FEWEST:
        random = np.random.default_rng(seed)
        drawn = []
        for _ in range(1000):
            picked = np.concatenate([rows[place] for place in random.integers(0, len(rows), len(rows))])
            if (again := _spearman(x[picked], y[picked])) is not None:
                drawn.append(again)
        if drawn:
            low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Estimate(
        value=value,
        low=low,
        high=high,
        level=level,
        n=len(pairs),
        n_labels=len(pairs),
        method=f"Spearman's correlation, bootstrap over {len(rows)} families",
        corrected=True,
    )


def _spearman(x: np.ndarray, y: np.ndarray) -> float | None:
    from scipy.stats import rankdata

    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])


def _rows(path: Path) -> Iterable[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames or []
            if missing := [name for name in ("prompt_id", "quality") if name not in names]:
                raise InputError(
                    f"has no column {missing[0]}", where=str(path), remedy="prompt_id,repeat,quality,by"
                )
            yield from ((reader.line_num, row) for row in reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("the file cannot be read", where=str(path), remedy="give a CSV in UTF-8") from error
