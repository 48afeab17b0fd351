"""The averaging paper's own recipe: ratios per block under a fixed mean, fitted to the likelihood of good answers.

`a_k = K * a * h_k / sum(h)`, `h_k = sigmoid(s_k) + eps`. Equation 11 of the paper leaves the factor K out, so that as
printed the ratios would sum to a instead of averaging a. The published code keeps a copy of the ratios that the forward
pass uses, made once, so that what is learned changes nothing; here the weights of every forward pass are computed from
`s` itself. Its learning rate (2e-5) moves a ratio by less than 1 %; ours is 0.1.

Ref: arXiv:2309.06256, section 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ...errors import InputError
from ..ratios import Ratios

if TYPE_CHECKING:
    import torch

    from .resident import Resident

Batch = Mapping[str, "torch.Tensor"]
"""`input_ids`, `attention_mask` and `labels` (-100 where nothing is learned), each (rows, tokens)."""

LEARNING_RATE = 0.1


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """Ratios that the likelihood chose."""

    ratios: Ratios
    share: float  # their mean
    clipped: int  # how many the formula wanted above 1; they are 1, and the others took what was over
    losses: tuple[float, ...]  # mean negative log-likelihood per learned token, before each step


def constrained(scores: torch.Tensor, share: float, *, eps: float = 0.1) -> torch.Tensor:
    """Ratios (K,) in 0..1 whose mean is `share`, from K free scores, with gradient.

    Where the formula wants a ratio above 1 it is 1, and what it cannot take goes to the others in proportion, so the
    mean stays `share` exactly. `eps` bounds how far ratios may spread. Raises InputError unless 0 <= share <= 1, eps >= 0.
    """
    import torch

    if not 0 <= share <= 1 or eps < 0:
        raise InputError(
            f"mean ratio {share} with eps {eps}", remedy="give a mean from 0 to 1 and eps from 0"
        )
    raised = torch.sigmoid(scores) + eps
    full = torch.zeros_like(raised, dtype=torch.bool)
    ratios = torch.full_like(raised, share)
    for _ in range(len(scores)):
        free = (~full).to(raised.dtype)
        left = len(scores) * share - full.to(raised.dtype).sum()
        ratios = torch.where(
            full, torch.ones_like(raised), left * raised / (raised * free).sum().clamp_min(1e-12)
        )
        over = (ratios.detach() > 1) & ~full
        if not bool(over.any()):
            break
        full = full | over
        if bool(full.all()):
            return torch.ones_like(raised)
    return ratios.clamp(0, 1)


def wanted_above_one(scores: torch.Tensor, share: float, *, eps: float = 0.1) -> int:
    """How many ratios the formula alone would put above 1."""
    import torch

    raised = torch.sigmoid(scores.detach()) + eps
    return int((len(scores) * share * raised / raised.sum() > 1 + 1e-9).sum())


def loss_at(resident: Resident, shares: Mapping[str, torch.Tensor], batch: Batch) -> torch.Tensor:
    """Mean negative log-likelihood of the labels with weights `theta0 + a * (theta1 - theta0)`, differentiable in `a`.

    `shares`: for each parameter that differs its ratio, a tensor without dimensions. The live weights are not touched.
    """
    from torch.func import functional_call
    from torch.nn.functional import cross_entropy

    weights = {
        name: base + shares[name].to(base.dtype) * (resident.aligned[name] - base)
        for name, base in resident.base.items()
    }
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    logits = functional_call(resident.model, weights, kwargs=inputs, tie_weights=True).logits
    return cross_entropy(
        logits[:, :-1].reshape(-1, logits.shape[-1]).float(),
        batch["labels"][:, 1:].reshape(-1),
        ignore_index=-100,
    )


def fit(
    resident: Resident,
    batches: Sequence[Batch],
    *,
    share: float,
    n_blocks: int,
    eps: float = 0.1,
    steps: int = 30,
    learning_rate: float = LEARNING_RATE,
) -> Fitted:
    """Ratios for `n_blocks` blocks with mean `share` that make the answers in `batches` likeliest. Deterministic.

    Adam on the K scores alone, batches in turn. What stands outside the layers follows its nearest block (`POLICIES`).
    """
    import torch

    if not batches:
        raise InputError("no answers to make likely", remedy="give at least one batch of good answers")
    device = next(resident.model.parameters()).device
    scores = torch.zeros(n_blocks, device=device, requires_grad=True)
    optimiser = torch.optim.Adam([scores], lr=learning_rate)
    rows = {name: _row_of(name, resident.n_layers, n_blocks).to(device) for name in resident.base}
    losses = []
    for step in range(steps):
        ratios = constrained(scores, share, eps=eps)
        loss = loss_at(
            resident, {name: ratios @ row for name, row in rows.items()}, batches[step % len(batches)]
        )
        (gradient,) = torch.autograd.grad(loss, [scores])
        scores.grad = gradient
        optimiser.step()
        losses.append(float(loss.detach()))
    with torch.no_grad():
        final = [min(max(float(ratio), 0.0), 1.0) for ratio in constrained(scores.double(), share, eps=eps)]
    return Fitted(
        ratios=Ratios(blocks=tuple(final)),
        share=share,
        clipped=wanted_above_one(scores, share, eps=eps),
        losses=tuple(losses),
    )


def batches_of(
    tokenizer: Any, rows: Iterable[Mapping[str, str]], *, max_tokens: int = 512, batch_size: int = 8
) -> list[Batch]:
    """Batches of prompts with the answers that are to be likely.

    `rows` hold `prompt` as the model reads it (its chat template applied) and `completion`; only the completion is learned, the end token with it.
    """
    import torch

    made = []
    for row in rows:
        asked = tokenizer(row["prompt"], add_special_tokens=False)["input_ids"]
        said = tokenizer(row["completion"], add_special_tokens=False)["input_ids"]
        said = [*said, *([tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else [])]
        if asked and said:
            room = max(max_tokens - len(said), 1)
            made.append((asked[-room:], said[: max_tokens - 1]))
    batches: list[Batch] = []
    for start in range(0, len(made), batch_size):
        part = made[start : start + batch_size]
        width = max(len(asked) + len(said) for asked, said in part)
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        fill = [width - len(asked) - len(said) for asked, said in part]
        lines = list(zip(part, fill, strict=True))
        batches.append(
            {
                "input_ids": torch.tensor([[*asked, *said, *[pad] * more] for (asked, said), more in lines]),
                "attention_mask": torch.tensor(
                    [[1] * (len(asked) + len(said)) + [0] * more for (asked, said), more in lines]
                ),
                "labels": torch.tensor(
                    [[*[-100] * len(asked), *said, *[-100] * more] for (asked, said), more in lines]
                ),
            }
        )
    return batches


def _row_of(name: str, n_layers: int, n_blocks: int) -> torch.Tensor:
    """Which ratio a parameter takes, as a row of weights over the blocks: found by asking `Ratios` itself."""
    import torch

    return torch.tensor(
        [
            Ratios(blocks=tuple(float(at == block) for at in range(n_blocks))).of(name, n_layers)
            for block in range(n_blocks)
        ]
    )
