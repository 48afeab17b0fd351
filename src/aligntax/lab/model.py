"""The laboratory's model: an ordinary Hugging Face Llama, small, and how it is scored quickly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..weights.loading import load_model
from .tokens import END, PAD, START, Batch, tokenizer_of
from .world import World

if TYPE_CHECKING:
    from torch import Tensor


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of the network. Head and embedding are not tied, so that they can be averaged and frozen apart."""

    layers: int = 6
    width: int = 96
    heads: int = 4
    feed_forward: int = 256
    positions: int = 64


def build(shape: Shape, world: World, *, seed: int = 0) -> Any:
    """A `LlamaForCausalLM` with random weights of that seed, float32, on the CPU."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(world.vocabulary),
        hidden_size=shape.width,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        max_position_embeddings=shape.positions,
        tie_word_embeddings=False,
        pad_token_id=PAD,
        bos_token_id=START,
        eos_token_id=END,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def save(model: Any, world: World, folder: Path) -> Path:
    """The model and its tokenizer as an ordinary Hugging Face folder, weights in safetensors."""
    with _without_bars():
        model.save_pretrained(folder)
    tokenizer_of(world).save_pretrained(folder)
    return folder


def load(folder: Path) -> Any:
    """A saved model, float32, ready to evaluate, on the CPU. Raises InputError where the folder holds none."""
    with _without_bars():
        return load_model(folder)


@contextmanager
def _without_bars() -> Iterator[None]:
    """Transformers draws a progress bar for every file, on the terminal where ours stands."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def copied(model: Any) -> Any:
    """A model of its own with the same weights, all of them trainable."""
    import copy

    return copy.deepcopy(model).requires_grad_(True)


def answer_logits(model: Any, batch: Batch) -> Tensor:
    """Logits at the places that ask for an answer's tokens: [asked, vocabulary], float32.

    `model`: the Llama, or PEFT around it. The head runs over those places alone, which halves the step at this size.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    with precision(batch.ids.device):
        hidden = inner.get_decoder()(input_ids=batch.ids, use_cache=False).last_hidden_state
        return inner.get_output_embeddings()(hidden[:, :-1][batch.asks]).float()


def precision(device: Any) -> AbstractContextManager[Any]:
    """bfloat16 autocast on a CUDA device; plain float32 elsewhere."""
    import torch

    if torch.device(device).type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


def device_of(model: Any) -> Any:
    """Where the model's weights lie."""
    return next(model.parameters()).device
