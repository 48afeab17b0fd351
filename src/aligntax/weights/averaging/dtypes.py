"""Element types of safetensors files, and exact ways between their bytes and wider floats, with numpy alone.

numpy has no bfloat16: it is the upper half of a float32, so it is read by a shift and rounded to nearest, ties to even,
by one addition of integers. That saves the 300 MB and the seconds that importing torch takes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Raw = npt.NDArray[np.uint8]

SIZES = {  # bytes of one element; the spelling is that of the safetensors format
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1,
    "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4,
    "I64": 8, "U64": 8, "F64": 8, "C64": 8,
}  # fmt: skip
"""Known element types. What has less than a byte an element (F4) is refused: its values carry scales of their own."""

AVERAGED: dict[str, Any] = {"BF16": np.uint16, "F16": np.float16, "F32": np.float32, "F64": np.float64}
"""Those whose values can be averaged, with the numpy type that views their bytes."""


def is_eight_bit(dtype: str) -> bool:
    """Whether values are 8-bit floats, which mean nothing without the scales that belong to them."""
    return dtype.startswith("F8")


def to_float64(raw: Raw, dtype: str) -> Floats:
    """The values of these bytes, exactly: every value of the four types is a float64."""
    values = raw.view(AVERAGED[dtype])
    if dtype == "BF16":
        return widen(raw, dtype, np.empty(len(values), np.float32)).astype(np.float64)
    return values.astype(np.float64)  # a copy for F64 too: operations may work in place


def from_float64(values: Floats, dtype: str, out: Raw) -> None:
    """Round to `dtype`, to nearest and ties to even, into `out`. A NaN stays a NaN; what is too large becomes infinite."""
    if dtype != "BF16":
        out.view(AVERAGED[dtype])[:] = values
        return
    single = values.astype(np.float32)
    narrow(single, dtype, out, np.empty(len(single), np.uint32))
    if not np.isfinite(values).all():  # the addition may have carried a NaN over into a number
        out.view(np.uint16)[np.isnan(values)] = 0x7FC0


def widen(raw: Raw, dtype: str, out: Singles) -> Singles:
    """The values of these bytes of a 16-bit type, exactly, in `out`, which is returned."""
    if dtype == "BF16":
        bits = out.view(np.uint32)
        bits[:] = raw.view(np.uint16)
        np.left_shift(bits, 16, out=bits)
    else:
        out[:] = raw.view(np.float16)
    return out


def narrow(values: Singles, dtype: str, out: Raw, spare: npt.NDArray[np.uint32]) -> None:
    """Round to a 16-bit type, to nearest and ties to even, into `out`. Uses up `values` and `spare`; no value may be NaN."""
    if dtype != "BF16":
        out.view(np.float16)[:] = values
        return
    bits = values.view(np.uint32)
    np.right_shift(bits, 16, out=spare)
    np.bitwise_and(spare, 1, out=spare)
    np.add(spare, 0x7FFF, out=spare)
    np.add(bits, spare, out=bits)
    np.right_shift(bits, 16, out=bits)
    out.view(np.uint16)[:] = bits
