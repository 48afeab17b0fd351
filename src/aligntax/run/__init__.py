"""Asking a model a whole suite, so that a run that is stopped goes on where it was."""

from __future__ import annotations

from .file import RunFile
from .loop import run
from .plan import Call, RunSettings, planned, request_of
from .progress import Progress, RunSummary

__all__ = ["Call", "Progress", "RunFile", "RunSettings", "RunSummary", "planned", "request_of", "run"]
