"""Verdicts to prompts: the words of each, and how far it was answered. Streams; the texts are never held at once.

Words are runs of letters or one Chinese or Japanese character, folded: compatibility forms, case, numbers and signs
that nobody sees make no difference. Answers take no part: they echo the words that the detector keys on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import InputError
from ..estimate import slice_columns

LONGEST = 20_000
"""Characters of a prompt that are read, from its start."""
MOST_WORDS = 2_000
_MOST_TOKENS = 36_000_000  # words of all prompts; counting them takes up to 2 GB
_BATCH = 32_768

_CJK = r"\p{Han}\p{Hiragana}\p{Katakana}"
_WORD = rf"[{_CJK}]|\p{{N}}|[[\p{{L}}\p{{M}}]--[{_CJK}]]+(?:'[[\p{{L}}\p{{M}}]--[{_CJK}]]+)*"
NUMBER = "0"
"""What every number reads as: prompts that differ in numbers alone are the same template."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prompts:
    """Distinct prompts (n,), in the order in which they first appear."""

    ids: pl.Series  # of the first exchange with the prompt
    words: NDArray[np.int32]  # positions in `vocabulary`, prompt after prompt
    first: Ints  # (n + 1): where the words of each prompt start
    outcome: Floats  # mean over its exchanges: 1 is not answered in full
    exchanges: Ints  # with this prompt
    topic: Ints  # position in `topics`
    topics: tuple[str, ...]  # names that the user gave; one, empty, where there are none
    vocabulary: pl.Series
    left_out: dict[str, int]  # reason -> exchanges


def folded(column: str) -> pl.Expr:
    """The text of a column as words see it."""
    return (
        pl.col(column)
        .str.slice(0, LONGEST)
        .str.normalize("NFKC")
        .str.replace_all(r"\p{Cf}+", "")
        .str.to_lowercase()
        .str.replace_all(r"[’ʼ＇]", "'")
        .str.replace_all(r"\p{N}+", NUMBER)
        .str.replace_many({"ß": "ss", "ς": "σ"})
    )


def words_of(column: str) -> pl.Expr:
    """The words of a text column, as lists."""
    return folded(column).str.extract_all(_WORD).list.head(MOST_WORDS)


def read_prompts(rows: pl.LazyFrame, by: Sequence[str] = (), *, most_tokens: int = _MOST_TOKENS) -> Prompts:
    """The distinct prompts of `rows`, which has `id`, `prompt`, `y` (0 to 1, null: unknown) and what `by` names.

    Prompts of one topic whose words are the same are one. Where all prompts together have more than `most_tokens` words,
    every second one is left out, and so on, by the hash of its id. Raises InputError where there is no prompt.
    """
    schema = rows.collect_schema()
    if "prompt" not in schema:
        raise InputError(
            "these verdicts were kept without text, so they have no words",
            where="column prompt",
            remedy="scan again without --no-text",
        )
    names = [f"__by_{number}" for number in range(len(by))]
    keys = [
        column.cast(pl.String).alias(name)
        for name, column in zip(names, slice_columns(by, schema), strict=True)
    ]
    lazy = rows.select("id", *keys, pl.col("y").cast(pl.Float64), words=words_of("prompt"))
    reader = _Reader(names, most_tokens)
    for batch in lazy.collect_batches(chunk_size=_BATCH, maintain_order=True, engine="streaming"):
        reader.take(batch)
    return reader.prompts()


