"""A tiny LoRA as PEFT saves it, random and seeded."""

from __future__ import annotations

from pathlib import Path

import torch

from aligntax.weights.loading import load_model

TARGETS = {"llama": ["q_proj", "down_proj"], "gpt2": ["c_attn", "mlp.c_proj"]}


def adapter_for(base: Path, folder: Path, *, layout: str = "llama", rank: int = 2, seed: int = 3) -> Path:
    """A real LoRA of random entries, scale 3, as PEFT saves it."""
    import peft

    torch.manual_seed(seed)
    config = peft.LoraConfig(
        r=rank, lora_alpha=3 * rank, target_modules=TARGETS[layout], task_type="CAUSAL_LM",
        fan_in_fan_out=layout == "gpt2",
    )  # fmt: skip
    adapted = peft.get_peft_model(load_model(base, dtype="auto"), config)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.1 * torch.randn(parameter.shape))
    adapted.save_pretrained(str(folder))
    return folder
