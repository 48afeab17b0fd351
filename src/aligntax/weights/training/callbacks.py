"""What happens between the steps of a training run: progress is told, checkpoints are kept whole and lean."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from transformers import TrainerCallback

WHOLE = "whole.json"
"""Written last into a checkpoint: without it the checkpoint was cut off, and is not resumed from."""

_TRAINER_STATE = ("optimizer.pt", "scheduler.pt", "scaler.pt", "training_args.bin")


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run stands. `loss` is the method's own and may be negative; `reward` is GRPO's mean, -1 to 1."""

    step: int
    steps: int
    loss: float
    reward: float | None = None
    elapsed_s: float
    left_s: float


Report = Callable[[Step], None]


class Progress(TrainerCallback):
    """Tells `report` of every logged step, and keeps the history: (step, loss, reward)."""

    def __init__(self, report: Report | None) -> None:
        self.report = report
        self.history: list[tuple[int, float, float | None]] = []
        self._began = 0.0
        self._first = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The clock starts; a resumed run has taken steps before."""
        self._began, self._first = time.monotonic(), state.global_step
        self.history = [_point(entry) for entry in state.log_history if "loss" in entry]

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """One logged step."""
        if not logs or "loss" not in logs:
            return
        point = _point({**logs, "step": state.global_step})
        self.history.append(point)
        if self.report is None or not state.is_world_process_zero:
            return
        spent = time.monotonic() - self._began
        taken = max(1, state.global_step - self._first)
        self.report(
            Step(
                step=state.global_step, steps=state.max_steps, loss=point[1], reward=point[2], elapsed_s=spent,
                left_s=spent / taken * (state.max_steps - state.global_step),
            )
        )  # fmt: skip


class Keep(TrainerCallback):
    """Marks a saved checkpoint as whole, and drops what only a resumed run needs from those before it.

    What stays of an older one is an ordinary adapter or model: a point of the front for early stopping.
    """

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A checkpoint was written."""
        if not state.is_world_process_zero:
            return
        here = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        (here / "README.md").unlink(missing_ok=True)  # an empty form that PEFT writes
        (here / WHOLE).write_bytes(msgspec.json.encode({"step": state.global_step}))
        for other in whole_checkpoints(Path(args.output_dir)):
            if other != here:
                make_lean(other)


def whole_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints that were written to their end, by step."""
    found = [path.parent for path in folder.glob(f"checkpoint-*/{WHOLE}")]
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))


def make_lean(checkpoint: Path) -> None:
    """Leave what a model server loads: safetensors, configs and the tokenizer; no state of the optimizer."""
    for name in (*_TRAINER_STATE, "README.md"):
        (checkpoint / name).unlink(missing_ok=True)
    for state in checkpoint.glob("rng_state*.pth"):
        state.unlink()


def _point(entry: dict[str, Any]) -> tuple[int, float, float | None]:
    reward = entry.get("reward")
    return int(entry["step"]), _number(entry["loss"]), None if reward is None else _number(reward)


def _number(value: Any) -> float:
    return float(value) if value is not None else math.nan
