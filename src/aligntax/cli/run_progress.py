"""A progress bar of a run on stderr: only on a terminal, and only for what takes more than two seconds."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from ..run import Progress

_PATIENCE_S = 2.0


class RunProgress:
    """Shows how far a run is, as a context manager: calls, rate, cost, failures and the time that is left."""

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._wanted = sys.stderr.isatty()

    def __enter__(self) -> RunProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, progress: Progress) -> None:
        """Show where the run stands."""
        if not self._wanted or (self._bar is None and progress.elapsed_s < _PATIENCE_S):
            return
        bar = self._bar or self._started()
        bar.update(
            bar.task_ids[0], description=words(progress), completed=progress.done, total=progress.calls
        )

    def _started(self) -> Bar:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("asking"),
            BarColumn(),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar.add_task("")
        self._bar.start()
        return self._bar


def words(progress: Progress) -> str:
    """Such as "120/240 · 3.4/s · $0.0213 · 2 failed · 0:35 left"."""
    parts = [f"{progress.done:,}/{progress.calls:,}"]
    if progress.rate is not None:
        parts.append(f"{progress.rate:,.1f}/s" if progress.rate < 100 else f"{progress.rate:,.0f}/s")
    if progress.cost_usd is not None:
        parts.append(f"${progress.cost_usd:,.4f}")
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.left_s is not None:
        parts.append(f"{duration(progress.left_s)} left")
    return " · ".join(parts)


def duration(seconds: float) -> str:
    """Minutes and seconds, or hours, minutes and seconds: 0:35, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
