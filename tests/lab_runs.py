"""One run of the laboratory for all tests: every method, two seeds, the smallest budgets at which each does its work."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from labs import quick_base


def small_plan(**changes: Any) -> Any:
    """A plan of a few steps and prompts, on the quick base that other tests train as well."""
    from aligntax.lab.plan import RATES, plan_of

    plan = plan_of(quick=True, seeds=2)
    small = {
        "steps": 8, "checkpoints": (4, 8), "rates": {family: rates[1:2] for family, rates in RATES.items()},
        "evaluations": 3, "selection_prompts": 12, "report_prompts": 12, "general": 64, "n_blocks": 2,
    }  # fmt: skip
    return msgspec.structs.replace(plan, **(small | changes))


def cache_of(folder: Path | None = None) -> Path:
    """A cache that holds the quick base; its results are in `folder`, or in the base's own cache."""
    bases = quick_base().folder
    if folder is None:
        return bases.parent
    folder.mkdir(parents=True, exist_ok=True)
    (folder / bases.name).symlink_to(bases)
    return folder


@functools.cache
def small_run() -> Any:
    """Every method on two seeds."""
    from aligntax.lab.experiment import run

    return run(small_plan(), cache=cache_of(Path(tempfile.mkdtemp(prefix="aligntax-lab-run-")) / "cache"))
