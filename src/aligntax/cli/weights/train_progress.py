"""How far a training run is, on stderr: a bar on a terminal, a line now and then where there is none."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import Progress

    from ...weights.training.callbacks import Step

_PATIENCE_S = 2.0
_BETWEEN_LINES_S = 60.0


class TrainProgress:
    """A bar as a context manager; `what` names what goes on."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._bar: Progress | None = None
        self._wanted = sys.stderr.isatty()
        self._began = self._last_line = time.monotonic()

    def __enter__(self) -> TrainProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, step: Step) -> None:
        """A step of training."""
        self.update(step.step, step.steps, words(step))

    def update(self, done: int, whole: int, text: str) -> None:
        """How far it is, and what is to be said of it."""
        now = time.monotonic()
        if self._wanted and now - self._began > _PATIENCE_S:
            bar = self._bar or self._started()
            bar.update(bar.task_ids[0], description=text, completed=done, total=whole)
        elif not self._wanted and now - self._last_line > _BETWEEN_LINES_S:
            self._last_line = now
            click.echo(f"{self._what}: {done:,}/{whole:,} · {text}", err=True)

    def _started(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn(self._what), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"),
            console=Console(stderr=True), transient=True,
        )  # fmt: skip
        self._bar.add_task("")
        self._bar.start()
        return self._bar


def words(step: Step) -> str:
    """Such as "loss 0.4312 · 1:20 left"; for GRPO the reward too."""
    from ..run_progress import duration

    parts = [f"loss {step.loss:.4g}"]
    if step.reward is not None:
        parts.append(f"reward {step.reward:.2f}")
    return " · ".join([*parts, f"{duration(step.left_s)} left"])
