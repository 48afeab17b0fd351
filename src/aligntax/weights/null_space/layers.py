"""The half of a LoRA that reads, held inside a null space, and the trainer callback that checks what was saved.

Imports torch and transformers: to be imported inside functions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from ...errors import AlignTaxError, InputError
from ..linears import bare_name
from .adapter import residue, save_as_lora

TOLERANCE = 1e-2
"""Most residue of a saved adapter: rounding to bfloat16 leaves 0.2 %, an adapter that was not constrained far more."""


class NullSpaceA(nn.Module):
    """Reads x as A x with A = inner U0^T [rank, n_in]; `inner` [rank, n_null] is trained, U0 is a buffer.

    For all that PEFT, trainers and files see it is a linear map with a weight A: that is what `weight` gives and a
    state dict holds. Loading A takes its coordinates in the null space; one that lies outside is an error.
    """

    basis: Tensor

    def __init__(self, basis: Tensor, rank: int) -> None:
        super().__init__()
        self.in_features, self.out_features, self.bias = len(basis), rank, None
        self.register_buffer("basis", basis, persistent=False)
        self.inner = nn.Parameter(torch.empty(rank, basis.shape[1], device=basis.device))
        nn.init.kaiming_uniform_(self.inner, a=math.sqrt(5))  # rows as long as those of PEFT's own A

    @property
    def weight(self) -> Tensor:
        """A [rank, n_in], in the type of the parameter; computed in float32 also under autocast."""
        inner = self.inner.full_tensor() if hasattr(self.inner, "full_tensor") else self.inner
        with torch.autocast(inner.device.type, enabled=False):
            return (inner.float() @ self.basis.float().T).to(inner.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Reads x [..., n_in] into [..., rank]."""
        return nn.functional.linear(x, self.weight)

    def take(self, weight: Tensor) -> float:
        """Takes the part of A [rank, n_in] that lies in the null space; says how much of it lies outside, 0 to 1."""
        with torch.no_grad():
            wide = weight.to(self.basis.device).float()
            inner = wide @ self.basis.float()
            self.inner.copy_(inner.to(self.inner.dtype))
            norm = float(wide.norm())
            return float((wide - inner @ self.basis.float().T).norm()) / norm if norm else 0.0

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}weight"] = self.weight if keep_vars else self.weight.detach()

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: Any, strict: bool,
        missing_keys: list[str], unexpected_keys: list[str], error_msgs: list[str],
    ) -> None:  # fmt: skip
        weight = state_dict.get(f"{prefix}weight")
        if weight is None:
            missing_keys.append(f"{prefix}weight")
        elif tuple(weight.shape) != (self.out_features, self.in_features):
            error_msgs.append(f"{prefix}weight has the shape {tuple(weight.shape)}")
        elif self.take(weight) > TOLERANCE:
            error_msgs.append(f"{prefix}weight lies outside the null space: it is of another adapter")


class NullSpaces(nn.ModuleDict):
    """PEFT's lora_A of one layer: every adapter that is put in it, now or later, reads through the null space.

    Later ones are those that TRL adds as a frozen copy for a reference.
    """

    def __init__(self, basis: Tensor, present: Mapping[str, Any]) -> None:
        super().__init__()
        self._basis = (basis,)  # in a tuple, for this module is not to hold a second buffer
        for name, module in present.items():
            self[name] = module

    @property
    def basis(self) -> Tensor:
        """U0 [n_in, n_null]."""
        return self._basis[0]

    def __setitem__(self, key: str, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            held = NullSpaceA(self.basis, module.out_features)
            held.inner.requires_grad_(module.weight.requires_grad)
            module = held
        super().__setitem__(key, module)


class SaveAsLora(TrainerCallback):
    """Checks that every checkpoint of a trainer holds an ordinary LoRA inside the null spaces, and stops if not.

    Trainers of transformers and TRL write it by themselves, since the state dict holds A; where one has not (a
    wrapper that saves shards), this writes it. Raises AlignTaxError on a checkpoint outside the constraint.
    """

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After a checkpoint was written, on the main process."""
        if not state.is_world_process_zero:
            return
        spaces, folder = spaces_of(kwargs["model"]), Path(args.output_dir) / f"checkpoint-{state.global_step}"
        try:
            outside = residue(folder, spaces)
        except InputError:
            save_as_lora(kwargs["model"], folder)
            outside = residue(folder, spaces)
        if outside > TOLERANCE:
            raise AlignTaxError(f"{folder} lies outside the null space by {outside:.2%}: do not use it")


def spaces_of(model: Any) -> dict[str, Tensor]:
    """The null spaces that hold a model's adapters, by name of the linear; empty where none are held."""
    return {
        bare_name(full).removesuffix(".lora_A"): module.basis
        for full, module in model.named_modules()
        if isinstance(module, NullSpaces)
    }
