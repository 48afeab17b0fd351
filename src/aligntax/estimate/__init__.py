"""Verdicts, and labels where there are any, to rates."""

from __future__ import annotations

from .agreement import agreement, confusion, known_accuracy
from .audit import audit
from .clearest import examples
from .comparison import MEASURES, Side, compare, split
from .corrected import corrected, spread
from .rates import slice_columns, summarise
from .recalibrate import calibration, recalibrate
from .targets import DOMAINS, TARGETS
from .whole import Survey, survey

__all__ = [
    "DOMAINS",
    "MEASURES",
    "TARGETS",
    "Side",
    "Survey",
    "agreement",
    "audit",
    "calibration",
    "compare",
    "confusion",
    "corrected",
    "examples",
    "known_accuracy",
    "recalibrate",
    "slice_columns",
    "split",
    "spread",
    "summarise",
    "survey",
]
