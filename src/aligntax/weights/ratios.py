"""How much of the aligned model each tensor gets: a ratio per block of layers, and a stated policy per role."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from ..errors import InputError
from .layout import ROLES, Role, place_of, split_layers

Policy = Literal["block", "first", "last", "mean"]
"""Whose ratio a role takes: that of the tensor's own block, of the first block, of the last, or the blocks' mean."""

POLICIES: Mapping[Role, Policy] = {
    "embedding": "first",
    "attention": "block",
    "mlp": "block",
    "norm": "block",
    "final_norm": "last",
    "head": "last",
    "other": "block",
}
"""What holds where a recipe says nothing of a role: what stands outside the layers follows its nearest block."""


class Ratios(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shares `a` of the ALIGNED model: `theta = theta0 + a * (theta1 - theta0)`.

    `blocks`: one share for each of K contiguous blocks of layers, from the input on; one block is uniform averaging.
    `roles`: for a role either a policy (see `Policy`) or ratios of its own: one number, or one per block. What
    stands outside the layers and has a list takes its first number (embedding) or its last (norm, head, other).
    Shares normally lie in 0..1; others extrapolate, and are refused unless `extrapolate` says that this is meant.
    """

    blocks: tuple[float, ...]
    roles: dict[Role, Policy | float | tuple[float, ...]] = {}
    extrapolate: bool = False

    def __post_init__(self) -> None:
        if not self.blocks:
            raise InputError(
                "a recipe without a ratio", remedy="give one ratio, or one for each block of layers"
            )
        for role, own in self.roles.items():
            if isinstance(own, tuple) and len(own) != len(self.blocks):
                raise InputError(
                    f"role {role} has {len(own)} ratios for {len(self.blocks)} blocks",
                    remedy="give as many as there are blocks, or one number",
                )
        named = [*self.blocks, *(value for own in self.roles.values() for value in _numbers(own))]
        for value in named:
            if not -10 <= value <= 10:  # also where it is no number
                raise InputError(
                    f"ratio {value} is out of range", remedy="shares of the aligned model run from 0 to 1"
                )
            if not self.extrapolate and not 0 <= value <= 1:
                raise InputError(
                    f"ratio {value} lies outside 0 to 1",
                    remedy="say extrapolate: true in the recipe if it is meant to go beyond the two models",
                )

    def of(self, name: str, n_layers: int) -> float:
        """The share of the aligned model in the tensor of this name, in a model of `n_layers` layers."""
        place = place_of(name)
        own = self.roles.get(place.role, POLICIES[place.role])
        if isinstance(own, float | int):
            return float(own)
        ratios = own if isinstance(own, tuple) else self.blocks
        if own == "mean":
            return sum(self.blocks) / len(self.blocks)
        if own == "first" or (place.layer is None and place.role == "embedding"):
            return ratios[0]
        if own == "last" or place.layer is None:
            return ratios[-1]
        return ratios[block_of(place.layer, n_layers, len(self.blocks))]


def block_of(layer: int, n_layers: int, n_blocks: int) -> int:
    """Which of `n_blocks` blocks a layer lies in. Raises InputError where there are fewer layers than blocks."""
    if n_blocks > max(n_layers, 1):
        raise InputError(
            f"{n_blocks} ratios for a model of {n_layers} layers", remedy="give at most one ratio per layer"
        )
    return next(at for at, block in enumerate(split_layers(n_layers, n_blocks)) if layer in block)


def _numbers(own: Policy | float | tuple[float, ...]) -> tuple[float, ...]:
    if isinstance(own, str):
        return ()
    return own if isinstance(own, tuple) else (own,)


__all__ = ["POLICIES", "ROLES", "Policy", "Ratios", "block_of"]
