"""What an average came to: ratios, hashes and how far every tensor had moved. Stored beside the weights as JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ... import __version__
from ..layout import Role
from .journal import Done
from .recipe import Recipe

RESULT = "aligntax_average.json"


class TensorResult(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor of the output: what was done to it, and what was seen of it in the inputs."""

    name: str
    role: Role
    layer: int | None
    ratio: float
    action: str
    why: str
    done: Done

    @property
    def relative(self) -> float:
        """The largest `||theta_i - theta0|| / ||theta0||` of the aligned models; 0 where theta0 is zero."""
        return max(self.done.moved, default=0.0) / self.done.norm if self.done.norm else 0.0


class Averaged(msgspec.Struct, frozen=True, kw_only=True):
    """`contents` are content hashes of the inputs, theta0 first. `seconds` are of the last start, which found `resumed_bytes` done.

    `checked`: tensors that were read back from the finished files and computed again, equal in every bit.
    `was_there`: nothing was done, for the output was there.
    """

    format: int = 1
    aligntax: str = __version__
    convention: str = "theta = theta0 + a * (theta1 - theta0); a = share of the aligned model"
    identity: str
    recipe: Recipe
    recipe_sha256: str
    contents: tuple[str, ...]
    fingerprints: tuple[str, ...]
    tensors: tuple[TensorResult, ...]
    nbytes: int
    resumed_bytes: int
    seconds: float
    checked: int
    was_there: bool = False

    @property
    def strange(self) -> int:
        """Values of the inputs that are infinite or no number."""
        return sum(tensor.done.strange for tensor in self.tensors)

    @property
    def identical(self) -> int:
        """Tensors that are the same in all inputs."""
        return sum(tensor.done.identical for tensor in self.tensors)

    def largest(self, count: int) -> list[TensorResult]:
        """The tensors that safety training moved most, relative to their own norm."""
        return sorted(self.tensors, key=lambda tensor: -tensor.relative)[:count]


def read_result(path: Path) -> Averaged:
    """The result that stands beside the weights. Raises OSError or ValueError where there is none."""
    return msgspec.json.decode(path.read_bytes(), type=Averaged)


def content_of(tensors: Iterable[tuple[str, str, tuple[int, ...], str]]) -> str:
    """One hash of (name, type, shape, hash of bytes) of all tensors: the same however they are sharded and ordered.

    The hash of a tensor's bytes is the SHA-256 of the SHA-256 digests of its pieces of 4 MiB, so that pieces can be
    hashed side by side.
    """
    lines = sorted(f"{name} {dtype} {list(shape)} {digest}\n" for name, dtype, shape, digest in tensors)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
