"""What inputs feel of a change: sums over tokens, made while the inputs pass through the unchanged model.

The leak of a given change needs no second moment in memory: tr(D M D^T) is the mean of |D x|^2 over tokens. Summed row by
row it also carries an interval over rows. `moments.leak` is the same number from a moment that was kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ..linears import Linear, input_of, weight_of
from .examples import Batch, Example
from .pair import difference
from .resampled import ratios

if TYPE_CHECKING:
    import torch

_POSITIONS = 128  # logits of so many tokens are widened to float64 at a time


class Sums:
    """Per row and matrix [rows, matrices]: sums over tokens of |dW x|^2, |W x|^2 and |x|^2, and how many tokens.

    `turned`: of |dW x|^2 / |x|^2, in which a token counts by its direction alone; `squared`: of |x|^4.
    """

    def __init__(self, rows: int, matrices: int) -> None:
        self.moved, self.passed, self.read, self.tokens, self.turned, self.squared = (
            np.zeros((rows, matrices)) for _ in range(6)
        )

    def seen(self, column: int) -> int:
        """Tokens that passed through that matrix."""
        return int(self.tokens[:, column].sum())


class Change:
    """The change of one linear between two models, made anew each time: all together would be a third model."""

    def __init__(self, before: Linear, after: Linear) -> None:
        self.before, self.after = before, after

    def matrix(self) -> torch.Tensor:
        """The change [n_out, n_in], at least in float32."""
        return difference(weight_of(self.before), weight_of(self.after))


@contextmanager
def felt(changes: Mapping[str, Change], batch: Batch, sums: Sums) -> Iterator[None]:
    """While the unchanged model reads the batch, add to `sums` what each change does to its inputs."""
    with ExitStack() as handles:
        for column, change in enumerate(changes.values()):
            handle = change.before.module.register_forward_hook(
                _hook(change, column, batch, sums), with_kwargs=True
            )
            handles.callback(handle.remove)
        yield


def _hook(change: Change, column: int, batch: Batch, sums: Sums) -> Callable[..., None]:
    rows = list(batch.at)

    def add(module: Any, positional: tuple[Any, ...], named: dict[str, Any], output: torch.Tensor) -> None:
        read = input_of(positional, named)
        if read.shape[:-1] != batch.mask.shape:
            return  # inputs that are routed or folded cannot be told from padding: not measured
        delta = change.matrix()
        moved = read.to(delta.dtype) @ delta.T
        passed = output if module.bias is None else output - module.bias
        felt_by, output, length = (_squares(values, batch.mask) for values in (moved, passed, read))
        for total, values in (
            (sums.moved, felt_by), (sums.passed, output), (sums.read, length), (sums.squared, length.square()),
            (sums.turned, (felt_by / length).nan_to_num(nan=0.0)), (sums.tokens, batch.mask),
        ):  # fmt: skip
            total[rows, column] += values.sum(dim=-1).cpu().numpy()

    return add


def _squares(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """|x|^2 of every token in float64, 0 at a pad, of which nothing is looked at."""
    import torch

    return torch.linalg.vector_norm(values, dim=-1, dtype=torch.float64).pow(2).masked_fill(mask == 0, 0)


def leaks(sums: Sums, norms: Sequence[float], widths: Sequence[int], *, level: float) -> np.ndarray[Any, Any]:
    """The leak of each matrix with the ends of its interval over rows: [3, matrices], NaN where no input came.

    The larger of two: tokens by their energy, and each token alike. In large models a few tokens, the first of a text
    above all, are thousands of times longer than others where the MLP's output is written (massive activations, Ref:
    arXiv:2402.17762). By energy alone they would decide everything, and a change that spares them would have no leak.
    """
    scale = np.asarray(norms) ** 2 / np.asarray(widths)
    by_energy = np.stack(ratios(sums.moved, sums.read, level=level))
    alike = np.stack(ratios(sums.turned, sums.tokens, level=level))
    return np.sqrt(np.maximum(by_energy, alike) / scale)


def uneven(sums: Sums) -> np.ndarray[Any, Any]:
    """Share of tokens that carries the energy of a matrix's inputs, [matrices]: mean(|x|^2)^2 / mean(|x|^4), 1 for all."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums.read.sum(axis=0) ** 2 / (sums.squared.sum(axis=0) * sums.tokens.sum(axis=0))


def effects(sums: Sums) -> np.ndarray[Any, Any]:
    """The root mean square change of each output relative to the output, [matrices]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(sums.moved.sum(axis=0) / sums.passed.sum(axis=0))


def drift_of(example: Example, before: torch.Tensor, after: torch.Tensor) -> tuple[float, int, int]:
    """Sum of KL(before || after) in nats, tokens whose first choice agrees, and tokens, over the answer of one row.

    `before`, `after`: logits [length, vocabulary] of the row.
    """
    total, agree = 0.0, 0
    first, last = example.answer - 1, len(example.ids) - 1  # the logits at t foretell the token at t + 1
    for start in range(first, last, _POSITIONS):
        span = slice(start, min(start + _POSITIONS, last))
        p, q = (logits[span].double().log_softmax(dim=-1) for logits in (before, after))
        total += float((p.exp() * (p - q)).sum())
        agree += int((p.argmax(dim=-1) == q.argmax(dim=-1)).sum())
    return max(total, 0.0), agree, max(last - first, 0)
