"""How far a search for a steering is, on stderr: only on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

    from ...weights.steering.search import Trial


class SteerProgress:
    """A bar over the trials as a context manager."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._bar: Progress | None = None
        self._wanted = sys.stderr.isatty()

    def __enter__(self) -> SteerProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, trial: Trial) -> None:
        """A trial is finished."""
        done = trial.number + 1
        self._update(f"{trial.safety:.0%} of harm declined, {trial.usefulness:.0%} useful", done)

    def say(self, step: str) -> None:
        """What goes on now."""
        self._update(step, self._budget)

    def _update(self, text: str, done: int) -> None:
        if not self._wanted:
            return
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("steering"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"),
                TimeRemainingColumn(), console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self._bar.add_task("", total=self._budget)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], description=text, completed=done)


@contextmanager
def quiet() -> Iterator[None]:
    """While inside, transformers draws no bars of its own for loading and writing."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
