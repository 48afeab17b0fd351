"""Verdicts, and labels where there are any, to rates."""

from __future__ import annotations

from .agreeing import agreement, confusion, known_accuracy
from .clearest import examples
from .comparison import MEASURES, Side, compare, split
from .correction import corrected, spread
from .lowest import audit
from .rates import slice_columns, summarise
from .recalibration import calibration, recalibrate
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
