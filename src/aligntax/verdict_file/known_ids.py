"""Which ids have come before, in little memory."""

from __future__ import annotations

import numpy as np
import polars as pl


class KnownIds:
    """A set of ids as sorted 64-bit hashes: 8 bytes an id, whatever its length.

    Two of a million ids share a hash once in 37 million scans.
    """

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []  # sorted, each more than twice the next, so that adding stays cheap

    def take(self, ids: pl.Series) -> pl.Series:
        """Add ids; true where an id was not in the set, and is the first of its kind in `ids`."""
        hashes = ids.hash()
        unseen = ~self.has(hashes) & hashes.is_first_distinct()
        self.add(hashes.filter(unseen))
        return unseen

    def has(self, hashes: pl.Series) -> pl.Series:
        """True where a hash is in the set."""
        values = hashes.to_numpy()
        found = np.zeros(len(values), dtype=bool)
        for run in self._runs:
            found |= run[np.minimum(np.searchsorted(run, values), len(run) - 1)] == values
        return pl.Series(found)

    def add(self, hashes: pl.Series) -> int:
        """Add hashes that are not in the set; their number comes back."""
        run = np.sort(hashes.to_numpy())
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")  # stable merges sorted runs
        if len(run):
            self._runs.append(run)
        return len(hashes)
