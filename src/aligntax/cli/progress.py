"""A progress bar on stderr: only on a terminal, and only for what takes more than two seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl
    from rich.progress import Progress

    from ..logs import Log

_PATIENCE_S = 2.0


class ScanProgress:
    """Shows how far a scan is, as a context manager."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._bar: Progress | None = None
        self._wanted = sys.stderr.isatty()

    def __enter__(self) -> ScanProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def watch(self, log: Log) -> Iterator[pl.DataFrame]:
        """The frames of `log`, with the bar following how many of its bytes were read."""
        rows = 0
        for frame in log:
            yield frame
            rows += frame.height
            self._show(f"{rows:,} rows", log.bytes_read, log.bytes_total)

    def say(self, step: str) -> None:
        """Name the step that goes on now, of unknown length."""
        self._show(step, 0, None)

    def _show(self, text: str, done: int, total: int | None) -> None:
        if not self._wanted:
            return
        if self._bar is None:
            if time.monotonic() - self._started < _PATIENCE_S:
                return
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("scanning"),
                BarColumn(),
                TextColumn("{task.description}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.add_task("")
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], description=text, completed=done, total=total or None)
