"""How far a certificate is, on stderr."""

from __future__ import annotations

from .bar import Bar

_WORDS = {
    "loading": "loading both models",
    "comparing": "comparing tensors",
    "calibration": "reading calibration rows",
    "held-out": "reading held-out rows",
    "spectra": "ranks of the changes",
}


class CertifyProgress(Bar):
    """A bar as a context manager; `show` is told the step, how much of it is done, and of how much."""

    def show(self, step: str, done: int, total: int) -> None:
        """Show where it stands."""
        self.update(_WORDS[step], done, total)
