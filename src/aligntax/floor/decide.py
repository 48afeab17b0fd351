"""The gate: every rule against the estimates, with evidence and a minimum effect."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from ..config import Config, measured
from ..errors import InputError
from ..stats.difference import mover
from ..stats.profile import profile_interval
from ..types import Estimate
from . import words
from .rules import Change, Decision, Finding, Rule, Ruling, level_of, rules_of

Row = Mapping[str, Any]

NO_NAME = "(none)"
"""What stands in the configuration for exchanges that name no use case."""

_EXACT = 1e-9  # limits are decimal fractions; 0.05 + 0.01 is not quite 0.06
_NAMES_SHOWN = 10
_MOST_LABELS = 1_000_000
_ENDLESS = 1e12  # exchanges, of which labels are no part worth counting


def gate(config: Config, rows: Iterable[Row], *, base_rows: Iterable[Row] | None = None) -> Decision:
    """Hold the estimates of a release against what the team has agreed on.

    `rows` are rows of `estimate.corrected` with `careful="always"`, one per use case, target and domain, at each of
    `levels(config)`: with a column `use_case`, of one candidate only. `base_rows` are the same of the base, which
    `change` rules need.

    A rule with limit c and minimum effect m (0 for a floor) at its confidence, one-sided:
    fails when the lower bound is above c and the value at least c + m; passes when the upper bound is at most
    c + m; else there is too little data. A `Change` is judged so on the difference of two independent rates (MOVER). A rate that no label corrects, or that is withheld because annotators disagree,
    decides nothing: too little data.

    Raises InputError where there is no rule, or a configured use case or a level is not among the rows.
    """
    rules = rules_of(config)
    if not rules:
        raise InputError(
            "there is no limit to hold anything against",
            remedy="set a ceiling, floor or change in aligntax.yaml",
        )
    candidate = _Side(rows, "the verdicts")
    base = None if base_rows is None else _Side(base_rows, "the base's verdicts")
    findings = tuple(_finding(rule, candidate, base) for rule in rules)
    rulings = {finding.ruling for finding in findings}
    overall = next(
        ruling for ruling in (Ruling.FAIL, Ruling.TOO_LITTLE_DATA, Ruling.PASS) if ruling in rulings
    )
    gated = {rule.use_case for rule in rules}
    return Decision(
        ruling=overall,
        findings=findings,
        ungated=tuple(name for name in candidate.use_cases if name not in gated),
    )


def ruled(rule: Rule, value: float, low: float, high: float) -> Ruling:
    """What a value between one-sided bounds means for a rule."""
    if low > rule.limit + _EXACT and value >= rule.limit + rule.minimum_effect - _EXACT:
        return Ruling.FAIL
    return Ruling.PASS if high <= rule.limit + rule.minimum_effect + _EXACT else Ruling.TOO_LITTLE_DATA


class _Side:
    """The estimates of one side, found by use case, target, domain and level."""

    def __init__(self, rows: Iterable[Row], name: str) -> None:
        self.name = name
        self._rows: dict[tuple[Any, ...], Row] = {}
        for row in rows:
            use_case = NO_NAME if row["use_case"] is None else str(row["use_case"])
            key = (use_case, row["target"], row["domain"], round(row["level"], 9))
            if key in self._rows:
                raise InputError(
                    "there are several estimates of one rate",
                    where=self.name,
                    remedy="gate one model at a time",
                )
            self._rows[key] = row
        self.use_cases = tuple(dict.fromkeys(key[0] for key in self._rows))

    def row(self, rule: Rule) -> Row:
        if rule.use_case not in self.use_cases:
            raise InputError(
                f"no use case {words.quoted(rule.use_case)}",
                where=self.name,
                remedy=f"there are {_listed(self.use_cases)}; take it out of aligntax.yaml or scan its log",
            )
        (target, domain), level = measured(rule.target), level_of(rule)
        found = self._rows.get((rule.use_case, target, domain, round(level, 9)))
        if found is None:
            raise InputError(
                f"{rule.target} is not estimated at level {level:g}",
                where=self.name,
                remedy="estimate it at floor.levels(config)",
            )
        return found


class _Bounds(NamedTuple):
    value: float
    low: float
    high: float


def _finding(rule: Any, candidate: _Side, base: _Side | None) -> Finding:
    if isinstance(rule, Change):
        return _changed(rule, candidate, base)
    row = candidate.row(rule)
    finding = _undecided(rule, row)
    missing = _missing(rule, row)
    if missing:
        return msgspec.structs.replace(finding, sentence=missing[0], more_labels=missing[1])
    return _decided(finding, _Bounds(row["value"], row["low"], row["high"]))


def _changed(rule: Change, candidate: _Side, base: _Side | None) -> Finding:
    row = candidate.row(rule)
    finding = _undecided(rule, row)
    if base is None:
        return msgspec.structs.replace(finding, sentence=words.no_base(rule))
    base_row = base.row(rule)
    finding = msgspec.structs.replace(
        finding,
        base=base_row["value"] if base_row["corrected"] else None,
        n=row["n"] + base_row["n"],
        n_labels=row["n_labels"] + base_row["n_labels"],
        corrected=row["corrected"] and base_row["corrected"],
    )
    for side, name in ((row, ""), (base_row, "in the base, ")):
        missing = _missing(rule, side)
        if missing:
            return msgspec.structs.replace(finding, sentence=name + missing[0], more_labels=missing[1])
    difference = mover(_estimate(row), _estimate(base_row))
    assert difference.value is not None and difference.low is not None and difference.high is not None  # noqa: PT018
    finding = msgspec.structs.replace(finding, method=difference.method)
    return _decided(finding, _Bounds(difference.value, difference.low, difference.high))


def _undecided(rule: Any, row: Row) -> Finding:
    return Finding(
        rule=rule,
        ruling=Ruling.TOO_LITTLE_DATA,
        sentence="",
        n=row["n"],
        n_labels=row["n_labels"],
        method=row["method"],
        corrected=row["corrected"],
        raw=row["raw"],
    )


def _missing(rule: Rule, row: Row) -> tuple[str, int | None] | None:
    """Why a row decides nothing, and how many labels would make a start; None where it can decide."""
    if not row["corrected"]:
        if row["n_labels"]:
            return words.withheld(rule, row["method"]), None
        fewest = fewest_labels(rule)
        return words.no_labels(rule, row["raw"], fewest), fewest
    if row["value"] is None:
        fewest = fewest_labels(rule)
        return words.outside(rule, row["n_labels"], fewest), fewest
    return None


def _decided(finding: Finding, bounds: _Bounds) -> Finding:
    rule = finding.rule
    ruling = ruled(rule, *bounds)
    more = more_labels(rule, *bounds, finding.n_labels) if ruling == Ruling.TOO_LITTLE_DATA else None
    finding = msgspec.structs.replace(
        finding,
        ruling=ruling,
        value=bounds.value,
        low=bounds.low,
        high=bounds.high,
        more_labels=more,
    )
    return msgspec.structs.replace(finding, sentence=words.because(finding))


def more_labels(rule: Rule, value: float, low: float, high: float, labels: int) -> int | None:
    """About how many labels more would decide, if the value stays and they are drawn as the others were.

    The distance of a bound from the value falls with the square root of the labels; with 1 / labels where nothing
    was found. None where the value sits on the limit, or so close to it that no number anyone labels would.
    """
    highest = rule.limit + rule.minimum_effect
    if value < highest - _EXACT:
        factor = ((high - value) / (highest - value)) ** (1 if value == 0 else 2)
    elif value > rule.limit + _EXACT:
        factor = ((value - low) / (value - rule.limit)) ** 2
    else:
        return None
    more = max(math.ceil(labels * (factor - 1) - _EXACT), 1)
    return more if more <= _MOST_LABELS else None


def fewest_labels(rule: Rule) -> int | None:
    """The fewest labels drawn at random, none of them positive, with which a rule passes: 302 for 1 % at 95 %.

    None where no number does: for a limit of 0 without a minimum effect.
    """
    highest = rule.limit + rule.minimum_effect
    if highest <= 0 or highest >= 1:
        return None if highest <= 0 else 1

    def passes(labels: int) -> bool:
        found = profile_interval([[[0, labels]]], [[_ENDLESS]], level=level_of(rule), careful=True)
        return float(found.high[0]) <= highest

    # The exact test would take so many; the bound that decides takes a few more.
    exact = math.ceil(math.log1p(-rule.confidence) / math.log1p(-highest))
    return exact + bisect_left(range(exact), True, key=lambda more: passes(exact + more))


def _estimate(row: Row) -> Estimate:
    return Estimate(**{field: row[field] for field in Estimate.__struct_fields__})


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(words.quoted(name) for name in names[:_NAMES_SHOWN])
    return f"{shown} and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else shown or "none"
