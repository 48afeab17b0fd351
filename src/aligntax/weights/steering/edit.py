"""Steering written into the weights: a direction ablated from what writes into the residual stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec

from ...errors import InputError
from ..layout import place_of
from .directions import Directions, decoder_layers

if TYPE_CHECKING:
    import torch

Component = Literal["attention", "mlp", "embedding"]
COMPONENTS: tuple[Component, ...] = get_args(Component)

_WRITERS: Mapping[str, frozenset[str]] = {
    "attention": frozenset(("o_proj", "out_proj", "c_proj", "dense", "wo")),
    "mlp": frozenset(("down_proj", "c_proj", "fc2", "dense_4h_to_h", "w2")),
}
"""What the last projection of each half of a layer is called in the layouts that we know."""

_NORMS_BEHIND = ("post_feedforward_layernorm", "post_feedforward_norm", "post_mlp_layernorm")
"""A norm between writer and stream (Gemma 2 and 3, OLMo 2): the edit of the matrix would not be that of the stream."""


class Tent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How strongly each layer is edited: `weight` at the layer `peak`, falling in a line to `edge` at a distance of
    `width` layers, 0 beyond. Weights run from 0 to 1: 1 takes the direction out altogether.
    """

    peak: float
    width: float
    weight: float
    edge: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.edge <= self.weight <= 1 and self.width > 0 and self.peak >= 0):
            raise InputError(
                f"an edit of weight {self.weight}, edge {self.edge}, width {self.width} at layer {self.peak}",
                remedy="0 <= edge <= weight <= 1, width above 0",
            )

    def at(self, layer: int) -> float:
        """The weight at a layer."""
        distance = abs(layer - self.peak) / self.width
        return self.weight + (self.edge - self.weight) * distance if distance <= 1 else 0.0


