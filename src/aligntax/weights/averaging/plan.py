"""What an average will do, tensor by tensor, known before a byte is written."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Literal

import msgspec

from ...errors import InputError
from ..layout import Role, count_layers, place_of, split_layers
from ..ratios import POLICIES, Ratios
from .checkpoint import Checkpoint, Tensor, open_checkpoint
from .dtypes import AVERAGED, is_eight_bit
from .recipe import Recipe

PARTIAL = ".partial"
_SPARE = 64 << 20  # bytes left free for the config, the tokenizer and the journal
_FORMAT = "1"  # of the way in which outputs are laid out and hashed; a new one starts anew

_POLICY = {
    "block": "its block's ratio",
    "first": "first block's",
    "last": "last block's",
    "mean": "mean of blocks",
}

Action = Literal["average", "copy"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor of the output. `sources`: the tensor in each input, theta0 first. `copied`: which of them, if any."""

    name: str
    role: Role
    layer: int | None
    ratio: float
    sources: tuple[Tensor, ...]
    copied: int | None = None
    why: str = ""
    follows: str = ""

    @property
    def target(self) -> Tensor:
        """Where it stands in the output: as in the (first) aligned model."""
        return self.sources[1]

    @property
    def action(self) -> Action:
        """Whether values are computed or bytes are copied."""
        return "average" if self.copied is None else "copy"

    @property
    def acts_as(self) -> str:
        """The name under which an operation sees it: a tied head is treated as its embedding, to stay equal to it."""
        return self.follows or self.name


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`inputs`: theta0, then the aligned models. `steps` are in the order of the output's files."""

    recipe: Recipe
    out: Path
    inputs: tuple[Checkpoint, ...]
    fingerprints: tuple[str, ...]
    steps: tuple[Step, ...]
    n_layers: int
    notes: tuple[str, ...]

    @property
    def partial(self) -> Path:
        """The folder that is filled, and renamed to `out` when all is in it."""
        return self.out.with_name(self.out.name + PARTIAL)

    @property
    def nbytes(self) -> int:
        """Bytes of the output's tensors."""
        return sum(step.target.nbytes for step in self.steps)

    @property
    def identity(self) -> str:
        """A hash of what is done to what: where it is the same, the output is the same."""
        said = [_FORMAT, self.recipe.sha256(), *self.fingerprints]
        return hashlib.sha256("\n".join(said).encode()).hexdigest()

    @property
    def blocks(self) -> tuple[range, ...]:
        """The layers of each block that has a ratio; empty where no tensor names a layer."""
        return split_layers(self.n_layers, len(self.recipe.ratios.blocks)) if self.n_layers else ()

    def mean_ratio(self) -> float:
        """The mean of `a` over all values that are averaged or copied from either end, each value counted once."""
        floats = [step for step in self.steps if step.target.dtype in AVERAGED]
        counts = [step.target.nbytes / len(AVERAGED[step.target.dtype](0).tobytes()) for step in floats]
        total = sum(counts)
        return sum(n * step.ratio for n, step in zip(counts, floats, strict=True)) / total if total else 0.0


class RoleRow(msgspec.Struct, frozen=True, kw_only=True):
    """How one role is treated: how many tensors and bytes, under which policy, with which ratios."""

    role: Role
    tensors: int
    nbytes: int
    policy: str
    ratios: tuple[float, ...]
    copied: int


