"""Two models in memory and a live one between them: ratios are tried in place, and nothing is written.

What is kept is the base and the ALIGNED parameters, not their difference: a difference kept in the model's own dtype
rounds twice and misses the aligned model at a = 1, and in float32 it takes more room. So memory is three times the
parameters that differ (live, base, aligned) plus once those that are equal, in the dtype of the model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import AlignTaxError, InputError
from ..adapters import check_tuned, kind_of, load_tuned
from ..layout import count_layers, place_of
from ..loading import Dtype, check_folder, load_model
from ..ratios import Ratios

if TYPE_CHECKING:
    import torch

    from ..layout import Role

_CHUNK = 1 << 24  # elements at a time, so that float64 arithmetic on a large tensor needs 400 MB at most
_CANARY_TOKENS = 16


class StaleWeights(AlignTaxError):
    """The weights were set and what the model computes did not follow: every score after this would be of old weights."""


class Resident:
    """A live model whose parameters are set to `theta0 + a * (theta1 - theta0)`, per parameter, in place.

    `model` is the base; it is changed in place. `aligned` holds the aligned parameters by name, or is a model. Tied
    parameters are one; buffers stay as they are. At a = 0 and a = 1 the parameters are bit for bit those of the base
    and of the aligned model; between them arithmetic is float64, rounded at the end.

    `prove()` sees that the forward pass follows the weights, and every `set` looks again.
    Raises InputError where names or shapes differ, naming the tensor.
    """

    def __init__(self, model: Any, aligned: Any) -> None:
        named = dict(model.named_parameters())
        source: Iterable[tuple[str, torch.Tensor]] = (
            aligned.items()
            if isinstance(aligned, Mapping)
            else aligned.named_parameters(remove_duplicate=False)
        )
        self.model = model
        self.source: tuple[Path, Dtype] | None = None  # where the base came from: adapters are merged into it
        self.parameters: dict[str, torch.nn.Parameter] = named
        self.n_layers = count_layers(named)
        self.base: dict[str, torch.Tensor] = {}
        self.aligned: dict[str, torch.Tensor] = {}
        self._strange: dict[str, torch.Tensor] = {}  # what `put` changed though the two models agree on it
        self._names = _Names(model)
        for name, tensor in self._checked(source):
            ours = named[name].detach()
            theirs = tensor.detach().to(device=ours.device, dtype=ours.dtype)
            if not _same(ours, theirs):
                self.base[name], self.aligned[name] = ours.clone(), theirs.clone()
        if not self.base:
            raise InputError(
                "the two models have the same weights",
                remedy="give the model before safety training and the one after",
            )
        self.ratios: dict[str, float] = dict.fromkeys(self.base, 0.0)
        self._canary_ids = _canary_ids(model)
        self._checksum = self.canary()

    @classmethod
    def from_folders(
        cls, base: str | Path, aligned: str | Path, *, dtype: Dtype = "auto", device: str | None = None
    ) -> Resident:
        """From two local folders. The aligned tensors are streamed from their files and no second model is built,
        but where transformers renames tensors as it loads: then the aligned model is loaded and dropped again.

        `aligned` may be a LoRA adapter for the base: it is merged in memory, to the weights that `weights merge` writes.
        Raises InputError as `load_model` and `load_tuned` do, and where the two are not of one shape.
        """
        base, aligned = Path(base), Path(aligned)
        check_tuned(aligned)
        check_folder(base)
        if kind_of(aligned) == "adapter":
            held = cls(load_model(base, dtype=dtype, device=device), load_tuned(aligned, base, dtype=dtype))
        else:
            _same_shape(base, aligned)
            model, streamed = load_model(base, dtype=dtype, device=device), _Streamed(aligned)
            held = cls(model, streamed if _known(model, streamed) else load_model(aligned, dtype=dtype))
        held.source = (base, dtype)
        return held

    @property
    def roles(self) -> tuple[Role, ...]:
        """Roles in which the two models differ, in the order of the model."""
        return tuple(dict.fromkeys(place_of(name).role for name in self.base))

    def set(self, ratios: Ratios | Mapping[str, float]) -> None:
        """Set every parameter that differs to its share of the aligned model.

        A mapping gives the share per parameter and must name all of `base`. Raises StaleWeights where weights changed
        and the logits of a few fixed tokens did not.
        """
        import torch

        shares = self.shares(ratios)
        changed = self._forget()
        with torch.no_grad():
            for name, share in shares.items():
                if share == self.ratios.get(name):
                    continue
                live = self._live(name)
                before = None if changed or place_of(name).role == "embedding" else live.clone()
                _blend(live, self.base[name], self.aligned[name], share)
                changed = changed or (before is not None and not _same(live, before))
        self.ratios = shares
        self._look(changed)

    def put(self, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Show other weights of the same shape, such as a checkpoint; the next `set` comes back from them."""
        import torch

        seen = set()
        self._forget()
        with torch.no_grad():
            for name, tensor in self._checked(tensors, whole=False):
                live = self._live(name)
                if name not in self.base and not _same(live, tensor):
                    self._strange[name] = live.clone()
                live.copy_(tensor.to(device=live.device, dtype=live.dtype))
                seen.add(name)
        if missing := set(self.base) - seen:
            raise InputError(
                f"{sorted(missing)[0]} is not in the checkpoint", remedy="give a whole checkpoint"
            )
        self.ratios = {}
        self._checksum = self.canary()

    def put_folder(self, folder: str | Path) -> None:
        """Show the checkpoint of a folder, streamed from its files, or the base with the adapter that the folder holds.

        Raises InputError where it is an adapter and the base is not known by its folder.
        """
        folder = Path(folder)
        check_tuned(folder)
        if kind_of(folder) == "checkpoint":
            self.put(_Streamed(folder).items())
        elif self.source is None:
            raise InputError(
                "is an adapter, and nobody said for which folder",
                where=str(folder),
                remedy="open the two models with Resident.from_folders",
            )
        else:
            base, dtype = self.source
            self.put(load_tuned(folder, base, dtype=dtype).named_parameters())

    def shares(self, ratios: Ratios | Mapping[str, float]) -> dict[str, float]:
        """The share of the aligned model for each parameter that differs."""
        if isinstance(ratios, Ratios):
            return {name: ratios.of(name, self.n_layers) for name in self.base}
        if missing := set(self.base) - set(ratios):
            raise InputError(f"no ratio for {sorted(missing)[0]}", remedy="name every parameter that differs")
        return {name: float(ratios[name]) for name in self.base}

    def canary(self) -> str:
        """A hash of the logits that the live model gives for a few fixed tokens."""
        import torch

        with torch.no_grad():
            logits = self.model(input_ids=self._canary_ids).logits.float().cpu().contiguous()
        if not bool(torch.isfinite(logits).all()):
            raise AlignTaxError(
                "the model gives logits that are no finite numbers: the weights may be damaged"
            )
        return hashlib.sha256(logits.numpy().tobytes()).hexdigest()

    def prove(self) -> None:
        """See that the forward pass follows: base and aligned give different logits, and each gives its own again.

        Leaves the aligned weights in place. Raises StaleWeights where it does not.
        """
        seen = []
        for share in (0.0, 1.0, 0.0, 1.0):
            self.set(dict.fromkeys(self.base, share))
            seen.append(self.canary())
        if seen[0] == seen[1] or seen[:2] != seen[2:]:
            raise StaleWeights("base and aligned weights were set and the model's logits did not follow them")

    def _forget(self) -> bool:
        """Put back what both models have and weights that were shown had not; whether logits must follow."""
        import torch

        changed = any(place_of(name).role != "embedding" for name in self._strange)
        with torch.no_grad():
            for name, tensor in self._strange.items():
                self._live(name).copy_(tensor)
        self._strange = {}
        return changed

    def _look(self, changed: bool) -> None:
        now = self.canary()
        if changed and now == self._checksum:
            raise StaleWeights("new weights were set and the model's logits are the old ones")
        self._checksum = now

    def _live(self, name: str) -> torch.Tensor:
        """The parameter that the forward pass uses. Somebody may have replaced the one that we knew."""
        live = self.parameters[name]
        if self.model.get_parameter(name) is not live:
            raise StaleWeights(f"{name} was replaced in the model: setting it would change nothing")
        return live.data

    def _checked(
        self, tensors: Iterable[tuple[str, torch.Tensor]], *, whole: bool = True
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """Each parameter once, under the model's first name for it, of the right shape."""
        seen: set[str] = set()
        tied: dict[str, torch.Tensor] = {}
        for given, tensor in tensors:
            name = self._names.name_of(given)
            if name is None:
                continue
            if tuple(tensor.shape) != tuple(self.parameters[name].shape):
                raise InputError(
                    f"{given} is {_shape(tensor)} in one model and {_shape(self.parameters[name])} in the other",
                    remedy="give two models of one shape and vocabulary",
                )
            if name in seen:
                if not _same(tied[name], tensor):
                    raise InputError(
                        f"{given} is tied in the base and not in the other model",
                        remedy="give two models of one shape",
                    )
                continue
            seen.add(name)
            if name in self._names.tied:
                tied[name] = tensor
            yield name, tensor
        if whole and (missing := set(self.parameters) - seen):
            raise InputError(
                f"{sorted(missing)[0]} is not in the aligned model", remedy="give two models of one shape"
            )


class _Names:
    """What a model calls its parameters: several names for a tied one, and a prefix that checkpoints may leave out."""

    def __init__(self, model: Any) -> None:
        first: dict[int, str] = {}
        self.known: dict[str, str] = {}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            self.known[name] = first.setdefault(id(parameter), name)
        called = list(self.known.values())
        self.tied = frozenset(name for name in called if called.count(name) > 1)
        self.buffers = frozenset(name for name, _ in model.named_buffers())
        self.prefix = getattr(model, "base_model_prefix", "")

    def name_of(self, given: str) -> str | None:
        """The model's first name for this tensor; None for a buffer. Raises InputError for what it does not have."""
        for name in (given, f"{self.prefix}.{given}"):
            if name in self.known:
                return self.known[name]
            if name in self.buffers:
                return None
        if given.endswith((".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias")):
            return None  # buffers that older checkpoints hold
        raise InputError(f"{given} is not in the base model", remedy="give two models of one shape")


class _Streamed(Mapping[str, Any]):
    """The tensors of a checked folder, read from its files one at a time."""

    def __init__(self, folder: Path) -> None:
        index = folder / "model.safetensors.index.json"
        whole = {"": "model.safetensors"}
        shards = json.loads(index.read_bytes())["weight_map"] if index.is_file() else whole
        self._files = [folder / name for name in dict.fromkeys(shards.values())]
        self._places = {name: path for path in self._files for name in _open(path, _keys)}

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, name: str) -> torch.Tensor:
        return _open(self._places[name], lambda file: file.get_tensor(name))


