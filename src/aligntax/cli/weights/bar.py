"""A progress bar on stderr: only on a terminal, and only for what takes a while."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress


class Bar:
    """A bar as a context manager; `update` is told what goes on, how much of it is done, and of how much.

    With a `title` that stands before the bar, what goes on stands behind it, with the time that is left; without
    one, what goes on stands before it. Nothing is drawn in the first `patience_s` seconds.
    """

    def __init__(self, title: str | None = None, *, patience_s: float = 2.0) -> None:
        self._title, self._patience_s = title, patience_s
        self._began = time.monotonic()
        self._bar: Progress | None = None
        self._wanted = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, what: str, done: int, total: int) -> None:
        """Show where the work stands."""
        if not self._wanted or (self._bar is None and time.monotonic() - self._began < self._patience_s):
            return
        if self._bar is None:
            self._bar = self._drawn(total)
        self._bar.update(self._bar.task_ids[0], description=what, completed=done, total=total)

    def _drawn(self, total: int) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        what, share = TextColumn("{task.description}"), (BarColumn(), MofNCompleteColumn())
        columns = (
            (what, *share)
            if self._title is None
            else (TextColumn(self._title), *share, what, TimeRemainingColumn())
        )
        bar = Progress(*columns, console=Console(stderr=True), transient=True)
        bar.add_task("", total=total)
        bar.start()
        return bar
