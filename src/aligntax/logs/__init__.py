"""Logs in: any supported format -> batches of exchanges, with an account of what was left out."""

from __future__ import annotations

from ..outcomes import Ending, classify
from .formats import READERS
from .log import Log, read

__all__ = ["READERS", "Ending", "Log", "classify", "read"]
