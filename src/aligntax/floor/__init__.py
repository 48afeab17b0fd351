"""Ceilings and floors that a team has agreed on, and the gate that holds a release against them."""

from __future__ import annotations

from . import words
from .decide import NO_NAME, gate
from .rules import Ceiling, Change, Decision, Finding, Floor, Ruling, levels, rules_of

__all__ = [
    "NO_NAME",
    "Ceiling",
    "Change",
    "Decision",
    "Finding",
    "Floor",
    "Ruling",
    "gate",
    "levels",
    "rules_of",
    "words",
]
