"""Made-up traffic in which the words that raise refusals are known: 8 topics, 1,500 words, 15 triggers.

Topics differ in how often they are refused (1.5 to 17 %) and in their words, so most words go with refusals without any
part in them. What is drawn follows the model of the project's simulations of trigger vocabulary.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aligntax.stats.multiple import benjamini_hochberg
from aligntax.triggers import Found
from aligntax.triggers.paired import effect_of

PAIRS, REPEATS = 40, 5
TOPICS, WORDS, TRIGGERS = 8, 1500, 15
BASE = np.linspace(0.015, 0.17, TOPICS)
_SYLLABLES = ("ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ru")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Traffic:
    """A log, and the truth behind it."""

    verdicts: pl.DataFrame  # id, prompt, outcome, p_full, detector, use_case, label
    topic: NDArray[np.int64]
    has: NDArray[np.bool_]  # (prompts, triggers)
    risk: NDArray[np.float64]  # log-odds of a refusal without any trigger
    effects: NDArray[np.float64]  # log-odds that each trigger adds
    triggers: tuple[str, ...]
    refused: NDArray[np.bool_]


def word(number: int) -> str:
    """A name without a meaning."""
    return "".join(_SYLLABLES[int(digit)] for digit in f"{number:04d}")


def traffic(
    seed: int,
    prompts: int = 4000,
    *,
    wrong_topics: float = 0.0,
    detector: float | None = None,
    effect: tuple[float, float] = (0.9, 2.0),
) -> Traffic:
    """`wrong_topics` of the use cases are any other one. `detector` is how far its score stands from the middle, in
    standard deviations (None: it is always right); its probabilities are calibrated over the log."""
    random = np.random.default_rng(seed)
    frequency = 1 / np.arange(20, WORDS + 20)
    taste = random.normal(0, 1.0, (TOPICS, WORDS))
    law = frequency * np.exp(taste)
    law /= law.sum(axis=1, keepdims=True)
    topic = random.integers(TOPICS, size=prompts)
    lengths = 10 + random.poisson(14, prompts)
    held = [random.choice(WORDS, size, p=law[at]) for at, size in zip(topic, lengths, strict=True)]
    # Words that are said come again: counts of words say more than there is, counts of prompts do not.
    said = [np.concatenate([row, row[random.random(len(row)) < 0.2]]) for row in held]
    matrix = np.zeros((prompts, WORDS), dtype=bool)
    for at, row in enumerate(held):
        matrix[at, row] = True
    share = matrix.mean(axis=0)
    triggers = random.choice(np.flatnonzero((share > 0.012) & (share < 0.06)), TRIGGERS, replace=False)
    effects = random.uniform(*effect, TRIGGERS)
    has = matrix[:, triggers]
    own = random.normal(0, 0.3, prompts)  # prompts of a topic differ beyond their words
    risk = (
        own
        + np.array([_level(own[topic == at] + has[topic == at] @ effects, BASE[at]) for at in range(TOPICS)])[
            topic
        ]
    )
    chance = 1 / (1 + np.exp(-(risk + has @ effects)))
    refused = random.random(prompts) < chance
    shown = np.where(random.random(prompts) < wrong_topics, random.integers(TOPICS, size=prompts), topic)
    p = _scores(refused, detector, random)
    verdicts = pl.DataFrame(
        {
            "id": [f"x{at}" for at in range(prompts)],
            "prompt": [" ".join(word(int(number)) for number in row) for row in said],
            "outcome": ["answered"] * prompts,
            "use_case": [f"topic {at}" for at in shown],
            "detector": ["made up"] * prompts,
            "p_full": pl.Series(1 - p, dtype=pl.Float32),
        }
    )
    return Traffic(
        verdicts=verdicts,
        topic=topic,
        has=has,
        risk=risk,
        effects=effects,
        triggers=tuple(word(int(number)) for number in triggers),
        refused=refused,
    )


def many_prompts(path: Path, prompts: int, *, seed: int = 0) -> None:
    """A verdict file of this many prompts of about 30 words each, 50,000 words, phrases that come again, templates."""
    random = np.random.default_rng(seed)
    words = 50_000
    names = np.array(["".join(_SYLLABLES[int(digit)] for digit in f"{at:05d}") for at in range(words)])
    law = 1 / np.arange(10, words + 10)
    law /= law.sum()
    triggers = np.arange(200, 4000, 250)
    tables: list[pl.DataFrame] = []
    templates: list[str] = []
    for start in range(0, prompts, 50_000):
        count = min(50_000, prompts - start)
        lengths = 10 + random.poisson(20, count)
        first = np.concatenate([[0], np.cumsum(lengths)])
        topic = random.integers(TOPICS, size=count)
        drawn = random.choice(words, first[-1], p=law)
        # Topics have words of their own, and what is said is half set phrases: a word calls its next.
        shifted = (drawn + np.repeat(topic, lengths) * 37) % words
        called = random.random(first[-1]) < 0.5
        shifted[1:] = np.where(called[1:], (shifted[:-1] * 7 + 11) % words, shifted[1:])
        hits = np.add.reduceat(np.isin(shifted, triggers), first[:-1])
        chance = 1 / (1 + np.exp(-(np.log(BASE[topic] / (1 - BASE[topic])) + 1.2 * hits)))
        refused = random.random(count) < chance
        p = _scores(refused, 1.5, random)
        spelled = names[shifted]
        texts = [" ".join(spelled[first[at] : first[at + 1]]) for at in range(count)]
        templates = templates or texts[:1000]
        for at in range(
            0, count, 20
        ):  # a twentieth are one of a thousand templates, with a name and a number in it
            name = names[int(random.integers(words))]
            texts[at] = f"{templates[at // 20 % 1000]} {name} case {start + at}"
        tables.append(
            pl.DataFrame(
                {
                    "id": [f"x{start + at}" for at in range(count)],
                    "prompt": texts,
                    "outcome": pl.repeat("answered", count, eager=True),
                    "p_full": pl.Series(1 - p, dtype=pl.Float32),
                }
            )
        )
        if len(tables) == 4 or start + count == prompts:
            pl.concat(tables).write_parquet(path.with_name(f"part-{start:09}.parquet"))
            tables = []
    pl.scan_parquet(path.with_name("part-*.parquet")).sink_parquet(path)


def _level(logits: NDArray[np.float64], share: float) -> float:
    """What to add to all log-odds so that this share is refused."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 / (1 + np.exp(-(logits + middle)))).mean() < share else (low, middle)
    return low


