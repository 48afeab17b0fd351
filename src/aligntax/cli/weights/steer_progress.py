"""How far a search for a steering is, on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .bar import Bar

if TYPE_CHECKING:
    from ...weights.steering.search import Trial


class SteerProgress(Bar):
    """A bar over the trials as a context manager."""

    def __init__(self, budget: int) -> None:
        super().__init__("steering", patience_s=0.0)
        self._budget = budget

    def show(self, trial: Trial) -> None:
        """A trial is finished."""
        words = f"{trial.safety:.0%} of harm declined, {trial.usefulness:.0%} useful"
        self.update(words, trial.number + 1, self._budget)

    def say(self, step: str) -> None:
        """What goes on now."""
        self.update(step, self._budget, self._budget)
