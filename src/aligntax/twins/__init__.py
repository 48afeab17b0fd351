"""Twins: prompts that ask for the same in sensitive and in neutral words, and what the difference costs."""

from __future__ import annotations

from .answers import Answer, Answers, answers_of
from .beside import Beside, compare_models
from .checks import Bounds, problems_in, problems_of
from .curve import Curve, Point, capability_of, curve_of, read_points
from .facts import Stated, facts_in
from .families import PARTS, Beyond, Family, families_of
from .quality import Quality, quality_of
from .ratings import Ratings, read_ratings
from .review import Review, read_review, write_review
from .rewriting import rewrite
from .substitution import Twin, Twins, read_words, substitute
from .tax import Tax, measure_tax

__all__ = [
    "PARTS",
    "Answer",
    "Answers",
    "Beside",
    "Beyond",
    "Bounds",
    "Curve",
    "Family",
    "Point",
    "Quality",
    "Ratings",
    "Review",
    "Stated",
    "Tax",
    "Twin",
    "Twins",
    "answers_of",
    "capability_of",
    "compare_models",
    "curve_of",
    "facts_in",
    "families_of",
    "measure_tax",
    "problems_in",
    "problems_of",
    "quality_of",
    "read_points",
    "read_ratings",
    "read_review",
    "read_words",
    "rewrite",
    "substitute",
    "write_review",
]
