"""How far a certificate is, on stderr: only on a terminal, and only for what takes more than two seconds."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

_PATIENCE_S = 2.0
_WORDS = {
    "loading": "loading both models",
    "comparing": "comparing tensors",
    "calibration": "reading calibration rows",
    "held-out": "reading held-out rows",
    "spectra": "ranks of the changes",
}


class CertifyProgress:
    """A bar as a context manager; `show` is told the step, how much of it is done, and of how much."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._bar: Progress | None = None
        self._wanted = sys.stderr.isatty()

    def __enter__(self) -> CertifyProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, step: str, done: int, total: int) -> None:
        """Show where it stands."""
        if not self._wanted or (self._bar is None and time.monotonic() - self._started < _PATIENCE_S):
            return
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.add_task("")
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], description=_WORDS[step], completed=done, total=total)
