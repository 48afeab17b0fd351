"""A low-rank adapter whose size and whose strength are set apart: rank says how many directions, multiplier how far."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ...errors import InputError

if TYPE_CHECKING:
    from ..linears import Linear

_GROUPS: Mapping[str, tuple[str, ...]] = {
    "all": ("attention", "mlp"),
    "attention": ("attention",),
    "mlp": ("mlp",),
}
_IN_LAYER = re.compile(r"^.*?\.\d+\.")


class LoraRecipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an adapter is: `W + multiplier * B A`, with A [rank, n_in] and B [n_out, rank], B zero at the start.

    `rank`: directions per matrix, >= 1. `multiplier`: the effective scale, > 0, whatever the rank: a fixed
    `lora_alpha` would divide it by the rank, so that a sweep over ranks sweeps the step size too.
    `rank_stabilised`: write it as rsLoRA does, alpha = multiplier * sqrt(rank); the effective scale is the same.
    `targets`: roles ("attention", "mlp", "all") or names of modules ("up_proj"). `layers`: first and last layer,
    both inside, counted from 0 at the input; None is all. `dropout`: on the adapter's input, 0 to 1.

    Ref: arXiv:2106.09685 (LoRA), arXiv:2312.03732 (rsLoRA). Raises InputError on values out of range.
    """

    rank: int = 8
    multiplier: float = 2.0
    rank_stabilised: bool = False
    targets: tuple[str, ...] = ("all",)
    layers: tuple[int, int] | None = None
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= 65_536:
            raise InputError(f"rank {self.rank} is out of range", remedy="give a whole number of 1 or more")
        if not 0 < self.multiplier <= 1000:  # also where it is no number
            raise InputError(
                f"multiplier {self.multiplier} is out of range",
                remedy="it is the scale of the adapter's product: more than 0, usually 1 to 4",
            )
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout {self.dropout} is out of range", remedy="give 0 or more, below 1")
        if not self.targets:
            raise InputError("no module is named to be trained", remedy="name a role or a module, or say all")
        if self.layers is not None and not 0 <= self.layers[0] <= self.layers[1]:
            raise InputError(
                f"layers {self.layers[0]}-{self.layers[1]} are no range",
                remedy="say first-last, such as 8-23",
            )

    @property
    def alpha(self) -> float:
        """What PEFT calls `lora_alpha`: it divides it by the rank, or by its root for rsLoRA."""
        return float(self.multiplier) * (self.rank**0.5 if self.rank_stabilised else self.rank)


def read_layers(text: str) -> tuple[int, int]:
    """First and last layer of a text such as "8-23", or of one number. Raises InputError on anything else."""
    found = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", text)
    if found is None:
        raise InputError(f"{text!r} names no layers", remedy="say first-last, such as 8-23, or one number")
    return int(found[1]), int(found[2] or found[1])


def chosen_linears(recipe: LoraRecipe, linears: Mapping[str, Linear]) -> tuple[Linear, ...]:
    """The projections that the recipe names, in the model's order, of those that `linears(model)` gives.

    Raises InputError where a name or the layers fit none, saying which names there are.
    """
    n_layers = 1 + max((linear.layer for linear in linears.values()), default=-1)
    first, last = recipe.layers or (0, n_layers - 1)
    if last >= n_layers:
        raise InputError(f"there is no layer {last}", remedy=f"the model's layers are 0-{n_layers - 1}")
    chosen: dict[str, Linear] = {}
    for target in recipe.targets:
        fitting = {name: one for name, one in linears.items() if _fits(one, target)}
        if not fitting:
            names = sorted({name.rsplit(".", 1)[-1] for name in linears})
            raise InputError(
                f"no module of the model is called {target!r}",
                remedy=f"say all, attention, mlp or one of {', '.join(names)}",
            )
        chosen |= fitting
    return tuple(one for name, one in linears.items() if name in chosen and first <= one.layer <= last)


def _fits(linear: Linear, target: str) -> bool:
    if target in _GROUPS:
        return linear.role in _GROUPS[target]
    return linear.name == target or linear.name.endswith(f".{target}")


def peft_config(
    recipe: LoraRecipe, linears: Mapping[str, Linear], only: Collection[str] | None = None
) -> Any:
    """The recipe as a `peft.LoraConfig` for the model that `linears` came from.

    `only`: names of linears; of those that the recipe names, no others are adapted. Modules are named by their last part where that is enough, because servers read them so. Raises InputError
    where the recipe fits no module.
    """
    import peft

    chosen = [one for one in chosen_linears(recipe, linears) if only is None or one.name in only]
    names, layers = _shortest_names({one.name for one in chosen}, linears)
    return peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.rank,
        lora_alpha=int(recipe.alpha)
        if recipe.alpha.is_integer()
        else recipe.alpha,  # servers read whole ones
        use_rslora=recipe.rank_stabilised,
        lora_dropout=recipe.dropout,
        bias="none",
        target_modules=names,
        layers_to_transform=layers,
        fan_in_fan_out=any(one.input_major for one in chosen),
    )


def _shortest_names(chosen: set[str], linears: Mapping[str, Linear]) -> tuple[list[str], list[int] | None]:
    """Names for PEFT that mean these modules and no others, and the layers they hold in; None is every layer."""
    layers = sorted({linears[name].layer for name in chosen})
    everywhere = len(layers) == len({one.layer for one in linears.values()})
    for shorten in (lambda name: name.rsplit(".", 1)[-1], lambda name: _IN_LAYER.sub("", name)):
        endings = sorted({shorten(name) for name in chosen})
        meant = {
            name
            for name, one in linears.items()
            if one.layer in layers and any(name.endswith(f".{ending}") for ending in endings)
        }
        if meant == chosen:
            return endings, None if everywhere else layers
    return sorted(chosen), None


def effective_scales(model: Any) -> dict[str, float]:
    """What the product B A is really multiplied with in each adapted module, read from the model that PEFT made."""
    return {
        name: float(module.scaling[adapter])
        for name, module in model.named_modules()
        if isinstance(getattr(module, "scaling", None), dict)
        for adapter in module.scaling
    }


def check_scale(recipe: LoraRecipe, model: Any) -> None:
    """Raises InputError unless every adapted module of the model has the scale that the recipe asks for."""
    scales = effective_scales(model)
    wrong = [
        name for name, scale in scales.items() if not math.isclose(scale, recipe.multiplier, rel_tol=1e-6)
    ]
    if wrong or not scales:
        raise InputError(
            f"the adapter's scale is not {recipe.multiplier} in {wrong[0] if wrong else 'any module'}",
            remedy="this version of peft counts otherwise; please report it",
        )
