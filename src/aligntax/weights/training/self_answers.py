"""Benign prompts answered by the model itself before training: data that asks it to stay as it was."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ...errors import InputError
from ..batches import own_answers
from ..loading import check_folder, load_model, load_tokenizer, rows
from .data import Row
from .files import SELF_ANSWERED, model_identity
from .offline import offline
from .rewards import Judge, is_garbled
from .trainers import compute, is_first

_BATCH = 8


def self_answered(
    model: str | Path,
    prompts: Sequence[str],
    folder: str | Path,
    *,
    judge: Judge,
    max_new_tokens: int = 256,
    told: Callable[[int, int], None] | None = None,
) -> tuple[list[Row], int]:
    """Rows of SFT in which the starting model answers benign prompts, greedily, and how many were left out.

    Left out are answers that are refusals, empty or garbled: they would teach what is to be avoided. Each answer is
    stored in `folder` as it comes; a second call goes on behind the last one. `told` hears (done, all). Processes
    of accelerate beside the first wait for it. Raises InputError where the model or the prompts cannot be read.
    """
    check_folder(Path(model))
    prompts = list(dict.fromkeys(prompts))
    asked = [model_identity(Path(model)), prompts, max_new_tokens]
    name = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
    path = Path(folder) / SELF_ANSWERED / f"{name}.jsonl"
    if is_first():
        _answer(Path(model), prompts, path, max_new_tokens, told)
    else:
        while len(_stored(path)) < len(prompts):
            time.sleep(1)
    answered = _stored(path)
    verdicts = judge([row["prompt"] for row in answered], [row["completion"] for row in answered])
    kept = [
        Row(texts=row, intent="benign", source="self-answered")
        for row, verdict in zip(answered, verdicts, strict=True)
        if verdict != "refused" and not is_garbled(row["completion"])
    ]
    return kept, len(prompts) - len(kept)


def read_prompts(path: str | Path) -> list[str]:
    """The prompts of a JSON-lines file of {"prompt"}. Raises InputError where one is said to be harmful."""
    found = rows(path)
    if any(row.get("intent", "benign") != "benign" for row in found):
        raise InputError("a prompt in it is not benign", where=str(path), remedy="give benign prompts alone")
    return [row["prompt"] for row in found]


def _answer(
    model: Path, prompts: list[str], path: Path, max_new_tokens: int, told: Callable[[int, int], None] | None
) -> None:
    done = len(_stored(path, mend=True))
    if done >= len(prompts):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with offline(), path.open("ab") as file:
        tokenizer = load_tokenizer(model)
        live = load_model(model, dtype="bfloat16" if compute()[1] else "float32", device="auto")
        answers = own_answers(
            live, tokenizer, prompts[done:], max_new_tokens=max_new_tokens, batch_size=_BATCH
        )
        for number, row in enumerate(answers, start=done + 1):
            file.write(json.dumps(row).encode() + b"\n")
            if number % _BATCH == 0 or number == len(prompts):
                file.flush()
                os.fsync(file.fileno())
            if told is not None:
                told(number, len(prompts))


def _stored(path: Path, *, mend: bool = False) -> list[dict[str, str]]:
    """Whole lines of the file; `mend` cuts off a last one that a kill left in half."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if mend and len(whole) < len(content):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    return [json.loads(line) for line in whole.splitlines()]
