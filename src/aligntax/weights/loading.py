"""A model, its tokenizer and rows of data from local files: safetensors only, no remote code, no network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ..errors import InputError, MissingExtra

Dtype = Literal["float32", "bfloat16", "float16", "auto"]

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_CONVERT = "load it once where you trust it and save it with save_pretrained, which writes safetensors"
_INDEX = "model.safetensors.index.json"


def load_model(folder: str | Path, *, dtype: Dtype = "float32", device: str | None = None) -> Any:
    """The causal language model of a local Hugging Face folder, ready to evaluate.

    `dtype`: that of its parameters; "auto" keeps what the checkpoint has. `device`: where it goes: "cpu" (as None),
    "cuda", "cuda:1", or "auto" for a GPU where there is one. Classes come from transformers alone: code that the
    folder brings is never run, and a tensor that the checkpoint lacks is an error rather than random numbers.
    Raises InputError where the folder holds no such model, MissingExtra without transformers and torch.
    """
    transformers = _transformers()
    folder = Path(folder)
    check_folder(folder)
    try:
        with without_bars():
            model, found = transformers.AutoModelForCausalLM.from_pretrained(
                str(folder), dtype=dtype, use_safetensors=True, trust_remote_code=False, local_files_only=True,
                output_loading_info=True,
            )  # fmt: skip
    except Exception as fault:
        # Anything may come out of a broken folder: SafetensorError, RuntimeError on shapes, ValueError, OSError.
        raise InputError(
            f"the model does not load: {_first_line(fault)}", where=str(folder), remedy="check the files"
        ) from fault
    if lacking := sorted(found["missing_keys"]):
        raise InputError(
            f"{len(lacking)} tensors are not in the checkpoint, {lacking[0]} among them",
            where=str(folder),
            remedy="the config and the weights must be of one model",
        )
    return model.to(_device(device)).eval()


def load_tokenizer(folder: str | Path) -> Any:
    """The tokenizer of a local Hugging Face folder, padding on the left and with a pad token.

    Where it has no pad token the end token stands in: who reads attention masks does not see the difference.
    Raises InputError where there is none, MissingExtra without transformers.
    """
    transformers = _transformers()
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("there is no such folder", where=str(folder), remedy=_NAME_A_FOLDER)
    _refuse_code(folder, "tokenizer_config.json")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            str(folder), trust_remote_code=False, local_files_only=True, padding_side="left"
        )
    except Exception as fault:
        raise InputError(
            f"the tokenizer does not load: {_first_line(fault)}",
            where=str(folder),
            remedy="the folder must hold the tokenizer's files beside the model's",
        ) from fault
    _refuse_mute(tokenizer, folder)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _refuse_mute(tokenizer: Any, folder: Path) -> None:
    """The library may build a tokenizer of the model's own class from a file that is none of it: it reads nothing."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return
    from tokenizers import Tokenizer

    plain = Tokenizer.from_file(str(file))
    special = set(tokenizer.all_special_tokens)
    words = sorted(set(plain.get_vocab(with_added_tokens=False)) - special, key=len)[-8:]
    text = f"The answer is 42. {' '.join(words)}"
    if plain.encode(text, add_special_tokens=False).ids and not tokenizer.encode(
        text, add_special_tokens=False
    ):
        raise InputError(
            f"transformers reads it as a {type(tokenizer).__name__}, which finds no token in any text",
            where=str(file),
            remedy="save the tokenizer again with transformers, or name its class in tokenizer_config.json",
        )


@contextmanager
def without_bars() -> Iterator[None]:
    """While inside, transformers draws no progress bars of its own, which it does into pipes and across other bars."""
    logging = _transformers().utils.logging
    drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if drawn:
            logging.enable_progress_bar()


