"""Sets of prompts: our own format, published sets, and packs of four professions."""

from __future__ import annotations

from .check import check_prompts, uncovered_terms
from .format import READERS, Reading, load, read, write
from .packs import DOMAINS, Calibration, Pack, Word, load_pack, load_system_prompts, load_vocabulary

__all__ = [
    "DOMAINS",
    "READERS",
    "Calibration",
    "Pack",
    "Reading",
    "Word",
    "check_prompts",
    "load",
    "load_pack",
    "load_system_prompts",
    "load_vocabulary",
    "read",
    "uncovered_terms",
    "write",
]
