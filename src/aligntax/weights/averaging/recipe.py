"""A recipe: which checkpoints become one, by which operation, with how much of the aligned model where."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import msgspec

from ...errors import InputError
from ..ratios import Ratios
from .operations import OPERATIONS


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model after safety training, and its weight beside the others."""

    path: str
    weight: float = 1.0


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`theta = theta0 + a * (...)`: theta0 is `base`, `ratios` give `a` for each tensor, `operation` the rest.

    `base` and `models` may stay empty in a file that is used with checkpoints named on the command line.
    `density` is of TIES (share of changes kept), `drop` and `seed` are of DARE. Raises InputError where they do not fit.
    """

    version: Literal[1] = 1
    base: str = ""
    models: tuple[Model, ...] = ()
    operation: str = "linear"
    ratios: Ratios
    density: float | None = None
    drop: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            raise InputError(
                f"operation {self.operation!r} is not known", remedy=f"it is one of {', '.join(OPERATIONS)}"
            )
        for name, value, of in (
            ("density", self.density, "ties"),
            ("drop", self.drop, "dare"),
            ("seed", self.seed, "dare"),
        ):
            if value is not None and of != self.operation:
                raise InputError(f"{name} belongs to {of}", remedy=f"leave it out, or take operation {of}")
        if self.density is not None and not 0 < self.density <= 1:
            raise InputError(f"density {self.density} is out of range", remedy="it lies above 0 and up to 1")
        if self.drop is not None and not 0 <= self.drop < 1:
            raise InputError(f"drop {self.drop} is out of range", remedy="it runs from 0 up to below 1")
        if any(not 0 < model.weight <= 100 for model in self.models):
            raise InputError("a model's weight is out of range", remedy="weights lie above 0 and up to 100")
        if self.operation == "slerp" and len(self.models) > 1:
            raise InputError(
                "slerp takes one aligned model", remedy="take linear or task_arithmetic for more"
            )

    @property
    def weights(self) -> tuple[float, ...]:
        """The weights of the models, in their order."""
        return tuple(model.weight for model in self.models)

    @property
    def ends_at_aligned(self) -> bool:
        """Whether `a = 1` is the aligned model itself, so that its bytes are copied."""
        if len(self.models) != 1 or self.operation not in ("linear", "slerp", "task_arithmetic"):
            return False
        return self.operation != "task_arithmetic" or self.models[0].weight == 1

    def sha256(self) -> str:
        """A hash of everything but the paths: two recipes with the same hash do the same to the same inputs."""
        said = msgspec.structs.replace(
            self, base="", models=tuple(Model(path="", weight=w) for w in self.weights)
        )
        return hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()

    def without_folders(self) -> Recipe:
        """The same with the last part of each path alone: what may be published beside the weights."""
        models = tuple(Model(path=Path(model.path).name, weight=model.weight) for model in self.models)
        return msgspec.structs.replace(self, base=Path(self.base).name, models=models)

    def save(self, path: Path) -> None:
        """Write as YAML, such that `read_recipe` gives it back."""
        import yaml

        path.write_text(yaml.safe_dump(msgspec.to_builtins(self), sort_keys=False), "utf-8")


def read_recipe(path: Path) -> Recipe:
    """The recipe of a YAML or JSON file. Paths in it are taken from the file's own folder.

    Raises InputError that names the file and the field.
    """
    import yaml

    try:
        said: Any = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", where=str(path), remedy="check the path"
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError):
        raise InputError(
            "is neither YAML nor JSON", where=str(path), remedy="see the reference of recipes"
        ) from None
    try:
        recipe = msgspec.convert(said, Recipe, strict=True)
    except InputError as error:
        raise InputError(error.what, where=str(path), remedy=error.remedy) from None
    except msgspec.ValidationError as error:
        raise InputError(
            f"is not a recipe: {error}", where=str(path), remedy="see the reference of recipes"
        ) from None
    return msgspec.structs.replace(
        recipe,
        base=_from(path, recipe.base),
        models=tuple(msgspec.structs.replace(model, path=_from(path, model.path)) for model in recipe.models),
    )


def _from(recipe: Path, path: str) -> str:
    return str(recipe.parent / path) if path else ""
