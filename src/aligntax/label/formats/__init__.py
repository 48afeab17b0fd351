"""Labels and tasks as files: CSV, JSON lines, Label Studio, Argilla."""

from __future__ import annotations

from .files import FORMATS, Reading, format_of, read_annotations, write_annotations, write_tasks
from .label_studio import label_studio_config

__all__ = [
    "FORMATS",
    "Reading",
    "format_of",
    "label_studio_config",
    "read_annotations",
    "write_annotations",
    "write_tasks",
]