class _Reader:
    """Gathers batches; each prompt is kept once."""

    def __init__(self, names: list[str], most_tokens: int) -> None:
        self._names, self._most = names, most_tokens
        self._categories = pl.Categories.random()
        # Numbers of words hold as long as any series has them, and start anew when the last one is gone.
        self._alive = pl.Series([NUMBER]).cast(pl.Categorical(self._categories))
        self._known = 0  # words in the vocabulary
        self._new: list[pl.DataFrame] = []
        self._parts: list[dict[str, Any]] = []
        self._tokens, self._halvings = 0, 0
        self._left_out = {"without words": 0, "without a verdict": 0, "beyond what fits in memory": 0}

    def take(self, batch: pl.DataFrame) -> None:
        before = batch.height
        batch = batch.filter(pl.col("y").is_not_null() & pl.col("y").is_not_nan())
        self._left_out["without a verdict"] += before - batch.height
        before = batch.height
        batch = batch.filter(pl.col("words").list.len() > 0)
        self._left_out["without words"] += before - batch.height
        batch = self._sampled(batch)
        if not batch.height:
            return
        lengths = batch["words"].list.len().to_numpy().astype(np.int64)
        words = batch["words"].explode().cast(pl.Categorical(self._categories))
        numbers = words.to_physical()
        self._learn(words, numbers)
        self._keep(batch, numbers.to_numpy().astype(np.int32), lengths)
        while self._tokens > self._most:
            self._halve()

    def _learn(self, words: pl.Series, numbers: pl.Series) -> None:
        new = numbers >= self._known
        if new.any():
            found = pl.DataFrame({"number": numbers.filter(new), "word": words.filter(new)}).unique("number")
            self._new.append(found.with_columns(pl.col("word").cast(pl.String)))
            self._known = int(found["number"].max()) + 1  # type: ignore[arg-type]

    def _keep(self, batch: pl.DataFrame, words: NDArray[np.int32], lengths: Ints) -> None:
        first = np.concatenate([[0], np.cumsum(lengths)])
        marks = _sequence_hashes(words, first)
        topics = batch.select(
            pl.struct(self._names).alias("topic") if self._names else pl.lit("").alias("topic")
        )
        frame = pl.DataFrame(
            {"id": batch["id"], "y": batch["y"], "mark": marks, "topic": topics["topic"]}
            if self._names
            else {"id": batch["id"], "y": batch["y"], "mark": marks}
        ).with_row_index("row")
        # Most of the repeats of a log stand near each other; the rest are found at the end.
        grouped = frame.group_by(["mark", *(["topic"] if self._names else [])]).agg(
            pl.col("row").min(),
            pl.col("id").first(),
            pl.col("y").sum(),
            pl.len().cast(pl.Int64).alias("exchanges"),
        )
        grouped = grouped.sort("row")
        kept = grouped["row"].to_numpy()
        self._parts.append(
            {"frame": grouped.drop("row"), "words": _taken(words, first, kept), "lengths": lengths[kept]}
        )
        self._tokens += len(self._parts[-1]["words"])

    def _sampled(self, batch: pl.DataFrame) -> pl.DataFrame:
        if not self._halvings:
            return batch
        kept = batch.filter(_drawn(batch["id"], self._halvings))
        self._left_out["beyond what fits in memory"] += batch.height - kept.height
        return kept

    def _halve(self) -> None:
        self._halvings += 1
        parts, self._parts, self._tokens = self._parts, [], 0
        for part in parts:
            frame, lengths = part["frame"], part["lengths"]
            drawn = _drawn(frame["id"], self._halvings)
            rows = np.flatnonzero(drawn.to_numpy())
            first = np.concatenate([[0], np.cumsum(lengths)])
            self._left_out["beyond what fits in memory"] += int(frame.filter(~drawn)["exchanges"].sum())
            words = _taken(part["words"], first, rows)
            self._parts.append({"frame": frame.filter(drawn), "words": words, "lengths": lengths[rows]})
            self._tokens += len(words)

    def _spellings(self) -> pl.Series:
        """Word by number; numbers of words that were only in rows left out stay empty."""
        found = pl.concat(self._new)
        numbers = pl.DataFrame({"number": pl.int_range(self._known, dtype=pl.UInt32, eager=True)})
        return numbers.join(found, on="number", how="left", maintain_order="left")["word"].fill_null("")

    def prompts(self) -> Prompts:
        parts = [part for part in self._parts if part["frame"].height]
        if not parts:
            raise InputError(
                "no prompt has both words and a verdict",
                where="columns prompt and p_full",
                remedy="scan a log whose requests are kept",
            )
        frame = pl.concat([part["frame"] for part in parts]).with_row_index("row")
        words = np.concatenate([part["words"] for part in parts])
        lengths = np.concatenate([part["lengths"] for part in parts])
        self._parts = []
        named = bool(self._names)
        grouped = (
            frame.group_by(["mark", *(["topic"] if named else [])])
            .agg(pl.col("row").min(), pl.col("id").first(), pl.col("y").sum(), pl.col("exchanges").sum())
            .sort("row")
        )
        if grouped.height < frame.height:
            kept = grouped["row"].to_numpy()
            words = _taken(words, np.concatenate([[0], np.cumsum(lengths)]), kept)
            lengths = lengths[kept]
        topic, topics = _topics(grouped, named)
        return Prompts(
            ids=grouped["id"],
            words=words,
            first=np.concatenate([[0], np.cumsum(lengths)]),
            outcome=(grouped["y"] / grouped["exchanges"]).to_numpy(),
            exchanges=grouped["exchanges"].to_numpy(),
            topic=topic,
            topics=topics,
            vocabulary=self._spellings(),
            left_out={reason: count for reason, count in self._left_out.items() if count},
        )


