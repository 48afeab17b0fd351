"""Puts what the benchmarks printed into the model card, table by table.

    python benchmarks/detector_accuracy.py --data DIR >accuracy.txt
    python benchmarks/card.py accuracy.txt [more files]

A table in the card is a fenced `text` block whose first line is the title that the benchmark prints. Blocks of tables
that the files lack stay as they are; so does the prose around them, which a person has to read again.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

CARD = Path(__file__).parent.parent / "docs" / "reference" / "model-card.md"
_BLOCK = re.compile(r"^```text\n([^\n]*)\n.*?^```", re.MULTILINE | re.DOTALL)


def main() -> None:
    printed = "\n\n".join(Path(name).read_text("utf-8") for name in sys.argv[1:])
    tables = {part.partition("\n")[0]: part.strip("\n") for part in re.split(r"\n\s*\n", printed)}
    filled = 0

    def fill(block: re.Match[str]) -> str:
        nonlocal filled
        if block[1] not in tables:
            print(f"not printed: {block[1]}")
            return block[0]
        filled += 1
        return f"```text\n{tables[block[1]]}\n```"

    CARD.write_text(_BLOCK.sub(fill, CARD.read_text("utf-8")), "utf-8")
    print(f"{CARD.name}: {filled} tables filled")


if __name__ == "__main__":
    main()
