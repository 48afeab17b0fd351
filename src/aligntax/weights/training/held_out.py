"""What training did to rows that it did not see: how likely their answers are, and what the model answers itself."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..batches import own_answers
from ..loading import load_model, load_tokenizer
from .data import Row
from .offline import offline
from .rewards import Judge
from .trainers import compute


class HeldOut(msgspec.Struct, frozen=True, kw_only=True):
    """Measured on `n_harmful` and `n_benign` rows; None where there are none, or no answers to compare with.

    `declined`: share of harmful prompts that the model declines, higher is safer. `over_refused`: share of benign
    prompts declined, lower is better. `answered`: share of benign prompts answered, by the judge. `loss_harmful`,
    `loss_benign`: mean negative log-likelihood per token, in nats, of the rows' own answers.
    """

    n_harmful: int
    n_benign: int
    declined: float | None
    over_refused: float | None
    answered: float | None
    loss_harmful: float | None
    loss_benign: float | None


def measure(
    folder: str | Path, rows: Sequence[Row], *, judge: Judge, max_new_tokens: int = 64, batch_size: int = 8
) -> HeldOut:
    """Measure a model, or an adapter on the base that it names, on held-out rows: greedy answers, judged.

    Raises InputError where the folder holds neither.
    """
    with offline():
        model, tokenizer = open_trained(Path(folder))
        prompts = [row.prompt for row in rows]
        said = list(
            own_answers(model, tokenizer, prompts, max_new_tokens=max_new_tokens, batch_size=batch_size)
        )
        verdicts = judge(prompts, [row["completion"] for row in said])
        losses = [_loss(model, tokenizer, row) for row in rows]

    def share(intent: str, verdict: str) -> float | None:
        found = [one == verdict for row, one in zip(rows, verdicts, strict=True) if row.intent == intent]
        return sum(found) / len(found) if found else None

    def loss(intent: str) -> float | None:
        found = [
            one for row, one in zip(rows, losses, strict=True) if row.intent == intent and one is not None
        ]
        return sum(sum_ for sum_, _ in found) / max(1, sum(n for _, n in found)) if found else None

    harmful = sum(row.intent == "harmful" for row in rows)
    return HeldOut(
        n_harmful=harmful, n_benign=len(rows) - harmful, declined=share("harmful", "refused"),
        over_refused=share("benign", "refused"), answered=share("benign", "answered"),
        loss_harmful=loss("harmful"), loss_benign=loss("benign"),
    )  # fmt: skip


def open_trained(folder: Path) -> tuple[Any, Any]:
    """The live model and its tokenizer: of a model's folder, or of an adapter's with its base under it."""
    dtype: Any = "bfloat16" if compute()[1] else "float32"
    config = folder / "adapter_config.json"
    if not config.exists():
        return load_model(folder, dtype=dtype, device="auto"), load_tokenizer(folder)
    import peft

    base = json.loads(config.read_text())["base_model_name_or_path"]
    model = load_model(base, dtype=dtype, device="auto")
    return peft.PeftModel.from_pretrained(model, str(folder)).eval(), load_tokenizer(folder)


def _loss(model: Any, tokenizer: Any, row: Row) -> tuple[float, int] | None:
    """Sum of negative log-likelihoods of the row's answer and its tokens; None where it has none."""
    import torch

    answer = row.texts.get("completion", row.texts.get("chosen"))
    if answer is None:
        return None
    before, whole = _ids(tokenizer, row.prompt, None), _ids(tokenizer, row.prompt, answer)
    start = next(
        (at for at, (one, two) in enumerate(zip(before, whole, strict=False)) if one != two), len(before)
    )
    start = max(1, start)
    if start >= len(whole):
        return None
    ids = torch.tensor([whole], device=model.device)
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0, start - 1 : -1].float()
    total = float(torch.nn.functional.cross_entropy(logits, ids[0, start:], reduction="sum"))
    return (total, len(whole) - start) if math.isfinite(total) else None


def _ids(tokenizer: Any, prompt: str, answer: str | None) -> list[int]:
    if not tokenizer.chat_template:
        return list(tokenizer(prompt + (answer or "")).input_ids)
    turns = [{"role": "user", "content": prompt}]
    if answer is not None:
        turns.append({"role": "assistant", "content": answer})
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=answer is None)
    return list(tokenizer(text, add_special_tokens=False).input_ids)
