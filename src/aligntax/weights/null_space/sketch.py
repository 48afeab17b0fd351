"""Frequent Directions: the second moment of very wide inputs in a few thousand rows instead of a square."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 1024


class Sketch(msgspec.Struct, frozen=True, kw_only=True):
    """At most `size` rows B with B^T B <= X^T X <= B^T B + `shed` I, for all X [tokens, n_in] that were added.

    `trace`: the exact trace of X^T X. `shed`: the sum of what every shrinking took from each direction; it is at
    most the energy outside the best k directions over (size - k), for any k < size. Deterministic, and mergeable.
    Ref: arXiv:1501.01711.
    """

    rows: Any
    size: int
    shed: float = 0.0
    trace: float = 0.0

    @classmethod
    def empty(cls, n_in: int, size: int = ROWS) -> Sketch:
        """A sketch of nothing."""
        import torch

        return cls(rows=torch.zeros(0, n_in, dtype=torch.float64), size=min(size, n_in))

    @classmethod
    def of(cls, rows: Tensor, said: dict[str, float]) -> Sketch:
        """A stored sketch."""
        return cls(rows=rows, size=int(said["size"]), shed=float(said["shed"]), trace=float(said["trace"]))

    def said(self) -> dict[str, float]:
        """What is stored beside the rows."""
        return {"size": self.size, "shed": self.shed, "trace": self.trace}

    def held(self) -> Tensor:
        """The rows, at most `size` of them, [rows, n_in]."""
        return self.rows

    def add(self, x: Tensor) -> Sketch:
        """With the rows x [tokens, n_in] added."""
        added = self
        for start in range(0, len(x), self.size):
            part = x[start : start + self.size].double()
            added = added._shrunk(part, added.shed, added.trace + float(part.square().sum()))
        return added

    def merge(self, other: Sketch) -> Sketch:
        """Of both inputs together; the bounds add up."""
        return self._shrunk(other.rows, self.shed + other.shed, self.trace + other.trace)

    def _shrunk(self, more: Tensor, shed: float, trace: float) -> Sketch:
        import torch

        rows = torch.cat([self.rows.to(more.device), more])
        if len(rows) > self.size:
            energy, turn = torch.linalg.eigh(rows @ rows.T)
            energy, turn = energy.flip(0).clamp(min=0), turn.flip(1)
            least = energy[self.size - 1]
            kept = (energy[: self.size] - least).clamp(min=0)
            scale = torch.where(energy[: self.size] > 0, (kept / energy[: self.size]).sqrt(), 0.0)
            rows, shed = scale[:, None] * (turn[:, : self.size].T @ rows), shed + float(least)
        return Sketch(rows=rows, size=self.size, shed=shed, trace=trace)

    def spectrum(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues of `dense()`, rising, and all n_in eigenvectors as columns."""
        import torch

        energy, directions = self._directions()
        whole, _ = torch.linalg.qr(directions, mode="complete")
        outside = whole[:, len(energy) :]
        values = torch.cat([torch.full((outside.shape[1],), self._outside(len(energy))), energy]).double()
        order = values.argsort(stable=True)
        return values[order], torch.cat([outside, directions], dim=1)[:, order]

    def dense(self) -> Tensor:
        """B^T B, plus all energy that the rows do not hold, spread over the directions that they do not hold."""
        import torch

        energy, directions = self._directions()
        rest = self._outside(len(energy))
        eye = rest * torch.eye(self.rows.shape[1], dtype=torch.float64, device=self.rows.device)
        return eye + (directions * (energy - rest)) @ directions.T

    def _directions(self) -> tuple[Tensor, Tensor]:
        import torch

        _, values, directions = torch.linalg.svd(self.rows, full_matrices=False)
        real = values > 1e-7 * values.max() if len(values) else values.bool()
        return values[real].square(), directions[real].T

    def _outside(self, n_held: int) -> float:
        missing = max(0.0, self.trace - float(self.rows.square().sum()))
        return missing / max(1, self.rows.shape[1] - n_held)
