"""Verdicts, and labels where there are any, to rates."""

from __future__ import annotations

from .agreement import agreement, confusion, known_accuracy
from .audit import audit
from .clearest import examples
from .corrected import corrected, spread
from .rates import slice_columns, summarise
from .recalibrate import calibration, recalibrate
from .targets import DOMAINS, TARGETS

__all__ = [
    "DOMAINS",
    "TARGETS",
    "agreement",
    "audit",
    "calibration",
    "confusion",
    "corrected",
    "examples",
    "known_accuracy",
    "recalibrate",
    "slice_columns",
    "spread",
    "summarise",
]
