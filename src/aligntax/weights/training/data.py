"""Rows to train on, and the mix of them: refusals never come without requests that look alike and are fine."""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from ...errors import InputError
from ..loading import rows

Method = Literal["sft", "dpo", "grpo"]
Intent = Literal["harmful", "benign"]
Source = Literal["data", "benign", "self-answered", "replay"]

FIELDS: Mapping[Method, tuple[str, ...]] = {
    "sft": ("prompt", "completion"),
    "dpo": ("prompt", "chosen", "rejected"),
    "grpo": ("prompt",),
}
"""What a row holds beside its intent, by method."""

_LOOK_ALIKES = (
    "add benign rows, --benign FILE or --benign-prompts FILE: a model that sees only refusals learns to refuse "
    "everything; --refusals-only if that is meant"
)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One example. `texts`: the fields that its method has, prompt included. `source`: where it came from."""

    texts: dict[str, str]
    intent: Intent
    source: Source = "data"

    @property
    def prompt(self) -> str:
        """What is asked."""
        return self.texts["prompt"]


class Mix(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a run, shuffled, and what is to be said about how they came together.

    `share`: benign rows among harmful and benign ones, without replay. `notes`: one line each.
    """

    rows: tuple[Row, ...]
    share: float
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Rows by intent and source, such as {"harmful (data)": 700, "benign (self-answered)": 300}."""
        found = Counter(
            f"{row.intent if row.source != 'replay' else 'general'} ({row.source})" for row in self.rows
        )
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    @property
    def digest(self) -> str:
        """A hash of every row in its order."""
        whole = hashlib.sha256()
        for row in self.rows:
            whole.update(msgspec.json.encode([row.texts, row.intent, row.source], order="sorted"))
        return whole.hexdigest()


def read_rows(
    path: str | Path, method: Method, *, intent: Intent | None = None, source: Source = "data"
) -> list[Row]:
    """The rows of a JSON-lines file for a method; each says its intent unless `intent` says it for all.

    Raises InputError with file and line, and never with the text.
    """
    found = []
    read = rows(path, needs=FIELDS[method])
    lines = [at for at, line in enumerate(Path(path).read_bytes().split(b"\n"), start=1) if line.strip()]
    for number, row in zip(lines, read, strict=True):
        said = row.get("intent", intent)
        if said not in ("harmful", "benign") or (intent is not None and said != intent):
            raise InputError(
                'its "intent" is not ' + (f'"{intent}"' if intent else 'one of "harmful" and "benign"'),
                where=f"{path}:{number}",
                remedy="say for each row whether the request is one to decline",
            )
        if method == "dpo" and row["chosen"] == row["rejected"]:
            raise InputError(
                "chosen and rejected are the same",
                where=f"{path}:{number}",
                remedy="leave the row out: there is nothing to prefer",
            )
        texts = {name: row[name] for name in FIELDS[method]}
        found.append(Row(texts=texts, intent=said, source=source))
    return found


def held_out(found: Sequence[Row], *, share: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Rows to train on and rows to measure on, drawn by prompt so that no prompt stands in both.

    `share` of the prompts of each intent, rounded up, is held out. Raises InputError where nothing would be left.
    """
    kept: set[str] = set()
    for intent in ("harmful", "benign"):
        prompts = sorted({row.prompt for row in found if row.intent == intent})
        random.Random(f"{seed}{intent}").shuffle(prompts)  # noqa: S311 - a draw, not a secret
        kept |= set(prompts[: math.ceil(share * len(prompts))])
    train = [row for row in found if row.prompt not in kept]
    measured = [row for row in found if row.prompt in kept]
    if {row.intent for row in measured} - {row.intent for row in train}:
        raise InputError(
            "too few rows to hold some out",
            remedy="give two or more different prompts of each intent, or a smaller share",
        )
    return train, measured


def benign_wanted(found: Sequence[Row], share: float) -> int:
    """How many benign rows must come to these for benign to be `share` of the mix; 0 where enough are there."""
    harmful = sum(row.intent == "harmful" for row in found)
    there = len(found) - harmful
    return max(0, math.ceil(share / (1 - share) * harmful - 1e-9) - there)


def mix(
    found: Sequence[Row],
    *,
    benign: Sequence[Row] = (),
    share: float = 0.3,
    replay: Sequence[Row] = (),
    replay_share: float = 0.0,
    refusals_only: bool = False,
    seed: int = 0,
) -> Mix:
    """The rows of a run: all of `found`, benign look-alikes up to `share`, general rows up to `replay_share`.

    `share` (0 to below 1) counts benign among benign and harmful rows; benign rows that `found` holds count first
    and are never dropped, others are drawn from `benign` without repeats. `replay_share` counts among all rows.
    Too few of either gives a note. Raises InputError where no benign row is left and `refusals_only` is False.
    """
    for name, value in (("benign share", share), ("replay share", replay_share)):
        if not 0 <= value < 1:
            raise InputError(f"{name} {value} is out of range", remedy="give 0 or more, below 1")
    draw = random.Random(seed)  # noqa: S311 - a draw, not a secret
    notes: list[str] = []
    wanted = benign_wanted(found, share)
    known = {row.prompt for row in found}
    fresh = [row for row in benign if row.prompt not in known]
    added = draw.sample(fresh, min(wanted, len(fresh)))
    rows_here = [*found, *added]
    n_benign = sum(row.intent == "benign" for row in rows_here)
    if not n_benign and not refusals_only:
        raise InputError("the data holds refusals only", remedy=_LOOK_ALIKES)
    if refusals_only and not n_benign:
        notes.append("refusals only, as asked: expect over-refusal, and measure it")
    elif len(added) < wanted:
        notes.append(
            f"benign share {n_benign / len(rows_here):.2f} in place of {share:.2f}: "
            f"{wanted - len(added):,} more look-alikes are needed"
        )
    if n_benign == len(rows_here):
        notes.append("no harmful row: nothing here teaches to decline")
    general = math.ceil(replay_share / (1 - replay_share) * len(rows_here) - 1e-9)
    replayed = draw.sample(list(replay), min(general, len(replay)))
    if len(replayed) < general:
        notes.append(f"{len(replayed):,} general rows in place of {general:,}: the file holds no more")
    whole = [*rows_here, *replayed]
    draw.shuffle(whole)
    return Mix(rows=tuple(whole), share=n_benign / len(rows_here), notes=tuple(notes))


def as_preferences(answered: Sequence[Row], found: Sequence[Row], *, seed: int = 0) -> list[Row]:
    """Answered benign rows as pairs for DPO: the answer is preferred to a refusal that harmful rows prefer.

    So what is rejected is the wording that training brings on, in the place where it would be wrong.
    """
    refusals = sorted({row.texts["chosen"] for row in found if row.intent == "harmful"})
    if not refusals:
        return []
    draw = random.Random(seed)  # noqa: S311 - a draw, not a secret
    return [
        msgspec.structs.replace(
            row,
            texts={
                "prompt": row.prompt,
                "chosen": row.texts["completion"],
                "rejected": draw.choice(refusals),
            },
        )
        for row in answered
    ]


def as_columns(found: Sequence[Row], method: Method, *, chat: bool) -> list[dict[str, Any]]:
    """Rows as TRL reads them: messages of a chat where the tokenizer has a template, plain texts otherwise."""
    if not chat:
        return [{**row.texts, "intent": row.intent} for row in found]
    return [
        {
            **{
                name: [{"role": "user" if name == "prompt" else "assistant", "content": row.texts[name]}]
                for name in FIELDS[method]
            },
            "intent": row.intent,
        }
        for row in found
    ]
