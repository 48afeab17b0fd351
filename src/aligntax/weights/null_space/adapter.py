"""Null spaces of general inputs, and a LoRA that cannot leave them: dW = multiplier * B (A~ U0^T)."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ..linears import bare_name, fingerprint, linears
from .moments import Moments
from .tensor_file import read_tensors, write_tensors

if TYPE_CHECKING:
    from torch import Tensor

_KIND = "aligntax.bases.1"
_REMEDY = "make it with aligntax weights moments --bases"


@dataclass(frozen=True, kw_only=True, eq=False)
class Bases(Mapping[str, Any]):
    """By name of a linear, orthonormal columns U0 [n_in, n_null] float32 that general inputs hardly reach.

    A mapping over the linears that have such directions; `left_out` names those that have none. `spaces` and
    `groups`: one space for each group of linears with the same input. `leaks`: by group, the largest leak that any
    change inside the space can have, on calibration and on held-out data. `target`: the leak that was asked for.
    `model`: hash of the model's linears.
    """

    spaces: dict[str, Any]
    groups: dict[str, str]
    leaks: dict[str, tuple[float, float]]
    target: float
    model: str

    def __getitem__(self, name: str) -> Tensor:
        space = self.spaces[self.groups[name]]
        if not space.shape[1]:
            raise KeyError(name)
        return space

    def __iter__(self) -> Iterator[str]:
        return (name for name, group in self.groups.items() if self.spaces[group].shape[1])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def only(self, names: Collection[str]) -> Bases:
        """The same for some of the linears. Raises InputError for a name that it does not know."""
        if unknown := sorted(set(names) - set(self.groups)):
            raise InputError(f"the bases do not cover {unknown[0]}", remedy=_REMEDY)
        groups = {name: group for name, group in self.groups.items() if name in names}
        return Bases(
            spaces={group: self.spaces[group] for group in dict.fromkeys(groups.values())}, groups=groups,
            leaks=self.leaks, target=self.target, model=self.model,
        )  # fmt: skip

    @property
    def left_out(self) -> tuple[str, ...]:
        """Linears whose inputs reach every direction: they are not to be changed."""
        return tuple(name for name, group in self.groups.items() if not self.spaces[group].shape[1])

    @property
    def dimensions(self) -> dict[str, tuple[int, int]]:
        """For every linear, the left-out ones too: directions in its space, and of its input."""
        return {
            name: (self.spaces[group].shape[1], len(self.spaces[group]))
            for name, group in self.groups.items()
        }

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file, whole or not at all."""
        head = {
            "groups": json.dumps(self.groups), "leaks": json.dumps(self.leaks), "target": repr(self.target),
            "model": self.model,
        }  # fmt: skip
        write_tensors(path, _KIND, self.spaces, head)

    @classmethod
    def load(cls, path: str | Path) -> Bases:
        """Reads what `save` wrote. Raises InputError where the file is absent, broken or of another kind."""
        spaces, head = read_tensors(path, _KIND, remedy=_REMEDY)
        try:
            groups: dict[str, str] = json.loads(head["groups"])
            return cls(
                spaces={group: spaces[group] for group in dict.fromkeys(groups.values())}, groups=groups, target=float(head["target"]), model=head["model"],
                leaks={group: (float(first), float(second)) for group, (first, second) in json.loads(head["leaks"]).items()},
            )  # fmt: skip
        except (KeyError, ValueError, AttributeError) as fault:
            raise InputError("the file's head is broken", where=str(path), remedy=_REMEDY) from fault


def null_basis(moment: Tensor, *, tau: float = 1e-3) -> Tensor:
    """Eigenvectors of the moment [n_in, n_in] whose eigenvalue is at most `tau` of the largest, as columns, float64.

    Relative, since absolute thresholds do not carry from one model to another. What holds on other data is not
    said by `tau`: `choose_bases` asks held-out data.
    """
    import torch

    values, vectors = torch.linalg.eigh(moment.double())
    return vectors[:, values <= tau * values[-1]]


def choose_bases(train: Moments, held_out: Moments, *, leak: float = 0.1, most: int | None = None) -> Bases:
    """For each linear the largest null space in which no change leaks more than `leak`, on either data.

    Directions are taken in the order of their energy on `train`, weakest first, as long as the worst change inside
    them stays below `leak` on `train` and on `held_out` (leak as in `moments.leak`: 1 is a change without
    direction; of moments collected `even`, with every token alike). The worst leak can only rise as directions are added, so this is the largest such prefix, found
    exactly by one Cholesky factorisation. `most`: at most so many directions, the weakest ones: of a wide model
    1024 keep memory small and are plenty for an adapter. Raises InputError where the two are of different models or
    the same rows, or `leak` is not positive.
    """
    if not leak > 0 or (most is not None and most < 1):
        raise InputError("no null space was asked for", remedy="give a leak above 0, such as 0.1")
    if (train.model, train.groups, train.even) != (held_out.model, held_out.groups, held_out.even):
        raise InputError(
            "calibration and held-out moments are of different models", remedy="collect both from one"
        )
    if train.data == held_out.data:
        raise InputError("calibration and held-out data are the same rows", remedy="hold other rows out")
    spaces, leaks = {}, {}
    for group in dict.fromkeys(train.groups.values()):
        reader = next(name for name, own in train.groups.items() if own == group)
        spaces[group], leaks[group] = _space(train, held_out, reader, leak, most)
    return Bases(spaces=spaces, groups=dict(train.groups), leaks=leaks, target=leak, model=train.model)


