"""Texts for the benchmarks of speed and scale: published answers where there are any, else authored ones."""

from __future__ import annotations

import json
import random
from pathlib import Path

from aligntax.detect.examples import authored_answers, authored_sentences

SMALLEST, LARGEST = 800, 1700  # bytes: around the 1.25 KB of a usual answer
SEED = 20260302


def pairs(folder: Path | None) -> list[tuple[str, str]]:
    """(prompt, answer) in a fixed random order: every answer of `folder` with text, or 3,000 assembled ones."""
    found = _published(folder) if folder else _assembled(3000)
    random.Random(SEED).shuffle(found)  # noqa: S311 - an order, no secret
    return found


def usual_pairs(folder: Path | None) -> list[tuple[str, str]]:
    """Those whose answer has 800 to 1,700 bytes."""
    return [pair for pair in pairs(folder) if SMALLEST < len(pair[1].encode()) < LARGEST]


def _published(folder: Path) -> list[tuple[str, str]]:
    rows = [
        json.loads(line)
        for file in sorted(folder.glob("*.jsonl"))
        for line in file.read_text("utf-8").splitlines()
    ]
    return [(row["prompt"], row["response"]) for row in rows if row["response"].strip()]


def _assembled(count: int) -> list[tuple[str, str]]:
    """Authored sentences, most of them answering, put together to the length of a usual answer."""
    rng = random.Random(SEED)  # noqa: S311 - texts for a stopwatch
    prompts = [example.prompt for example in authored_answers()]
    answering = [text for function, text in authored_sentences() if function.startswith("answer")]
    others = [text for function, text in authored_sentences() if not function.startswith("answer")]
    made = []
    for _ in range(count):
        size, text = rng.randint(SMALLEST + 50, LARGEST - 250), ""
        while len(text.encode()) < size:
            text += rng.choice(answering if rng.random() < 0.85 else others) + rng.choice((" ", " ", "\n\n"))
        made.append((rng.choice(prompts), text))
    return made
