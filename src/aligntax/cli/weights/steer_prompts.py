"""The prompts that steering needs: harmful ones, plainly benign ones, and benign ones that look harmful."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from ...errors import InputError

if TYPE_CHECKING:
    from ...types import Prompt
    from ...weights.searching.generated import Judge, Judged


class Groups(msgspec.Struct, frozen=True, kw_only=True):
    """All prompts, harmful ones with that intent and the others with benign, and which of these look harmful."""

    prompts: tuple[Prompt, ...]
    look_alikes: frozenset[str]  # their ids


def groups_of(
    suite: str | None, harmful: str | None, benign: str | None, look_alikes: str | None, most: int
) -> Groups:
    """The groups from a suite, from files of their own, or from both: a file goes before the suite.

    Of a suite, harmful prompts are those that say so (of a pack its floor probes as well); look-alikes the benign ones
    in sensitive words. A file says by its option what its prompts are, unless they say it themselves. At most `most`
    of each group are kept, chosen by a hash of their words. Raises InputError for a group without a prompt.
    """
    from ...suites import DOMAINS, load
    from ...types import Intent

    whole = [] if suite is None else load(suite)
    if suite in DOMAINS:
        whole += load(f"{suite}/floor")
    fine = [prompt for prompt in whole if prompt.intent is Intent.BENIGN]
    found = {
        "harmful": [prompt for prompt in whole if prompt.intent is Intent.HARMFUL],
        "benign": [prompt for prompt in fine if prompt.side != "sensitive"],
        "look-alikes": [prompt for prompt in fine if prompt.side == "sensitive"],
    }
    for name, file in (("harmful", harmful), ("benign", benign), ("look-alikes", look_alikes)):
        if file is not None:
            found[name] = _of_intent(load(file), Intent.HARMFUL if name == "harmful" else Intent.BENIGN)
        elif not found[name] and not (name == "look-alikes" and suite is not None):
            raise InputError(
                f"there is no prompt for the group {name}",
                remedy=f"give --{name} FILE, or a --suite that has some",
            )
    kept = {name: _chosen(prompts, most) for name, prompts in found.items()}
    return Groups(
        prompts=tuple(
            msgspec.structs.replace(
                prompt,
                id=f"{name} {prompt.id}",
                intent=Intent.HARMFUL if name == "harmful" else Intent.BENIGN,
            )
            for name, prompts in kept.items()
            for prompt in prompts
        ),
        look_alikes=frozenset(f"look-alikes {prompt.id}" for prompt in kept["look-alikes"]),
    )


def begins_with(refusal: str) -> Judge:
    """A judge for a model with one refusal: declined is what begins with it, in any case.

    Useful is every other answer, times the share of the required facts that it states where the prompt has some.
    """
    from ...twins.facts import facts_in
    from ...weights.searching.generated import Judged

    start = " ".join(refusal.split()).casefold()

    def one(prompt: Prompt, answer: str) -> Judged:
        refused = " ".join(answer.split()).casefold().startswith(start)
        stated = facts_in(answer, prompt.facts).share if prompt.facts else 1.0
        return Judged(refused=float(refused), useful=stated * float(bool(answer.strip()) and not refused))

    def judge(prompts: Sequence[Prompt], answers: Sequence[str]) -> list[Judged]:
        return [one(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]

    return judge


def _of_intent(prompts: list[Prompt], intent: object) -> list[Prompt]:
    """Those that say so; all of them where none does, because a plain list has no intents."""
    return [prompt for prompt in prompts if prompt.intent is intent] or prompts


def _chosen(prompts: list[Prompt], most: int) -> list[Prompt]:
    """At most so many, families together, the same ones whatever the order of the file."""

    def order(prompt: Prompt) -> tuple[bytes, str]:
        return hashlib.sha256((prompt.family or prompt.text).encode()).digest(), prompt.id

    return sorted(prompts, key=order)[:most]
