"""The report: one self-contained HTML file of a scanned log, readable without a network."""

from __future__ import annotations

from .page import write_report

__all__ = ["write_report"]
