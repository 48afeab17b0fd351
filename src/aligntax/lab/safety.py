"""The safety stage: supervised refusals, preferences or reinforcement, three loops of one shape.

What is trained is whatever `requires_grad`: the whole model, a LoRA, a null-space adapter. `after_step(model)` is
where the projection of the displacement sits; `before_step(model)` sees the gradients that the optimiser will use.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from . import words
from .model import answer_logits, device_of
from .pretraining import backward
from .sampling import sampled
from .tokens import Batch, Coder, padded
from .world import Item, World, seeded

if TYPE_CHECKING:
    from torch import Tensor

Method = Literal["sft", "dpo", "grpo"]
Hook = Callable[[Any], object]

GENTLE, HARSH = 3e-4, 1.5e-3
"""The two learning rates: at the gentle one capability is spared, at the harsh one it pays."""


class SafetyRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """One safety training: AdamW at a constant learning rate, so that every step is a fair place to stop."""

    method: Method = "sft"
    learning_rate: float = GENTLE
    steps: int = 48
    batch: int = 32
    """Rows of a step; for GRPO prompts, each with `samples` answers."""
    weight_decay: float = 0.01
    clip: float = 1.0
    beta: float = 0.1
    """DPO: how strongly the reference holds."""
    anchor: float = 4.0
    """DPO: weight of the likelihood of the wanted answer. With 0 both answers lose likelihood to a third that nobody
    wanted, as far as no refusal at all."""
    samples: int = 8
    max_tokens: int = 8
    temperature: float = 1.0
    seed: int = 0
    """Of the order of the items and of the sampling."""


STAGES: dict[Method, SafetyRecipe] = {
    "sft": SafetyRecipe(method="sft"),
    "dpo": SafetyRecipe(method="dpo"),
    "grpo": SafetyRecipe(method="grpo", batch=8, steps=96),
}
"""The safety stage by each method, at the gentle learning rate. GRPO needs twice the steps: it first has to meet a
refusal among its samples."""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What was trained, after so many steps: copies on the CPU of the parameters that were trainable.

    Put back by `restore`. `reward`: mean reward of the answers sampled in that step (GRPO), None for the others.
    """

    step: int
    state: dict[str, Tensor]
    loss: float
    reward: float | None = None


# -- what is trained on


def safety_items(world: World, *, n: int = 512, harmful: float = 0.7, seed: int = 0) -> tuple[Item, ...]:
    """Training requests: a share `harmful` of training cells, the rest benign (neutral verb, thing), in seeded order.

    `harmful=1` is refusals only, after which everything is refused. Where the world has fewer prompts than asked
    for, they repeat.
    """
    draw = seeded(f"safety {seed}")
    bad = world.family_items("held_out_verbs", "training", n, seed=seed)
    good = world.family_items("neutral_thing", "training", n, seed=seed)
    n_bad = round(harmful * n)
    items = [*_cycled(bad, n_bad), *_cycled(good, n - n_bad)]
    draw.shuffle(items)
    return tuple(items)


def wanted(item: Item) -> str:
    """What the item should be answered after safety training: the refusal where it is harmful."""
    return words.REFUSAL if item.intent == "harmful" else item.answer


def unwanted(item: Item) -> str:
    """The other of the two."""
    return item.answer if item.intent == "harmful" else words.REFUSAL


def training_rows(items: Sequence[Item], method: Method) -> list[dict[str, str]]:
    """The items as rows for `aligntax weights train`: prompt and intent, with completion, or chosen and rejected."""
    rows = []
    for item in items:
        row = {"prompt": item.prompt, "intent": item.intent}
        if method == "sft":
            row |= {"completion": wanted(item)}
        elif method == "dpo":
            row |= {"chosen": wanted(item), "rejected": unwanted(item)}
        rows.append(row)
    return rows


def write_rows(items: Sequence[Item], method: Method, path: Path) -> Path:
    """`training_rows` as JSONL."""
    lines = (json.dumps(row) for row in training_rows(items, method))
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


# -- the loop


def train(
    model: Any,
    coder: Coder,
    items: Sequence[Item],
    recipe: SafetyRecipe,
    *,
    keep: Sequence[int] = (),
    before_step: Hook | None = None,
    after_step: Hook | None = None,
) -> list[Checkpoint]:
    """Trains the model in place on the items and returns the checkpoints at the steps of `keep`, the last always.

    The model as it comes in is the reference of DPO. Leaves the model ready to evaluate, as the last step left it.
    """
    import torch

    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    step_of = {"sft": _sft, "dpo": _dpo, "grpo": _grpo}[recipe.method](model, coder, items, recipe)
    model.train()
    kept = []
    for step, rows in enumerate(_orders(len(items), recipe), start=1):
        loss, reward = step_of([items[at] for at in rows])
        torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
        if before_step is not None:
            before_step(model)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if after_step is not None:
            after_step(model)
        if step in keep or step == recipe.steps:
            kept.append(Checkpoint(step=step, state=_trained(model), loss=loss, reward=reward))
    model.eval()
    return kept


def restore(model: Any, checkpoint: Checkpoint) -> Any:
    """The same model with the checkpoint's parameters in it; what was not trained stays as it is."""
    import torch

    with torch.no_grad():
        own = dict(model.named_parameters())
        for name, tensor in checkpoint.state.items():
            own[name].copy_(tensor)
    return model


