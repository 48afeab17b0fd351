"""Many checkpoints of one training run: how the tax grows with the safety score that training was after."""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from ..stats.profile import tail_of
from ..types import Estimate

FEWEST = 5
"""Points under which a slope has no interval."""

CAPABILITY, TAX = "capability", "tax"


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One checkpoint. Tax and capability are shares; safety is in whatever unit training used."""

    name: str
    safety: float
    tax: float | None = None
    tax_low: float | None = None
    tax_high: float | None = None
    capability: float | None = None
    capability_error: float | None = None  # standard error, where the benchmark gives one


class Slope(msgspec.Struct, frozen=True, kw_only=True):
    """How one measure goes with safety."""

    measure: str  # "tax" or "capability"
    points: int
    slope: Estimate  # change of the measure for one unit of safety
    intercept: float
    rank: float | None  # Spearman's correlation, -1 to 1
    turns: int  # steps, in order of safety, that go against the slope
    monotone: bool  # no step does


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """Points in order of their safety, and a slope for each measure that at least three of them have."""

    points: tuple[Point, ...]
    slopes: tuple[Slope, ...]


def curve_of(points: Sequence[Point], *, level: float = 0.95) -> Curve:
    """Straight lines through the points. Raises InputError for fewer than three that carry a measure."""
    ordered = tuple(sorted(points, key=lambda point: (point.safety, point.name)))
    slopes = []
    for measure in (TAX, CAPABILITY):
        pairs = [(point.safety, value) for point in ordered if (value := getattr(point, measure)) is not None]
        if len(pairs) >= 3 and len({safety for safety, _ in pairs}) >= 3:
            slopes.append(_slope(measure, pairs, level))
    if not slopes:
        raise InputError("a curve needs three checkpoints of different safety", remedy="add checkpoints")
    return Curve(points=ordered, slopes=tuple(slopes))


def slope_of(x: ArrayLike, y: ArrayLike, *, level: float = 0.95) -> tuple[Estimate, float]:
    """Least-squares slope of y on x, and the intercept. Interval by HC3 errors and t on n - 2 degrees of freedom.

    Assumes that points err independently, which checkpoints of one training run do only in part: read the interval as
    a lower bound of the doubt. Fewer than 5 points, or points exactly on a line, have none.

    Ref: MacKinnon and White 1985, heteroskedasticity-consistent errors.
    """
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1 or len(first) < 3 or np.ptp(first) == 0:
        raise InputError("a slope needs three points that differ", remedy="add points")
    n, centred = len(first), first - first.mean()
    square = float(centred @ centred)
    slope = float(centred @ second) / square
    intercept = float(second.mean() - slope * first.mean())
    residuals = second - intercept - slope * first
    leverage = 1 / n + centred**2 / square
    low = high = None
    # A point that the line must go through (leverage 1) has no residual to learn from.
    if n >= FEWEST and leverage.max() < 1 - 1e-9 and np.ptp(residuals) > 1e-12:
        from scipy.stats import t

        error = math.sqrt(float((centred**2 * (residuals / (1 - leverage)) ** 2).sum())) / square
        half = float(t.isf(tail_of(level, "two"), n - 2)) * error
        low, high = slope - half, slope + half
    return (
        Estimate(
            value=slope,
            low=low,
            high=high,
            level=level,
            n=n,
            n_labels=0,
            method=f"least squares over {n} checkpoints, HC3 errors, t interval",
            corrected=False,
        ),
        intercept,
    )


def read_points(
    path: Path, *, tax_of_log: Callable[[Path], Estimate] | None = None, task: str | None = None
) -> list[Point]:
    """Checkpoints from a CSV or JSON table with the columns name, safety (or reward), and tax, log or capability.

    `tax` is a share; `log` a run log, beside the table, whose tax `tax_of_log` measures. `capability` is a share or a
    result file of lm-evaluation-harness, of which `task` ("TASK" or "TASK:METRIC") chooses the figure. Raises
    InputError with the row for what cannot be read.
    """
    points = []
    for number, row in enumerate(_rows(path), 1):
        where = f"{path}, row {number}"
        safety = _number(row.get("safety", row.get("reward")), where, "safety")
        if safety is None:
            raise InputError("has no safety", where=where, remedy="add a column safety or reward")
        tax, low, high = (_number(row.get(name), where, name) for name in ("tax", "low", "high"))
        if tax is None and row.get("log"):
            if tax_of_log is None:
                raise InputError("names a log", where=where, remedy="name the suite too, to measure its tax")
            found = tax_of_log(path.parent / str(row["log"]))
            tax, low, high = found.value, found.low, found.high
        capability, error = _capability(row.get("capability"), path.parent, where, task)
        points.append(
            Point(
                name=str(row.get("name") or number),
                safety=safety,
                tax=tax,
                tax_low=low,
                tax_high=high,
                capability=capability,
                capability_error=error,
            )
        )
    return points


def capability_of(document: Mapping[str, Any], task: str | None = None) -> tuple[float, float | None]:
    """A figure of an lm-evaluation-harness result, and its standard error where it has one.

    `task` is "TASK" or "TASK:METRIC"; without one the mean over all tasks that are no part of another, whose standard
    error takes tasks as independent. Of several metrics acc_norm comes first, then acc, exact_match, f1, and others by
    name. Raises InputError where it holds no such task or figure.
    """
    results = document.get("results")
    if not isinstance(results, Mapping) or not results:
        raise InputError(
            "is no result of lm-evaluation-harness", where="results", remedy="give its JSON output"
        )
    name, _, metric = (task or "").partition(":")
    if name and name not in results:
        raise InputError(f"has no task {name}", remedy=f"name one of: {', '.join(list(results)[:12])}")
    parts = {part for group in (document.get("group_subtasks") or {}).values() for part in group}
    names = [name] if name else [each for each in results if each not in parts]
    figures = [_figure(results[each], metric, each) for each in names]
    errors = [error for _, error in figures]
    mean = sum(value for value, _ in figures) / len(figures)
    if any(error is None for error in errors):
        return mean, None
    return mean, math.sqrt(sum(error**2 for error in errors if error is not None)) / len(figures)


_METRICS = ("acc_norm", "acc", "exact_match", "f1", "em", "pass@1", "bleu", "rougeL")


def _figure(result: Any, metric: str, task: str) -> tuple[float, float | None]:
    numbers = {
        key: float(value)
        for key, value in (result.items() if isinstance(result, Mapping) else ())
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    names = {key.partition(",")[0]: key for key in reversed(numbers) if "_stderr" not in key}
    wanted = [metric] if metric else [*_METRICS, *sorted(names.keys() - {"sample_len"})]
    for name in wanted:
        if name in names:
            key = names[name]
            base, _, rest = key.partition(",")
            error = numbers.get(f"{base}_stderr,{rest}" if rest else f"{base}_stderr")
            return numbers[key], error
    raise InputError(
        f"task {task} has no such figure", remedy=f"name one of: {', '.join(names) or 'none there'}"
    )


def _slope(measure: str, pairs: Sequence[tuple[float, float]], level: float) -> Slope:
    from scipy.stats import rankdata

    x, y = (np.array(values) for values in zip(*pairs, strict=True))
    slope, intercept = slope_of(x, y, level=level)
    direction = 1 if (slope.value or 0.0) >= 0 else -1
    turns = sum((after - before) * direction < -1e-12 for before, after in itertools.pairwise(y))
    rank = None if np.ptp(y) == 0 else float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])
    return Slope(
        measure=measure,
        points=len(pairs),
        slope=slope,
        intercept=intercept,
        rank=rank,
        turns=int(turns),
        monotone=not turns,
    )


def _capability(value: Any, folder: Path, where: str, task: str | None) -> tuple[float | None, float | None]:
    if value is None or value == "":
        return None, None
    try:
        return float(value), None
    except (TypeError, ValueError):
        pass
    file = folder / str(value)
    try:
        document = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            "capability is no number and no file that can be read", where=where, remedy="give one of them"
        ) from error
    try:
        return capability_of(document if isinstance(document, dict) else {}, task)
    except InputError as error:
        raise InputError(error.what, where=str(file), remedy=error.remedy) from error


def _number(value: Any, where: str, name: str) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{name} is no number", where=where)
    return number


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "the file cannot be read", where=str(path), remedy="give a CSV or JSON table"
        ) from error
    if text.lstrip()[:1] in ("[", "{"):
        try:
            found = json.loads(text)
        except ValueError as error:
            raise InputError("is not JSON", where=str(path), remedy="give a CSV or JSON table") from error
        found = found.get("points") if isinstance(found, dict) else found
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise InputError(
                "is no list of checkpoints", where=str(path), remedy='[{"name": ..., "safety": ...}]'
            )
        return found
    return list(csv.DictReader(text.splitlines()))
