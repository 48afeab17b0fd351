"""Models as judges: rubrics, verdicts, required facts, preferences, and how far any of it can be trusted."""

from .agreement import Agreement, agreement_with, summarise, with_second_score
from .asking import Judging, Progress, Spent
from .judging import Judge, Pair, endings
from .pairwise import Preference, preference
from .rubric import RUBRICS, Rubric, load_rubric

__all__ = [
    "RUBRICS",
    "Agreement",
    "Judge",
    "Judging",
    "Pair",
    "Preference",
    "Progress",
    "Rubric",
    "Spent",
    "agreement_with",
    "endings",
    "load_rubric",
    "preference",
    "summarise",
    "with_second_score",
]
