"""Which answers people label, what they are asked, and how their labels come back."""

from __future__ import annotations

from .known import disguised
from .planning import allocate_rest, assign, fingerprint, plan, planned, second_label, texts

__all__ = [
    "allocate_rest",
    "assign",
    "disguised",
    "fingerprint",
    "plan",
    "planned",
    "second_label",
    "texts",
]