def rows(path: str | Path, *, needs: Sequence[str] = ("prompt",)) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file, each an object whose fields `needs` are texts that are not empty.

    Blank lines are passed over; other fields are kept as they are. Raises InputError with file and line, and never
    with the text, where a line is something else or no row is left.
    """
    path = Path(path)
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as fault:
        raise InputError(f"cannot be read: {fault.strerror}", where=str(path)) from fault
    found = [
        _row(line, f"{path}:{number}", needs) for number, line in enumerate(lines, start=1) if line.strip()
    ]
    if not found:
        raise InputError("there is no row in it", where=str(path), remedy="one JSON object a line")
    return found


def _row(line: bytes, where: str, needs: Sequence[str]) -> dict[str, Any]:
    remedy = "each line is an object such as {" + ", ".join(f'"{name}": "..."' for name in needs) + "}"
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as fault:  # UnicodeDecodeError is a ValueError
        raise InputError("no JSON", where=where, remedy=remedy) from fault
    if not isinstance(row, dict):
        raise InputError("no JSON object", where=where, remedy=remedy)
    for name in needs:
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise InputError(f'no text under "{name}"', where=where, remedy=remedy)
    return row


_NAME_A_FOLDER = "give a local folder with config.json and safetensors; nothing is fetched"


def check_folder(folder: Path) -> None:
    """Raises InputError unless the folder is a whole model of safetensors that transformers itself knows.

    Refused: no config.json; an adapter; pickles alone; an index that names a missing shard, one outside the folder
    or one that is no safetensors file; a model that needs code of its own.
    """
    where = str(folder)
    if not folder.is_dir():
        raise InputError("there is no such folder", where=where, remedy=_NAME_A_FOLDER)
    if (folder / "adapter_config.json").exists():
        raise InputError(
            "this is an adapter, not a model",
            where=where,
            remedy="merge it into its base: aligntax weights merge BASE ADAPTER -o OUT",
        )
    if not (folder / "config.json").is_file():
        raise InputError("there is no config.json", where=where, remedy=_NAME_A_FOLDER)
    _refuse_code(folder, "config.json")
    if (folder / _INDEX).is_file():
        _check_index(folder)
    elif not (folder / "model.safetensors").is_file():
        pickled = any(next(folder.glob(pattern), None) for pattern in _PICKLES)
        raise InputError(
            "its weights are pickles, which are not read: they can run code"
            if pickled
            else "there is no model.safetensors",
            where=where,
            remedy=_CONVERT if pickled else _NAME_A_FOLDER,
        )


def _check_index(folder: Path) -> None:
    index = _json(folder / _INDEX)
    shards = index.get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise InputError("the index has no weight_map", where=str(folder / _INDEX), remedy=_CONVERT)
    for shard in sorted(set(map(str, shards.values()))):
        path = PurePosixPath(shard)
        if path.is_absolute() or ".." in path.parts or "\\" in shard:
            raise InputError(
                "the index names a file outside the folder",
                where=str(folder / _INDEX),
                remedy="do not trust this folder",
            )
        if path.suffix != ".safetensors":
            raise InputError(
                "the index names a file that is not safetensors",
                where=str(folder / _INDEX),
                remedy=_CONVERT,
            )
        if not (folder / shard).is_file():
            raise InputError(
                f"{shard} is in the index and not in the folder",
                where=str(folder),
                remedy="copy the whole folder",
            )


def _refuse_code(folder: Path, name: str) -> None:
    """A folder may bring code only where transformers has a class of its own, which is then what is loaded."""
    if not (folder / name).is_file():
        return
    said = _json(folder / name)
    if "auto_map" not in said:
        return
    kind = (said if name == "config.json" else _json(folder / "config.json")).get("model_type")
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    if kind not in CONFIG_MAPPING_NAMES:
        raise InputError(
            f"it asks to run code that comes with it (auto_map in {name}); remote code is not run",
            where=str(folder),
            remedy="use a model that transformers has a class for, or a version of transformers that has one",
        )


def _json(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as fault:
        raise InputError("no JSON", where=str(path), remedy="copy the file again") from fault
    if not isinstance(said, dict):
        raise InputError("no JSON object", where=str(path), remedy="copy the file again")
    return said


def _device(device: str | None) -> str:
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device or "cpu"


def _first_line(fault: BaseException) -> str:
    lines = str(fault).strip().splitlines() or [type(fault).__name__]
    return lines[0][:200]


def _transformers() -> Any:
    try:
        import torch  # noqa: F401 - transformers imports without it and fails later, in more words
        import transformers
    except ImportError as absent:
        raise MissingExtra("transformers and torch", "weights") from absent
    return transformers
