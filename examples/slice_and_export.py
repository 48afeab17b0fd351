"""Rates as CSV, incomplete answers as Parquet without text: python examples/slice_and_export.py [LOGS]

Writes rates.csv and incomplete.parquet into the working directory.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

import aligntax
from aligntax import Kind, Label
from aligntax.types import CONTENT_COLUMNS

FOLDER = Path(aligntax.__file__).parent / "sample"
SAMPLE = sorted(path for path in FOLDER.glob("*.jsonl") if not path.name.endswith(".labels.jsonl"))


def main(logs: list[str]) -> None:
    verdicts = aligntax.scan(aligntax.read(logs or SAMPLE))
    aligntax.summarise(verdicts, by=["use_case", "model"]).write_csv("rates.csv")

    incomplete = verdicts.filter(pl.col("label").is_in([Label.REFUSED, Label.PARTIALLY_HEDGED]))
    incomplete.drop(CONTENT_COLUMNS).write_parquet("incomplete.parquet")
    print(f"{incomplete.height} of {verdicts.height} answers were not complete")
    for kind in Kind:
        print(f"{kind.replace('_', ' '):<20}{(incomplete[kind] >= 0.5).sum():>4}")


if __name__ == "__main__":
    main(sys.argv[1:])