def _space(
    train: Moments, held_out: Moments, reader: str, leak: float, most: int | None
) -> tuple[Tensor, tuple[float, float]]:
    import torch

    values, vectors = train.spectrum(reader)
    n_in = len(values)
    vectors = vectors.to("cpu", torch.float64)
    there = vectors.T @ held_out.of(reader).cpu() @ vectors
    here_level, there_level = float(values.sum()) / n_in, float(there.trace()) / n_in
    bound = leak**2 * there_level * torch.eye(n_in, dtype=torch.float64) - there
    # The first leading block that is not positive definite is the first prefix with a leak above the target.
    _, failed = torch.linalg.cholesky_ex(bound)
    size = n_in if int(failed) == 0 else int(failed) - 1
    size = min(size, int((values <= leak**2 * here_level).sum()), most or n_in)
    if not size:
        return torch.zeros(n_in, 0), (0.0, 0.0)
    worst = float(torch.linalg.eigvalsh(there[:size, :size])[-1])
    leaks = (
        math.sqrt(max(0.0, float(values[size - 1])) / here_level),
        math.sqrt(max(0.0, worst) / there_level),
    )
    return vectors[:, :size].float().contiguous(), leaks


def add_null_space(
    model: Any,
    bases: Bases,
    *,
    rank: int,
    multiplier: float = 1.0,
    dropout: float = 0.0,
    any_model: bool = False,
) -> Any:
    """The model with a LoRA on every linear of `bases` that stays inside its null space, as a PeftModel.

    Every change is multiplier * B (A~ U0^T); B [n_out, rank] starts at zero, A~ [rank, n_null] as PEFT starts its A.
    U0 is no parameter: no optimiser, decay, momentum or precision moves a change out of its span. All else is
    frozen. What is saved, by PEFT, a trainer or accelerate, is an ordinary LoRA with A = A~ U0^T, and loading one
    puts it back. `multiplier` does not depend on the rank. Raises InputError where the bases are of another model
    (a `Bases` knows; unless `any_model`) or have no direction at all, MissingExtra without peft.
    """
    peft = _peft()
    _check(model, bases, any_model)
    found = linears(model)
    absent = sorted(name for name in bases if name not in found)
    if absent:
        raise InputError(f"the model has no linear {absent[0]}", remedy="make the bases from this model")
    alpha = multiplier * rank
    config = peft.LoraConfig(
        r=rank, lora_alpha=int(alpha) if float(alpha).is_integer() else alpha, lora_dropout=dropout, bias="none",
        target_modules=sorted(bases), fan_in_fan_out=any(found[name].input_major for name in bases),
        task_type="CAUSAL_LM",
    )  # fmt: skip
    wrapped = peft.get_peft_model(model, config)
    constrain(wrapped, bases)
    return wrapped


def constrain(model: Any, bases: Mapping[str, Tensor]) -> None:
    """Keeps every LoRA of a PeftModel, and any that is added later, inside the null spaces, in place.

    A LoRA that is there is projected. Raises InputError where one is on a linear that `bases` does not hold.
    """
    from peft.tuners.lora import LoraLayer

    from .layers import NullSpaces

    shared: dict[int, Tensor] = {}  # q, k and v hold one tensor between them
    for full, layer in model.named_modules():
        if not isinstance(layer, LoraLayer):
            continue
        name = bare_name(full)
        if name not in bases:
            raise InputError(f"there is no null space for {name}", remedy="leave it out of the adapter")
        basis = bases[name]
        device = layer.get_base_layer().weight.device
        layer.lora_A = NullSpaces(shared.setdefault(id(basis), basis.float().to(device)), layer.lora_A)


def save_as_lora(model: Any, folder: str | Path) -> None:
    """Writes the adapter as PEFT's own LoRA: `PeftModel.from_pretrained` and every server that takes LoRA load it."""
    model.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)


def residue(folder: str | Path, bases: Mapping[str, Tensor]) -> float:
    """How far a saved LoRA lies outside the null spaces: the largest |A - A U0 U0^T| / |A|, 0 to 1.

    A linear that `bases` does not hold counts as 1. Raises InputError where the folder holds no LoRA in safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(folder) / "adapter_model.safetensors"
    try:
        saved = load_file(path)
    except (OSError, SafetensorError) as fault:
        raise InputError(
            "there is no LoRA in it", where=str(folder), remedy="name an adapter's folder"
        ) from fault
    worst, ending = 0.0, ".lora_A.weight"
    downs = {
        bare_name(key.removesuffix(ending)): value for key, value in saved.items() if key.endswith(ending)
    }
    if not downs:
        raise InputError("there is no LoRA in it", where=str(folder), remedy="name an adapter's folder")
    for name, down in downs.items():
        if name not in bases:
            return 1.0
        wide, basis = down.double(), bases[name].double().cpu()
        norm = float(wide.norm())
        worst = max(worst, float((wide - wide @ basis @ basis.T).norm()) / norm if norm else 0.0)
    return worst


def _check(model: Any, bases: Mapping[str, Tensor], any_model: bool) -> None:
    if not len(bases):
        raise InputError(
            "no linear has a null space", remedy="allow a larger leak, or train without the constraint"
        )
    if isinstance(bases, Bases) and not any_model and fingerprint(linears(model)) != bases.model:
        raise InputError("the null spaces are of another model", remedy="make them from this one")


def _peft() -> Any:
    try:
        import peft
    except ImportError as absent:
        from ...errors import MissingExtra

        raise MissingExtra("peft", "weights") from absent
    return peft


def __getattr__(name: str) -> Any:
    if name == "SaveAsLora":  # a callback of transformers, which is not loaded for the rest
        from .layers import SaveAsLora

        return SaveAsLora
    raise AttributeError(name)


__all__ = ["Bases", "add_null_space", "choose_bases", "constrain", "null_basis", "residue", "save_as_lora"]
