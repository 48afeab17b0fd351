"""The detector as a batch function over frames: chunks of texts in, verdict columns out."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import polars as pl

from ..types import FUNCTIONS as SENTENCE_FUNCTIONS
from ..types import Outcome, verdict_schema
from . import axes
from .features import PROMPT_CHARACTERS, read_chunk
from .languages import UNKNOWN, identify
from .lexicon import FUNCTIONS as PHRASE_FUNCTIONS
from .lexicon import LANGUAGES, load_lexicon
from .model import load_model, score
from .text import CHUNK_BYTES, MAX_ROW_BYTES

NAME = "aligntax"


def judge(exchanges: pl.DataFrame) -> pl.DataFrame:
    """See `aligntax.detect.judge`."""
    answers = exchanges.get_column("response").fill_null("").to_list()
    asked = exchanges.get_column("prompt").fill_null("").to_list()
    # Plain ASCII is folded without a look at its characters, so it goes into chunks of its own;
    # a short answer in it counts as English where nothing else is known.
    groups = ([], [])  # type: tuple[list[int], list[int]]
    for row, text in enumerate(answers):
        if text:
            groups[text.isascii()].append(row)
    parts: list[axes.Columns] = []
    for rows in groups:
        texts, prompts = [answers[row] for row in rows], [asked[row] for row in rows]
        parts += [
            _judge_chunk(texts[start:stop], prompts[start:stop]) for start, stop in _chunks(texts, prompts)
        ]
    return exchanges.hstack(_frame(parts, np.asarray(groups[0] + groups[1], np.int64), exchanges))


def _chunks(texts: list[str], prompts: list[str]) -> list[tuple[int, int]]:
    """Cuts of about CHUNK_BYTES of text each."""
    cuts: list[tuple[int, int]] = []
    start = size = 0
    for at, (text, prompt) in enumerate(zip(texts, prompts, strict=True)):
        length = max(min(len(text), MAX_ROW_BYTES), min(len(prompt), 2 * PROMPT_CHARACTERS + 1))
        if at > start and size + length > CHUNK_BYTES:
            cuts.append((start, at))
            start, size = at, 0
        size += length + 1
    if start < len(texts):
        cuts.append((start, len(texts)))
    return cuts


def _judge_chunk(texts: list[str], prompts: list[str]) -> axes.Columns:
    lexicon = load_lexicon()
    reading = read_chunk(texts, prompts, lexicon)
    scores = score(reading, load_model())
    language = identify(reading, lexicon)
    return axes.columns(reading, scores, language, lexicon, load_model().part_below)


# -- frames --------------------------------------------------------------------------------------------------

_LANGUAGE_NAMES = pl.Series([*LANGUAGES, "und"], dtype=pl.String)
_ANSWERED_NAMES = pl.Series(list(axes.ANSWERED), dtype=pl.String)
_LABEL_NAMES = pl.Series(list(axes.LABELS), dtype=pl.String)


@cache
def _span_names() -> tuple[pl.Series, pl.Series]:
    """Function and rule of each phrase of the lexicon."""
    lexicon = load_lexicon()
    functions = pl.Series(PHRASE_FUNCTIONS, dtype=pl.String).gather(lexicon.function)
    return functions, pl.Series(lexicon.rules, dtype=pl.String).gather(lexicon.rule)


def _frame(parts: list[axes.Columns], rows: Any, exchanges: pl.DataFrame) -> pl.DataFrame:
    schema = verdict_schema()
    height = exchanges.height
    version = pl.Series("detector", [f"{NAME}-{load_model().version}"], dtype=pl.String).new_from_index(
        0, height
    )
    if not parts:
        nothing = {name: pl.Series(name, [None] * height, dtype=kind) for name, kind in schema.items()}
        language = pl.Series("language", ["und"] * height, dtype=pl.String)
        return pl.DataFrame({**nothing, "detector": version, "language": language}, schema=schema)

    def joined(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])

    language = joined("language")
    answered = joined("answered")
    start = joined("answer_start")
    shares = joined("functions")
    data: dict[str, pl.Series] = {
        "language": _LANGUAGE_NAMES.gather(np.where(language == UNKNOWN, len(LANGUAGES), language)),
        "answered": _ANSWERED_NAMES.gather(answered),
        "label": _LABEL_NAMES.gather(answered),
        "words": pl.Series(joined("words"), dtype=pl.UInt32),
        "answer_start": pl.Series(np.where(start < 0, 0, start), dtype=pl.UInt32).set(
            pl.Series(start < 0), None
        ),
        "functions": pl.DataFrame(
            {name: pl.Series(shares[:, at]) for at, name in enumerate(SENTENCE_FUNCTIONS)}
        ).to_struct(),
        "spans": _span_lists(parts),
    }
    for name in ("p_full", "p_part", "p_none", "hard_refusal", "soft_refusal", "topic_avoidance"):
        data[name] = pl.Series(joined(name)).fill_nan(None)
    for name in ("disclaimer_share", "hedge_density"):
        data[name] = pl.Series(joined(name))
    judged = pl.DataFrame(
        [
            data[name].cast(kind).alias(name)
            if name in data
            else pl.Series(name, [None] * len(rows), dtype=kind)
            for name, kind in schema.items()
        ]
    )
    if len(rows) < height or (np.diff(rows) < 0).any():
        place = np.full(height, -1, np.int64)
        place[rows] = np.arange(len(rows))
        picks = pl.Series(place).set(pl.Series(place < 0), None)
        judged = judged.select(pl.all().gather(picks))
    ended_well = exchanges.get_column("outcome") == Outcome.ANSWERED
    return judged.with_columns(
        version,
        pl.col("language").fill_null("und"),
        *(pl.when(ended_well).then(pl.col(name)).alias(name) for name in ("answered", "label")),
    )


def _span_lists(parts: list[axes.Columns]) -> pl.Series:
    """The flat spans of all chunks as one list a row."""
    functions, rules = _span_names()
    sizes = np.asarray([len(part.words) for part in parts])
    base = np.repeat(np.concatenate(([0], np.cumsum(sizes)[:-1])), [len(part.span_row) for part in parts])
    phrase = np.concatenate([part.span_phrase for part in parts])
    row = np.concatenate([part.span_row for part in parts]) + base
    flat = pl.DataFrame(
        {
            "row": row,
            "start": np.concatenate([part.span_start for part in parts]),
            "end": np.concatenate([part.span_end for part in parts]),
            "function": functions.gather(phrase),
            "rule": rules.gather(phrase),
        }
    )
    lists = flat.group_by("row", maintain_order=True).agg(spans=pl.struct("start", "end", "function", "rule"))
    everything = pl.DataFrame({"row": np.arange(sizes.sum())})
    return (
        everything.join(lists, on="row", how="left", maintain_order="left").get_column("spans").fill_null([])
    )
