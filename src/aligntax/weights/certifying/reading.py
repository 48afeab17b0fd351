"""One pass over rows of general text: what inputs feel of a change, and how far two models' answers are apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ...errors import InputError
from ..loading import Dtype
from .certificate import TARGET
from .examples import Batch, Example, batches
from .felt import Change, Sums, drift_of, felt

Watch = Callable[[str, int, int], None]
"""Told what goes on, how much of it is done, and of how much."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How to certify. `held_out`: a file, or the share of the data that is held out by a hash of the prompt."""

    held_out: Path | float = 0.3
    target: float = TARGET
    level: float = 0.95
    max_tokens: int = 512  # of one row
    chat: bool | None = None  # whether rows are talks of the chat template; None: where there is one
    batch_tokens: int = 4096
    dtype: Dtype = "float32"
    device: str | None = None


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One side of the data: its rows as tokens, and what was summed over them."""

    examples: Sequence[Example]
    sums: Sums
    drift: Any  # [rows, 3]: sum of KL, tokens that agree, tokens; zeros where only BASE read

    @property
    def tokens(self) -> int:
        """Tokens of all its rows."""
        return sum(len(example.ids) for example in self.examples)


def read(  # noqa: PLR0913, PLR0917 - one pass needs both models, the rows and how to batch them
    name: str,
    before: Any,
    after: Any | None,
    changes: dict[str, Change],
    examples: Sequence[Example],
    settings: Settings,
    pad: int,
    watch: Watch,
) -> Part:
    """One pass of BASE over the rows, and of TUNED where it is given."""
    part = Part(examples=examples, sums=Sums(len(examples), len(changes)), drift=np.zeros((len(examples), 3)))
    for batch in _batches(name, examples, settings, pad, before.device, watch):
        told = {"input_ids": batch.input_ids, "attention_mask": batch.mask, "use_cache": False}
        with felt(changes, batch, part.sums):
            first = before(**told).logits
        if after is not None:
            second = after(**told).logits
            for place, at in enumerate(batch.at):
                part.drift[at] = drift_of(examples[at], first[place], second[place])
    if not np.isfinite(part.drift).all():
        raise InputError("the models' logits are not finite", remedy="try --dtype float32")
    return part


def _batches(
    name: str, examples: Sequence[Example], settings: Settings, pad: int, device: Any, watch: Watch
) -> Iterator[Batch]:
    import torch

    done = 0
    with torch.no_grad():
        for batch in batches(examples, batch_tokens=settings.batch_tokens, pad=pad):
            watch(name, done, len(examples))
            yield msgspec.structs.replace(
                batch, input_ids=batch.input_ids.to(device), mask=batch.mask.to(device)
            )
            done += len(batch.at)