def _scores(
    refused: NDArray[np.bool_], detector: float | None, random: np.random.Generator
) -> NDArray[np.float64]:
    if detector is None:
        return refused.astype(float)
    seen = np.where(refused, detector, -detector) + random.normal(size=len(refused))
    rate = refused.mean()
    return 1 / (1 + np.exp(-(np.log(rate / (1 - rate)) + 2 * detector * seen)))


def false_and_found(words: list[tuple[str, ...]], triggers: tuple[str, ...]) -> tuple[int, set[str]]:
    """How many findings hold no trigger, and the triggers that were found."""
    hits = [{part for phrase in group for part in phrase.split()} & set(triggers) for group in words]
    return sum(not hit for hit in hits), set().union(*hits)


def swapped_words(found: Found, log: Traffic, seed: int) -> list[tuple[str, ...]]:
    """Triggers that stay after swaps in 40 prompts, 5 repeats a side; answers drawn from the true chances."""
    random = np.random.default_rng(seed + 1_000_000)
    place = {one: at for at, one in enumerate(log.verdicts["id"])}
    p_values = []
    for trigger in found.triggers:
        rows = np.array([place[one] for one in trigger.sample[:PAIRS]])
        lead = trigger.words[0].split()
        with_word = log.risk[rows] + log.has[rows] @ log.effects
        removed = np.array([name in lead for name in log.triggers])
        without = log.risk[rows] + (log.has[rows] & ~removed) @ log.effects
        drawn = [
            random.binomial(REPEATS, 1 / (1 + np.exp(-chance))) / REPEATS for chance in (with_word, without)
        ]
        p_values.append(effect_of((drawn[0] - drawn[1]).tolist())[1])
    stays = benjamini_hochberg(p_values) <= 0.1
    return [trigger.words for trigger, kept in zip(found.triggers, stays, strict=True) if kept]
