"""LoRA adapters as PEFT saves them: told from whole models, and merged into the base that they were trained on."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from ..errors import InputError, MissingExtra
from .loading import Dtype, check_folder, load_model

Kind = Literal["checkpoint", "adapter"]

ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
_LONGEST_HEADER = 100_000_000  # bytes: the limit of safetensors itself
_BELONGS = "an adapter belongs to the model that it was trained on"


def kind_of(folder: Path) -> Kind:
    """Whether the folder is a LoRA adapter, as PEFT saves one, or a whole checkpoint."""
    return "adapter" if (folder / ADAPTER_CONFIG).is_file() else "checkpoint"


def check_tuned(folder: Path) -> None:
    """Raises InputError unless the folder is a whole model, as `check_folder` has it, or an adapter of safetensors."""
    if kind_of(folder) == "checkpoint":
        check_folder(folder)
    elif not (folder / ADAPTER).is_file():
        raise InputError(
            f"there is no {ADAPTER}", where=str(folder), remedy="save the adapter with safetensors"
        )


def load_tuned(folder: Path, base: Path, *, dtype: Dtype = "float32", device: str | None = None) -> Any:
    """The tuned model: its checkpoint, or BASE with the adapter merged into it, in memory.

    An adapter's change is computed in float32 and rounded once, with the base, to the dtype of the model.
    Raises InputError where it does not load, or where a tensor of the adapter has no place in BASE.
    """
    check_tuned(folder)
    if kind_of(folder) == "checkpoint":
        return load_model(folder, dtype=dtype, device=device)
    try:
        import peft
    except ImportError as absent:
        raise MissingExtra("peft", "weights") from absent
    model = load_model(base, dtype=dtype, device=device)
    _refuse_tied(model, folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what peft warns of here is an error below
            adapted = peft.PeftModel.from_pretrained(model, str(folder), torch_device=str(model.device))
            _check_adapter(adapted, folder)
            return adapted.merge_and_unload().eval()
    except InputError:
        raise
    except Exception as fault:
        found = re.search(r"size mismatch for ([\w.]+)", str(fault))
        what = f"{found[1]} has another shape in BASE" if found else "it cannot be merged into BASE"
        raise InputError(f"the adapter does not fit: {what}", where=str(folder), remedy=_BELONGS) from fault


def _check_adapter(adapted: Any, folder: Path) -> None:
    """An adapter that names other modules than BASE has would be merged as if it were empty."""
    import peft

    there = {name for name, *_ in stored(folder / ADAPTER)}
    taken = set(peft.get_peft_model_state_dict(adapted, save_embedding_layers=False))
    for name in sorted(there ^ taken):
        where = "in BASE" if name in there else "in the adapter"
        raise InputError(f"{name} has no counterpart {where}", where=str(folder), remedy=_BELONGS)


def _refuse_tied(model: Any, folder: Path) -> None:
    """One matrix that is both embedding and head cannot take a change of one of them: merged, it would change both."""
    holders: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        holders.setdefault(id(parameter), []).append(name.rpartition(".")[0])
    tied = {name for names in holders.values() if len(names) > 1 for name in names}
    for name, *_ in stored(folder / ADAPTER):
        module = name.removeprefix("base_model.model.").split(".lora_")[0].removesuffix(".weight")
        if module in tied:
            raise InputError(
                f"the adapter changes {module}, which is tied to another tensor of BASE: merged, both would change",
                where=str(folder),
                remedy="train an adapter that leaves embedding and head alone, or serve this one unmerged",
            )


def stored(file: Path) -> Iterator[tuple[str, str, int]]:
    """Name, storage type and number of entries of each tensor, from the header of a safetensors file."""
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(min(length, _LONGEST_HEADER)))
        for name, entry in header.items():
            if name != "__metadata__":
                yield name, entry["dtype"], math.prod(entry["shape"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise InputError(
            "this is no safetensors file", where=str(file), remedy="copy the file again"
        ) from fault
