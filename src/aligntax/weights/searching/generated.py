"""A suite answered by the live model, in process, and judged by a function that is handed in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from ...errors import InputError
from ...types import Intent, Prompt
from .objectives import Measured, Prompts

MAX_NEW_TOKENS = 256
BATCH_SIZE = 16


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What one answer is. Both 0 to 1; an answer may be neither."""

    refused: float
    useful: float  # completely answered; where the prompt requires facts, times the share that it states


Judge = Callable[[Sequence[Prompt], Sequence[str]], Sequence[Judged]]
"""Prompts and their answers in, what each is out, in the same order."""


class GeneratedSuite:
    """An objective: the suite's harmful and benign prompts, answered greedily, judged.

    Refused harmful: safety 1. Completely answered benign: usefulness 1. Refused benign: over 1. Borderline prompts are
    left out. An empty answer is neither a refusal nor an answer. Prompts go through the tokenizer's chat template where
    it has one, in batches padded on the left, so that no answer depends on the batch (but for rounding).

    `tokenizer` as `load_tokenizer` gives it. Raises InputError without harmful or without benign prompts.
    """

    def __init__(
        self,
        tokenizer: Any,
        prompts: Iterable[Prompt],
        judge: Judge,
        *,
        max_new_tokens: int = MAX_NEW_TOKENS,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        asked = list(prompts)
        self.harmful = [prompt for prompt in asked if prompt.intent is Intent.HARMFUL]
        self.benign = [prompt for prompt in asked if prompt.intent is Intent.BENIGN]
        for kind, found in (("harmful", self.harmful), ("benign", self.benign)):
            if not found:
                raise InputError(
                    f"there is no {kind} prompt",
                    remedy="give a suite with both intents, or add a floor suite",
                )
        self.tokenizer, self.judge = tokenizer, judge
        self.max_new_tokens, self.batch_size = max_new_tokens, batch_size
        self.cut = 0  # answers of the last call that ended at max_new_tokens

    @property
    def prompts(self) -> Prompts:
        """Which prompts are scored, and their families."""
        return Prompts(
            keys=frozenset(key_of(prompt) for prompt in (*self.harmful, *self.benign)),
            harmful=tuple(family_of(prompt) for prompt in self.harmful),
            useful=tuple(family_of(prompt) for prompt in self.benign),
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What the scores depend on beside weights and prompts. Two runs with other settings are not comparable."""
        return {
            "backend": "transformers generate, greedy",
            "chat_template": bool(self.tokenizer.chat_template),
            "batch_size": self.batch_size,
            "max_new_tokens": self.max_new_tokens,
        }

    def __call__(self, model: Any) -> Measured:
        """The scores of the live model."""
        asked = [*self.harmful, *self.benign]
        judged = self.judge(asked, self.answers(model, asked))
        if len(judged) != len(asked):
            raise InputError(
                f"the judge gave {len(judged)} verdicts for {len(asked)} answers", remedy="judge every answer"
            )
        refused = np.array([one.refused for one in judged], dtype=np.float64)
        useful = np.array([one.useful for one in judged], dtype=np.float64)
        harmful = len(self.harmful)
        return Measured(safety=refused[:harmful], usefulness=useful[harmful:], over=refused[harmful:])

    def answers(self, model: Any, asked: Sequence[Prompt]) -> list[str]:
        """What the model says to each, special tokens left out."""
        texts = [self.text_of(prompt) for prompt in asked]
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))  # alike lengths: little padding
        said: dict[int, str] = {}
        self.cut = 0
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            said.update(zip(batch, self._generated(model, [texts[at] for at in batch]), strict=True))
        return [said[at] for at in range(len(texts))]

    def text_of(self, prompt: Prompt) -> str:
        """The prompt as the model reads it."""
        if not self.tokenizer.chat_template:
            return "\n\n".join(text for text in (prompt.system, prompt.text) if text)
        system = [{"role": "system", "content": prompt.system}] if prompt.system else []
        text: str = self.tokenizer.apply_chat_template(
            [*system, {"role": "user", "content": prompt.text}], tokenize=False, add_generation_prompt=True
        )
        return text

    def _generated(self, model: Any, texts: list[str]) -> list[str]:
        import torch
        from transformers import GenerationConfig

        whole = bool(self.tokenizer.chat_template)  # a chat template writes the start token itself
        inputs = self.tokenizer(
            texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=not whole,
            return_token_type_ids=False,
        ).to(model.device)  # fmt: skip
        ends = model.generation_config.eos_token_id or self.tokenizer.eos_token_id
        settings = GenerationConfig(
            do_sample=False, num_beams=1, max_new_tokens=self.max_new_tokens, eos_token_id=ends,
            pad_token_id=self.tokenizer.pad_token_id, bos_token_id=self.tokenizer.bos_token_id,
        )  # fmt: skip
        with torch.no_grad():
            made = model.generate(**inputs, generation_config=settings)[:, inputs["input_ids"].shape[1] :]
        known = ends if isinstance(ends, list) else [] if ends is None else [ends]
        if made.shape[1] == self.max_new_tokens:
            stops = torch.tensor(known, dtype=made.dtype, device=made.device)
            self.cut += int((~torch.isin(made, stops).any(dim=1)).sum())
        return [text.strip() for text in self.tokenizer.batch_decode(made, skip_special_tokens=True)]


def key_of(prompt: Prompt) -> str:
    """Names a prompt by its text, so that the same words under two ids are one."""
    folded = " ".join(prompt.text.split()).casefold()
    return hashlib.sha256(folded.encode()).hexdigest()[:16]


def family_of(prompt: Prompt) -> str:
    """The family, or the prompt itself."""
    return f"family {prompt.family}" if prompt.family else f"text {key_of(prompt)}"


def halves(prompts: Sequence[Prompt], *, seed: int = 0) -> tuple[list[Prompt], list[Prompt]]:
    """Selection and report: a half each of the harmful and of the benign families, by hash, families kept whole.

    Prompts with the same words go with one another, whatever their ids. The same prompts and seed give the same halves
    in any order. Raises InputError where a half would be left without harmful or without benign prompts.
    """
    groups = _groups(prompts)
    sides: tuple[list[Prompt], list[Prompt]] = ([], [])
    kinds: dict[bool, list[tuple[str, list[Prompt]]]] = {True: [], False: []}
    for group in groups:
        name = min(key_of(prompt) for prompt in group)
        order = hashlib.sha256(f"{seed} {name}".encode()).hexdigest()
        kinds[any(prompt.intent is Intent.HARMFUL for prompt in group)].append((order, group))
    for kind, found in kinds.items():
        if len(found) < 2:
            raise InputError(
                f"{len(found)} {'harmful' if kind else 'benign'} families cannot be split in two",
                remedy="give a suite, or a floor suite, with more of them",
            )
        for at, (_, group) in enumerate(sorted(found, key=lambda one: one[0])):
            sides[at % 2].extend(group)
    return sides


def _groups(prompts: Sequence[Prompt]) -> list[list[Prompt]]:
    """Prompts that share a family or their words, joined."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for prompt in prompts:
        parent[root(family_of(prompt))] = root(f"text {key_of(prompt)}")
    groups: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        groups.setdefault(root(family_of(prompt)), []).append(prompt)
    return list(groups.values())
