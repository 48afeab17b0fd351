"""A labelled round of a synthetic log, for tests of what is shown of it: survey, comparison and gate decision."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence

import msgspec
import polars as pl

from aligntax import campaign, label
from aligntax.config import parse_config
from aligntax.estimate import Survey, compare, corrected, split, survey
from aligntax.floor import gate, levels
from aligntax.report import Comparison, Gated
from aligntax.types import Annotation, Answered, Draw, Kind, ShouldAnswer
from labels import NOW, labelled_by

Says = Callable[[dict[str, object]], Annotation]


def says(row: dict[str, object], annotator: str = "ada", *, wrong: int = 5) -> Annotation:
    """What a person says of a row of verdicts: what the detector says, but for about one answer in `wrong`."""
    dice = zlib.crc32(f"{row['id']}{annotator}".encode())
    answered = {"refused": Answered.NONE, "partially_hedged": Answered.PART}.get(
        str(row["label"]), Answered.FULL
    )
    if dice % wrong == 0:
        answered = Answered.NONE if answered is Answered.FULL else Answered.FULL
    should = (ShouldAnswer.NO, ShouldAnswer.UNCLEAR)[dice % 2] if dice % 10 < 2 else ShouldAnswer.YES
    return Annotation(
        exchange=str(row["id"]),
        annotator=annotator,
        answered=answered,
        kinds=(Kind.HARD_REFUSAL,) if answered is Answered.NONE else (),
        disclaimer=False,
        hedging=2 if answered is Answered.PART else 0,
        should_answer=should,
        time=NOW,
    )


def labelled(
    frame: pl.DataFrame, by: Sequence[str], *, budget: int = 160, say: Says = says
) -> tuple[Draw, list[Annotation]]:
    """A whole draw from `frame`, and one label of everything that it asks for."""
    sliced = campaign.with_slices(frame.lazy(), by)
    draw, items = label.plan(sliced, by=by, budget=budget, seed=3, now=NOW, source="calls.parquet")
    draw = label.planned(draw)
    asked = [item.exchange for item in items]
    rows = frame.filter(pl.col("id").is_in(asked)).select("id", "label").iter_rows(named=True)
    truth = {str(row["id"]): say(row) for row in rows}
    return draw, labelled_by(truth, items, draw)


def surveyed(
    frame: pl.DataFrame,
    by: Sequence[str] = ("use_case", "model"),
    *,
    more: Iterable[Annotation] = (),
    known: Sequence[Annotation] = (),
    only: Callable[[Annotation], bool] = lambda _: True,
    **settings: object,
) -> Survey:
    """The survey of a round on `frame`: its labels for which `only` holds, and `more`."""
    draw, notes = labelled(frame, by, **settings)
    return survey(frame.lazy(), draw, [*filter(only, notes), *more], by=by, known=known)


def compared(frame: pl.DataFrame, base: str, aligned: str, *, labels: bool = True) -> Comparison:
    """Two models of `frame` held against each other, and within each use case."""
    draw, notes = labelled(frame, ("use_case", "model")) if labels else (None, [])
    sides = split(frame.lazy(), {"model": base}, {"model": aligned}, draw=draw, annotations=notes)
    return Comparison(
        base=base,
        aligned=aligned,
        total=compare(*sides),
        by=("use_case",),
        slices=compare(*sides, by=("use_case",)),
    )


def decided(frame: pl.DataFrame, limits: str, **changes: object) -> Gated:
    """What the gate says of a round on `frame`, as the store keeps it."""
    config = parse_config(limits.encode())
    draw, notes = labelled(frame, ("use_case",))
    rows = [
        row
        for level in levels(config)
        for row in corrected(frame, draw, notes, by=["use_case"], level=level).to_dicts()
    ]
    side = {"verdicts": {"file": "calls.parquet", "sha256": "ab" * 32, "detectors": []}, "model": None}
    side |= {"draw": {"id": draw.id, "fingerprint": draw.fingerprint, "phase": "whole", "codebook": "1"}}
    side |= {"labels": {"count": len(notes), "annotators": 1, "newest": NOW.isoformat(), "sha256": "cd" * 32}}
    record = {
        "id": "0123456789abcdef",
        "format": 1,
        "time": NOW.isoformat(),
        **msgspec.to_builtins(gate(config, rows)),
        "inputs": {
            "config": {"file": "aligntax.yaml", "sha256": "ef" * 32},
            "candidate": side,
            "base": None,
            "versions": {"aligntax": "0.1.0"},
        },
    }
    return Gated(record=record | changes)
