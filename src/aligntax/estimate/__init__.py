"""Verdicts, and labels where there are any, to rates."""

from __future__ import annotations

from .clearest import examples
from .rates import slice_columns, summarise

__all__ = ["examples", "slice_columns", "summarise"]
