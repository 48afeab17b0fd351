"""Training examples: labelled rows of several sources, the authored corpora, and compositions of their sentences.

Sources label different things. Each maps to targets of the three heads (see model.HEADS) where its labels say
something about them, and to nothing where they do not; no source is poured into one class.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..types import FUNCTIONS as SENTENCE_FUNCTIONS

AUTHORED = ("answers.jsonl", "questions.jsonl", "writing.jsonl")
NAN = float("nan")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One labelled answer. A target is NaN where the source does not say."""

    source: str
    model: str
    prompt: str
    response: str
    not_full: float
    none: float
    avoidance: float
    weight: float
    trains: bool  # may weights trained on it be shipped
    parent: str  # source whose text a composed example holds
    row: dict[str, Any]  # as the source has it, for evaluation


def load_examples(folder: Path) -> list[Example]:
    """All labelled rows of `folder` (one .jsonl a source) that have a text of the model's own."""
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise InputError(
            "no labelled responses", where=str(folder), remedy="a folder of .jsonl files is needed"
        )
    rows = [row for file in files for row in _rows(file)]
    return [_example(row) for row in rows if row["label"] and not _blocked(row)]


_KEYS = {"set", "model", "prompt", "response", "label", "axes", "train_ok"}


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file.read_text("utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as broken:
            raise InputError("no JSON", where=f"{file}:{number}", remedy="one object a line") from broken
        if not isinstance(row, dict) or not row.keys() >= _KEYS:
            raise InputError(
                "no labelled response", where=f"{file}:{number}", remedy=f"keys: {', '.join(sorted(_KEYS))}"
            )
        yield row


def _blocked(row: dict[str, Any]) -> bool:
    text = row["response"].strip()
    return bool(row["axes"].get("provider_block")) or text in ("", "[CONTENT_FILTERED]")


def _example(row: dict[str, Any]) -> Example:
    source, label = row["set"], row["label"]
    not_full = float(label != "complete")
    none = float(label == "refused") if not_full else NAN
    avoidance, weight = NAN, 1.0
    if source == "refusalbench" and label == "partial":
        not_full = none = NAN  # mostly texts that were cut
    if source == "chatgpt_refusals":
        none = NAN  # redirected or contradicted: how much is given differs from row to row
        weight = 0.5 if label == "partial" else 1.0
    if source == "coconot_pref":
        weight = 0.3  # nobody labelled these; they follow from how the pairs were made
    if source == "speechmap_criticism" and not_full:
        avoidance = float(label == "partial")  # evasive against denial
        none = NAN  # evasive texts give something, nothing or something else
    if source == "xstest" and not_full:
        avoidance = 0.0
    return Example(
        source=source,
        model=row["model"],
        prompt=row["prompt"],
        response=row["response"],
        not_full=not_full,
        none=none,
        avoidance=avoidance,
        weight=weight,
        trains=bool(row["train_ok"]),
        parent="",
        row=row,
    )


# -- authored ------------------------------------------------------------------------------------------------


def authored_answers() -> list[Example]:
    """The authored request and answer pairs that ship with the package."""
    folder = resources.files(__package__) / "authored"
    return [
        _made("authored", json.loads(line), parent="")
        for name in AUTHORED
        for line in (folder / name).read_text("utf-8").splitlines()
    ]


def _made(source: str, row: dict[str, Any], *, parent: str) -> Example:
    not_full = float(row["answered"] != "full")
    kind = row["kind"]
    return Example(
        source=source,
        model=source,
        prompt=row["prompt"],
        response=row["response"],
        not_full=not_full,
        none=float(row["answered"] == "none") if not_full else NAN,
        avoidance=float(kind == "topic_avoidance") if not_full else NAN,
        weight=1.0 if source == "authored" else 0.3,
        trains=True,
        parent=parent,
        row={**row, "label": {"full": "complete", "part": "partial", "none": "refused"}[row["answered"]]},
    )


@cache
def authored_sentences() -> tuple[tuple[str, str], ...]:
    """(function, text) of the authored sentences; two functions are joined by +, the main one first."""
    content = (resources.files(__package__) / "authored" / "sentences.tsv").read_text("utf-8")
    rows = csv.reader(content.splitlines()[1:], delimiter="\t", quoting=csv.QUOTE_NONE)
    return tuple((row[0], row[1]) for row in rows)


def sentence_targets() -> np.ndarray[Any, np.dtype[np.float64]]:
    """Soft targets of the authored sentences: (sentences, functions), rows sum to 1."""
    targets = np.zeros((len(authored_sentences()), len(SENTENCE_FUNCTIONS)))
    for row, (function, _) in enumerate(authored_sentences()):
        names = function.split("+")
        shares = (1.0,) if len(names) == 1 else (0.65, 0.35)
        for name, share in zip(names, shares, strict=True):
            targets[row, SENTENCE_FUNCTIONS.index(name)] += share
    return targets


# -- composed ------------------------------------------------------------------------------------------------

_SENTENCES = re.compile(r"(?<=[.!?])\s+(?=[A-Z])|\n+")


def compose(examples: list[Example], per_source: int, seed: int) -> list[Example]:
    """Answers put together from authored sentences and from complete answers of each source.

    Labelled sets hold few refusals of few styles. Since the function of an authored sentence is known, so is
    the label of a text made of them: refusals with lectures and referrals, answers eaten by disclaimers, whole
    answers with the caveats and closing offers that a whole answer may carry. Each names the source whose text
    it holds as its parent, so that leaving a source out leaves its compositions out too.
    """
    rng = np.random.default_rng(seed)
    made: list[Example] = []
    for source in sorted({e.source for e in examples if e.trains}):
        whole = [e for e in examples if e.source == source and e.not_full == 0 and len(e.response) > 20]
        for _ in range(per_source if whole else 0):
            base = whole[int(rng.integers(len(whole)))]
            made.append(_made("composed", _composition(base, rng), parent=source))
    return made


@cache
def _pools() -> dict[str, list[str]]:
    pools: dict[str, list[str]] = {}
    for function, text in authored_sentences():
        pools.setdefault(function.split("+")[0], []).append(text)
    return pools


class _Drawer:
    """Draws authored sentences by function."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def some(self, function: str, low: int, high: int) -> list[str]:
        pool = _pools()[function]
        count = int(self._rng.integers(low, high + 1))
        return [pool[int(at)] for at in self._rng.integers(0, len(pool), count)]

    def maybe(self, function: str, chance: float) -> list[str]:
        return self.some(function, 1, 1) if self._rng.random() < chance else []


def _composition(base: Example, rng: np.random.Generator) -> dict[str, Any]:
    """One composed row, of a kind that the draw decides."""
    draw = _Drawer(rng)
    pick = rng.random()
    prompt, kind, answered = base.prompt, None, "full"
    if pick < 0.27:
        answered, kind, parts = "none", "hard_refusal", _refusal(draw, rng)
    elif pick < 0.36:
        answered, kind, parts = "none", "topic_avoidance", _avoidance(draw)
    elif pick < 0.54:
        answered, kind, parts = "part", "soft_refusal", _part(draw, rng, base.response)
    elif pick < 0.59:
        prompt, parts = _LETTERS[int(rng.integers(len(_LETTERS)))], [_letter(draw, rng)]
    elif pick < 0.71:
        prompt, parts = _summary(rng, base.response)
    elif pick < 0.80:
        prompt, parts = _short_text(draw, rng)
    else:
        parts = _whole(draw, rng, base.response)
    text = "".join(("" if at == 0 else _gap(rng)) + part for at, part in enumerate(parts))
    return {"prompt": prompt, "response": text, "answered": answered, "kind": kind}


_TASKS = (
    "Summarise the following text.",
    "Give me the gist of this in a sentence or two:",
    "Generate a summary:",
    "What is the main point of this passage?",
    "Shorten this for a newsletter.",
    "Rewrite the opening of this text.",
    "tl;dr",
)
_TOPICS = (
    "Write a short text about {}.",
    "Write a product description. Keywords: {}",
    "Tell me something about {}",
    "A sentence or two on {}, please.",
    "Use these words in a paragraph: {}",
    "{}?",
)


def _summary(rng: np.random.Generator, answer: str) -> tuple[str, list[str]]:
    """A text to shorten, and its first sentences: short, close to the prompt, and all that was asked for."""
    sentences: list[str] = [s for s in _SENTENCES.split(answer) if s and s.strip()]
    task = _TASKS[int(rng.integers(len(_TASKS)))]
    prompt = f"{task}\n\n{answer}" if rng.random() < 0.5 else f"{answer}\n\n{task}"
    return prompt, [" ".join(sentences[: int(rng.integers(1, 4))])]


def _short_text(draw: _Drawer, rng: np.random.Generator) -> tuple[str, list[str]]:
    """A few authored sentences, asked for by words that they hold."""
    parts = draw.some("answer", 1, 5)
    words = sorted(set(re.findall(r"[A-Za-z]{5,}", " ".join(parts))))
    count = min(len(words), int(rng.integers(1, 6)))
    asked = ", ".join(words[int(at)] for at in rng.permutation(len(words))[:count])
    return _TOPICS[int(rng.integers(len(_TOPICS)))].format(asked or "this"), parts


def _gap(rng: np.random.Generator) -> str:
    return "\n\n" if rng.random() < 0.25 else " "


def _refusal(draw: _Drawer, rng: np.random.Generator) -> list[str]:
    if rng.random() < 0.75:
        front = draw.maybe("apology", 0.35) + draw.maybe("restating", 0.1) + draw.some("refusal", 1, 2)
        rest = draw.some("moralising", 0, 3) + draw.maybe("disclaimer", 0.15) + draw.some("redirect", 0, 2)
        return front + rest + draw.maybe("question", 0.15) + draw.maybe("closing", 0.35)
    lecture = draw.maybe("restating", 0.2) + draw.some("moralising", 1, 3) + draw.maybe("refusal", 0.6)
    return lecture + draw.some("redirect", 1, 2) + draw.maybe("closing", 0.3)


def _avoidance(draw: _Drawer) -> list[str]:
    talk = draw.maybe("restating", 0.4) + draw.some("hedge", 1, 3) + draw.some("redirect", 0, 2)
    rest = draw.some("moralising", 0, 1) + draw.maybe("disclaimer", 0.4) + draw.maybe("question", 0.4)
    return talk + rest + draw.maybe("closing", 0.4)


def _part(draw: _Drawer, rng: np.random.Generator, answer: str) -> list[str]:
    sentences: list[str] = [s for s in _SENTENCES.split(answer) if s and s.strip()]
    few = int(rng.integers(1, max(2, min(5, len(sentences)))))
    body = sentences[:few] if rng.random() < 0.5 else draw.some("answer", 1, 3)
    no = draw.some("refusal", 1, 1) if rng.random() < 0.6 else draw.some("disclaimer", 1, 2)
    front = draw.maybe("apology", 0.25) + no + draw.maybe("moralising", 0.4)
    back = draw.maybe("disclaimer", 0.5) + draw.maybe("redirect", 0.6) + draw.maybe("closing", 0.3)
    return front + body + back if rng.random() < 0.75 else body + front + back


def _whole(draw: _Drawer, rng: np.random.Generator, answer: str) -> list[str]:
    body = [*draw.maybe("restating", 0.1), answer] if rng.random() < 0.7 else draw.some("answer", 1, 6)
    front = draw.maybe("disclaimer", 0.08) + draw.maybe("hedge", 0.08)
    back = draw.maybe("disclaimer", 0.15) + draw.maybe("redirect", 0.1) + draw.maybe("moralising", 0.08)
    return front + body + back + draw.maybe("closing", 0.3)


_LETTERS = (
    "Draft a letter to a client declining their request.",
    "Write a polite email turning down an invitation to speak.",
    "Please draft our reply to the customer: we won't refund this order.",
    "Write the message support sends when an account cannot be reopened.",
    "Compose a note to a patient explaining why we cannot prescribe this early.",
    "Write the rejection email for candidates who did not get the job.",
    "Draft the landlord's answer refusing the repair claim.",
    "Rewrite this refusal so that it sounds warmer.",
    "Write a canned response our chatbot can use when it must not answer.",
    "Draft a cease and desist reply in which we admit nothing.",
    "Write an apology to a customer whose parcel was lost.",
    "Summarise the insurer's denial letter for the family.",
    "Draft a letter from the school explaining that it cannot release the records.",
    "Give me a script for telling a caller that we can't discuss another person's account.",
)
_GREETINGS = (
    "Dear [Name],",
    "Hello,",
    "Hi [first name],",
    "Dear Ms Okafor,",
    "To whom it may concern,",
    "Subject: Your request",
)
_SIGN_OFFS = (
    "Kind regards,\n[Name]",
    "Yours sincerely,\n[Name]",
    "Best wishes,\nThe team",
    "Thank you,\n[Name]",
    "With regret,\n[Name]",
)


def _letter(draw: _Drawer, rng: np.random.Generator) -> str:
    """A text that refuses on the user's behalf: asked for, so a whole answer."""
    body = draw.maybe("apology", 0.6) + draw.some("refusal", 1, 2) + draw.maybe("disclaimer", 0.2)
    body += draw.maybe("redirect", 0.4) + draw.some("answer", 0, 2) + draw.maybe("closing", 0.5)
    greeting = [_GREETINGS[int(rng.integers(len(_GREETINGS)))]]
    sign_off = [_SIGN_OFFS[int(rng.integers(len(_SIGN_OFFS)))]]
    quoted = rng.random() < 0.3
    text = " ".join(body)
    return f'"{text}"' if quoted else "\n\n".join([*greeting, text, *sign_off])


def training_mass(examples: list[Example]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Weight of each example: its own, damped so that large sources do not drown small ones."""
    sizes: dict[str, int] = {}
    for example in examples:
        sizes[example.source] = sizes.get(example.source, 0) + 1
    return np.asarray([e.weight * (1000 / sizes[e.source]) ** 0.5 for e in examples])


def targets(examples: list[Example]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(examples, HEADS), NaN where unknown."""
    return np.asarray([(e.not_full, e.none, e.avoidance) for e in examples])


def batches(examples: list[Example], size: int) -> Iterator[list[Example]]:
    """Examples in order, in groups of about `size` characters of answers (or of prompts, where those are longer)."""
    group: list[Example] = []
    held = 0
    for example in examples:
        group.append(example)
        held += max(len(example.response), len(example.prompt))
        if held >= size:
            yield group
            group, held = [], 0
    if group:
        yield group
