"""What the tests of the store share: both databases, and a small draw to label."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

import postgres
from aligntax.store import Store
from aligntax.types import Annotation, Answered, Draw, Item, Stratum

DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]
NOW = dt.datetime(2025, 3, 1, 9, 0, tzinfo=dt.UTC)


def place(kind: str, folder: Path) -> str:
    """Path or URL of a database that is empty."""
    return str(folder / "labels.db") if kind == "sqlite" else postgres.fresh_database()


@pytest.fixture(params=DATABASES)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return place(request.param, tmp_path)


@pytest.fixture
def store(where: str) -> Iterator[Store]:
    with Store.open(where) as opened:
        yield opened


def stratum(**changes: object) -> Stratum:
    settings: dict[str, object] = {
        "slice": ("small-model",), "kind": "scored", "low": 0.0, "high": 0.5, "size": 100, "expected": 0.1,
        "pilot": 3, "labels": 3, "reserve": 10,
    }  # fmt: skip
    return Stratum(**settings | changes)


def draw(**changes: object) -> Draw:
    """Two strata of 100 exchanges; three of each are in the pilot, ten drawn."""
    settings: dict[str, object] = {
        "id": "d41d8cd9", "created": NOW, "seed": 7, "source": "verdicts.parquet", "fingerprint": "f1",
        "detector": "aligntax-1", "by": ("model",), "budget": 12, "level": 0.95, "phase": "pilot",
        "strata": (stratum(), stratum(low=0.5, high=1.0, expected=0.9)), "population": 200,
        "left_out": {"truncated": 3}, "double_share": 0.3, "recalibration": {}, "codebook": "1",
    }  # fmt: skip
    return Draw(**settings | changes)


def items(*, pilot: int = 3, reserve: int = 7, strata: int = 2, wanted: int = 1) -> list[Item]:
    """Items of every stratum, which alternate in the queue: s0p0, s1p0, s0p1, ..."""
    return [
        Item(
            exchange=f"s{number}p{place}",
            stratum=number,
            place=place,
            position=(place + number / strata) / (pilot + reserve),
            phase="pilot" if place < pilot else "reserve",
            wanted=wanted,
            prompt=f"question {place}",
            response=f"answer {place}",
        )
        for number in range(strata)
        for place in range(pilot + reserve)
    ]


def says(
    exchange: str, who: str = "ada", answered: Answered | None = Answered.FULL, **more: object
) -> Annotation:
    return Annotation(exchange=exchange, annotator=who, answered=answered, **more)
