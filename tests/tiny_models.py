"""Tiny models of every layout that we support, random and seeded, and a word tokenizer: nothing is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

LAYOUTS = ("llama", "mistral", "qwen2", "gemma", "phi", "phi3", "gpt2")
"""Fused qkv and gate_up: phi3. Conv1D and fused qkv: gpt2. Tied embeddings: gemma, gpt2. Biases: qwen2, phi, gpt2."""
VOCABULARY = 96
WORDS = ("<pad>", "<s>", "</s>", "<unk>", *(f"w{at}" for at in range(VOCABULARY - 4)))


def tiny_config(layout: str, *, layers: int = 2, width: int = 32) -> Any:
    """A config of that layout: `layers` layers, 4 heads (2 for keys where the layout has fewer), 64 positions."""
    import transformers as t

    common: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if layout == "gpt2":
        return t.GPT2Config(n_layer=layers, n_embd=width, n_head=4, n_positions=64, **common)
    common |= {
        "hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": layers,
        "num_attention_heads": 4, "max_position_embeddings": 64,
    }  # fmt: skip
    fewer = {"num_key_value_heads": 2}
    return {
        "llama": lambda: t.LlamaConfig(**common, **fewer),
        "mistral": lambda: t.MistralConfig(**common, **fewer),
        "qwen2": lambda: t.Qwen2Config(**common, **fewer, tie_word_embeddings=False),
        "gemma": lambda: t.GemmaConfig(**common, **fewer, head_dim=width // 4),
        "phi": lambda: t.PhiConfig(**common),
        "phi3": lambda: t.Phi3Config(**common, **fewer),
    }[layout]()


def tiny_model(layout: str = "llama", *, seed: int = 0, **sizes: int) -> Any:
    """A random model of that layout, in float32 and ready to evaluate."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(tiny_config(layout, **sizes)).eval()


def moved(model: Any, *, by: float = 0.02, seed: int = 1) -> Any:
    """A copy of the model with noise of that size on every floating parameter: as after some training."""
    import copy

    import torch

    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(by * torch.randn(parameter.shape, generator=generator))
    return other


def tiny_tokenizer() -> Any:
    """A word tokenizer of `WORDS` as a fast tokenizer, with a chat template."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    fast.chat_template = "{% for message in messages %}{{ message['content'] + ' ' }}{% endfor %}"
    return fast


def saved(model: Any, folder: Path, *, max_shard_size: str = "50GB") -> Path:
    """The model and the tokenizer as an ordinary Hugging Face folder."""
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    tiny_tokenizer().save_pretrained(folder)
    return folder
