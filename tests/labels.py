"""Small labelled logs, written by hand or drawn with a seed, for tests of estimates."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from aligntax.types import Annotation, Answered, Draw, Item, Kind, ShouldAnswer, Stratum
from verdicts import SCHEMA

NOW = dt.datetime(2026, 3, 2, 9, tzinfo=dt.UTC)


def answers(count: int, score: float | None, *, name: str = "a", **fields: object) -> list[dict[str, object]]:
    """Rows of answers that the detector gives this score; named a0, a1, ..."""
    full = None if score is None else 1 - score
    label = "undetermined" if score is None else "refused" if score >= 0.5 else "complete"
    row = {"outcome": "answered", "p_full": full, "p_none": score, "label": label, "detector": "test 1"}
    row |= dict.fromkeys((kind.value for kind in Kind), None if score is None else 0.0)
    return [row | fields | {"id": f"{name}{number}"} for number in range(count)]


def blocked(count: int, *, name: str = "b", **fields: object) -> list[dict[str, object]]:
    row = {"outcome": "input_blocked", "detector": "test 1"} | fields
    return [row | {"id": f"{name}{number}"} for number in range(count)]


def frame(*groups: list[dict[str, object]]) -> pl.DataFrame:
    rows = [dict.fromkeys(SCHEMA) | row for row in itertools.chain.from_iterable(groups)]
    return pl.DataFrame(rows, schema=SCHEMA)


def stratum(
    size: int,
    low: float = 0.0,
    high: float = 1.0,
    *,
    labels: int,
    kind: str = "scored",
    at: Sequence[str] = (),
) -> Stratum:
    return Stratum(
        slice=tuple(at),
        kind=kind,
        low=low,
        high=high,
        size=size,
        expected=0.5,
        pilot=min(4, labels),
        labels=labels,
        reserve=labels,
    )


def draw_of(*strata: Stratum, by: Sequence[str] = ()) -> Draw:
    return Draw(
        id="draw",
        created=NOW,
        seed=1,
        source="verdicts.parquet",
        fingerprint="0",
        detector="test 1",
        by=tuple(by),
        budget=sum(part.labels for part in strata),
        level=0.95,
        phase="whole",
        strata=strata,
        population=sum(part.size for part in strata),
        left_out={},
        double_share=0.3,
        recalibration={},
        codebook="1",
    )


def note(exchange: str, answered: str | None = "full", should: str | None = "yes", **fields) -> Annotation:
    """What one person says; not of any kind and not hedged unless told so."""
    return Annotation(
        **{"exchange": exchange, "annotator": "ann", "kinds": (), "hedging": 0, "disclaimer": False}
        | {"answered": None if answered is None else Answered(answered)}
        | {"should_answer": None if should is None else ShouldAnswer(should)}
        | fields
    )


def notes(name: str, says: str, **fields) -> list[Annotation]:
    """One label for each letter: f full, p part, n none; of the exchanges name0, name1, ..."""
    words = {"f": "full", "p": "part", "n": "none"}
    return [note(f"{name}{number}", words[letter], **fields) for number, letter in enumerate(says)]


def skipped(exchange: str, annotator: str = "ann") -> Annotation:
    return Annotation(exchange=exchange, annotator=annotator, skipped="not in a language I read")


def labelled_by(truth: dict[str, Annotation], items: Iterable[Item], draw: Draw) -> list[Annotation]:
    """The true labels of what the draw asked for so far."""
    return [
        truth[item.exchange]
        for item in items
        if item.stratum is not None and item.place < draw.strata[item.stratum].labels
    ]


def biased_log(
    slices: int, rows: int, *, seed: int
) -> tuple[pl.DataFrame, dict[str, Annotation], np.ndarray]:
    """A log whose detector misses most of what is wrong, the truth of every exchange, and each slice's true rate.

    Answers are not complete with probability sigmoid(x); the detector believes sigmoid(x - 2). x is normal round a
    centre of the slice's own, so that true rates run from about 10 to 50 %. 80 % of them should have been answered.
    """
    random = np.random.default_rng(seed)
    centre = np.linspace(-2.5, 0, slices)
    x = random.normal(centre[:, None], 1.5, (slices, rows))
    wrong = random.random(x.shape) < 1 / (1 + np.exp(-x))
    wanted = random.random(x.shape) < 0.8
    score = 1 / (1 + np.exp(-(x - 2)))
    ids = [f"{at}-{number}" for at in range(slices) for number in range(rows)]
    frame = pl.DataFrame(
        {
            "id": ids,
            "use_case": [f"case {at:02}" for at in range(slices) for _ in range(rows)],
            "outcome": "answered",
            "detector": "test 1",
            "p_full": 1 - score.ravel(),
            "label": np.where(score.ravel() >= 0.5, "refused", "complete"),
        }
    ).with_columns(pl.lit(0.0).alias(kind.value) for kind in Kind)
    frame = frame.with_columns(
        pl.lit(None, dtype).alias(name) for name, dtype in SCHEMA.items() if name not in frame.columns
    ).select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
    truth = {
        exchange: note(exchange, "none" if refused else "full", "yes" if meant else "no")
        for exchange, refused, meant in zip(ids, wrong.ravel(), wanted.ravel(), strict=True)
    }
    wide = np.random.default_rng(7).normal(centre[:, None], 1.5, (slices, 400_000 // slices))
    return frame, truth, (1 / (1 + np.exp(-wide))).mean(axis=1)
