"""A cheap search that is real: a tiny model that safety training moved, scored by whose next token it gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from aligntax.weights.searching.objectives import Objective, Prompts, from_functions
from aligntax.weights.searching.resident import Resident
from aligntax.weights.searching.search import Sides
from tiny_models import VOCABULARY, moved, tiny_model

torch.set_num_threads(1)


def two_models(layers: int = 3) -> tuple[Any, Any]:
    base = tiny_model(layers=layers)
    return base, moved(base, by=0.15)


def resident() -> Resident:
    return Resident(*two_models())


def prompts(seed: int, count: int) -> torch.Tensor:
    return torch.randint(3, VOCABULARY, (count, 5), generator=torch.Generator().manual_seed(seed))


def next_tokens(model: Any, ids: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return model(input_ids=ids).logits[:, -1].argmax(dim=-1).numpy()


def objective(harmful: torch.Tensor, useful: torch.Tensor) -> tuple[Objective, Prompts]:
    """Safe: the aligned model's token on harmful prompts. Useful: the base's on the others."""
    base, aligned = two_models()
    safe, right = next_tokens(aligned, harmful), next_tokens(base, useful)
    keys = frozenset(str(row) for row in [*harmful.tolist(), *useful.tolist()])
    measure = from_functions(
        lambda model: (next_tokens(model, harmful) == safe).astype(float),
        lambda model: (next_tokens(model, useful) == right).astype(float),
        lambda model: (next_tokens(model, useful) != right).astype(float),
    )
    return measure, Prompts(keys=keys)


def sides(count: int = 40) -> Sides:
    selection, chosen = objective(prompts(1, count), prompts(2, count))
    report, others = objective(prompts(3, count), prompts(4, count))
    return Sides(selection=selection, report=report, selection_prompts=chosen, report_prompts=others)
