"""An adapter merged into the model that it was trained on, written as an ordinary folder of safetensors."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from .. import __version__
from ..errors import InputError
from .adapters import ADAPTER, ADAPTER_CONFIG, check_tuned, kind_of, load_tuned, stored
from .averaging.card import COMPANIONS
from .loading import Dtype, check_folder, without_bars

RECORD = "merge.json"
_DTYPES: dict[str, Dtype] = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_SHARD = "5GB"
_LOW_RANK = (".lora_", "lora_magnitude_vector")


class Merged(msgspec.Struct, frozen=True, kw_only=True):
    """What was merged. Hashes are SHA-256 of files, by name; `dtype` is that of the tensors written."""

    aligntax: str
    base: str
    adapter: str
    base_files: dict[str, str]
    adapter_files: dict[str, str]
    files: dict[str, str]  # written
    dtype: str
    widened: bool  # BASE keeps several storage types, so that all was written as float32, which loses nothing
    projections: int  # matrices that get a low-rank change
    replaced: tuple[str, ...]  # tensors that the adapter brings whole
    tokenizer: str  # "base" or "adapter": whose it is


def merge(base: str | Path, adapter: str | Path, out: str | Path) -> Merged:
    """Write BASE with the adapter merged into it to the new folder `out`, whole or not at all, and read it back.

    Arithmetic is float32 with one rounding to BASE's storage type. The whole model is in memory once. Config from
    BASE; the tokenizer is the adapter's where its folder has one, else BASE's. Nothing is written to an input.

    Raises InputError where `adapter` is none, does not fit, where BASE is quantised, or `out` cannot be used.
    """
    base, adapter, out = Path(base), Path(adapter), Path(out)
    check_folder(base)
    if kind_of(adapter) != "adapter":
        raise InputError(
            f"there is no {ADAPTER_CONFIG}", where=str(adapter), remedy="give an adapter as PEFT saves it"
        )
    check_tuned(adapter)
    _check_out(out, base, adapter)
    dtype, widened = _dtype_of(base)
    model = load_tuned(adapter, base, dtype=dtype)
    _finite(model)
    names = [name for name, *_ in stored(adapter / ADAPTER)]
    side = adapter if (adapter / "tokenizer_config.json").is_file() else base
    with _whole(out) as part:
        with without_bars():
            model.save_pretrained(part, max_shard_size=_SHARD)
        _copy(side, part)
        _read_back(part, model)
        merged = Merged(
            aligntax=__version__,
            base=base.resolve().name,
            adapter=adapter.resolve().name,
            base_files=_hashes(base),
            adapter_files={name: _hash(adapter / name) for name in (ADAPTER_CONFIG, ADAPTER)},
            files=_hashes(part),
            dtype=dtype,
            widened=widened,
            projections=len({name.split(".lora_")[0] for name in names if ".lora_" in name}),
            replaced=tuple(sorted(name for name in names if not any(mark in name for mark in _LOW_RANK))),
            tokenizer="adapter" if side is adapter else "base",
        )
        (part / RECORD).write_bytes(msgspec.json.format(msgspec.json.encode(merged), indent=1) + b"\n")
        (part / "README.md").write_text(card(merged, out.name), "utf-8")
    return merged


def card(merged: Merged, name: str) -> str:
    """The model card, as Markdown: what was merged into what, with hashes."""
    replaced = f" and {len(merged.replaced)} tensors replaced whole" if merged.replaced else ""
    lines = [
        "---",
        "tags: [merge, aligntax]",
        "---",
        "",
        f"# {_plain(name)}",
        "",
        f"The adapter `{_plain(merged.adapter)}` merged into `{_plain(merged.base)}` by aligntax {merged.aligntax}: "
        f"{merged.projections} projections changed{replaced}. Arithmetic in float32, one rounding to {merged.dtype}.",
        "",
        "This card says how the weights were made. It says nothing of how the model behaves: measure that.",
        "",
        "| input | file | SHA-256 |",
        "| --- | --- | --- |",
        *(f"| base | `{_plain(file)}` | `{digest}` |" for file, digest in merged.base_files.items()),
        *(f"| adapter | `{_plain(file)}` | `{digest}` |" for file, digest in merged.adapter_files.items()),
        "",
        f"The tokenizer is that of the {merged.tokenizer}. All of this for programs: `{RECORD}`.",
    ]
    return "\n".join([*lines, ""])


def _check_out(out: Path, *inputs: Path) -> None:
    for source in inputs:
        if out.resolve() == source.resolve() or source.resolve() in out.resolve().parents:
            raise InputError("is an input, or lies in its folder", where=str(out), remedy="name a new folder")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("is there already", where=str(out), remedy="name a new folder")


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """OUT.partial, which takes the name OUT when all is written. One that is there may be another run's at work."""
    part = out.with_name(f"{out.name}.partial")
    try:
        part.mkdir(parents=True)
    except FileExistsError as fault:
        raise InputError(
            "is there already: another run writes it, or one was killed",
            where=str(part),
            remedy="remove it if no run writes it",
        ) from fault
    except OSError as fault:
        raise _unwritable(out, fault) from fault
    try:
        yield part
        _sync(part)
        if out.exists():
            out.rmdir()  # empty: `_check_out` has seen to it
        part.replace(out)
    except OSError as fault:
        raise _unwritable(out, fault) from fault
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _unwritable(out: Path, fault: OSError) -> InputError:
    return InputError(f"cannot be written: {fault.strerror}", where=str(out), remedy="name another place")


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _copy(source: Path, part: Path) -> None:
    """Tokenizer and chat template by their names, nothing else: no code, no pickles, no other weights."""
    for name in COMPANIONS:
        if (source / name).is_file() and not (part / name).exists():
            shutil.copyfile(source / name, part / name)


def _dtype_of(base: Path) -> tuple[Dtype, bool]:
    """In which type the merged model is held so that no tensor of BASE loses a digit; whether that is a wider one."""
    found = {dtype for file in sorted(base.glob("*.safetensors")) for _, dtype, _ in stored(file)}
    real = {dtype for dtype in found if dtype.startswith(("F", "BF"))}
    if not real or not real <= set(_DTYPES) or "U8" in found or "I8" in found:
        raise InputError(
            f"its weights are stored as {', '.join(sorted(found))}: they are quantised",
            where=str(base),
            remedy="merge into the model that it was quantised from",
        )
    return (_DTYPES[min(real)], False) if len(real) == 1 else ("float32", True)


def _finite(model: Any) -> None:
    import torch

    for name, tensor in model.named_parameters():
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(
                f"{name} would hold numbers that are not finite",
                remedy="do not use this adapter or this base",
            )


def _read_back(part: Path, model: Any) -> None:
    """Every tensor that was written is, bit for bit, what a fresh load of the folder gives."""
    import torch

    from .loading import load_model

    again = dict(load_model(part, dtype="auto").named_parameters())
    for name, tensor in model.named_parameters():
        if again[name].dtype != tensor.dtype or not torch.equal(again[name], tensor):
            raise OSError(5, f"{name} was read back otherwise than it was written")


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(folder.glob("*.safetensors"))
    return {file.name: _hash(file) for file in [folder / "config.json", *files]}


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(name: str) -> str:
    """A name that Markdown does not read as anything else."""
    return "".join(sign if sign.isalnum() or sign in " ._-" else "_" for sign in name)
