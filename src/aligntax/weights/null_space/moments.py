"""Second moments of what each linear reads on general data: what a change of its weight would be felt by."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ...errors import InputError
from ..batches import batches_of
from ..linears import Linear, fingerprint, hooked, input_of, linears, quiet
from .sketch import Sketch
from .tensor_file import read_tensors, write_tensors

if TYPE_CHECKING:
    from torch import Tensor

_KIND = "aligntax.moments.1"
_REMEDY = "make it with aligntax weights moments"


class Moments(msgspec.Struct, frozen=True, kw_only=True):
    """Sums of x x^T over real tokens, uncentred, one for each group of linears that read the same input.

    `tokens`: how many tokens were read, pads left out; each counts the same. `sums`: by group, [n_in, n_in].
    `sketches`: instead, for inputs too wide to hold a square of. `groups`: the group of each linear.
    `data`: hash of the rows read, whatever their order and batches. `model`: hash of the model's linears.
    `rows`: rows read. `even`: each token counts by its direction alone, as x / |x| (see `collect`).
    """

    tokens: int
    rows: int
    sums: dict[str, Any]
    groups: dict[str, str]
    data: str
    model: str
    sketches: dict[str, Sketch] = {}
    even: bool = False

    def of(self, name: str) -> Tensor:
        """Mean of x x^T of what the linear reads, [n_in, n_in] float64.

        Of a sketched input it is a stand-in with the exact trace: the energy that the sketch does not hold is spread
        over the directions that it does not hold: right for them together, not for each.
        Raises InputError for a linear that was not read.
        """
        group = self._group(name)
        if group in self.sketches:
            return self.sketches[group].dense() / self.tokens
        return self.sums[group].double() / self.tokens

    def spectrum(self, name: str) -> tuple[Tensor, Tensor]:
        """Eigenvalues of `of(name)`, rising, and the eigenvectors as columns, both float64."""
        import torch

        group = self._group(name)
        if group in self.sketches:
            values, vectors = self.sketches[group].spectrum()
            return values / self.tokens, vectors
        return torch.linalg.eigh(self.of(name))

    @property
    def norms(self) -> dict[str, float]:
        """Root mean square of the length of what each linear reads; 1 where tokens count by direction."""
        return {name: math.sqrt(self._trace(group) / self.tokens) for name, group in self.groups.items()}

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file, whole or not at all."""
        tensors = {f"sum:{group}": tensor for group, tensor in self.sums.items()}
        tensors |= {f"sketch:{group}": sketch.held() for group, sketch in self.sketches.items()}
        head = {
            "tokens": str(self.tokens), "rows": str(self.rows), "data": self.data, "model": self.model,
            "groups": json.dumps(self.groups), "even": json.dumps(self.even),
            "sketches": json.dumps({group: sketch.said() for group, sketch in self.sketches.items()}),
        }  # fmt: skip
        write_tensors(path, _KIND, tensors, head)

    @classmethod
    def load(cls, path: str | Path) -> Moments:
        """Reads what `save` wrote. Raises InputError where the file is absent, broken or of another kind."""
        tensors, head = read_tensors(path, _KIND, remedy=_REMEDY)
        try:
            return cls(
                tokens=int(head["tokens"]), rows=int(head["rows"]), data=head["data"], model=head["model"],
                groups=json.loads(head["groups"]), even=json.loads(head["even"]),
                sums={name[4:]: tensor for name, tensor in tensors.items() if name.startswith("sum:")},
                sketches={
                    group: Sketch.of(tensors[f"sketch:{group}"], said)
                    for group, said in json.loads(head["sketches"]).items()
                },
            )  # fmt: skip
        except (KeyError, ValueError) as fault:
            raise InputError("the file's head is broken", where=str(path), remedy=_REMEDY) from fault

    def _group(self, name: str) -> str:
        if name not in self.groups:
            raise InputError(
                f"the moments do not cover {name}", remedy="collect them from this model, without kept"
            )
        return self.groups[name]

    def _trace(self, group: str) -> float:
        if group in self.sketches:
            return self.sketches[group].trace
        return float(self.sums[group].double().trace())


