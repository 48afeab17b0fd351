"""Words that make a model refuse: found in logs as associations, proved by swaps, and cut out of single prompts."""

from __future__ import annotations

from .confirm import confirmed
from .minimise import smallest_span
from .records import Found, LabelledCheck, Sensitivity, Span, Swap, TopicShare, Trigger
from .search import find, prompts_needed
from .substitutes import read_substitutes

__all__ = [
    "Found",
    "LabelledCheck",
    "Sensitivity",
    "Span",
    "Swap",
    "TopicShare",
    "Trigger",
    "confirmed",
    "find",
    "prompts_needed",
    "read_substitutes",
    "smallest_span",
]
