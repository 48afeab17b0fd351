"""The quick laboratory's base, trained once and kept beside pytest's own cache, by a hash of all that made it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aligntax.lab.pretraining import Base

KEPT = Path(__file__).parent.parent / ".pytest_cache" / "lab"


@functools.cache
def quick_base(seed: int = 0) -> Base:
    """About 13 CPU seconds the first time; treat it as read-only: `copied(base.model)` is there to be changed."""
    import torch

    from aligntax.lab.pretraining import SCALES, pretrained

    torch.set_num_threads(1)
    return pretrained(SCALES["quick"], seed=seed, cache=KEPT)