def _keys(file: Any) -> list[str]:
    return list(file.keys())


def _open(path: Path, read: Callable[[Any], Any]) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return read(file)
    except (SafetensorError, OSError) as fault:
        raise InputError(
            "is no whole safetensors file", where=str(path), remedy="copy the file again"
        ) from fault


def _blend(live: torch.Tensor, base: torch.Tensor, aligned: torch.Tensor, share: float) -> None:
    """In place, in chunks, with the arithmetic of `weights average`, so that the point measured is the point written.

    That is float32 for bfloat16 between the ends and float64 for all else, and one rounding.
    """
    import torch

    if share in (0.0, 1.0):
        live.copy_(aligned if share else base)
        return
    wide = torch.float32 if live.dtype == torch.bfloat16 and 0 < share < 1 else torch.float64
    flat = live.view(-1) if live.is_contiguous() else live.reshape(-1)
    for start in range(0, flat.numel(), _CHUNK):
        part = slice(start, start + _CHUNK)
        first = base.reshape(-1)[part].to(wide)
        moved = (aligned.reshape(-1)[part].to(wide) - first) * share + first
        flat[part] = _rounded(moved, flat.dtype)
    if flat.data_ptr() != live.data_ptr():  # a view of something else: reshaping has copied it
        live.copy_(flat.view(live.shape))


