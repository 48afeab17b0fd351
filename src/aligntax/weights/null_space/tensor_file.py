"""One safetensors file with a head of text: written whole or not at all, and read with its kind checked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def write_tensors(path: str | Path, kind: str, tensors: dict[str, Tensor], head: dict[str, str]) -> None:
    """Writes the tensors beside `path` and moves them there: a kill leaves the old file or the new one."""
    from safetensors.torch import save_file

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(ready, fresh, {"kind": kind, **head})
        with fresh.open("rb+") as file:
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def read_tensors(path: str | Path, kind: str, *, remedy: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of such a file and its head. Raises InputError where it is absent, broken or of another kind."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise InputError("there is no such file", where=str(path), remedy=remedy)
    try:
        with safe_open(path, framework="pt") as file:
            head = file.metadata() or {}
            if head.get("kind") != kind:
                raise InputError(f"this is not a file of {kind}", where=str(path), remedy=remedy)
            return {name: file.get_tensor(name) for name in file.keys()}, head  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, ValueError) as fault:
        raise InputError("the file is broken or cut short", where=str(path), remedy=remedy) from fault
