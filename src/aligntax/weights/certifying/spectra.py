"""How many directions a change of a matrix uses: its spectral norm, its stable rank and its effective rank.

All three come from the Gram matrix of the smaller side, which costs one product of the matrix with itself: less than
the inputs of a certificate cost, and no decomposition of a matrix of a large model.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import torch

_EXACT_UP_TO = 1024  # width of the Gram matrix that is decomposed; wider ones are iterated on
_BLOCK = 8  # vectors that are iterated together: one alone is slow where the two largest values are close
_STEPS = 200
_SETTLED = 1e-7  # relative change of the largest eigenvalue at which the iteration ends


class Spectrum(msgspec.Struct, frozen=True, kw_only=True):
    """The singular values s of a matrix in four numbers.

    `norm` is the Frobenius norm, sqrt(sum s^2); `spectral_norm` the largest s. `stable_rank` is
    norm^2 / spectral_norm^2 and `effective_rank` the participation ratio (sum s^2)^2 / sum s^4; both run from 1 (one
    direction) to min(n_out, n_in) (all alike), both are 0 for a matrix of zeros, and
    stable_rank <= effective_rank <= rank.
    """

    norm: float
    spectral_norm: float
    stable_rank: float
    effective_rank: float

    @property
    def top_share(self) -> float:
        """Share of the squared norm in the first singular direction, 0 to 1: 1 / stable_rank."""
        return 1 / self.stable_rank if self.stable_rank else 0.0


def spectrum(matrix: torch.Tensor) -> Spectrum:
    """The spectrum of a matrix [n_out, n_in] of finite numbers, in its own precision but at least float32.

    Up to a smaller side of 1024 the largest singular value is exact up to rounding; above it is found by seeded subspace
    iteration, which can only come out too small (then the stable rank is too large).

    Ref: Rudelson and Vershynin 2007 (stable rank); Halko, Martinsson and Tropp, arXiv:0909.4061 (subspace iteration).
    """
    import torch

    kept = matrix.detach()
    if kept.dtype not in (torch.float32, torch.float64):
        kept = kept.float()
    largest = float(kept.abs().max()) if kept.numel() else 0.0
    if not largest:
        return Spectrum(norm=0.0, spectral_norm=0.0, stable_rank=0.0, effective_rank=0.0)
    kept = kept / largest  # squares of small changes would leave the range of float32
    gram = kept @ kept.T if kept.shape[0] <= kept.shape[1] else kept.T @ kept
    total = float(gram.diagonal().double().sum())
    top = min(max(_largest_eigenvalue(gram), total / len(gram)), total)
    return Spectrum(
        norm=largest * math.sqrt(total),
        spectral_norm=largest * math.sqrt(top),
        stable_rank=total / top,
        effective_rank=max(total**2 / float(gram.double().pow(2).sum()), total / top),
    )


def _largest_eigenvalue(gram: torch.Tensor) -> float:
    import torch

    if len(gram) <= _EXACT_UP_TO:
        return float(torch.linalg.eigvalsh(gram.double())[-1])
    generator = torch.Generator().manual_seed(0)
    block = torch.randn(len(gram), _BLOCK, generator=generator).to(gram)
    found = 0.0
    for _ in range(_STEPS):
        block, _triangle = torch.linalg.qr(gram @ block)
        seen = float(torch.linalg.eigvalsh((block.T @ gram @ block).double())[-1])
        if abs(seen - found) <= _SETTLED * seen:
            return seen
        found = seen
    return found
