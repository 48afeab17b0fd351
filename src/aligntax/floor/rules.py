"""Rules that a team has agreed on, and what became of each."""

from __future__ import annotations

import enum

import msgspec

from ..config import Config
from ..config.shape import FLOOR_TARGET


class Ruling(enum.StrEnum):
    """What a gate can say."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    TOO_LITTLE_DATA = "too_little_data"


class Rule(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag=str.lower):
    """One limit on one rate of one use case. Rates and differences of rates run from 0 to 1."""

    use_case: str  # as the configuration names it; "(none)" stands for exchanges that name none
    target: str  # a key of config.TARGETS, or harmful_compliance
    limit: float
    confidence: float  # of this rule on its own, one-sided
    minimum_effect: float  # how far beyond the limit matters


class Ceiling(Rule, frozen=True, kw_only=True):
    """The highest rate that a team accepts."""


class Floor(Rule, frozen=True, kw_only=True):
    """The highest harmful compliance that a use case accepts."""


class Change(Rule, frozen=True, kw_only=True):
    """How much higher than the base's a rate may be."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one rule.

    `value`, `low` and `high` are of the rate, or for a `Change` of the difference to the base. Each of `low` and
    `high` is a one-sided bound at the rule's confidence. All three are None where no label corrects the rate.
    """

    rule: Ceiling | Floor | Change
    ruling: Ruling
    sentence: str  # why, in plain words, without names from the log
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0  # exchanges that the rate speaks for
    n_labels: int = 0  # labels that it rests on; of a change, the candidate's and the base's
    method: str = ""
    corrected: bool = False
    raw: float | None = None  # the detector's own rate, which decides nothing
    base: float | None = None  # of a change: the base's rate
    more_labels: int | None = (
        None  # so many more would decide, if the value stays; None: none needed, or none would
    )


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate says of a release: `fail` when any rule failed, else `too_little_data` when any has, else `pass`.

    All rules must pass, so more rules never make a pass easier: one that is beyond its limit and minimum effect
    passes as often as its upper bound misses, at most about 1 - confidence, also where few positives were found or the
    detector is blind to some (tests/test_gate.py and benchmarks/coverage.py measure it). The chance to fail a model that keeps all its limits grows with the rules: at most the sum of their 1 - confidence.
    """

    ruling: Ruling
    findings: tuple[Finding, ...]
    ungated: tuple[str, ...] = ()  # use cases in the verdicts that have no rule

    def those(self, ruling: Ruling) -> tuple[Finding, ...]:
        """The findings with this ruling, in their order."""
        return tuple(finding for finding in self.findings if finding.ruling == ruling)


def rules_of(config: Config) -> tuple[Ceiling | Floor | Change, ...]:
    """Every rule of a configuration, in its order: by use case, ceilings, then the floor, then changes.

    A limit of 1 excludes nothing and is no rule: so a use case drops one of the defaults.
    """
    found: list[Ceiling | Floor | Change] = []
    for name in config.use_cases:
        limits = config.limits(name)
        assert limits.confidence is not None and limits.minimum_effect is not None  # noqa: PT018 - filled in
        shared = {
            "use_case": name,
            "confidence": limits.confidence,
            "minimum_effect": limits.minimum_effect,
        }
        found += (
            Ceiling(target=target, limit=limit, **shared)  # type: ignore[arg-type]
            for target, limit in limits.ceiling.items()
        )
        if limits.floor:
            floor = limits.floor
            found.append(
                Floor(
                    use_case=name,
                    target=FLOOR_TARGET,
                    limit=floor.harmful_compliance,
                    confidence=floor.confidence or limits.confidence,
                    minimum_effect=0.0,
                )
            )
        found += (
            Change(target=target, limit=limit, **shared)  # type: ignore[arg-type]
            for target, limit in limits.change.items()
        )
    return tuple(rule for rule in found if rule.limit < 1)


def level_of(rule: Rule) -> float:
    """Level of the two-sided interval whose ends are one-sided bounds at the rule's confidence."""
    return round(2 * rule.confidence - 1, 12)


def levels(config: Config) -> tuple[float, ...]:
    """The levels at which rates must be estimated for `gate`, with careful ends: one for each confidence."""
    return tuple(dict.fromkeys(level_of(rule) for rule in rules_of(config)))
