"""aligntax measures what safety tuning costs an LLM product on its own workload.

The public names are loaded when first used, so that `import aligntax` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .detect import scan
    from .errors import AlignTaxError, InputError, MissingExtra, NotEnoughData, UpstreamError
    from .estimate import Survey, corrected, summarise, survey
    from .logs import read
    from .report import write_report
    from .store import Store
    from .types import (
        Annotation,
        Answered,
        Draw,
        Estimate,
        Exchange,
        Kind,
        Label,
        Outcome,
        Problem,
        ShouldAnswer,
        Span,
        Verdict,
    )

__version__ = "0.1.0"

_HOME = {
    "AlignTaxError": "errors",
    "Annotation": "types",
    "Answered": "types",
    "Draw": "types",
    "Estimate": "types",
    "Exchange": "types",
    "InputError": "errors",
    "Kind": "types",
    "Label": "types",
    "MissingExtra": "errors",
    "NotEnoughData": "errors",
    "Outcome": "types",
    "Problem": "types",
    "ShouldAnswer": "types",
    "Span": "types",
    "Store": "store",
    "Survey": "estimate",
    "UpstreamError": "errors",
    "Verdict": "types",
    "corrected": "estimate",
    "read": "logs",
    "scan": "detect",
    "summarise": "estimate",
    "survey": "estimate",
    "write_report": "report",
}

__all__ = [
    "AlignTaxError",
    "Annotation",
    "Answered",
    "Draw",
    "Estimate",
    "Exchange",
    "InputError",
    "Kind",
    "Label",
    "MissingExtra",
    "NotEnoughData",
    "Outcome",
    "Problem",
    "ShouldAnswer",
    "Span",
    "Store",
    "Survey",
    "UpstreamError",
    "Verdict",
    "__version__",
    "corrected",
    "read",
    "scan",
    "summarise",
    "survey",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module 'aligntax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
