"""A run as one JSON document: what was run, every state of every method, the numbers of the report and the sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from .answers import headline, questions_of
from .experiment import Point, Results
from .findings import METRICS, ends_of, rows_of
from .measures import Scores

FORM = "aligntax lab 1"


def document(results: Results) -> dict[str, Any]:
    """Built-in values alone. `states` hold means; what each prompt gave stays in the cache."""
    return {
        "form": FORM,
        "recipe": results.digest,
        "machine": results.machine,
        "plan": msgspec.to_builtins(results.plan),
        "cpu_s": round(results.cpu_s, 1),
        "pretraining_s": round(results.pretraining_s, 1),
        "headline": headline(results),
        "questions": msgspec.to_builtins(questions_of(results)),
        "methods": msgspec.to_builtins(rows_of(results)),
        "ends": msgspec.to_builtins(ends_of(results)),
        "sensitivity": [
            {"seed": one.seed, "parts": msgspec.to_builtins(one.parts)} for one in results.grounds
        ],
        "states": [
            {"method": outcome.method, "seed": outcome.seed, "base": outcome.base, **_state(point)}
            for outcome in results.outcomes
            for point in outcome.points
        ],
    }


def write_json(results: Results, path: Path) -> None:
    """`document` as a file."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document(results)), indent=1))


def _state(point: Point) -> dict[str, Any]:
    return {
        "label": point.label,
        "settings": point.settings,
        "selection": _means(point.selection.scores),
        "report": None if point.report is None else _means(point.report.scores),
    }


def _means(scores: Scores) -> dict[str, float | None]:
    found = {name: of(scores) for name, of in METRICS.items()}
    return {name: None if value is None else round(value, 4) for name, value in found.items()}
