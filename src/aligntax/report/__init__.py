"""The report: one self-contained HTML file of a scanned log, readable without a network."""

from __future__ import annotations

from .deltas import Comparison
from .page import write_report
from .ruling import Gated

__all__ = ["Comparison", "Gated", "write_report"]
