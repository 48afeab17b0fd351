"""Directions in the residual stream: what refusing looks like inside, and what refusing wrongly adds to it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError, NotEnoughData
from ..layout import place_of

if TYPE_CHECKING:
    import torch

Tokens = Sequence[Sequence[int]]
"""Prompts as token numbers, in the chat template and with its last words before the answer."""

LEAST = 16
"""Prompts that each group must hold: a mean of fewer says more of its prompts than of refusing."""

MOST_ALONG = 0.5
"""A direction that is ablated may have this cosine with the true refusal vectors, and no more: of these vectors
three quarters are then kept at least, and all of them where lambda is 1."""


@dataclass(frozen=True, kw_only=True)
class Directions:
    """Differences of mean activations after each layer, (layers, width), in float64.

    `refusal` r: harmful and declined, less benign and answered. `false_refusal` w: look-alikes that were declined,
    less benign and answered. `remainder_agrees`: for each layer the cosine between w of one half of the prompts and
    of the other, in what is not along r; near 0, that part is noise. `prompts`: how many each group had.
    """

    refusal: torch.Tensor
    false_refusal: torch.Tensor
    remainder_agrees: tuple[float, ...]
    prompts: dict[str, int]

    @property
    def layers(self) -> int:
        """How many layers."""
        return int(self.refusal.shape[0])

    def cosines(self) -> tuple[float, ...]:
        """For each layer the cosine of w with r: near 1, little is left to ablate that is not refusing itself."""
        return tuple(_cosine(*pair) for pair in zip(self.false_refusal, self.refusal, strict=True))

    def true_refusal(self, layers: Collection[int]) -> torch.Tensor:
        """An orthonormal basis (width, k) of the true refusal vectors of these layers."""
        import torch

        rows = self.refusal[sorted(set(layers))]
        left, sizes, _ = torch.linalg.svd((rows / rows.norm(dim=1, keepdim=True)).T, full_matrices=False)
        return left[:, sizes > 1e-8 * sizes[0]]

    def least_lambda(self, layer: int, edited: Collection[int]) -> float:
        """The smallest lambda with which the direction of `layer` may be ablated in the layers `edited`, 0 to 1."""
        along, beside = self._parts(layer, edited)
        most = MOST_ALONG / (1 - MOST_ALONG**2) ** 0.5
        size = float(along.norm())
        return max(0.0, 1 - most * float(beside.norm()) / size) if size else 0.0

    def direction(self, layer: int, *, orthogonality: float, edited: Collection[int]) -> torch.Tensor:
        """The unit direction (width,) to ablate: w of `layer` less the share `orthogonality` (lambda) of its part along r.

        Along r means: in the span of the true refusal vectors of `layer` and of every layer that is `edited`, so that
        with lambda 1 no edited layer loses any of its own. Raises InputError where lambda is under `least_lambda`,
        because that would ablate refusing itself, and where nothing of w is left.
        """
        least = self.least_lambda(layer, edited)
        if not least - 1e-9 <= orthogonality <= 1:
            raise InputError(
                f"lambda {orthogonality:.3f} at layer {layer} would ablate the true refusal direction",
                remedy=f"give {least:.3f} to 1: how much of it must be taken out before",
            )
        along, beside = self._parts(layer, edited)
        kept = (1 - orthogonality) * along + beside
        if float(kept.norm()) <= 1e-6 * float(self.false_refusal[layer].norm()):
            raise InputError(
                f"the false-refusal vector of layer {layer} is all along the true one",
                remedy="choose another layer: here there is nothing to ablate but refusing itself",
            )
        return kept / kept.norm()

    def along_refusal(self, direction: torch.Tensor, layers: Collection[int]) -> float:
        """The cosine, 0 to 1, of a direction with what the true refusal vectors of these layers span."""
        return float((self.true_refusal(layers).T @ direction).norm() / direction.norm())

    def _parts(self, layer: int, edited: Collection[int]) -> tuple[torch.Tensor, torch.Tensor]:
        basis = self.true_refusal({layer, *edited})
        wrong = self.false_refusal[layer]
        beside = wrong - basis @ (basis.T @ wrong)
        beside = beside - basis @ (
            basis.T @ beside
        )  # once more: the first pass leaves rounding of the larger part
        return wrong - beside, beside


def find_directions(
    harmful: torch.Tensor, benign: torch.Tensor, look_alikes: torch.Tensor, *, least: int = LEAST
) -> Directions:
    """The directions of a model from activations (prompts, layers, width) of three groups.

    `harmful`: declined, and rightly. `benign`: answered. `look_alikes`: benign and declined all the same. Means are
    taken in float64. Raises NotEnoughData where a group holds fewer than `least` prompts, InputError where a vector
    is 0 or no number. Ref: arXiv:2406.11717 for r; arXiv:2410.03415 for w and lambda.
    """
    groups = {"harmful declined": harmful, "benign answered": benign, "look-alikes declined": look_alikes}
    for name, group in groups.items():
        if len(group) < least:
            raise NotEnoughData(
                f"{len(group)} prompts are {name}, and a direction needs {least}", needed=least - len(group)
            )
    centre = benign.double().mean(dim=0)
    refusal, wrong = (group.double().mean(dim=0) - centre for group in (harmful, look_alikes))
    for name, vectors in (("refusal", refusal), ("false-refusal", wrong)):
        sizes = vectors.norm(dim=1)
        if not bool((sizes > 0).all() and sizes.isfinite().all()):
            raise InputError(
                f"the {name} vector of a layer is 0 or no number", remedy="check that the groups differ"
            )
    halves = [
        look_alikes[start::2].double().mean(dim=0) - benign[start::2].double().mean(dim=0) for start in (0, 1)
    ]
    return Directions(
        refusal=refusal,
        false_refusal=wrong,
        remainder_agrees=tuple(
            _cosine(*(_beside(half[layer], refusal[layer]) for half in halves))
            for layer in range(len(refusal))
        ),
        prompts={name: len(group) for name, group in groups.items()},
    )


def activations(model: Any, prompts: Tokens, *, position: int = -1, batch_size: int = 16) -> torch.Tensor:
    """The residual stream after each layer at one token of each prompt: (prompts, layers, width), float32, on the CPU.

    `position` counts from the end: -1 is the last token, from which the answer is written. Prompts are padded on
    the right, behind what is read, so neither padding nor batches change more than rounding. Raises InputError for a
    prompt that has no such token.
    """
    import torch

    if any(len(prompt) < -position for prompt in prompts) or position >= 0:
        raise InputError(
            f"a prompt has no token at position {position}", remedy="positions count from the end: -1"
        )
    layers = decoder_layers(model)
    taken: list[torch.Tensor] = []
    for start in range(0, len(prompts), batch_size):
        batch = prompts[start : start + batch_size]
        at = torch.tensor([len(prompt) + position for prompt in batch])
        found: dict[int, torch.Tensor] = {}
        hooks = [
            layer.register_forward_hook(_keeping(found, number, at)) for number, layer in enumerate(layers)
        ]
        try:
            with torch.no_grad():
                forward(model, batch)
        finally:
            for hook in hooks:
                hook.remove()
        taken.append(torch.stack([found[number] for number in range(len(layers))], dim=1))
    return torch.cat(taken) if taken else torch.empty(0, len(layers), model.config.hidden_size)


def last_log_probabilities(model: Any, prompts: Tokens, *, batch_size: int = 16) -> torch.Tensor:
    """Log-probabilities of the first token of the answer: (prompts, vocabulary), float32, on the CPU."""
    import torch

    taken = []
    with torch.no_grad():
        for start in range(0, len(prompts), batch_size):
            batch = prompts[start : start + batch_size]
            logits = forward(model, batch).logits
            last = torch.tensor([len(prompt) - 1 for prompt in batch], device=logits.device)
            rows = logits[torch.arange(len(batch), device=logits.device), last]
            taken.append(rows.float().log_softmax(dim=-1).cpu())
    return torch.cat(taken)


def says(model: Any, prompts: Tokens, words: Sequence[int], *, batch_size: int = 16) -> NDArray[np.bool_]:
    """For each prompt, whether the model's greedy answer begins with these tokens, such as those of its refusal.

    One forward pass, no generation: every one of the tokens must be the likeliest after those before it. It sees
    no refusal in other words; where a detector or a judge can read the answers, use that.
    """
    import torch

    found: list[bool] = []
    with torch.no_grad():
        for start in range(0, len(prompts), batch_size):
            batch = [[*prompt, *words] for prompt in prompts[start : start + batch_size]]
            likeliest = forward(model, batch).logits.argmax(dim=-1).cpu()
            for row, tokens in enumerate(batch):
                first = len(tokens) - len(words) - 1
                found.append(likeliest[row, first : first + len(words)].tolist() == list(words))
    return np.array(found, dtype=np.bool_)


def forward(model: Any, batch: Tokens) -> Any:
    """What the model says of these prompts, padded on the right and masked. Raises InputError for an empty prompt."""
    import torch

    if not all(batch):
        raise InputError("a prompt has no token", remedy="leave empty prompts out")
    width = max(map(len, batch))
    tokens = torch.zeros(len(batch), width, dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for row, prompt in enumerate(batch):
        tokens[row, : len(prompt)] = torch.tensor(prompt)
        mask[row, : len(prompt)] = 1
    device = model.get_input_embeddings().weight.device
    return model(input_ids=tokens.to(device), attention_mask=mask.to(device), use_cache=False)


def decoder_layers(model: Any) -> list[Any]:
    """The transformer layers from the input on. Raises InputError where the model has none that we know."""
    import torch

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.ModuleList) and place_of(f"{name}.0.weight").layer == 0:
            return list(module)
    raise InputError(
        "the model has no list of layers that we know", remedy="use a decoder such as Llama, Qwen or GPT-2"
    )


def _keeping(found: dict[int, torch.Tensor], number: int, at: torch.Tensor) -> Any:
    """A hook that keeps what leaves a layer at the wanted token of each prompt."""
    import torch

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        rows = torch.arange(len(at), device=hidden.device)
        found[number] = hidden[rows, at.to(hidden.device)].detach().float().cpu()

    return keep


def _beside(vector: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The part of a vector that is at right angles to another."""
    return vector - (vector @ other) / (other @ other) * other


def _cosine(first: torch.Tensor, second: torch.Tensor) -> float:
    sizes = float(first.norm() * second.norm())
    return float(first @ second) / sizes if sizes else 0.0