def _rounded(values: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """float64 to `dtype` as `weights average` rounds, so that both give the same bits.

    bfloat16 comes in float32 already, or goes by way of it. float16 is rounded once there, and torch goes by way of float32, so
    that float32 is rounded to odd first, after which the second rounding is right (Boldo and Melquiond 2008).
    """
    import torch

    if dtype != torch.float16:
        return values.to(dtype)
    near = values.float()
    bits = near.view(torch.int32)
    inexact = near.double() != values
    away = values.abs() > near.double().abs()
    odd = torch.where(inexact & (bits % 2 == 0), bits + torch.where(away, 1, -1), bits)
    return odd.to(torch.int32).view(torch.float32).to(dtype)


def _same(first: torch.Tensor, second: torch.Tensor) -> bool:
    import torch

    return torch.equal(first.cpu(), second.cpu().to(first.dtype))


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"


def _canary_ids(model: Any) -> torch.Tensor:
    """Tokens spread over the vocabulary, so that none of them needs to mean anything."""
    import torch

    size = int(model.get_input_embeddings().weight.shape[0])
    ids = torch.linspace(0, size - 1, min(_CANARY_TOKENS, size)).long()
    return ids.unsqueeze(0).to(next(model.parameters()).device)


def _known(model: Any, names: Iterable[str]) -> bool:
    """Whether every name of a checkpoint is one of the model's: not where transformers fuses tensors as it loads."""
    known = _Names(model)
    try:
        for name in names:
            known.name_of(name)
    except InputError:
        return False
    return True


def _same_shape(base: Path, aligned: Path) -> None:
    """The fields of two configs that must agree, checked before gigabytes are read."""
    first, second = (json.loads((folder / "config.json").read_bytes()) for folder in (base, aligned))
    for field in ("model_type", "hidden_size", "num_hidden_layers", "vocab_size", "tie_word_embeddings"):
        if first.get(field) != second.get(field):
            raise InputError(
                f"{field} is {first.get(field)} in the base and {second.get(field)} here",
                where=str(aligned),
                remedy="give two models of one shape and vocabulary",
            )
