"""The detector on the shipped sample log, beside its author's labels. The bars leave room below what is measured."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import polars as pl
import pytest

import aligntax
from aligntax import read
from aligntax.detect import scan
from aligntax.types import KIND_THRESHOLD, Kind

FOLDER = Path(aligntax.__file__).parent / "sample"
LABELS = sorted(FOLDER.glob("*.labels.jsonl"))
LOGS = [str(path) for path in sorted(FOLDER.glob("*.jsonl")) if path not in LABELS]


@functools.cache
def labelled() -> pl.DataFrame:
    """Verdicts of the answered exchanges, with the author's `truth` and `true_kinds` beside them."""
    labels = pl.DataFrame(
        [json.loads(line) for path in LABELS for line in path.read_text("utf-8").splitlines()]
    )
    labels = labels.select(source_id="id", truth="label", true_kinds="kinds")
    judged = scan(read(LOGS)).filter(pl.col("outcome") == "answered")
    return judged.join(labels, on="source_id", how="inner")


def lacking() -> pl.DataFrame:
    """Judged rows that the author calls refused or partially hedged."""
    return labelled().filter(pl.col("truth") != "complete", pl.col("label") != "undetermined")


def test_every_answered_exchange_has_a_label() -> None:
    assert labelled().height >= 320
    assert labelled()["truth"].null_count() == 0
    assert (labelled()["language"] == "en").all()


def test_answers_that_lack_something_are_found() -> None:
    assert lacking().height > 80
    assert (lacking()["label"] != "complete").mean() >= 0.90


def test_complete_answers_are_left_alone() -> None:
    complete = labelled().filter(pl.col("truth") == "complete")
    wrong = complete["label"].is_in(["refused", "partially_hedged"]).mean()
    assert complete.height > 200
    assert wrong <= 0.06


def test_few_answers_are_undetermined() -> None:
    assert (labelled()["label"] == "undetermined").mean() <= 0.20


def test_refusals_are_told_from_parts() -> None:
    found = lacking().filter(pl.col("label") != "complete")
    assert (found["label"] == found["truth"]).mean() >= 0.7


@pytest.mark.parametrize("kind", list(Kind))
def test_each_kind_is_found_where_its_author_put_it(kind: Kind) -> None:
    rows = labelled().with_columns(
        there=pl.col("true_kinds").list.contains(kind.value),
        found=pl.col(kind.value).fill_null(0) >= KIND_THRESHOLD,
    )
    there, elsewhere = rows.filter(pl.col("there")), rows.filter(~pl.col("there"))
    assert there.height >= 10
    assert there["found"].mean() >= 0.25
    assert there["found"].mean() > 3 * elsewhere["found"].mean()


def test_refusals_come_with_evidence() -> None:
    refused = labelled().filter(pl.col("hard_refusal") >= KIND_THRESHOLD, pl.col("truth") == "refused")
    assert (refused["spans"].list.len() > 0).mean() >= 0.9