def make_plan(recipe: Recipe, out: Path) -> Plan:
    """Open the inputs, compare them and decide on every tensor. Writes nothing.

    Raises InputError, naming the tensor and both shapes, where the inputs do not fit together; where a checkpoint is
    quantised; and where `out` is, or lies in, an input.
    """
    if not recipe.base or not recipe.models:
        raise InputError(
            "the recipe names no checkpoints", remedy="give base and models in it, or BASE and ALIGNED"
        )
    inputs = tuple(open_checkpoint(Path(path)) for path in (recipe.base, *(m.path for m in recipe.models)))
    for checkpoint in inputs:
        _refuse_quantised(checkpoint)
        _refuse_inside(checkpoint, out)
    notes: list[str] = []
    n_layers = count_layers(inputs[1].tensors)
    steps = tuple(
        _step(recipe, name, _sources(inputs, name), n_layers, inputs[1], notes) for name in inputs[1].tensors
    )
    _refuse_left_over(inputs, notes)
    _compare_configs(inputs, notes)
    others = [step.name for step in steps if step.role == "other"]
    if others:
        notes.append(f"{len(others)} tensors of no known role, as {others[0]}: they follow role other")
    return Plan(
        recipe=recipe,
        out=out,
        inputs=inputs,
        fingerprints=tuple(checkpoint.fingerprint() for checkpoint in inputs),
        steps=steps,
        n_layers=n_layers,
        notes=tuple(dict.fromkeys(notes)),
    )


def role_rows(plan: Plan) -> tuple[RoleRow, ...]:
    """The plan by role, in the order from input to output."""
    rows = []
    for role in POLICIES:
        steps = [step for step in plan.steps if step.role == role]
        if steps:
            rows.append(
                RoleRow(
                    role=role,
                    tensors=len(steps),
                    nbytes=sum(step.target.nbytes for step in steps),
                    policy=_policy(plan.recipe.ratios, role, tied=any(step.follows for step in steps)),
                    ratios=tuple(dict.fromkeys(step.ratio for step in steps)),
                    copied=sum(step.action == "copy" for step in steps),
                )
            )
    return tuple(rows)


def check_space(plan: Plan) -> tuple[int, int]:
    """Bytes still needed beside `out`, and bytes free there. Raises InputError where they do not suffice."""
    parent = plan.out.parent
    if not parent.is_dir():
        raise InputError("the folder does not exist", where=str(parent), remedy="create it first")
    held = 0
    if plan.partial.is_dir() and not plan.partial.is_symlink():
        held = sum(file.stat().st_blocks * 512 for file in plan.partial.glob("*.safetensors"))
    needed, free = max(plan.nbytes - held, 0) + _SPARE, shutil.disk_usage(parent).free
    if needed > free:
        raise InputError(
            f"{needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free",
            where=str(parent),
            remedy="make room, or write to another disk",
        )
    return needed, free


def _policy(ratios: Ratios, role: Role, *, tied: bool) -> str:
    if tied:
        return "tied: as the embedding"
    own = ratios.roles.get(role, POLICIES[role])
    if isinstance(own, tuple):
        return "own ratio per block"
    if not isinstance(own, str):
        return "own ratio"
    return _POLICY[own] + ("" if role in ratios.roles else " (default)")


def _sources(inputs: tuple[Checkpoint, ...], name: str) -> tuple[Tensor, ...]:
    aligned = inputs[1].tensors[name]
    sources = []
    for checkpoint in inputs:
        found = checkpoint.tensors.get(name) or _tied_embedding(checkpoint, aligned)
        if found is None:
            raise InputError(
                f"tensor {name} {aligned.shown} of {inputs[1].path} is missing",
                where=str(checkpoint.path),
                remedy="average checkpoints of one architecture, saved by the same tool",
            )
        if (found.shape, found.dtype) != (aligned.shape, aligned.dtype):
            raise InputError(
                f"tensor {name} is {found.shown}, in {inputs[1].path} it is {aligned.shown}",
                where=str(checkpoint.path),
                remedy=_remedy(found, aligned),
            )
        sources.append(found)
    return tuple(sources)


def _remedy(found: Tensor, aligned: Tensor) -> str:
    if found.shape == aligned.shape:
        return "save both with the same element type"
    if place_of(found.name).role in ("embedding", "head"):
        return "the vocabularies differ: give both the same tokenizer and embedding size first"
    return "average checkpoints of one architecture"


