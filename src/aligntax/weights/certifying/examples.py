"""Rows of general text as tokens: split in two by a hash, and in batches padded on the right."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ...errors import InputError
from ..batches import texts_of
from ..loading import rows
from .certificate import Data

if TYPE_CHECKING:
    import torch

_ANSWERS = (
    "completion",
    "answer",
    "chosen",
)  # in this order: what rows for SFT and for preferences call an answer


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """One row as token ids. The answer starts at `answer`; where there is none that is 1, and `answered` is false."""

    ids: tuple[int, ...]
    answer: int
    answered: bool


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Rows padded on the right: `input_ids` and `mask` [rows, length]; `at` are their places in the whole."""

    input_ids: torch.Tensor
    mask: torch.Tensor
    at: tuple[int, ...]


def read_split(
    data: Path, held_out: Path | float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], tuple[str, ...]]:
    """Rows to calibrate on, rows held out, and what a reader should know of the split.

    A share is taken by a hash of the prompt, so that the same prompt is never on both sides and the same file is always
    split alike. Of two files, held-out rows whose prompt is in the first one are left out. Raises InputError where a
    file cannot be read or one side is empty.
    """
    first = rows(data)
    if isinstance(held_out, float):
        second = [row for row in first if _place(row["prompt"]) < held_out]
        first = [row for row in first if _place(row["prompt"]) >= held_out]
        notes: tuple[str, ...] = ()
    else:
        known = {row["prompt"] for row in first}
        found = rows(held_out)
        second = [row for row in found if row["prompt"] not in known]
        left_out = len(found) - len(second)
        notes = (
            (f"{left_out} held-out rows were left out: their prompts are in the calibration data",)
            if left_out
            else ()
        )
    for side, name in ((first, "calibration"), (second, "held-out")):
        if not side:
            raise InputError(
                f"no row is left for the {name} side",
                where=str(data),
                remedy="give more rows, or another share",
            )
    return first, second, notes


def encode(
    tokenizer: Any, found: Sequence[dict[str, Any]], *, max_tokens: int, chat: bool | None = None
) -> list[Example]:
    """The rows as tokens, cut after `max_tokens`, in the words of `texts_of` (`chat`: see there).

    The answer is "completion", else "chosen" or "answer"; it starts where the tokens of prompt and answer part from
    those of the prompt alone. Rows of fewer than two tokens are left out: they have no next token. Raises InputError
    where none is left.
    """
    encoded = []
    special = chat is False or not getattr(tokenizer, "chat_template", None)
    for row in found:
        answer = next((row[name] for name in _ANSWERS if isinstance(row.get(name), str)), "")
        texts = texts_of(
            tokenizer,
            [{"prompt": row["prompt"]}, {"prompt": row["prompt"], "completion": answer}],
            chat=chat,
        )
        prompt, whole = (list(tokenizer(text, add_special_tokens=special)["input_ids"]) for text in texts)
        start = next(
            (at for at, pair in enumerate(zip(prompt, whole, strict=False)) if pair[0] != pair[1]),
            min(len(prompt), len(whole)),
        )
        ids = whole[:max_tokens]
        if len(ids) > 1:
            encoded.append(
                Example(ids=tuple(ids), answer=max(start, 1) if answer else 1, answered=bool(answer))
            )
    if not encoded:
        raise InputError("no row has two tokens", remedy="give rows of text that this tokenizer knows")
    return encoded


def batches(examples: Sequence[Example], *, batch_tokens: int, pad: int) -> Iterator[Batch]:
    """The examples, those of like length together, each batch of at most `batch_tokens` with its padding."""
    import torch

    waiting: list[int] = []
    order = sorted(range(len(examples)), key=lambda at: len(examples[at].ids))
    for number, at in enumerate(order):
        waiting.append(at)
        following = order[number + 1] if number + 1 < len(order) else None
        if following is not None and (len(waiting) + 1) * len(examples[following].ids) <= batch_tokens:
            continue
        longest = len(examples[waiting[-1]].ids)
        input_ids = torch.full((len(waiting), longest), pad, dtype=torch.long)
        mask = torch.zeros((len(waiting), longest), dtype=torch.long)
        for place, one in enumerate(waiting):
            ids = examples[one].ids
            input_ids[place, : len(ids)] = torch.tensor(ids)
            mask[place, : len(ids)] = 1
        yield Batch(input_ids=input_ids, mask=mask, at=tuple(waiting))
        waiting = []


def data_of(file: Path, examples: Sequence[Example]) -> Data:
    """What a certificate says of the rows that it rests on."""
    return Data(
        name=file.name,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        rows=len(examples),
        tokens=sum(len(example.ids) for example in examples),
    )


def _place(prompt: str) -> float:
    return int.from_bytes(hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()[:6]) / 2**48
