"""The gate's decision as the page shows it: what became of every rule, and what it was decided from."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from markupsafe import Markup

from ..errors import InputError
from ..floor import Change, Decision, Finding
from ..floor import words as said
from .forest import Row, forest
from .text import clip, visible
from .wording import count, plural, sentence

_NAMES_SHOWN = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gated:
    """A decision of the gate as the store keeps it, and whether it still rests on the labels of today."""

    record: Mapping[str, Any]
    labels_changed: bool = False


class RuleLine(msgspec.Struct, frozen=True, kw_only=True):
    """One rule and what became of it."""

    ruling: str  # pass, fail or too_little_data: the CSS class
    word: str
    use_case: str
    rule: str
    limit: str
    measured: str
    stamped: bool  # what was measured is the detector's
    labels: str
    sentence: str


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the section about the gate shows."""

    ruling: str
    word: str
    headline: str
    of: str  # the model, and the file
    lines: tuple[RuleLine, ...]
    plots: tuple[tuple[str, Markup], ...]
    notes: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]


def gate_page(gated: Gated) -> Gate:
    """The decision as its section of the page shows it. Raises InputError for a record that is no decision."""
    record = gated.record
    try:
        decision = msgspec.convert(record, Decision)
        inputs = msgspec.convert(record.get("inputs") or {}, _Inputs)
        time = dt.datetime.fromisoformat(record["time"]) if record.get("time") else None
    except (msgspec.ValidationError, ValueError, TypeError):
        raise InputError(
            "the decision of the gate cannot be read", remedy="run aligntax gate again, with this version"
        ) from None
    verdicts, model = inputs.candidate.verdicts.file, inputs.candidate.model
    return Gate(
        ruling=decision.ruling.value,
        word=said.RULING[decision.ruling],
        headline=said.headline(decision),
        of=" in ".join(clip(name, 120) for name in (model, verdicts) if name),
        lines=tuple(map(_line, decision.findings)),
        plots=tuple(_plots(decision.findings)),
        notes=tuple(_notes(decision, changed=gated.labels_changed)),
        facts=tuple(_facts(str(record.get("id", "")), time, inputs)),
    )


class _File(msgspec.Struct, frozen=True, kw_only=True):
    file: str = ""
    sha256: str = ""


class _Labels(msgspec.Struct, frozen=True, kw_only=True):
    count: int = 0
    annotators: int = 0
    newest: str | None = None
    sha256: str = ""


class _DrawnFrom(msgspec.Struct, frozen=True, kw_only=True):
    id: str = ""
    fingerprint: str = ""


class _Side(msgspec.Struct, frozen=True, kw_only=True):
    verdicts: _File = _File()
    model: str | None = None
    draw: _DrawnFrom | None = None
    labels: _Labels = _Labels()


class _Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision was made from, as the store keeps it."""

    config: _File = _File()
    candidate: _Side = _Side()
    base: _Side | None = None
    versions: dict[str, str] = {}


def _line(finding: Finding) -> RuleLine:
    measured = said.measured(finding)
    return RuleLine(
        ruling=finding.ruling.value,
        word=said.RULING[finding.ruling],
        use_case=clip(finding.rule.use_case, 120),
        rule=sentence(said.rule(finding.rule)),
        limit=said.limit(finding.rule),
        measured=measured.removeprefix("UNCORRECTED").strip(),
        stamped=measured.startswith("UNCORRECTED"),
        labels=count(finding.n_labels),
        sentence=f"{sentence(visible(finding.sentence))}.",
    )


def _plots(findings: Sequence[Finding]) -> Iterator[tuple[str, Markup]]:
    """One plot for each rate and sort of rule, with a row for every use case."""
    grouped: dict[str, list[Finding]] = {}
    for finding in findings:
        grouped.setdefault(sentence(said.rule(finding.rule)), []).append(finding)
    for title, members in grouped.items():
        change = isinstance(members[0].rule, Change)
        yield title, forest([_drawn(finding) for finding in members], title=title, zero=change)


def _drawn(finding: Finding) -> Row:
    return Row(
        label=finding.rule.use_case,
        value=finding.value if finding.corrected else finding.raw,
        low=finding.low,
        high=finding.high,
        corrected=finding.corrected,
        limit=finding.rule.limit,
        note="no rate" if finding.n_labels else "UNCORRECTED",
    )


def _notes(decision: Decision, *, changed: bool) -> Iterator[str]:
    if changed:
        yield "Labels have changed since this decision: run aligntax gate again before you rely on it."
    yield f"{said.confidence_note(decision)} Bounds are one-sided, each at that confidence."
    if decision.ungated:
        listed = ", ".join(clip(name, 80) for name in decision.ungated[:_NAMES_SHOWN])
        more = len(decision.ungated) - _NAMES_SHOWN
        yield f"No limits are set for {listed}{f' and {more} more' if more > 0 else ''}."


def _facts(decision_id: str, time: dt.datetime | None, inputs: _Inputs) -> Iterator[tuple[str, str]]:
    """Name and value, for whoever checks the decision later."""
    facts = [
        ("Decision", decision_id),
        ("Decided", f"{time:%Y-%m-%d %H:%M} UTC" if time else ""),
        ("Limits", _file(inputs.config)),
        *_side("", inputs.candidate),
        *(_side("Base: ", inputs.base) if inputs.base else ()),
        ("Version", ", ".join(f"{name} {version}" for name, version in inputs.versions.items())),
    ]
    return ((name, clip(value, 300)) for name, value in facts if value)


def _side(prefix: str, side: _Side) -> Iterator[tuple[str, str]]:
    labels = side.labels
    newest = f", the newest of {labels.newest[:10]}" if labels.newest else ""
    people = f" by {plural(labels.annotators, 'person', 'people')}" if labels.annotators else ""
    facts = (
        ("Model", side.model or ""),
        ("Verdicts", _file(side.verdicts)),
        ("Draw", f"{side.draw.id}, fingerprint {side.draw.fingerprint}" if side.draw else "none"),
        ("Labels", f"{plural(labels.count, 'label')}{people}{newest}"),
        ("Labels, SHA-256", labels.sha256 if labels.count else ""),
    )
    for name, value in facts:
        yield f"{prefix}{name}", value


def _file(file: _File) -> str:
    return f"{file.file}, SHA-256 {file.sha256}" if file.sha256 else file.file
