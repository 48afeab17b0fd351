"""A recipe as one of TRL's trainers: the same settings for SFT, DPO and GRPO, and nothing reported anywhere."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InputError, MissingExtra
from .data import Row, as_columns
from .recipe import TrainingRecipe

if TYPE_CHECKING:
    from .rewards import Reward


def n_devices() -> int:
    """Processes that train together: one each for the devices that accelerate was told of."""
    return max(1, int(os.environ.get("WORLD_SIZE", "1")))


def is_first() -> bool:
    """Whether this is the process that prints and writes."""
    return os.environ.get("RANK", "0") == "0"


def compute() -> tuple[str, bool]:
    """The kind of device that trains, and whether it computes in bfloat16."""
    import torch

    if torch.cuda.is_available():
        return "cuda", bool(torch.cuda.is_bf16_supported())
    return "cpu", False


def trainer_for(  # noqa: PLR0913 - what a trainer is made of
    recipe: TrainingRecipe,
    model: Any,
    tokenizer: Any,
    rows: Sequence[Row],
    folder: Path,
    *,
    adapter: Any = None,
    reference: Any = None,
    reward: Reward | None = None,
) -> Any:
    """The trainer of the recipe's method over these rows, with checkpoints going to `folder`.

    `adapter`: a `peft.LoraConfig`, or None where the model comes as it shall be trained. `reference`: what DPO ties
    to where the starting weights themselves are trained. `reward`: of GRPO. Raises InputError where GRPO has none.
    """
    trl = _trl()
    data = _dataset(as_columns(rows, recipe.method, chat=bool(tokenizer.chat_template)))
    common: dict[str, Any] = {"model": model, "train_dataset": data, "processing_class": tokenizer}
    settings = _settings(recipe, len(rows), folder)
    if adapter is not None:
        common["peft_config"] = adapter
    if recipe.method == "sft":
        settings |= {"max_length": recipe.max_length, "completion_only_loss": True}
        trainer = trl.SFTTrainer(args=_config(trl.SFTConfig, settings), **common)
    elif recipe.method == "dpo":
        settings |= {"max_length": recipe.max_length, "beta": recipe.beta}
        trainer = trl.DPOTrainer(args=_config(trl.DPOConfig, settings), ref_model=reference, **common)
    else:
        if reward is None:
            raise InputError("GRPO needs a reward", remedy="hand in refusal_reward(judge)")
        settings |= {
            "beta": recipe.beta, "num_generations": recipe.generations, "temperature": recipe.temperature,
            "max_completion_length": recipe.max_new_tokens,
        }  # fmt: skip
        trainer = trl.GRPOTrainer(args=_config(trl.GRPOConfig, settings), reward_funcs=reward, **common)
    trainer.create_model_card = lambda *_, **__: None  # ours is written at the end, by training_card
    return trainer


def _settings(recipe: TrainingRecipe, n_rows: int, folder: Path) -> dict[str, Any]:
    device, bfloat16 = compute()
    at_once, times = recipe.accumulate(n_devices())
    steps = recipe.steps_for(n_rows)
    return {
        "output_dir": str(folder),
        "max_steps": steps,
        "per_device_train_batch_size": at_once,
        "gradient_accumulation_steps": times,
        "learning_rate": recipe.rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": round(recipe.warmup * steps),
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_gradient_norm,
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "bf16": bfloat16,
        "fp16": False,
        "use_cpu": device == "cpu",
        "dataloader_pin_memory": device != "cpu",
        "activation_checkpointing": recipe.recompute,
        "save_strategy": "steps",
        "save_steps": recipe.checkpoint_every(n_rows),
        "logging_steps": 1,
        "disable_tqdm": True,
        "report_to": "none",
        "push_to_hub": False,
    }


def _config(kind: Any, settings: Mapping[str, Any]) -> Any:
    """The config of a trainer; transformers before 5.19 called recomputed activations gradient checkpointing."""
    known = {field.name for field in dataclasses.fields(kind)}
    held = dict(settings)
    if "activation_checkpointing" not in known:
        held["gradient_checkpointing"] = held.pop("activation_checkpointing")
    return kind(**held)


def _dataset(columns: list[dict[str, Any]]) -> Any:
    from datasets import Dataset

    return Dataset.from_list(columns)


def _trl() -> Any:
    try:
        import trl
    except ImportError as absent:
        raise MissingExtra("trl", "weights") from absent
    return trl
