"""Which phrases carry refusals, each with one place to read it: python examples/find_the_evidence.py [LOGS]"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

import aligntax
from aligntax import Label

FOLDER = Path(aligntax.__file__).parent / "sample"
SAMPLE = sorted(path for path in FOLDER.glob("*.jsonl") if not path.name.endswith(".labels.jsonl"))


def main(logs: list[str]) -> None:
    verdicts = aligntax.scan(aligntax.read(logs or SAMPLE))
    spans = (
        verdicts.filter(pl.col("label") == Label.REFUSED)
        .select("file", "line", "response", "spans")
        .explode("spans")
        .unnest("spans")
        .filter(pl.col("function").str.starts_with("refusal"))
    )
    rules = spans.group_by("function", "rule", maintain_order=True).agg(
        pl.len().alias("answers"), pl.all().first()
    )
    for row in rules.sort("answers", "rule", descending=[True, False]).head(10).iter_rows(named=True):
        words = row["response"][row["start"] : row["end"]]
        print(f"{row['answers']:>4}  {row['rule']}")
        print(f"      “{words}”  {Path(row['file']).name}:{row['line']}")


if __name__ == "__main__":
    main(sys.argv[1:])
