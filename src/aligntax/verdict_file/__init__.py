"""Verdicts on disk: one Parquet file, added to and resumed without loss."""

from __future__ import annotations

from .writer import VerdictFile, scan_verdicts

__all__ = ["VerdictFile", "scan_verdicts"]