def _tied_embedding(checkpoint: Checkpoint, head: Tensor) -> Tensor | None:
    """The embedding that is the head of a checkpoint with tied ends, which does not store the head itself."""
    if place_of(head.name).role != "head" or not checkpoint.ties_head:
        return None
    found = [
        tensor
        for tensor in checkpoint.tensors.values()
        if place_of(tensor.name).role == "embedding" and tensor.shape == head.shape
    ]
    return found[0] if len(found) == 1 else None


def _step(
    recipe: Recipe,
    name: str,
    sources: tuple[Tensor, ...],
    n_layers: int,
    aligned: Checkpoint,
    notes: list[str],
) -> Step:
    place = place_of(name)
    embedding = _tied_embedding(aligned, sources[1])
    follows = embedding.name if embedding else ""
    ratio = recipe.ratios.of(follows or name, n_layers)
    copied, why = None, ""
    dtype = sources[1].dtype
    if ratio == 0:
        copied, why = 0, "a = 0"
    elif ratio == 1 and recipe.ends_at_aligned:
        copied, why = 1, "a = 1"
    elif is_eight_bit(dtype):
        raise InputError(
            f"tensor {name} is {sources[1].shown}: 8-bit floats mean nothing without their scales",
            where=str(aligned.path),
            remedy="average the bfloat16 checkpoints and quantise the result",
        )
    elif dtype not in AVERAGED:
        copied, why = 1, "not floating point"
        notes.append("tensors that hold no floating-point values are copied from the aligned model")
    return Step(
        name=name,
        role=place.role,
        layer=place.layer,
        ratio=ratio,
        sources=sources,
        copied=copied,
        why=why,
        follows=follows,
    )


def _refuse_left_over(inputs: tuple[Checkpoint, ...], notes: list[str]) -> None:
    for checkpoint in inputs:
        for name, tensor in checkpoint.tensors.items():
            if name in inputs[1].tensors:
                continue
            if not (checkpoint.ties_head and inputs[1].ties_head and place_of(name).role == "head"):
                raise InputError(
                    f"tensor {name} {tensor.shown} of {checkpoint.path} is missing",
                    where=str(inputs[1].path),
                    remedy="average checkpoints of one architecture, saved by the same tool",
                )
            notes.append(f"{name} of {checkpoint.path} is tied to the embedding and left out")


def _refuse_quantised(checkpoint: Checkpoint) -> None:
    if "quantization_config" in checkpoint.config:
        raise InputError(
            "is quantised, and quantised weights cannot be averaged",
            where=str(checkpoint.path),
            remedy="average the unquantised checkpoints and quantise the result",
        )


def _refuse_inside(checkpoint: Checkpoint, out: Path) -> None:
    folder = (checkpoint.folder or checkpoint.path.parent).resolve()
    target = out.resolve()
    if (
        target == checkpoint.path.resolve()
        or target == folder
        or (checkpoint.folder and folder in target.parents)
    ):
        raise InputError("is, or lies in, an input", where=str(out), remedy="name a new folder elsewhere")


def _compare_configs(inputs: tuple[Checkpoint, ...], notes: list[str]) -> None:
    aligned = inputs[1].config
    if not aligned:
        notes.append(f"{inputs[1].path} has no config.json: weights alone are written")
    unimportant = {
        "_name_or_path",
        "transformers_version",
        "use_cache",
        "torch_dtype",
        "dtype",
        "architectures",
    }
    for checkpoint in (inputs[0], *inputs[2:]):
        other = checkpoint.config
        if aligned and other:
            keys = sorted((aligned.keys() | other.keys()) - unimportant)
            differing = [key for key in keys if aligned.get(key) != other.get(key)]
            if differing:
                notes.append(
                    f"configs differ in {', '.join(differing[:6])}: that of {inputs[1].path} is used, not that of {checkpoint.path}"
                )
    if "auto_map" in aligned:
        notes.append("the config asks for code of its own (auto_map); aligntax copies and runs no code")
