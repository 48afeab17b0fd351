"""Domain packs: a folder each with prompts, floor probes, vocabulary and system prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ..errors import InputError
from ..types import Prompt

FOLDER = Path(__file__).parent / "domains"
DOMAINS = tuple(sorted(path.parent.name for path in FOLDER.glob("*/prompts.jsonl")))
"""Names of the packs that ship with this version."""

_Kind = TypeVar("_Kind", bound=msgspec.Struct)

PARTS = ("prompts", "floor")


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """A sensitive word or phrase of a profession, and what can stand for it."""

    term: str
    neutral: tuple[str, ...] = ()  # empty: no synonym means the same
    note: str = ""  # why there is none, or where a substitute does not fit


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """One system prompt for a use case, in parts that can be measured apart."""

    name: str
    role: str
    users: str
    fine: str
    declined: str

    @property
    def text(self) -> str:
        """The system prompt as it is sent."""
        return "\n\n".join((self.role, self.users, self.fine, self.declined))


class Pack(msgspec.Struct, frozen=True, kw_only=True):
    """All of a domain."""

    name: str
    prompts: tuple[Prompt, ...]  # benign, in families of twins
    floor: tuple[Prompt, ...]  # to be declined
    vocabulary: tuple[Word, ...]
    system_prompts: tuple[Calibration, ...]


def load_pack(name: str | Path) -> Pack:
    """The pack of this name, or of a folder built like one. Raises InputError when it is missing or broken."""
    from .format import load

    folder = _folder(name)
    return Pack(
        name=folder.name,
        prompts=tuple(load(folder / "prompts.jsonl")),
        floor=tuple(load(folder / "floor.jsonl")),
        vocabulary=load_vocabulary(folder),
        system_prompts=load_system_prompts(folder),
    )


def load_vocabulary(name: str | Path) -> tuple[Word, ...]:
    """Sensitive words of a pack. Raises InputError when the pack or its file is missing or broken."""
    path = _folder(name) / "vocabulary.yaml"
    entries = _mapping(path)
    return tuple(
        _converted({"term": str(term), **_word(entry)}, Word, path, str(term))
        for term, entry in entries.items()
    )


def load_system_prompts(name: str | Path) -> tuple[Calibration, ...]:
    """System prompts of a pack. Raises InputError when the pack or its file is missing or broken."""
    path = _folder(name) / "system_prompts.yaml"
    return tuple(
        _converted({"name": str(key), **(entry if isinstance(entry, dict) else {})}, Calibration, path, key)
        for key, entry in _mapping(path).items()
    )


def pack_file(path_or_name: str | Path) -> Path:
    """The file that a name stands for: of a pack, of a folder, or itself. Raises InputError where there is none."""
    path = Path(path_or_name)
    domain, _, part = str(path_or_name).partition("/")
    if isinstance(path_or_name, str) and domain in DOMAINS and (part or "prompts") in PARTS:
        return FOLDER / domain / f"{part or 'prompts'}.jsonl"
    if path.is_dir():
        path = path / "prompts.jsonl"
    if not path.exists():
        known = ", ".join(DOMAINS)
        raise InputError(
            "there is no such suite",
            where=str(path_or_name),
            remedy=f"name a file, or a pack: {known}; a pack's floor probes are PACK/floor",
        )
    return path


def _folder(name: str | Path) -> Path:
    path = FOLDER / name if isinstance(name, str) and name in DOMAINS else Path(name)
    if not path.is_dir():
        raise InputError("there is no such pack", where=str(name), remedy=f"use {', '.join(DOMAINS)}")
    return path


def _word(entry: object) -> dict[str, Any]:
    """Short forms: a list of substitutes, one, or null; the long one is {neutral, note}."""
    if entry is None or isinstance(entry, (str, list)):
        entry = {"neutral": entry}
    if not isinstance(entry, dict):
        return {"neutral": entry}
    neutral = entry.get("neutral")
    return {**entry, "neutral": [neutral] if isinstance(neutral, str) else neutral or []}


def _mapping(path: Path) -> dict[Any, Any]:
    import yaml

    try:
        data: Any = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise InputError("the file cannot be read", where=str(path), remedy="a pack needs it") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise InputError("the file is not YAML", where=where, remedy="mend it at this place") from error
    if not isinstance(data, dict):
        raise InputError("is not a table of names", where=str(path), remedy="write NAME: ... a line")
    return data


def _converted(values: dict[str, Any], kind: type[_Kind], path: Path, key: object) -> _Kind:
    unknown = sorted(set(values) - set(kind.__struct_fields__))
    if unknown:
        raise InputError(
            f"{unknown[0]} is not a field of {key}",
            where=str(path),
            remedy=f"use {', '.join(kind.__struct_fields__)}",
        )
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{key} is not built as it should be ({error})", where=str(path)) from error
