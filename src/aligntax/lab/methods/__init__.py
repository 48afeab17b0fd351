"""The methods that are compared, a table: name -> what it is and where. A method is `(bench, attempts) -> None`.

It shows states of a model to `attempts`, at most as many as the budget says; which of them is chosen is not its
business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from ..bench import Attempts, Bench

Family = Literal[
    "sft", "lora-1", "lora-8", "lora-32", "lora-up", "null", "displacement", "gradient", "dpo", "grpo", "nspo"
]
"""Methods that take learning rates of one size."""
Group = Literal["averaging", "low rank", "null space", "data and objective", "steering", "baseline"]

Run = Callable[["Bench", "Attempts"], None]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One method as the report names it."""

    label: str
    group: Group
    place: str
    about: str
    """One sentence: what is done."""
    trains: bool = True
    """Whether it trains at several learning rates; others start from a model that is trained already."""
    always: bool = False
    """A baseline that every run has."""


def _told(
    label: str, group: Group, place: str, about: str, *, trains: bool = True, always: bool = False
) -> Told:
    return Told(
        label=label,
        group=group,
        place=f"aligntax.lab.methods.{place}",
        about=about,
        trains=trains,
        always=always,
    )


METHODS: Mapping[str, Told] = {
    "sft": _told(
        "tuned SFT", "baseline", "training:sft",
        "full fine-tuning on refusals and plain benign requests; learning-rate sweep and early stopping", always=True,
    ),
    "early": _told(
        "early stopping of the harsh run", "baseline", "training:early",
        "the harsh run (full fine-tuning at a learning rate too high), stopped earlier", trains=False, always=True,
    ),
    "average": _told(
        "uniform averaging", "averaging", "averaged:uniform",
        "harsh model and base, one ratio for all weights", trains=False, always=True,
    ),
    "blocks": _told(
        "block ratios, searched", "averaging", "averaged:blocks",
        "harsh model and base, a ratio for each of three blocks of layers, two-objective search (Optuna)", trains=False,
    ),
    "likelihood": _told(
        "block ratios, likelihood", "averaging", "averaged:likelihood",
        "the averaging paper's recipe: ratios of a given mean that make good answers of the harsh model likeliest", trains=False,
    ),
    "lora-1": _told("LoRA rank 1", "low rank", "adapters:lora_1", "adapter on all linears, rank 1"),
    "lora-8": _told("LoRA rank 8", "low rank", "adapters:lora_8", "adapter on all linears, rank 8, the same multiplier"),
    "lora-32": _told(
        "LoRA rank 32", "low rank", "adapters:lora_32", "adapter on all linears, rank 32, the same multiplier"
    ),
    "lora-up": _told(
        "middle up_proj at rank 1", "low rank", "adapters:lora_up",
        "adapter of rank 1 on up_proj of the middle third of the layers",
    ),
    "null-lora": _told(
        "null-space LoRA", "null space", "adapters:null_lora",
        "rank 8 adapter that cannot leave the null space of general text",
    ),
    "displacement": _told(
        "displacement projected", "null space", "projected:displacement",
        "fine-tuning of the linears, displacement projected into the null space after every step; all else frozen",
    ),
    "gradient": _told(
        "gradient projected", "null space", "projected:gradient",
        "the same with gradients projected before AdamW, as a control: the constraint does not survive the optimiser",
    ),
    "refusals": _told(
        "refusals only", "data and objective", "training:refusals", "full fine-tuning on refusals alone",
    ),
    "replay": _told(
        "replay with look-alikes", "data and objective", "training:replay",
        "40 % of the items replaced: half general text, half benign look-alikes with their answers",
    ),
    "dpo": _told("DPO", "data and objective", "training:dpo", "preferences: refusal against compliance, same prompts"),
    "grpo": _told(
        "GRPO", "data and objective", "training:grpo", "reinforcement on the model's own samples, no KL term"
    ),
    "nspo": _told("GRPO in the null space", "null space", "adapters:nspo", "GRPO with the null-space adapter (NSPO)"),
    "steer": _told(
        "direction ablation", "steering", "steered:steer",
        "false-refusal direction of the gently tuned model ablated in its weights, searched (Optuna)", trains=False,
    ),
}  # fmt: skip
"""In the order of the report. Group names are headings."""


def run_of(name: str) -> Run:
    """The function of a method, loaded when asked for."""
    module, _, function = METHODS[name].place.partition(":")
    found: Run = getattr(import_module(module), function)
    return found
