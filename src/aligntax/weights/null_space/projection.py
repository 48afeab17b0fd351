"""Full fine-tuning inside null spaces: after each optimiser step the displacement is projected.

Imports torch and transformers: to be imported inside functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from ...errors import InputError
from ..linears import Linear, linears, weight_of

Refresh = Callable[[Any], Mapping[str, Tensor]]
"""New null spaces for a model as it stands: collects moments again and chooses bases."""


def reference_of(model: Any, bases: Mapping[str, Tensor], *, device: str | None = "cpu") -> dict[str, Tensor]:
    """Copies of the weights [n_out, n_in] that `bases` constrains, on `device`; None leaves them where they are.

    Four bytes for each of these weights, which in a Llama of 7 B is 26 GB of main memory.
    Raises InputError where a weight is not float32: see `project_displacement`.
    """
    found = _constrained(model, bases)
    return {name: weight_of(linear).detach().to(device, copy=True) for name, linear in found.items()}


def project_displacement(model: Any, reference: Mapping[str, Tensor], bases: Mapping[str, Tensor]) -> None:
    """In place W <- W_ref + (W - W_ref) U0 U0^T for every linear of `bases`.

    Two products of [n_out, n_in] by [n_in, n_null] a linear. Weights are to be float32 (train in mixed precision
    for speed): rounding W to bfloat16 moves it by up to W/512, which in careful training is more than it learns, in
    every direction alike. Raises InputError where a weight is of another type, sharded, or has no reference.
    """
    for name, linear in _constrained(model, bases).items():
        if name not in reference:
            raise InputError(f"there is no reference for {name}", remedy="make it with reference_of")
        _project(weight_of(linear), reference[name], bases[name])


def freeze_outside(model: Any, bases: Mapping[str, Tensor]) -> int:
    """Trains nothing but the weights that `bases` constrains; returns how many numbers that leaves.

    Embeddings, norms, head, biases and linears without a null space lie outside the guarantee: one step of any of
    them changes what general inputs get.
    """
    model.requires_grad_(requires_grad=False)
    found = _constrained(model, bases)
    for linear in found.values():
        linear.module.weight.requires_grad_(requires_grad=True)
    return sum(linear.module.weight.numel() for linear in found.values())


class ProjectDisplacement(TrainerCallback):
    """Keeps full fine-tuning in the null spaces of `bases`, under any optimiser, in any trainer of transformers or TRL.

    The displacement is projected after every optimiser step, so that each checkpoint and the end lie inside; every
    `every` steps instead is cheaper, and then again before a save and at the end, never off phase. What lies outside
    the guarantee is frozen from the start, unless `freeze` is off. `device`: where the reference weights are kept:
    "cpu", or None beside the model, which is faster. `refresh`, every `refresh_every` steps: null spaces for the
    model as it then stands; from there on displacement counts from there.
    One process or DDP, float32 weights: with weights in shards use the adapter, `nullspace.add_null_space`.
    """

    def __init__(
        self,
        bases: Mapping[str, Tensor],
        *,
        every: int = 1,
        freeze: bool = True,
        device: str | None = "cpu",
        refresh: Refresh | None = None,
        refresh_every: int = 100,
    ) -> None:
        if every < 1 or refresh_every < 1:
            raise InputError("projection is every step or every few", remedy="give at least 1")
        if not len(bases):
            raise InputError("no linear has a null space", remedy="allow a larger leak")
        self.bases, self.every, self.freeze, self.device = bases, every, freeze, device
        self.refresh, self.refresh_every = refresh, refresh_every
        self.reference: dict[str, Tensor] | None = None
        self.held: dict[str, tuple[Linear, Tensor]] = {}

    def on_init_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Freezes before the optimiser is made, so that it holds no state for what does not move."""
        if self.freeze and kwargs.get("model") is not None:
            freeze_outside(kwargs["model"], self.bases)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Takes the reference: the weights before the first step. Raises InputError where there was one already."""
        if self.reference is not None:
            return  # a second train() goes on from the same reference
        if state.global_step:
            raise InputError(
                "training resumes from a checkpoint, and the weights before the first step are not known",
                remedy="set callback.reference = reference_of(start, bases), with the model it started from",
            )
        model = kwargs["model"]
        if self.freeze:
            freeze_outside(model, self.bases)
        self.reference = reference_of(model, self.bases, device=self.device)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Projects after the optimiser's step; before a save or an evaluation always."""
        model, step = kwargs["model"], state.global_step
        renew = self.refresh is not None and step % self.refresh_every == 0
        if renew or step % self.every == 0 or control.should_save or control.should_evaluate:
            self._project(model)
        if renew and self.refresh is not None:
            self.bases = self.refresh(model)
            self.held.clear()
            self.reference = reference_of(model, self.bases, device=self.device)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A save by epochs comes from here and not from a step."""
        self._project(kwargs["model"])

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """So that what is handed over lies inside."""
        self._project(kwargs["model"])

    def _project(self, model: Any) -> None:
        if self.reference is None:
            return
        if not self.held:  # looked up once: finding the linears costs a forward
            shared: dict[int, Tensor] = {}
            for name, linear in _constrained(model, self.bases).items():
                basis = self.bases[name]
                there = shared.setdefault(id(basis), basis.to(linear.module.weight.device, torch.float32))
                self.held[name] = (linear, there)
        for name, (linear, basis) in self.held.items():
            _project(weight_of(linear), self.reference[name], basis)


def _project(weight: Tensor, reference: Tensor, basis: Tensor) -> None:
    with torch.no_grad():
        start, basis = reference.to(weight.device), basis.to(weight.device, torch.float32)
        weight.copy_(start + ((weight - start) @ basis) @ basis.T)


def _constrained(model: Any, bases: Mapping[str, Tensor]) -> dict[str, Linear]:
    """The linears of `bases`, in its order; one forward of two tokens."""
    held = linears(model)
    if absent := sorted(name for name in bases if name not in held):
        raise InputError(f"the model has no linear {absent[0]}", remedy="make the bases from this model")
    found = {name: held[name] for name in bases}
    for linear in found.values():
        if weight_of(linear).dtype != torch.float32:
            raise InputError(
                f"the weight of {linear.name} is {str(linear.module.weight.dtype).removeprefix('torch.')}",
                remedy="load the model in float32 and let the trainer use bf16=True",
            )
    return found
