"""The quick laboratory's base, trained once per test process, and models made from it."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any


@functools.cache
def quick_base(seed: int = 0) -> Any:
    """About 20 CPU seconds the first time; read from the folder of ALIGNTAX_TEST_CACHE afterwards, where it is set."""
    import os

    import torch

    from aligntax.lab.pretraining import SCALES, pretrained

    torch.set_num_threads(1)
    kept = os.environ.get("ALIGNTAX_TEST_CACHE")
    folder = Path(kept) if kept else Path(tempfile.mkdtemp(prefix="aligntax-lab-"))
    return pretrained(SCALES["quick"], seed=seed, cache=folder)