class Steering(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is ablated and where. `layer`: whose false-refusal vector, from 0. `orthogonality` ("lambda" in JSON): the
    share of its part along the true refusal vectors that is taken out of it first; 1 leaves none.
    `attention`, `mlp`: weights over the layers for each half; None leaves it alone. `embedding`: weight for the
    embedding, which tied models do not allow because it is their head as well.
    """

    layer: int
    orthogonality: float = msgspec.field(default=1.0, name="lambda")
    attention: Tent | None = None
    mlp: Tent | None = None
    embedding: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.orthogonality <= 1 and 0 <= self.embedding <= 1 and self.layer >= 0):
            raise InputError("lambda and weights run from 0 to 1, layers from 0")

    def weight(self, component: Component, layer: int | None) -> float:
        """How much of the direction is taken out of what this component of this layer writes, 0 to 1."""
        if component == "embedding":
            return self.embedding
        tent = self.attention if component == "attention" else self.mlp
        return 0.0 if tent is None or layer is None else tent.at(layer)

    def edited(self, n_layers: int) -> tuple[int, ...]:
        """The layers that are edited; 0 among them where the embedding is."""
        inside = {at for at in range(n_layers) if self.weight("attention", at) or self.weight("mlp", at)}
        return tuple(sorted(inside | ({0} if self.embedding else set())))


@dataclass(frozen=True, kw_only=True)
class Writer:
    """One tensor that writes into the residual stream. `out_dim`: which dimension of `weight` is the stream's."""

    name: str  # of the module
    layer: int | None
    component: Component
    weight: torch.Tensor
    bias: torch.Tensor | None
    out_dim: int


class Writers:
    """All that writes into the residual stream of a model, to be steered in place and put back bit for bit.

    Keeps a copy of each tensor that it changed. Raises InputError for a layout in which it does not find exactly one
    writer for each half of each layer, or in which a norm stands between writer and stream.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.n_layers = len(decoder_layers(model))
        self.width = int(model.config.hidden_size)
        self.all = tuple(_find_writers(model, self.width))
        self._kept: dict[str, tuple[torch.Tensor, torch.Tensor | None]] = {}

    def apply(self, steering: Steering, directions: Directions) -> torch.Tensor:
        """Put the model into this state, whatever state it was in, and return the direction (width,).

        W becomes W - a d d^T W for each writer, in the next wider arithmetic with one final rounding; a bias likewise.
        """
        import torch

        direction = self.direction_of(steering, directions)
        self._check(steering)
        self.restore()
        with torch.no_grad():
            for writer in self.all:
                amount = steering.weight(writer.component, writer.layer)
                if amount:
                    bias = None if writer.bias is None else writer.bias.detach().clone()
                    self._kept[writer.name] = (writer.weight.detach().clone(), bias)
                    _ablate(writer.weight, direction, amount, writer.out_dim)
                    if writer.bias is not None:
                        _ablate(writer.bias, direction, amount, 0)
        return direction

    def restore(self) -> None:
        """Put back, bit for bit, what the model was."""
        import torch

        with torch.no_grad():
            for writer in self.all:
                if writer.name in self._kept:
                    weight, bias = self._kept.pop(writer.name)
                    writer.weight.copy_(weight)
                    if writer.bias is not None and bias is not None:
                        writer.bias.copy_(bias)

    @contextmanager
    def steered(self, steering: Steering, directions: Directions) -> Iterator[Any]:
        """The model in this state within the block, as it was after it, whatever happens."""
        self.apply(steering, directions)
        try:
            yield self.model
        finally:
            self.restore()

    def direction_of(self, steering: Steering, directions: Directions) -> torch.Tensor:
        """The direction that this steering ablates. Raises InputError where that would be the true refusal direction."""
        if directions.layers != self.n_layers or steering.layer >= self.n_layers:
            raise InputError(
                f"directions of {directions.layers} layers, layer {steering.layer}, for {self.n_layers} layers",
                remedy="find the directions of this model",
            )
        return directions.direction(
            steering.layer, orthogonality=steering.orthogonality, edited=steering.edited(self.n_layers)
        )

    def low_rank(
        self, steering: Steering, directions: Directions
    ) -> dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]]:
        """The same edit as low rank factors: module -> B (n_out, 1), A (1, n_in), and the change of the bias, float32.

        All writers of each half that is edited are there, those with weight 0 as zeros. The model must be as it was.
        Raises InputError where the embedding is edited.
        """
        if steering.embedding:
            raise InputError(
                "an adapter cannot carry the edit of the embedding",
                remedy="save it as weights, or leave it out",
            )
        self._check(steering)
        self.restore()
        direction = self.direction_of(steering, directions)
        found = {}
        for writer in self.all:
            if writer.component != "embedding" and getattr(steering, writer.component) is not None:
                amount = steering.weight(writer.component, writer.layer)
                wide = writer.weight.detach().double()
                along = direction.to(wide.device)
                row = along @ (wide if writer.out_dim == 0 else wide.T)
                bias = None
                if writer.bias is not None:
                    shift = writer.bias.detach().double()
                    bias = (-amount * (along @ shift) * along).float().cpu()
                found[writer.name] = (
                    (-amount * along[:, None]).float().cpu(), row[None, :].float().cpu(), bias
                )  # fmt: skip
        return found

    def _check(self, steering: Steering) -> None:
        if steering.embedding and _is_tied(self.model):
            raise InputError(
                "the embedding of this model is its head as well", remedy="leave it out: embedding 0"
            )


def _ablate(tensor: torch.Tensor, direction: torch.Tensor, amount: float, dim: int) -> None:
    """Takes `amount` of the direction out of `tensor` along its dimension `dim`, in place."""
    import torch

    wider = torch.float64 if tensor.dtype == torch.float32 else torch.float32
    wide = tensor.detach().to(wider)
    along = direction.to(device=tensor.device, dtype=wider)
    if dim == 0:
        change = torch.outer(along, along @ wide) if wide.ndim > 1 else along * (along @ wide)
    else:
        change = torch.outer(wide @ along, along)
    tensor.copy_(wide - amount * change)


def _find_writers(model: Any, width: int) -> Iterator[Writer]:
    import torch

    found: dict[tuple[int, str], str] = {}
    for name, module in model.named_modules():
        place, last = place_of(f"{name}.weight"), name.rsplit(".", 1)[-1]
        if last in _NORMS_BEHIND:
            raise InputError(
                f"{name} stands between what a layer writes and the residual stream",
                remedy="models with such norms (Gemma 2 and 3, OLMo 2) cannot be steered in their weights",
            )
        if isinstance(module, torch.nn.Embedding) and place.layer is None:
            if module.embedding_dim == width:
                yield Writer(
                    name=name, layer=None, component="embedding", weight=module.weight, bias=None, out_dim=1
                )
        elif place.layer is not None and last in _WRITERS.get(place.role, ()) and hasattr(module, "weight"):
            if (place.layer, place.role) in found:
                raise InputError(
                    f"{name} and {found[place.layer, place.role]} both write for one half of a layer",
                    remedy="mixtures of experts and the like cannot be steered yet",
                )
            found[place.layer, place.role] = name
            input_major = not isinstance(module, torch.nn.Linear)  # Conv1D keeps [in, out]
            yield Writer(
                name=name, layer=place.layer, component="attention" if place.role == "attention" else "mlp",
                weight=module.weight, bias=module.bias, out_dim=1 if input_major else 0,
            )  # fmt: skip
    for layer in range(len(decoder_layers(model))):
        for role in _WRITERS:
            if (layer, role) not in found:
                raise InputError(
                    f"layer {layer}: what its {role} writes with has no name that we know",
                    remedy="use a layout such as Llama, Mistral, Qwen, Gemma, Phi or GPT-2",
                )


def _is_tied(model: Any) -> bool:
    head = model.get_output_embeddings()
    return head is not None and head.weight is model.get_input_embeddings().weight
