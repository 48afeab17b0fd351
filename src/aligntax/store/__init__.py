"""What must not be lost: draws, their queue, every label with its history, runs, estimates and decisions."""

from __future__ import annotations

from .records import Annotator, Change, Kept, Progress, Run, SavedEstimates
from .store import Store

__all__ = ["Annotator", "Change", "Kept", "Progress", "Run", "SavedEstimates", "Store"]