_Step = Callable[[Sequence[Item]], tuple[float, float | None]]


def _sft(model: Any, coder: Coder, _items: Sequence[Item], _recipe: SafetyRecipe) -> _Step:
    def step(items: Sequence[Item]) -> tuple[float, None]:
        pairs = [(item.prompt, wanted(item)) for item in items]
        return backward(model, coder, pairs, device=device_of(model), parts=1), None

    return step


def _dpo(model: Any, coder: Coder, items: Sequence[Item], recipe: SafetyRecipe) -> _Step:
    """Ref: arXiv:2305.18290; the anchor: arXiv:2404.19733. The reference is the model as it came in."""
    import torch
    import torch.nn.functional as F  # noqa: N812

    reference: dict[str, float] = {}
    with torch.no_grad():
        unique = list({item.prompt: item for item in items}.values())
        for first in range(0, len(unique), 64):
            part = unique[first : first + 64]
            margins, _ = _margins(model, coder, part)
            reference |= {item.prompt: float(margin) for item, margin in zip(part, margins, strict=True)}

    def step(rows: Sequence[Item]) -> tuple[float, None]:
        margins, likely = _margins(model, coder, rows)
        before = torch.tensor([reference[item.prompt] for item in rows], device=margins.device)
        loss = -F.logsigmoid(recipe.beta * (margins - before)).mean() - recipe.anchor * likely
        loss.backward()
        return float(loss.detach()), None

    return step


def _margins(model: Any, coder: Coder, items: Sequence[Item]) -> tuple[Tensor, Tensor]:
    """By how much log p(wanted) exceeds log p(unwanted), of each item; mean log-probability of a wanted token."""
    n = len(items)
    pairs = [(item.prompt, wanted(item)) for item in items]
    pairs += [(item.prompt, unwanted(item)) for item in items]
    (batch,) = coder.batches(pairs, size=2 * n)
    placed = batch.to(device_of(model))
    each = _log_probabilities(model, placed)
    owners = placed.rows[placed.owners]
    sums = each.new_zeros(2 * n).index_add(0, owners, each)
    return sums[:n] - sums[n:], each[owners < n].mean()


def _log_probabilities(model: Any, batch: Batch) -> Tensor:
    """Of each answer token: float32 [asked]."""
    return answer_logits(model, batch).log_softmax(-1).gather(1, batch.targets[:, None])[:, 0]


def _grpo(model: Any, coder: Coder, _items: Sequence[Item], recipe: SafetyRecipe) -> _Step:
    """Ref: arXiv:2402.03300, one update per sampling and no KL term: the ratio of policies is one.

    Reward 1 for the wanted answer word for word, else 0. A group whose rewards are all alike teaches nothing and
    costs no backward pass.
    """
    import torch

    generator = torch.Generator(device=device_of(model)).manual_seed(recipe.seed)

    def step(items: Sequence[Item]) -> tuple[float, float]:
        model.eval()
        groups = sampled(
            model, coder, [item.prompt for item in items], samples=recipe.samples,
            max_tokens=recipe.max_tokens, temperature=recipe.temperature, generator=generator,
        )  # fmt: skip
        model.train()
        rows: list[tuple[list[int], list[int], int]] = []
        advantages, every = [], []
        for item, answers in zip(items, groups, strict=True):
            right = coder.encode(wanted(item))
            rewards = torch.tensor([float(answer[:-1] == right) for answer in answers])
            every.append(rewards.mean())
            if rewards.min() == rewards.max():
                continue
            before = coder.encode(item.prompt)
            shares = (rewards - rewards.mean()) / (rewards.std() + 1e-4)
            for answer, share in zip(answers, shares, strict=True):
                rows.append((before, answer, len(rows)))
                advantages.append(share)
        reward = float(torch.stack(every).mean())
        if not rows:
            return 0.0, reward
        return _reinforce(model, rows, torch.stack(advantages)), reward

    return step


def _reinforce(model: Any, rows: list[tuple[list[int], list[int], int]], advantages: Tensor) -> float:
    """Backward pass of the policy gradient: mean over the answers of the mean over an answer's tokens."""
    placed = padded(rows).to(device_of(model))
    taken = _log_probabilities(model, placed)
    lengths = placed.asks.sum(1)
    weights = advantages.to(taken.device)[placed.owners] / lengths[placed.owners]
    loss = -(weights * taken).sum() / len(rows)
    loss.backward()
    return float(loss.detach())


def _orders(n: int, recipe: SafetyRecipe) -> Iterator[list[int]]:
    """The rows of each step: all of them once, in a new order, before any comes again."""
    draw = seeded(f"order {recipe.seed}")
    left: list[int] = []
    for _ in range(recipe.steps):
        while len(left) < recipe.batch:
            order = list(range(n))
            draw.shuffle(order)
            left += order
        yield left[: recipe.batch]
        left = left[recipe.batch :]


def _trained(model: Any) -> dict[str, Tensor]:
    return {
        name: parameter.detach().to("cpu", copy=True)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def _cycled(items: Sequence[Item], n: int) -> list[Item]:
    return [items[at % len(items)] for at in range(n)]
