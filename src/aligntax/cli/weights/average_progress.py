"""How far an average is, on stderr: only on a terminal, and only for what takes more than two seconds."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

_PATIENCE_S = 2.0


class AverageProgress:
    """A bar as a context manager; `show` is told bytes done, bytes in all, and the tensor at hand."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._bar: Progress | None = None
        self._wanted = sys.stderr.isatty()
        self._first: int | None = None

    def __enter__(self) -> AverageProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, done: int, total: int, tensor: str) -> None:
        """Show where it stands, with the speed of this start: what an earlier one did is not counted in."""
        if self._first is None:
            self._first = done
        passed = time.monotonic() - self._started
        if not self._wanted or (self._bar is None and passed < _PATIENCE_S):
            return
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("averaging"),
                BarColumn(bar_width=24),
                TextColumn("{task.description}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.add_task("", completed=self._first)
            self._bar.start()
        speed = (done - self._first) / passed / 1e6
        text = f"{done / 1e9:.1f} of {total / 1e9:.1f} GB, {speed:.0f} MB/s"
        self._bar.update(self._bar.task_ids[0], description=text, completed=done, total=total)
