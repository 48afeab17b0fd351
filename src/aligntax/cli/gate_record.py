"""A decision of the gate, and everything that it was made from."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from .. import __version__
from ..config import Config, config_file, measured, read_config
from ..errors import InputError
from ..estimate import corrected
from ..floor import Decision, gate, levels, rules_of
from ..store import Store
from ..types import Annotation, Draw
from ..verdict_file import scan_verdicts
from .by import models_of
from .corrected import sha256
from .former import former_labels
from .where import labels_of, without_planted

_NAMES_SHOWN = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decided:
    """A decision that is kept. `record` is what the store holds, ready for JSON."""

    decision: Decision
    record: Mapping[str, Any]
    verdicts: Path
    notes: tuple[str, ...]

    @property
    def id(self) -> str:
        """A hash of the record: whoever changes a word of it changes its name."""
        return str(self.record["id"])


def decide(
    verdicts: Path,
    *,
    config: Path | None,
    where: str | None,
    model: str | None,
    base: str | None,
    base_verdicts: Path | None,
) -> Decided:
    """Estimate what the rules need, hold it against them, and keep the decision in the store."""
    agreed, agreed_file, agreed_hash = _agreed(config)
    for path in filter(None, (verdicts, base_verdicts)):
        scan_verdicts(path)  # an absent or foreign file is said before a store is made
    with Store.open(where or agreed.store) as store:
        candidate = _side(store, agreed, verdicts, model)
        compared = base is not None or base_verdicts is not None
        other = _side(store, agreed, base_verdicts or verdicts, base) if compared else None
        decision = gate(agreed, candidate.rows, base_rows=other.rows if other else None)
        inputs = {
            "config": {"file": agreed_file.name, "sha256": agreed_hash},
            "candidate": candidate.inputs,
            "base": other.inputs if other else None,
            "versions": {"aligntax": __version__},
        }
        record = _named(
            {
                "format": 1,
                "time": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
                **msgspec.to_builtins(decision),
                "inputs": inputs,
            }
        )
        store.save_decision(record)
    return Decided(
        decision=decision,
        record=record,
        verdicts=verdicts,
        notes=tuple(_notes(candidate, other, decision)),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Side:
    """One side of a comparison: its estimates, and what they came from."""

    rows: Sequence[Mapping[str, Any]]
    inputs: Mapping[str, Any]
    models: tuple[str, ...]  # those that were put together, where no one model was named
    draw: Draw | None
    former: str | None  # of labels that belong to another state of the file


def _agreed(path: Path | None) -> tuple[Config, Path, str]:
    found = config_file(path)
    if found is None:
        raise InputError(
            "there is no aligntax.yaml in this folder",
            remedy="write one with: aligntax init VERDICTS, or name one with --config",
        )
    agreed, digest = read_config(found)
    return agreed, found, digest


def _side(store: Store, agreed: Config, path: Path, model: str | None) -> _Side:
    verdicts = scan_verdicts(path)
    draw, labels = labels_of(store, verdicts)
    by = ["use_case"] if model is None else ["use_case", "model"]
    targets = list(dict.fromkeys(measured(rule.target)[0] for rule in rules_of(agreed)))
    rows: list[Mapping[str, Any]] = []
    for level in levels(agreed):
        table = corrected(verdicts, draw, labels, by=by, level=level, targets=targets, careful="always")
        rows += table.to_dicts() if model is None else _of_model(table, model, path)
    return _Side(
        rows=rows,
        inputs=_inputs(path, verdicts, draw, without_planted(store, draw, labels), model),
        models=models_of(verdicts) if model is None else (),
        draw=draw,
        former=former_labels(store, verdicts, labels, source=path.name),
    )


def _of_model(table: pl.DataFrame, model: str, path: Path) -> list[dict[str, Any]]:
    rows = table.filter(pl.col("model") == model)
    if rows.is_empty():
        there = [str(name) for name in table["model"].drop_nulls().unique().sort()]
        listed = ", ".join(there[:_NAMES_SHOWN]) or "no names of models"
        raise InputError(f"no model {model!r}", where=str(path), remedy=f"there are {listed}")
    return rows.to_dicts()


def _inputs(
    path: Path, verdicts: pl.LazyFrame, draw: Draw | None, labels: Sequence[Annotation], model: str | None
) -> dict[str, Any]:
    """What a decision rests on, so that it can be checked, and done again."""
    times = [label.time for label in labels if label.time is not None]
    return {
        "verdicts": {"file": path.name, "sha256": sha256(path), "detectors": _detectors(verdicts)},
        "model": model,
        "draw": draw
        and {
            "id": draw.id,
            "fingerprint": draw.fingerprint,
            "phase": draw.phase,
            "codebook": draw.codebook,
        },
        "labels": {
            "count": len(labels),
            "annotators": len({label.annotator for label in labels}),
            "newest": max(times).isoformat() if times else None,
            "sha256": _hash_of_labels(labels),
        },
    }


def _hash_of_labels(labels: Iterable[Annotation]) -> str:
    """The same for the same labels, in whatever order the store gives them."""
    lines = sorted(msgspec.json.encode(label) for label in labels)
    return hashlib.sha256(b"\n".join(lines)).hexdigest()


def _detectors(verdicts: pl.LazyFrame) -> list[str]:
    names = verdicts.select(pl.col("detector").unique()).collect(engine="streaming")["detector"]
    return sorted(names.drop_nulls())


def _named(record: dict[str, Any]) -> dict[str, Any]:
    content = msgspec.json.encode(record, order="sorted")
    return {"id": hashlib.sha256(content).hexdigest()[:16], **record}


def _notes(candidate: _Side, base: _Side | None, decision: Decision) -> Iterable[str]:
    """What a reader should know beside the rules."""
    for name, side in (("", candidate), ("base: ", base)):
        if side is None:
            continue
        if len(side.models) > 1:
            listed = ", ".join(side.models[:_NAMES_SHOWN])
            option = "--base" if name else "--model"
            yield f"{name}{len(side.models)} models together: {listed}; {option} takes one"
        if side.former:
            yield f"{name}{side.former}"
        if side.draw is None:
            yield f"{name}nobody has planned labels for these verdicts: aligntax label plan"
        elif side.draw.phase != "whole":
            yield f"{name}draw {side.draw.id}: the pilot is not labelled to its end, so intervals are wide"
    if decision.ungated:
        listed = ", ".join(decision.ungated[:_NAMES_SHOWN])
        more = len(decision.ungated) - _NAMES_SHOWN
        yield f"no limits are set for: {listed}{f' and {more} more' if more > 0 else ''}"
