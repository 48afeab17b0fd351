"""Which calls a run makes, in which order, and what its answers depend on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from random import Random

import msgspec

from ..errors import InputError
from ..types import Message, Prompt, Request


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What every request of a run carries beside its prompt. None is left to the vendor's default."""

    system: str | None = None  # in place of the prompts' own
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One prompt, asked once."""

    prompt: Prompt
    repeat: int  # 0-based

    @property
    def key(self) -> str:
        """Names this call within its run."""
        return call_key(self.prompt.id, self.repeat)


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What a run's answers depend on, in hashes of 16 hex characters where it may be text. Kept beside the file."""

    format: int = 1
    suite: str  # of id, text and own system prompt of every prompt, in order of their ids
    prompts: int
    model: str
    system: str | None
    max_tokens: int | None
    temperature: float | None
    top_p: float | None

    @property
    def run(self) -> str:
        """Names the run: in the tags of every line."""
        return _hash(msgspec.json.encode(self))

    def differences(self, other: Identity) -> list[str]:
        """Fields, in words, in which the two are not alike."""
        words = {
            "format": "version of aligntax", "suite": "suite", "model": "model", "system": "system prompt",
            "max_tokens": "--max-tokens", "temperature": "--temperature", "top_p": "top_p",
        }  # fmt: skip
        return [text for field, text in words.items() if getattr(self, field) != getattr(other, field)]


def call_key(prompt_id: str, repeat: int) -> str:
    """The `id` of a line: prompt and repeat."""
    return f"{prompt_id}#{repeat}"


def planned(prompts: Sequence[Prompt], repeats: int, seed: int = 0) -> list[Call]:
    """Every prompt `repeats` times, in an order from the seed: repeats and families are spread over the whole run.

    So a model that changes within the hour, or a network that fails for a minute, hits no family and no side alone.
    Raises InputError for ids that repeat and for fewer than one repeat.
    """
    if repeats < 1:
        raise InputError("a prompt is asked at least once", where="repeats", remedy="give 1 or more")
    seen: set[str] = set()
    for number, prompt in enumerate(prompts, 1):
        if prompt.id in seen:
            raise InputError(
                "its id occurs twice", where=f"prompt {number}", remedy="give each prompt an id of its own"
            )
        seen.add(prompt.id)
    calls = [Call(prompt=prompt, repeat=repeat) for repeat in range(repeats) for prompt in prompts]
    Random(seed).shuffle(calls)  # noqa: S311 - an order, not a secret
    return calls


def request_of(prompt: Prompt, settings: RunSettings) -> Request:
    """What is asked for one prompt; the run's system prompt comes before the prompt's own."""
    return Request(
        messages=(Message(role="user", content=prompt.text),),
        system=settings.system if settings.system is not None else prompt.system,
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
    )


def identity_of(prompts: Sequence[Prompt], model: str, settings: RunSettings) -> Identity:
    """What the answers of this run depend on. Facts and tags of prompts may change: they alter no answer."""
    asked = sorted((prompt.id, prompt.text, prompt.system) for prompt in prompts)
    return Identity(
        suite=_hash(msgspec.json.encode(asked)),
        prompts=len(prompts),
        model=model,
        system=None if settings.system is None else _hash(settings.system.encode()),
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
    )


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
