"""A scan's result as one JSON document, for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from .. import __version__
from ..types import Outcome
from .result import ScanResult


def to_json(result: ScanResult, *, out: Path | None, report: Path | None) -> str:
    """`result` as JSON in ASCII, without any text of the logs but the names of slices, files and languages."""
    files = {"verdicts": str(out) if out else None, "report": str(report) if report else None}
    return json.dumps({**_document(result), "files": files}, indent=2, default=str)


def _document(result: ScanResult) -> dict[str, Any]:
    reading, total = result.reading, result.total
    return {
        "format": 1,
        "versions": {"aligntax": __version__, "detector": reading.detector},
        "corrected": False,
        "by": list(result.by),
        "total": total,
        "slices": result.slices.to_dicts(),
        "data": {
            "exchanges": total["exchanges"],
            "new": reading.new,
            "former": reading.former,
            "resumed": reading.resumed,
            "repeated": reading.repeated,
            "skipped": reading.skipped,
            "not_calls": reading.not_calls,
            "errors": total["errors"],
            **{
                outcome.value: _count(total, outcome.value)
                for outcome in (Outcome.TRUNCATED, Outcome.EMPTY, Outcome.TOOL_CALL)
            },
            "provider_blocked": _count(total, "provider_blocked"),
            "languages_not_judged": result.languages_not_judged,
            "formats": dict(reading.formats),
            "problems": msgspec.to_builtins(list(reading.problems)),
            "notes": msgspec.to_builtins(list(reading.notes)),
        },
    }


def _count(total: dict[str, Any], name: str) -> int:
    return round(total[name] * total["counted"]) if total["counted"] else 0
