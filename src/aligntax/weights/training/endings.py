"""Whether what is trained on tells the model where an answer ends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .data import Method, Row

_ANSWER = "An answer."


def ending_note(source: Path, tokenizer: Any, method: Method, rows: Sequence[Row]) -> str | None:
    """A warning, in one line, where SFT or DPO would not teach the model to stop; None where it would, and for GRPO.

    In a chat the template must end an answer with a token at which generation stops, or the rows do; without a template TRL adds the
    tokenizer's end token, so there must be one. GRPO samples the model's own ends.
    """
    if method == "grpo":
        return None
    ends = _ends(source, tokenizer)
    if not tokenizer.chat_template:
        known = tokenizer.eos_token_id is not None
        return None if known else "the tokenizer has no end token: this does not teach the model to stop"
    turns = [{"role": "user", "content": "A request."}, {"role": "assistant", "content": _ANSWER}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    behind = tokenizer(text.rpartition(_ANSWER)[2], add_special_tokens=False)["input_ids"]
    answers = [row.texts.get("completion", row.texts.get("chosen", "")) for row in rows]
    written = tokenizer.eos_token and all(said.rstrip().endswith(tokenizer.eos_token) for said in answers)
    if written or ends & set(behind):
        return None
    return (
        "the chat template puts no end token behind an answer: this does not teach the model to stop; "
        "write the end token into the rows, or mend the template"
    )


def _ends(source: Path, tokenizer: Any) -> set[int]:
    """Tokens at which generation stops: of the tokenizer, and of the model's own settings."""
    found = {tokenizer.eos_token_id}
    for name in ("generation_config.json", "config.json"):
        try:
            said = json.loads((source / name).read_bytes())["eos_token_id"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        found |= set(said) if isinstance(said, list) else {said}
    return found - {None}