def _topics(grouped: pl.DataFrame, named: bool) -> tuple[Ints, tuple[str, ...]]:
    if not named:
        return np.zeros(grouped.height, dtype=np.int64), ("",)
    values = grouped["topic"].unique(maintain_order=True)
    names = tuple(
        " · ".join("(none)" if value is None else value for value in row.values()) for row in values
    )
    numbers = pl.DataFrame({"topic": values}).with_row_index("number")
    joined = grouped.select("topic").join(
        numbers, on="topic", how="left", nulls_equal=True, maintain_order="left"
    )
    return joined["number"].to_numpy().astype(np.int64), names


def _drawn(ids: pl.Series, halvings: int) -> pl.Series:
    if not halvings:
        return ids.is_not_null()
    drawn: pl.Series = ids.hash(seed=97) // (1 << 20) % (1 << halvings) == 0
    return drawn


def _sequence_hashes(words: NDArray[np.int32], first: Ints) -> NDArray[np.uint64]:
    """64 bits for the words of each prompt in their order."""
    lengths = np.diff(first)
    place = np.arange(len(words), dtype=np.uint64) - np.repeat(first[:-1].astype(np.uint64), lengths)
    mixed = mixed_bits(words.astype(np.uint64) + np.uint64(1))
    powers = np.cumprod(np.full(int(lengths.max()) + 1, 0x9E3779B97F4A7C15, dtype=np.uint64), dtype=np.uint64)
    total: NDArray[np.uint64] = np.add.reduceat(mixed * powers[place.astype(np.int64)], first[:-1])
    return total ^ mixed_bits(lengths.astype(np.uint64))


def mixed_bits(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread over all 64 bits (the multiply-xorshift finaliser)."""
    values = values * np.uint64(0x9E3779B97F4A7C15)
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def _taken(words: NDArray[np.int32], first: Ints, rows: NDArray[Any]) -> NDArray[np.int32]:
    """The words of some prompts, in the order of `rows`."""
    if len(rows) == len(first) - 1 and (rows[:-1] < rows[1:]).all():
        return words
    return words[positions(first, rows)]


def positions(first: Ints, rows: NDArray[Any]) -> Ints:
    """Where the words of some prompts stand, in the order of `rows`."""
    lengths = (first[1:] - first[:-1])[rows]
    ends = np.cumsum(lengths)
    starts: Ints = np.repeat(first[:-1][rows] - ends + lengths, lengths)
    return starts + np.arange(len(starts))
