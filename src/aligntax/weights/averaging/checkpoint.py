"""A checkpoint on disk: its tensors, where their bytes lie, and nothing executed or unpickled to find out."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ...errors import InputError
from .dtypes import SIZES

_LONGEST_HEADER = 100_000_000  # bytes; the limit of the safetensors library
_INDEX = ".safetensors.index.json"
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_CONVERT = (
    "convert it to safetensors on a machine that may run untrusted code: a pickled file can hold any program"
)
_MERGE = "merge it into its base: aligntax weights merge BASE ADAPTER -o OUT"
_SAMPLE = 4096


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor in a file. `start` and `end` count bytes from the start of that file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    shard: int
    start: int
    end: int

    @property
    def nbytes(self) -> int:
        """Bytes that the tensor takes."""
        return self.end - self.start

    @property
    def shown(self) -> str:
        """Type and shape, as in `BF16 [4096, 11008]`."""
        return f"{self.dtype} {list(self.shape)}"


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """A safetensors file. `metadata` is what its header says beside the tensors; `data` is where their bytes begin."""

    path: Path
    size: int
    modified_ns: int
    inode: tuple[int, int]
    metadata: dict[str, str]
    data: int
    header_sha256: str


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Tensors by name, in the order of the files. `folder` is None where one file was named instead of a folder."""

    path: Path
    folder: Path | None
    shards: tuple[Shard, ...]
    tensors: dict[str, Tensor]
    index: str | None
    config: dict[str, Any]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    @property
    def ties_head(self) -> bool:
        """Whether the config says that the head is the embedding."""
        text = self.config.get("text_config")
        inner = text if isinstance(text, dict) else {}
        return bool(self.config.get("tie_word_embeddings", inner.get("tie_word_embeddings", False)))

    def changed(self) -> Path | None:
        """A file that is no longer the one that was opened, by its size, time or inode; None where all are."""
        for shard in self.shards:
            try:
                now = os.stat(shard.path)
            except OSError:
                return shard.path
            if (now.st_size, now.st_mtime_ns, (now.st_dev, now.st_ino)) != (
                shard.size,
                shard.modified_ns,
                shard.inode,
            ):
                return shard.path
        return None

    def fingerprint(self) -> str:
        """A cheap hash that tells checkpoints apart: every header, and up to 4 KiB from the middle of every tensor.

        It reads little whatever the size, so it can miss a change of a few values; the content hash of an average
        reads every byte (see `docs/reference/weights.md`).
        """
        digest = hashlib.sha256()
        for shard in self.shards:
            digest.update(shard.header_sha256.encode())
        for shard_at, shard in enumerate(self.shards):
            with shard.path.open("rb") as file:
                for tensor in self.tensors.values():
                    if tensor.shard == shard_at:
                        file.seek(max(tensor.start, (tensor.start + tensor.end - _SAMPLE) // 2))
                        digest.update(file.read(min(_SAMPLE, tensor.nbytes)))
        return digest.hexdigest()


def open_checkpoint(path: Path) -> Checkpoint:
    """Read the headers of a Hugging Face folder, sharded or not, or of one safetensors file; no tensor is read.

    Raises InputError, with the remedy, where there are only pickled files, where an index names a file that is not
    there or lies outside the folder, and where a header does not describe exactly the bytes that follow it.
    """
    _refuse_adapter(path)
    if path.is_file():
        _refuse_other_formats(path)
        return _checked(path, None, [path], None)
    if not path.is_dir():
        raise InputError(
            "there is no such checkpoint", where=str(path), remedy="name a folder or a .safetensors file"
        )
    indexes = sorted(path.glob(f"*{_INDEX}"))
    if len(indexes) > 1:
        raise InputError(
            f"the folder has {len(indexes)} indexes", where=str(path), remedy="leave the one that is meant"
        )
    if indexes:
        mapped = _read_index(indexes[0])
        files = [path / name for name in dict.fromkeys(sorted(mapped.values()))]
        opened = _checked(path, path, files, indexes[0].name)
        _compare_with_index(opened, mapped)
        return opened
    files = sorted(path.glob("*.safetensors"))
    if not files:
        _refuse_without_weights(path)
    if len(files) > 1:
        raise InputError(
            f"{len(files)} safetensors files and no index that says which belong together",
            where=str(path),
            remedy=f"add model{_INDEX}, or name one of the files",
        )
    return _checked(path, path, files, None)


def _checked(path: Path, folder: Path | None, files: list[Path], index: str | None) -> Checkpoint:
    shards: list[Shard] = []
    tensors: dict[str, Tensor] = {}
    for at, file in enumerate(files):
        shard, found = _read_header(file, at)
        for tensor in found:
            if tensor.name in tensors:
                raise _broken(
                    file, f"tensor {tensor.name} is in {files[tensors[tensor.name].shard].name} too"
                )
            tensors[tensor.name] = tensor
        shards.append(shard)
    if not tensors:
        raise InputError("holds no tensor", where=str(path), remedy="name the folder that holds the weights")
    config = _read_config(folder) if folder else {}
    return Checkpoint(
        path=path, folder=folder, shards=tuple(shards), tensors=tensors, index=index, config=config
    )


def _read_header(path: Path, at: int) -> tuple[Shard, list[Tensor]]:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            length = int.from_bytes(first, "little") if len(first := file.read(8)) == 8 else -1
            if not 2 <= length <= min(_LONGEST_HEADER, status.st_size - 8):
                raise _broken(path, "its first bytes do not say how long its header is")
            raw = file.read(length)
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", where=str(path), remedy="check the file"
        ) from error
    metadata, described = _parsed(path, raw)
    data = 8 + length
    tensors = sorted(
        (_tensor(path, at, data, name, value) for name, value in described.items()),
        key=lambda tensor: (tensor.start, tensor.end),
    )
    edge = data
    for tensor in tensors:
        if tensor.start != edge:
            raise _broken(path, f"tensor {tensor.name} does not begin where the one before it ends")
        edge = tensor.end
    if edge != status.st_size:
        kind = "truncated: " if edge > status.st_size else ""
        raise _broken(path, f"{kind}its header speaks of {edge:,} bytes and it has {status.st_size:,}")
    shard = Shard(
        path=path,
        size=status.st_size,
        modified_ns=status.st_mtime_ns,
        inode=(status.st_dev, status.st_ino),
        metadata=metadata,
        data=data,
        header_sha256=hashlib.sha256(raw).hexdigest(),
    )
    return shard, tensors


def _parsed(path: Path, raw: bytes) -> tuple[dict[str, str], dict[str, Any]]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise _broken(path, "its header names something twice")
        return found

    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise _broken(path, "its header is not JSON") from None
    if not isinstance(header, dict):
        raise _broken(path, "its header is not a JSON object")
    metadata = header.pop("__metadata__", None)
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _broken(path, "its metadata is not text")
    return metadata, header


def _tensor(path: Path, at: int, data: int, name: str, value: Any) -> Tensor:
    shown = name if name.isprintable() and len(name) < 200 else "with an unprintable name"
    if shown != name or not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise _broken(path, f"tensor {shown} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in SIZES:
        raise InputError(
            f"tensor {name} has an element type that is not known",
            where=str(path),
            remedy="save the model as bfloat16, float16 or float32",
        )
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2:
        raise _broken(path, f"tensor {name} has a shape or offsets that are not counts")
    count = SIZES[dtype]
    for size in shape:
        count *= size
    start, end = offsets
    if end - start != count:
        raise _broken(path, f"tensor {name} is {dtype} {shape} and has {end - start:,} bytes")
    return Tensor(name=name, dtype=dtype, shape=tuple(shape), shard=at, start=data + start, end=data + end)


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(count) is int and 0 <= count < 2**63 for count in value)


def _read_index(path: Path) -> Mapping[str, str]:
    try:
        mapped = json.loads(path.read_text("utf-8"))["weight_map"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(
            "is not an index of shards", where=str(path), remedy="fetch the checkpoint again"
        ) from None
    if not isinstance(mapped, dict) or not mapped:
        raise InputError("names no tensor", where=str(path), remedy="fetch the checkpoint again")
    for shard in mapped.values():
        if not isinstance(shard, str) or "/" in shard or "\\" in shard or shard in (".", ".."):
            raise InputError(
                "names a shard outside its folder", where=str(path), remedy="do not use this checkpoint"
            )
        _refuse_other_formats(path.parent / shard)
        if not (path.parent / shard).is_file():
            raise InputError(
                f"names shard {shard}, which is not there",
                where=str(path),
                remedy="fetch the checkpoint again",
            )
    return mapped


def _compare_with_index(opened: Checkpoint, mapped: Mapping[str, str]) -> None:
    held = {name: opened.shards[tensor.shard].path.name for name, tensor in opened.tensors.items()}
    for name in [*mapped, *held]:
        if mapped.get(name) != held.get(name):
            raise InputError(
                f"the index puts tensor {name} in {mapped.get(name, 'no shard')}, it is in {held.get(name, 'none')}",
                where=str(opened.path),
                remedy="fetch the checkpoint again",
            )


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise InputError("is not a JSON object", where=str(path), remedy="fetch the checkpoint again")
    return config


def _refuse_adapter(path: Path) -> None:
    if (path / "adapter_config.json").is_file() or path.name.startswith("adapter_model."):
        raise InputError("this is an adapter, not a model", where=str(path), remedy=_MERGE)


def _refuse_pickle(path: Path) -> None:
    if path.suffix.lower() in PICKLED:
        raise InputError("is pickled, and not read", where=str(path), remedy=_CONVERT)


def _refuse_other_formats(path: Path) -> None:
    _refuse_pickle(path)
    if path.suffix != ".safetensors" or not path.name.isprintable():
        raise InputError(
            "is not named as a safetensors file", where=str(path), remedy="name a .safetensors file"
        )


def _refuse_without_weights(path: Path) -> None:
    for file in sorted(path.iterdir()):
        _refuse_pickle(file)
    raise InputError(
        "holds no safetensors file", where=str(path), remedy="name the folder that holds the weights"
    )


def _broken(path: Path, what: str) -> InputError:
    return InputError(
        what, where=str(path), remedy="it is not a sound safetensors file: fetch or save it again"
    )


def inodes(checkpoints: Iterator[Checkpoint] | tuple[Checkpoint, ...]) -> set[tuple[int, int]]:
    """Device and inode of every file of weights: what must never be written to."""
    return {shard.inode for checkpoint in checkpoints for shard in checkpoint.shards}
