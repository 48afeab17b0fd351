"""What is computed of one block of a tensor: the average, and how far the aligned models have moved.

Blocks are of a size whose arrays stay in a core's cache, and those arrays are used again for every block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .dtypes import SIZES, Floats, Raw, Singles, from_float64, narrow, to_float64, widen

BLOCK = 1 << 14
"""Values that are computed in float64 at a time."""
SHORT_BLOCK = 1 << 16
"""And in float32. Longer stretches without the interpreter: threads wait less for each other."""

_SURE = (1e-20, 1e30)  # sums of squares of float32 between these have neither lost nor overflown anything


class Seen(NamedTuple):
    """Squares of ||theta_i - theta0|| and ||theta0|| over a block; `strange`: values that are infinite or no number."""

    moved: list[float]
    norm: float
    strange: int


class Room:
    """The arrays of one thread."""

    def __init__(self, n_inputs: int) -> None:
        """`n_inputs`: theta0 and the aligned models."""
        self.wide = [np.empty(SHORT_BLOCK, np.float32) for _ in range(n_inputs)]
        self.spare = np.empty(SHORT_BLOCK, np.uint32)


def fits_single(dtype: str, ratio: float) -> bool:
    """Whether an average on the line between two models is computed in float32: bfloat16 between the ends.

    A step there loses at most 2^-24, and the result has 8 binary digits. Where the terms cancel, as in 0.7 * -3 + 0.3 * 7, float16 with
    its 11 digits would be left with fewer right ones than it shows, so it is computed in float64.
    """
    return dtype == "BF16" and 0 <= ratio <= 1


def single(raws: Sequence[Raw], dtype: str, ratio: float | None, out: Raw, room: Room) -> Seen:
    """`theta0 + ratio * (theta1 - theta0)` of 16-bit values into `out`; measured alone where `ratio` is None."""
    count = len(raws[0]) // SIZES[dtype]
    base, *others = (widen(raw, dtype, wide[:count]) for raw, wide in zip(raws, room.wide, strict=False))
    moved = [square(np.subtract(other, base, out=other)) for other in others]
    seen = Seen(moved, square(base), 0)
    if ratio is not None:
        made = others[0]
        np.multiply(made, ratio, out=made)
        np.add(made, base, out=made)
    if not math.isfinite(sum(moved) + seen.norm):
        return _repaired(raws, dtype, None if ratio is None else (ratio, others[0]), out)
    if ratio is not None:
        narrow(others[0], dtype, out, room.spare[:count])
    return seen


def double(
    raws: Sequence[Raw], dtype: str, make: Callable[[Sequence[Floats]], Floats] | None, out: Raw
) -> Seen:
    """What `make` makes of the values in float64, rounded once into `out`; measured alone where it is None."""
    values = [to_float64(raw, dtype) for raw in raws]
    norm = square(values[0])
    if make is not None:
        from_float64(make(values), dtype, out)
    moved = [square(np.subtract(other, values[0], out=other)) for other in values[1:]]
    strange = 0
    if not math.isfinite(sum(moved) + norm):
        strange = sum(int(np.count_nonzero(~np.isfinite(to_float64(raw, dtype)))) for raw in raws)
        if make is not None:
            _keep_equal(raws, dtype, out)
    return Seen(moved, norm, strange)


def square(values: npt.NDArray[np.float32] | Floats) -> float:
    """The sum of squares. Not by `@`: BLAS would start threads of its own in each of ours, and they wait for each other."""
    found = float(np.einsum("i,i->", values, values))
    if values.dtype == np.float64 or _SURE[0] < found < _SURE[1] or not len(values):
        return found
    return square(values.astype(np.float64))


def _repaired(raws: Sequence[Raw], dtype: str, line: tuple[float, Singles] | None, out: Raw) -> Seen:
    """A block with values that are no finite float32, or whose difference is none: those are computed in float64."""
    if line is None:
        return double(raws, dtype, None, out)
    ratio, made = line

    def make(values: Sequence[Floats]) -> Floats:
        return np.where(np.isfinite(made), made, values[0] + ratio * (values[1] - values[0]))

    return double(raws, dtype, make, out)


def _keep_equal(raws: Sequence[Raw], dtype: str, out: Raw) -> None:
    """Values of the same bits in all inputs stay as they are: the infinite ones, of which no difference can be taken."""
    bits = f"u{SIZES[dtype]}"
    first = raws[0].view(bits)
    equal = np.logical_and.reduce([first == raw.view(bits) for raw in raws[1:]])
    out.view(bits)[equal] = first[equal]
