"""Two models of one shape, BASE and TUNED, in memory together: what they are, and which of their tensors differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ...errors import InputError
from ..adapters import ADAPTER, ADAPTER_CONFIG, check_tuned, kind_of, stored
from .certificate import Side

if TYPE_CHECKING:
    import torch

_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
_NARROW = {"BF16": "bfloat16", "F16": "float16"}
_HARMLESS = {  # entries of a config that say where it comes from, how it is stored or how text is drawn from it
    "_name_or_path", "architectures", "bos_token_id", "chunk_size_feed_forward", "dtype", "eos_token_id", "id2label",
    "initializer_range", "label2id", "max_length", "output_attentions", "output_hidden_states", "pad_token_id",
    "problem_type", "return_dict", "torch_dtype", "transformers_version", "use_cache",
}  # fmt: skip


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """How one tensor of TUNED differs from that of BASE: norms of the change and of what was there."""

    name: str
    norm: float
    base_norm: float
    rounded: bool  # differs by the storage type of TUNED alone


def compared(base: Any, tuned: Any, *, narrow: str | None) -> Iterator[tuple[int, Step | None]]:
    """Every tensor, one at a time: its place among all, and how it differs, None where it does not. A tied one once.

    `narrow`: the dtype to which BASE would have been rounded in TUNED's files, where that is narrower than BASE's.
    Raises InputError, naming the tensor, where names or shapes differ or a number is not finite.
    """
    import torch

    befores, afters = base.state_dict(), tuned.state_dict()
    for name in [*befores, *afters]:
        if name not in befores or name not in afters:
            raise InputError(
                f"the tensor {name} is in {'TUNED' if name in afters else 'BASE'} alone",
                remedy="both must be of one architecture, and of as many layers",
            )
    seen = set()
    for place, (name, before) in enumerate(befores.items()):
        after = afters[name]
        if before.shape != after.shape:
            shapes = " and ".join(str(tuple(tensor.shape)) for tensor in (before, after))
            raise InputError(
                f"the tensor {name} has the shapes {shapes} in BASE and TUNED",
                remedy="compare models of one shape and one vocabulary",
            )
        key = (before.data_ptr(), after.data_ptr())
        if key in seen or not before.is_floating_point():
            continue
        seen.add(key)
        for side, tensor in (("BASE", before), ("TUNED", after)):
            if not bool(torch.isfinite(tensor).all()):
                raise InputError(
                    f"the tensor {name} of {side} holds numbers that are not finite",
                    remedy="do not use this checkpoint",
                )
        yield place, _step(name, before, after, narrow)


def _step(name: str, before: torch.Tensor, after: torch.Tensor, narrow: str | None) -> Step | None:
    import torch

    if torch.equal(before, after):
        return None
    return Step(
        name=name,
        norm=norm_of(difference(before, after)),
        base_norm=norm_of(before),
        rounded=narrow is not None and torch.equal(before.to(getattr(torch, narrow)).to(after.dtype), after),
    )


def difference(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """AFTER - BEFORE in at least float32: two bfloat16 numbers differ by one that bfloat16 may not hold."""
    import torch

    wide = torch.promote_types(torch.promote_types(before.dtype, after.dtype), torch.float32)
    return after.detach().to(wide) - before.detach().to(wide)


def norm_of(tensor: torch.Tensor) -> float:
    """The Frobenius norm, summed in float64."""
    import torch

    return float(torch.linalg.vector_norm(tensor, dtype=torch.float64))


def narrowed(base: Side, tuned: Side) -> str | None:
    """The dtype that TUNED is stored in, where it is narrower than that of BASE; None for an adapter."""
    if tuned.kind == "adapter" or len(tuned.dtypes) != 1 or tuned.dtypes == base.dtypes:
        return None
    wider = any(dtype in ("F32", "F64") for dtype in base.dtypes)
    return _NARROW.get(tuned.dtypes[0]) if wider else None


def settings_that_differ(base: Any, tuned: Any) -> tuple[str, ...]:
    """Names of the config's entries that differ and change what the same weights compute."""
    before, after = base.config.to_dict(), tuned.config.to_dict()
    return tuple(
        sorted(
            name
            for name in {*before, *after} - _HARMLESS
            if before.get(name) != after.get(name) and name != "tie_word_embeddings"
        )
    )


def tokenizers_differ(base: Path, tuned: Path) -> bool:
    """Whether TUNED brings a tokenizer.json that is not BASE's."""
    files = [folder / "tokenizer.json" for folder in (base, tuned)]
    return all(file.is_file() for file in files) and files[0].read_bytes() != files[1].read_bytes()


def side_of(folder: Path) -> Side:
    """Which weights a folder holds: hash, storage types and size, from the files that would be loaded."""
    check_tuned(folder)
    kind = kind_of(folder)
    if kind == "adapter":
        files = [folder / ADAPTER_CONFIG, folder / ADAPTER]
    else:
        files = [folder / "config.json", *_weights(folder)]
    tensors = [tensor for file in files if file.suffix == ".safetensors" for tensor in stored(file)]
    return Side(
        name=folder.resolve().name,
        kind=kind,
        sha256=_hash(files),
        dtypes=tuple(sorted({dtype for _, dtype, _ in tensors if dtype.startswith(("F", "BF"))})),
        parameters=sum(size for _, _, size in tensors),
    )


def _weights(folder: Path) -> list[Path]:
    if not (folder / _INDEX).is_file():
        return [folder / _SINGLE]
    shards = json.loads((folder / _INDEX).read_bytes())["weight_map"].values()
    return [folder / _INDEX, *(folder / shard for shard in sorted(set(shards)))]


def _hash(files: list[Path]) -> str:
    whole = hashlib.sha256()
    for file in files:
        try:
            with file.open("rb") as opened:
                own = hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError as fault:
            raise InputError(f"cannot be read: {fault.strerror}", where=str(file)) from fault
        whole.update(f"{file.name}\0{own}\n".encode())
    return whole.hexdigest()
