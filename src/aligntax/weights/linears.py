"""The linear maps inside a transformer's layers, and which of them read the same input."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ..errors import InputError
from .layout import place_of

if TYPE_CHECKING:
    from torch import Tensor

_ADAPTED = re.compile(r"^base_model\.model\.|\.base_layer(?=\.|$)")
_ADAPTER = re.compile(r"\.(?:lora_|modules_to_save|ia3_|vera_|hada_)")
_MIXTURE = re.compile(r"(?:^|\.)experts\.|(?:^|\.)(?:router|gate|shared_expert_gate)$")


class Linear(msgspec.Struct, frozen=True, kw_only=True):
    """A projection of one layer: attention or MLP, whatever the model calls it.

    `name`: as in the bare model, also where an adapter is wrapped around it. `layer`: from 0 at the input.
    `module`: the torch module that holds the weight. `n_in`, `n_out`: features read and written. `input_major`:
    the weight is kept as [n_in, n_out] (Conv1D of GPT-2). `group`: name of the first linear that reads the same
    input: q, k and v share one, gate and up another; Phi's attention and MLP read one and the same.
    """

    name: str
    layer: int
    role: Literal["attention", "mlp"]
    module: Any
    n_in: int
    n_out: int
    input_major: bool
    group: str


def linears(model: Any, *, grouped: bool = True) -> dict[str, Linear]:
    """The linears of a causal language model by name, in its own order; one forward of two tokens finds the groups.

    With `grouped` False there is no forward, so that a model without weights will do (torch's meta device), and each
    linear is a group of its own.

    Embeddings, norms and the head are not among them, tied or not. Nor are experts of a mixture and their router:
    each expert sees tokens of its own, too few of them to say what it does not see; adapters leave them frozen
    (`count_experts` says how many weights that is). Works through a PEFT wrapper: names are those of the bare model.
    Raises InputError where the model has no such linear.
    """
    found = dict(_modules(model))
    if not found:
        raise InputError(
            "the model has no linear maps inside numbered layers",
            remedy="null spaces are for transformers of the Llama, Mistral, Qwen, Gemma, Phi or GPT-2 layout",
        )
    groups = _groups(model, found) if grouped else {name: name for name in found}
    return {name: _linear(name, module, groups[name]) for name, module in found.items()}


def weight_of(linear: Linear) -> Tensor:
    """The weight as [n_out, n_in]: a view, so that what is written into it is written into the model.

    Raises InputError where it is packed (quantised).
    """
    weight = linear.module.weight
    shape = (linear.n_in, linear.n_out) if linear.input_major else (linear.n_out, linear.n_in)
    if tuple(weight.shape) != shape or not weight.is_floating_point():
        raise InputError(
            f"the weight of {linear.name} is quantised or sharded",
            remedy="load the model whole, in float32 or bfloat16",
        )
    return weight.T if linear.input_major else weight


def bare_name(name: str) -> str:
    """A module's or parameter's name without what a PEFT wrapper puts around it."""
    return _ADAPTED.sub("", name)


def count_experts(model: Any) -> int:
    """How many weights of the model stand in experts of mixtures, which no linear of `linears` covers."""
    return sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if ".experts." in name and not _ADAPTER.search(name)
    )


def fingerprint(found: dict[str, Linear]) -> str:
    """A hash that names the model: of every 997th or so weight of each linear, as bfloat16 so that loading is free."""
    import torch

    digest = hashlib.sha256()
    for name, linear in sorted(found.items()):
        flat = weight_of(linear).detach().reshape(-1)
        sample = flat[:: max(1, flat.numel() // 1024)].to("cpu", torch.bfloat16)
        digest.update(f"{name} {linear.n_out} {linear.n_in} ".encode())
        digest.update(sample.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()


def _modules(model: Any) -> Iterator[tuple[str, Any]]:
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    for full, module in model.named_modules():
        if not isinstance(module, nn.Linear | Conv1D) or _ADAPTER.search(full):
            continue
        name = bare_name(full)
        place = place_of(name)
        if place.layer is not None and place.role in {"attention", "mlp"} and not _MIXTURE.search(name):
            yield name, module


def _linear(name: str, module: Any, group: str) -> Linear:
    from torch import nn

    place = place_of(name)
    input_major = not isinstance(module, nn.Linear)
    n_in, n_out = module.weight.shape if input_major else (module.in_features, module.out_features)
    return Linear(
        name=name, layer=place.layer or 0, role="attention" if place.role == "attention" else "mlp", module=module,
        n_in=n_in, n_out=n_out, input_major=input_major, group=group,
    )  # fmt: skip


def _groups(model: Any, found: dict[str, Any]) -> dict[str, str]:
    """For each linear the first that read the very same tensor in one forward."""
    import torch

    readers: list[tuple[str, Any]] = []  # the tensors are held: an id may be used again once one is freed

    def hook(name: str) -> Any:
        return lambda _module, positional, named: readers.append((name, input_of(positional, named)))

    device = next(iter(found.values())).weight.device
    with hooked({name: (module, hook(name)) for name, module in found.items()}), quiet(model):
        model(input_ids=torch.ones((1, 2), dtype=torch.long, device=device), use_cache=False)
    groups: dict[str, str] = {}
    first: dict[int, str] = {}
    for name, read in readers:
        groups.setdefault(name, first.setdefault(id(read), name))
    return {name: groups.get(name, name) for name in found}  # one that was not asked reads for itself


def input_of(positional: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
    """The tensor that a linear was called with."""
    return positional[0] if positional else next(iter(named.values()))


@contextmanager
def hooked(hooks: dict[str, tuple[Any, Any]]) -> Iterator[None]:
    """While inside, each module calls its hook(module, positional, named) before its forward."""
    handles = [module.register_forward_pre_hook(hook, with_kwargs=True) for module, hook in hooks.values()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def quiet(model: Any) -> Iterator[None]:
    """While inside: no gradients, no dropout; afterwards every module trains or evaluates as before."""
    import torch

    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


__all__ = [
    "Linear",
    "bare_name",
    "count_experts",
    "fingerprint",
    "hooked",
    "input_of",
    "linears",
    "quiet",
    "weight_of",
]
