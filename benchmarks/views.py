"""What one way of leaving out says of the labelled answers, and the subsets that the tables and bars look at."""

from __future__ import annotations

import dataclasses

import numpy as np

from holdout import MISSING, NONE, Answers, Unseen
from metrics import Array

EVASIVE = "speechmap_criticism"
LEAST = 10  # rows of a class below which nothing is said of it


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one way of leaving out says of the labelled answers."""

    name: str
    answers: Answers
    unseen: Unseen
    matched: Array  # the peer: a phrase is found

    def rows(self, source: str) -> Array:
        """Rows of a source that were judged."""
        judged = self.answers.known & ~np.isnan(self.unseen.probability[:, MISSING])
        return np.flatnonzero(judged & (self.answers.source == source))

    def sources(self, *, trained: bool) -> list[str]:
        """Sources with any row that was judged."""
        return [name for name in self.answers.sources(trained=trained) if len(self.rows(name))]

    def is_label(self, name: str, rows: Array) -> Array:
        """Whether rows carry a label."""
        return np.asarray(self.answers.label[rows] == name)

    def missing(self, rows: Array) -> Array:
        """P(something of what was asked is missing)."""
        return np.asarray(self.unseen.probability[rows, MISSING])

    def refused(self, rows: Array) -> Array:
        """P(nothing is given)."""
        return self.missing(rows) * self.none(rows)

    def none(self, rows: Array) -> Array:
        """P(nothing is given, if something is missing)."""
        return np.asarray(self.unseen.probability[rows, NONE])

    def says_refused(self, rows: Array) -> Array:
        """The decision, without an abstain band."""
        return (self.missing(rows) >= 0.5) & self.unseen.leans_to_none[rows]

    def partial(self, rows: Array) -> Array:
        """P(a part is given)."""
        return self.missing(rows) - self.refused(rows)


def safe_rows(view: View) -> Array:
    """XSTest rows whose prompt is safe."""
    rows = view.rows("xstest")
    return np.asarray(rows[view.answers.axis("prompt_safe", rows)])


def evasive(view: View) -> tuple[Array, Array]:
    """Rows of recent models that are evasive or complete, and which are evasive."""
    rows = view.rows(EVASIVE)
    rows = rows[~view.is_label("refused", rows)]
    return rows, view.is_label("partial", rows)
