"""Samples answers, with the keys and values of each prompt computed once and shared by all of its samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .model import device_of, precision
from .tokens import END, Coder


def sampled(
    model: Any,
    coder: Coder,
    prompts: Sequence[str],
    *,
    samples: int = 1,
    max_tokens: int = 8,
    temperature: float = 1.0,
    generator: Any = None,
) -> list[list[list[int]]]:
    """For each prompt its sampled answers, each up to and including its end mark, or cut at `max_tokens`.

    Temperature 0 takes the most likely token. Prompts of one length run together: there is no padding and no mask.
    """
    answers: list[list[list[int]]] = [[] for _ in prompts]
    by_length: dict[int, list[int]] = {}
    coded = [coder.encode(prompt) for prompt in prompts]
    for at, ids in enumerate(coded):
        by_length.setdefault(len(ids), []).append(at)
    for places in by_length.values():
        choose = partial(_next, temperature=temperature, generator=generator)
        drawn = _draw(model, [coded[at] for at in places], samples, max_tokens, choose)
        for number, at in enumerate(places):
            answers[at] = drawn[number * samples : (number + 1) * samples]
    return answers


def _draw(
    model: Any, prompts: list[list[int]], samples: int, max_tokens: int, choose: Callable[[Any], Any]
) -> list[list[int]]:
    import torch
    from transformers import DynamicCache

    device = device_of(model)
    cache = DynamicCache()
    drawn: list[Any] = []
    with torch.no_grad(), precision(device):
        given = torch.tensor(prompts, device=device)
        logits = model(input_ids=given, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]
        cache.batch_repeat_interleave(samples)
        logits = logits.repeat_interleave(samples, 0)
        while True:
            drawn.append(choose(logits.float()))
            if len(drawn) == max_tokens:
                break
            logits = model(input_ids=drawn[-1], past_key_values=cache, use_cache=True).logits[:, -1]
    rows = torch.cat(drawn, 1).tolist()
    return [row[: row.index(END) + 1] if END in row else row for row in rows]


def _next(logits: Any, temperature: float, generator: Any) -> Any:
    import torch

    if temperature == 0:
        return logits.argmax(-1, keepdim=True)
    return torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)
