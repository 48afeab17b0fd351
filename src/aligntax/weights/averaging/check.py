"""Read an average back and compute samples of it anew, apart from the way in which it was written."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np

from ...errors import InputError
from .arithmetic import fits_single
from .checkpoint import Checkpoint, Tensor, open_checkpoint
from .dtypes import SIZES, Raw, from_float64, to_float64
from .operations import OPERATIONS, Settings, loaded
from .plan import Plan, Step
from .result import Averaged

_TENSORS = 64
_VALUES = 4096


def to_check(plan: Plan) -> list[Step]:
    """Up to 64 tensors, spread over the whole model, the first and the last among them."""
    steps = [step for step in plan.steps if step.target.nbytes]
    if len(steps) <= _TENSORS:
        return steps
    return [steps[round(at * (len(steps) - 1) / (_TENSORS - 1))] for at in range(_TENSORS)]


def check(plan: Plan, result: Averaged) -> None:
    """Raises InputError where the finished files do not hold what the inputs and the recipe make of up to 64 tensors.

    Names, types, shapes and offsets are compared for all tensors, and 4,096 values of each of the 64, bit for bit.
    """
    path = plan.partial
    written = open_checkpoint(path if plan.inputs[1].folder else path / plan.inputs[1].path.name)
    for step in plan.steps:
        found = written.tensors.get(step.name)
        if found is None or found.shown != step.target.shown:
            raise _wrong(path, step)
    done = {tensor.name: tensor.done for tensor in result.tensors}
    for step in to_check(plan):
        start = _start(step)
        expected = _expected(plan, step, start, done[step.name].measured)
        if not np.array_equal(_values(written, written.tensors[step.name], start), expected):
            raise _wrong(path, step)


def _expected(plan: Plan, step: Step, start: int, measured: dict[str, float]) -> Raw:
    raws = [_values(one, tensor, start) for one, tensor in zip(plan.inputs, step.sources, strict=True)]
    if step.copied is not None:
        return raws[step.copied]
    dtype, said = step.target.dtype, plan.recipe
    settings = Settings(ratio=step.ratio, weights=said.weights, measured=measured, offset=start)
    given = {"density": said.density, "drop": said.drop, "seed": said.seed}
    settings = msgspec.structs.replace(
        settings, **{name: value for name, value in given.items() if value is not None}
    )
    out = np.empty_like(raws[0])
    with np.errstate(all="ignore"):
        values = [to_float64(raw, dtype) for raw in raws]
        made = loaded(OPERATIONS[said.operation])(step.acts_as, values, settings)
        if said.operation == "linear" and len(raws) == 2 and fits_single(dtype, step.ratio):
            base, aligned = (value.astype(np.float32) for value in values)
            short = (aligned - base) * np.float32(step.ratio) + base
            made = np.where(np.isfinite(short), short, made)
        from_float64(made, dtype, out)
    same = np.logical_and.reduce([_bits(raws[0], dtype) == _bits(raw, dtype) for raw in raws[1:]])
    if same.all():
        return raws[0]
    strange = ~np.isfinite(to_float64(raws[0], dtype)) & same
    _bits(out, dtype)[strange] = _bits(raws[0], dtype)[strange]
    return out


def _bits(raw: Raw, dtype: str) -> Raw:
    return raw.view(f"u{SIZES[dtype]}")


def _start(step: Step) -> int:
    """A place in the tensor, in values, that its name decides."""
    count = step.target.nbytes // SIZES[step.target.dtype]
    stretches = max(count - _VALUES, 0) // _VALUES + 1
    return int.from_bytes(hashlib.sha256(step.name.encode()).digest()[:8], "little") % stretches * _VALUES


def _values(checkpoint: Checkpoint, tensor: Tensor, start: int) -> Raw:
    size = SIZES[tensor.dtype]
    place = tensor.start + start * size
    with checkpoint.shards[tensor.shard].path.open("rb") as file:
        file.seek(place)
        return np.frombuffer(file.read(min(_VALUES * size, tensor.end - place)), np.uint8).copy()


def _wrong(path: Path, step: Step) -> InputError:
    return InputError(
        f"tensor {step.name} is not what was computed",
        where=str(path),
        remedy="check the disk and the memory of this machine, remove this folder and start again",
    )
