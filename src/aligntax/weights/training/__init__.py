"""Safety training by SFT, DPO and GRPO: as LoRA, in null spaces or of all weights."""
