"""A folder of logs to rates: python examples/scan_a_folder.py [LOGS]"""

from __future__ import annotations

import sys
from pathlib import Path

import aligntax

FOLDER = Path(aligntax.__file__).parent / "sample"
SAMPLE = sorted(path for path in FOLDER.glob("*.jsonl") if not path.name.endswith(".labels.jsonl"))


def main(logs: list[str]) -> None:
    log = aligntax.read(logs or SAMPLE)
    verdicts = aligntax.scan(log)
    for row in aligntax.summarise(verdicts, by=["use_case"]).iter_rows(named=True):
        print(f"{row['use_case']:<26}{row['counted']:>5} calls  {row['refused']:>4.0%} refused", end="")
        print(
            f"  {row['partially_hedged']:>4.0%} in part  {row['undetermined']:>4.0%} undetermined  (uncorrected)"
        )
    for problem in log.problems:
        print(f"skipped {problem.file}:{problem.line}: {problem.reason}")


if __name__ == "__main__":
    main(sys.argv[1:])
