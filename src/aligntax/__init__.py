"""aligntax measures what safety tuning costs an LLM product on its own workload.

The public names are loaded when first used, so that `import aligntax` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .detect import scan
    from .errors import AlignTaxError, InputError, MissingExtra, NotEnoughData, UpstreamError
    from .estimate import summarise
    from .logs import read
    from .report import write_report
    from .types import Answered, Exchange, Kind, Label, Outcome, Problem, Span, Verdict

__version__ = "0.1.0"

_HOME = {
    "AlignTaxError": "errors",
    "Answered": "types",
    "Exchange": "types",
    "InputError": "errors",
    "Kind": "types",
    "Label": "types",
    "MissingExtra": "errors",
    "NotEnoughData": "errors",
    "Outcome": "types",
    "Problem": "types",
    "Span": "types",
    "UpstreamError": "errors",
    "Verdict": "types",
    "read": "logs",
    "scan": "detect",
    "summarise": "estimate",
    "write_report": "report",
}

__all__ = [
    "AlignTaxError",
    "Answered",
    "Exchange",
    "InputError",
    "Kind",
    "Label",
    "MissingExtra",
    "NotEnoughData",
    "Outcome",
    "Problem",
    "Span",
    "UpstreamError",
    "Verdict",
    "__version__",
    "read",
    "scan",
    "summarise",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module 'aligntax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
