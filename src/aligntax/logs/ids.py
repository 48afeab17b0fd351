"""Ids made of what an exchange is: the same input gives the same ids, in any file and any batch."""

from __future__ import annotations

import hashlib

import polars as pl

_IDENTITY = (
    "source_id",
    "time",
    "model_requested",
    "model_served",
    "system",
    "history",
    "prompt",
    "response",
)
_MARK = "\x1f"


def with_ids(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with `id`: 24 hex characters, BLAKE2b (12 bytes) over what makes the exchange itself.

    Hashed are source_id, time, both models, system, history, prompt, response and outcome, joined by a mark
    that is doubled where a text holds it, so that no two rows run together. A row with neither source_id
    nor time hashes its line number too: equal rows stay apart, and the same file read twice gives the same
    ids. Rows that bring an id keep it.
    """
    anonymous = pl.col("source_id").is_null() & pl.col("time").is_null()
    parts = [_framed(frame, name) for name in (*_IDENTITY, "outcome")]
    parts.append(pl.when(anonymous).then(pl.col("line").cast(pl.String)))
    joined = pl.concat_str([part.fill_null(f"{_MARK}-") for part in parts], separator=f"{_MARK},")
    blake2b = hashlib.blake2b
    digests = [
        blake2b(row, digest_size=12).digest()
        for row in frame.select(joined.cast(pl.Binary)).to_series().to_list()
    ]
    ids = pl.Series("id", digests, pl.Binary).bin.encode("hex")
    if "id" in frame.columns:  # a file that aligntax wrote
        ours = pl.col("id").str.contains("^[0-9a-f]{24}$")
        return frame.with_columns(id=pl.when(ours).then(pl.col("id")).otherwise(ids))
    return frame.with_columns(ids)


def _framed(frame: pl.DataFrame, name: str) -> pl.Expr:
    """The column as text without a lone mark; looked for first, because copying every text is slow."""
    if name == "time":
        return pl.col(name).dt.timestamp("us").cast(pl.String)
    if frame[name].str.contains(_MARK, literal=True).any():
        return pl.col(name).str.replace_all(_MARK, _MARK * 2, literal=True)
    return pl.col(name)