def collect(  # noqa: PLR0913 - each is one thing to say
    model: Any,
    batches: Iterable[dict[str, Any]],
    *,
    kept: Collection[str] | None = None,
    partial: str | Path | None = None,
    every: int = 50,
    keep: bool = False,
    sketch_above: int | None = None,
    even: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Moments:
    """Reads the batches once and sums x x^T of every group of linears over real tokens.

    `batches`: dicts of "input_ids" and "attention_mask", [rows, tokens]; padding on either side, any amount.
    `kept`: names of linears, others are passed over: with some layers at a time a large model needs less memory.
    Products are float32 (never TF32); sums are float64 on the CPU, float32 on a GPU, where the model is.
    `even`: sum x x^T / |x|^2. In large models a few tokens, the first of a text above all, are thousands of times longer
    than others where the MLP's output is written (massive activations, Ref: arXiv:2402.17762). Summed as they are, they
    make every direction but their own look empty, also those that all other tokens use.
    `partial`: a file written every `every` batches; where it is there already, reading goes on behind its rows, and
    it is removed at the end, unless `keep`: then it holds the whole, and the next call reads no row. `sketch_above`: inputs wider than this are sketched by Frequent Directions in 1024 rows
    (`weights/sketch.py`) where a square of them does not fit: 18,944 wide, it takes 1.4 GB in float32. `progress` is called with the tokens read so far.
    Raises InputError where the partial file is of other data or another model, or no token is read.
    """
    found = {name: linear for name, linear in linears(model).items() if kept is None or name in kept}
    if not found:
        raise InputError("no linear is kept", remedy="kept takes names as linears(model) gives them")
    reading = _Reading(found, fingerprint(found), sketch_above, every, even=even)
    skip = reading.resume(Path(partial)) if partial else 0
    with quiet(model), _whole_products(), hooked(reading.hooks()):
        for batch in batches:
            skip = reading.read(model, batch, skip)
            if progress:
                progress(reading.tokens)
            if partial and not skip and reading.due():
                reading.moments().save(partial)
    if skip:
        raise InputError("the partial file is of other data", where=str(partial), remedy="delete it")
    if not reading.tokens:
        raise InputError("no token was read", remedy="give rows with text")
    moments = reading.moments()
    if partial and keep:
        moments.save(partial)
    elif partial:
        Path(partial).unlink(missing_ok=True)
    return moments


class _Reading:
    """The state of one pass."""

    def __init__(
        self, found: dict[str, Linear], model: str, sketch_above: int | None, every: int, *, even: bool
    ) -> None:
        self.even = even
        self.model, self.sketch_above, self.every = model, sketch_above, every
        self.groups: dict[str, str] = {}
        self.readers: dict[str, Linear] = {}  # the first kept linear of each group is the one that is watched
        for name, linear in found.items():
            self.groups[name] = self.readers.setdefault(linear.group, linear).group
        self.sums: dict[str, Any] = {}
        self.sketches: dict[str, Sketch] = {}
        self.tokens = self.rows = self.data = self.unsaved = 0
        self.resumed = (0, "")  # rows that were read before, and their hash
        self.real: Any = None

    def hooks(self) -> dict[str, tuple[Any, Any]]:
        return {group: (linear.module, self._hook(linear)) for group, linear in self.readers.items()}

    def resume(self, path: Path) -> int:
        """Takes up a partial file and says how many rows are to be passed over."""
        if not path.exists():
            return 0
        before = Moments.load(path)
        limit = self.sketch_above
        wide = {group for group, one in self.readers.items() if limit is not None and one.n_in > limit}
        same = (before.model, before.groups, before.even) == (self.model, self.groups, self.even)
        if not same or set(before.sketches) != wide:
            raise InputError(
                "the partial file is of another model or pass", where=str(path), remedy="delete it"
            )
        device = next(iter(self.readers.values())).module.weight.device
        self.tokens, self.sums, self.sketches = before.tokens, {}, dict(before.sketches)
        for group, total in before.sums.items():
            self.sums[group] = total.to(device)
        self.resumed = (before.rows, before.data)
        return before.rows

    def read(self, model: Any, batch: dict[str, Any], skip: int) -> int:
        """Reads one batch but for its first `skip` rows; returns how many rows are still to be passed over."""
        ids, mask = batch["input_ids"], batch["attention_mask"].bool()
        for row, real in zip(ids, mask, strict=True):
            self.data, self.rows = (self.data + _row_hash(row[real])) % 2**256, self.rows + 1
            if self.rows == self.resumed[0] and f"{self.data:064x}" != self.resumed[1]:
                raise InputError(
                    "the partial file is of other data", remedy="delete it, or give the same rows"
                )
        left = max(0, skip - len(ids))
        ids, mask = ids[skip:], mask[skip:]
        if mask.any():
            device = next(iter(self.readers.values())).module.weight.device
            ids, mask = ids.to(device), mask.to(device)
            self.real = mask.flatten()
            model(input_ids=ids, attention_mask=mask.long(), position_ids=_positions(mask), use_cache=False)
            self.tokens += int(mask.sum())
            self.unsaved += 1
        return left

    def due(self) -> bool:
        return self.unsaved > 0 and self.unsaved % self.every == 0

    def moments(self) -> Moments:
        return Moments(
            tokens=self.tokens, rows=self.rows, sums=dict(self.sums), groups=dict(self.groups),
            data=f"{self.data:064x}", model=self.model, sketches=dict(self.sketches), even=self.even,
        )  # fmt: skip

    def _hook(self, linear: Linear) -> Any:
        import torch

        def hook(_module: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
            x = input_of(positional, named).reshape(-1, linear.n_in)
            if len(x) != len(self.real):
                raise InputError(f"{linear.name} does not read one input per token", remedy="leave it out")
            x = x[self.real].float()
            self._add(linear, torch.nn.functional.normalize(x, dim=-1) if self.even else x)

        return hook

    def _add(self, linear: Linear, x: Tensor) -> None:
        import torch

        group = linear.group
        if self.sketch_above is not None and linear.n_in > self.sketch_above:
            self.sketches[group] = self.sketches.get(group, Sketch.empty(linear.n_in)).add(x)
            return
        if group not in self.sums:
            dtype = torch.float64 if x.device.type == "cpu" else torch.float32
            self.sums[group] = torch.zeros(linear.n_in, linear.n_in, dtype=dtype, device=x.device)
        self.sums[group] += x.T @ x


def merge(first: Moments, second: Moments) -> Moments:
    """Both together, as if one pass had read the rows of both: for parts, ranks, and more data later.

    Exact up to rounding, and in any order. Raises InputError where they are of different models or linears.
    """
    if (first.model, first.groups, first.even) != (second.model, second.groups, second.even):
        raise InputError("these moments are of different models", remedy="collect both from the same one")
    sums = {group: total + second.sums[group].to(total.device) for group, total in first.sums.items()}
    return Moments(
        tokens=first.tokens + second.tokens, rows=first.rows + second.rows, sums=sums, groups=first.groups,
        data=f"{(int(first.data, 16) + int(second.data, 16)) % 2**256:064x}", model=first.model,
        sketches={group: sketch.merge(second.sketches[group]) for group, sketch in first.sketches.items()},
        even=first.even,
    )  # fmt: skip


def leak(delta: Tensor, moment: Tensor) -> float:
    """How much a change of a weight is felt on general inputs, beside one of the same norm in every direction alike.

    `delta`: [n_out, n_in]; `moment`: [n_in, n_in]. sqrt(tr(D M D^T) / (|D|^2 tr(M) / n_in)): 1 is a change without
    direction, 0 one that cannot be felt, at most sqrt(n_in). 0 where nothing has changed.
    """
    norm = float(delta.detach().double().square().sum())
    level = float(moment.double().trace()) / len(moment)
    return math.sqrt(_felt(delta, moment) / (norm * level)) if norm and level else 0.0


def relative_change(delta: Tensor, weight: Tensor, moment: Tensor) -> float:
    """Root mean square of the change of the output over that of the output: sqrt(tr(D M D^T) / tr(W M W^T))."""
    whole = _felt(weight, moment)
    return math.sqrt(_felt(delta, moment) / whole) if whole else 0.0


def _felt(delta: Tensor, moment: Tensor) -> float:
    wide, moment = delta.detach().double(), moment.double().to(delta.device)
    return max(0.0, float(((wide @ moment) * wide).sum()))


def _row_hash(ids: Tensor) -> int:
    return int.from_bytes(hashlib.sha256(ids.cpu().long().numpy().tobytes()).digest(), "big")


def _positions(mask: Tensor) -> Tensor:
    """Positions count real tokens, so that pads on the left do not move the text."""
    return (mask.long().cumsum(-1) - 1).clamp(min=0)


@contextmanager
def _whole_products() -> Iterator[None]:
    """While inside, products of float32 are float32: TF32 keeps ten bits, fewer than a null space needs."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


__all__ = ["Moments", "batches_of", "collect", "fingerprint", "leak", "merge", "relative_change"]
