"""Logs in: any supported format -> batches of exchanges, with an account of what was left out."""

from __future__ import annotations

from .formats import READERS
from .log import Log, read
from .outcomes import Ending, classify

__all__ = ["READERS", "Ending", "Log", "classify", "read"]
