"""What the page says in numbers: aggregates of a frame of verdicts, never its texts.

Every function reads the frame lazily, column by column, and collects a few rows; only the quartiles hold one
number per answer for a moment.
"""

from __future__ import annotations

import datetime as dt
import pathlib
from collections.abc import Sequence

import msgspec
import polars as pl

from ..errors import InputError
from ..estimate import summarise
from ..types import CONTENT_COLUMNS, Kind, Label, Outcome, exchange_schema, verdict_schema
from ..verdict_file import scan_verdicts
from .timeline import Rates, Timeline, find_timeline

SLICES_SHOWN = 25
WORD_EDGES = (10, 20, 50, 100, 200, 500, 1000, 2000)
SHARE_EDGES = tuple(n / 10 for n in range(1, 10))
COMPARED = (Label.COMPLETE.value, Label.PARTIALLY_HEDGED.value, Label.REFUSED.value)

_NEEDED = ("id", "outcome", "label", *(kind.value for kind in Kind))


class Slices(msgspec.Struct, frozen=True, kw_only=True):
    """Rates per value of one or more columns, those with most calls first."""

    by: tuple[str, ...]
    rows: tuple[Rates, ...]
    left_out: int  # slices beyond SLICES_SHOWN

    @property
    def named(self) -> bool:
        """Whether the log says anything at all about these columns."""
        return any(row[name] is not None for row in self.rows for name in self.by)


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """How one measure is spread over the answers of each label."""

    measure: str
    edges: tuple[float, ...]  # lower edges of all bins but the first
    shares: dict[str, tuple[float, ...]]  # label -> share of its answers per bin, summing to 1
    counts: dict[str, int]
    quartiles: dict[str, tuple[float, float, float]]


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the page shows except examples and what the reader of the log reported."""

    total: Rates
    slices: tuple[Slices, ...]
    crossed: Slices | None  # all slice columns at once
    first: dt.datetime | None
    last: dt.datetime | None
    timeline: Timeline | None
    distributions: tuple[Distribution, ...]
    outcomes: tuple[Rates, ...]  # outcome, raw, exchanges
    languages: tuple[Rates, ...]  # language, judged, undetermined (share)
    detectors: tuple[Rates, ...]  # detector, exchanges
    models: int  # distinct served (else requested) models


def open_verdicts(verdicts: pl.DataFrame | pl.LazyFrame | str | pathlib.Path) -> pl.LazyFrame:
    """The frame, read lazily; columns it may lack are added as nulls, except those that hold content.

    Raises InputError where the path is no verdict file or the columns are not those of a scanned log.
    """
    frame = scan_verdicts(verdicts) if isinstance(verdicts, (str, pathlib.Path)) else verdicts.lazy()
    names = frame.collect_schema().names()
    lacking = [name for name in _NEEDED if name not in names]
    if lacking:
        raise InputError(
            f"these are not verdicts: the columns {', '.join(lacking)} are missing",
            remedy="run `aligntax scan` first, or `aligntax.scan` from Python",
        )
    schema = {**exchange_schema(), **verdict_schema()}
    return frame.with_columns(
        pl.lit(None, dtype).alias(name)
        for name, dtype in schema.items()
        if name not in names and name not in CONTENT_COLUMNS
    )


def find(verdicts: pl.LazyFrame, by: Sequence[str]) -> Findings:
    """All findings of a frame that `open_verdicts` gave.

    Raises InputError for an empty frame, and for names in `by` that cannot be sliced by.
    """
    by = tuple(dict.fromkeys(by))
    total = summarise(verdicts).row(0, named=True)
    if not total["exchanges"]:
        raise InputError(
            "there are no exchanges to report on", remedy="check the paths and the format given to scan"
        )
    counts = _collect(
        verdicts.select(
            pl.min("time").alias("first"),
            pl.max("time").alias("last"),
            pl.count("time").alias("timed"),
            pl.col("time").is_null().sum().alias("untimed"),
            pl.coalesce("model_served", "model_requested").drop_nulls().n_unique().alias("models"),
        )
    ).row(0, named=True)
    return Findings(
        total=total,
        slices=tuple(_slices(verdicts, (name,)) for name in by),
        crossed=_slices(verdicts, by) if len(by) > 1 else None,
        first=counts["first"],
        last=counts["last"],
        timeline=find_timeline(verdicts, counts),
        distributions=(
            _distribution(verdicts, "words", WORD_EDGES),
            _distribution(verdicts, "disclaimer_share", SHARE_EDGES),
        ),
        outcomes=_counted(verdicts, "outcome", "outcome_raw"),
        languages=_languages(verdicts),
        detectors=_counted(verdicts.filter(pl.col("outcome") == Outcome.ANSWERED), "detector"),
        models=counts["models"],
    )


def _collect(frame: pl.LazyFrame) -> pl.DataFrame:
    return frame.collect(engine="streaming")


def _slices(verdicts: pl.LazyFrame, by: tuple[str, ...]) -> Slices:
    table = summarise(verdicts, by).sort("exchanges", descending=True, maintain_order=True)
    shown = tuple(table.head(SLICES_SHOWN).iter_rows(named=True))
    return Slices(by=by, rows=shown, left_out=table.height - len(shown))


def _counted(verdicts: pl.LazyFrame, *columns: str) -> tuple[Rates, ...]:
    table = _collect(verdicts.group_by(columns).agg(pl.len().alias("exchanges")))
    return tuple(table.sort("exchanges", *columns, descending=True).head(50).iter_rows(named=True))


def _languages(verdicts: pl.LazyFrame) -> tuple[Rates, ...]:
    judged = verdicts.filter(pl.col("outcome") == Outcome.ANSWERED)
    undetermined = pl.col("label").fill_null(Label.UNDETERMINED.value) == Label.UNDETERMINED.value
    table = _collect(
        judged.group_by("language").agg(
            pl.len().alias("judged"), undetermined.cast(pl.Float64).mean().alias("undetermined")
        )
    )
    return tuple(table.sort("judged", "language", descending=True).head(30).iter_rows(named=True))


def _distribution(verdicts: pl.LazyFrame, measure: str, edges: tuple[float, ...]) -> Distribution:
    compared = verdicts.filter(
        pl.col("outcome") == Outcome.ANSWERED, pl.col("label").is_in(COMPARED), pl.col(measure).is_not_null()
    ).select("label", pl.col(measure).cast(pl.Float64).alias("value"))
    # A sum of comparisons streams; the library's own binning does not.
    place = pl.sum_horizontal((pl.col("value") >= edge).cast(pl.UInt8) for edge in edges)
    binned = _collect(compared.group_by("label", place.alias("bin")).agg(pl.len().alias("answers")))
    spread = _collect(
        compared.group_by("label").agg(
            pl.col("value").quantile(q, "linear").alias(str(q)) for q in (0.25, 0.5, 0.75)
        )
    )
    answers = {(label, at): n for label, at, n in binned.select("label", "bin", "answers").iter_rows()}
    counts = {label: sum(n for (of, _), n in answers.items() if of == label) for label in COMPARED}
    bins = range(len(edges) + 1)
    return Distribution(
        measure=measure,
        edges=edges,
        shares={
            label: tuple(answers.get((label, at), 0) / counts[label] for at in bins)
            for label in COMPARED
            if counts[label]
        },
        counts=counts,
        quartiles={label: (low, middle, high) for label, low, middle, high in spread.iter_rows()},
    )
