"""What annotators are asked: axes, values, keys, contested cases. Read from codebook.yaml."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import msgspec

from ..errors import AlignTaxError


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """One choice of an axis."""

    name: str  # as stored and exchanged: full, hard_refusal, yes, 2
    key: str  # the single key that picks it
    title: str  # on its button
    means: str


class Axis(msgspec.Struct, frozen=True, kw_only=True):
    """One question about an exchange."""

    name: str  # field of Annotation
    question: str
    values: tuple[Value, ...]
    several: bool = False  # whether more than one value can be picked, or none


class SkipReason(msgspec.Struct, frozen=True, kw_only=True):
    """Why somebody cannot label an exchange; `name` is what `Annotation.skipped` holds."""

    name: str
    key: str
    title: str


class Contested(msgspec.Struct, frozen=True, kw_only=True):
    """A borderline case with an invented example, and how it is read."""

    case: str
    asked: str
    answer: str
    answered: str
    kinds: tuple[str, ...]
    why: str


class Codebook(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `instruction` is one page of plain text with blank lines between paragraphs."""

    version: str
    instruction: str
    axes: tuple[Axis, ...]
    skip: tuple[SkipReason, ...]
    contested: tuple[Contested, ...]

    def axis(self, name: str) -> Axis:
        """The axis of this name. Raises KeyError where there is none."""
        return {axis.name: axis for axis in self.axes}[name]


@cache
def load_codebook() -> Codebook:
    """The codebook that ships with this version. Raises AlignTaxError when the file is missing or broken."""
    import yaml

    try:
        data: Any = yaml.safe_load((resources.files(__package__) / "codebook.yaml").read_text("utf-8"))
        axes = [
            {"name": name, **axis, "values": _named(axis["values"])} for name, axis in data["axes"].items()
        ]
        return msgspec.convert({**data, "axes": axes, "skip": _named(data["skip"])}, Codebook)
    except (OSError, yaml.YAMLError, KeyError, msgspec.ValidationError) as error:
        raise AlignTaxError("the codebook of this installation is missing or broken") from error


def _named(table: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": name, **entry} for name, entry in table.items()]
