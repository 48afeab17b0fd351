"""The example on published tables: a rank correlation with its interval, from a table in OR-Bench's columns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from documents import ROOT

SCRIPT = ROOT / "examples" / "or_bench_spearman.py"


def ran(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def table(tmp_path: Path) -> tuple[Path, float]:
    """Invented numbers of 12 models with a tie, one of them later than the paper, and scipy's correlation of 11."""
    random = np.random.default_rng(7)
    accepted = random.integers(0, 30, 12)
    rejected = np.clip(90 - 2.5 * accepted + random.normal(0, 12, 12), 0, 100).round()
    accepted[3] = accepted[4]
    names = [*(f"model-{number}" for number in range(11)), "Gemma-2-9b"]
    path = tmp_path / "table.csv"
    rows = zip(names, rejected, accepted, strict=True)
    path.write_text(
        "model,over_refusal_pct,toxic_acceptance_pct\n" + "".join(f"{n},{r},{a}\n" for n, r, a in rows),
        "utf-8",
    )
    return path, float(spearmanr(-accepted[:11], rejected[:11]).statistic)


def test_the_correlation_is_scipys_and_lies_in_its_interval(table: tuple[Path, float]) -> None:
    path, expected = table
    done = ran(str(path))
    assert done.returncode == 0, done.stderr
    (of_paper, of_table) = done.stdout.splitlines()[1:]
    assert of_paper.startswith(f"  11 models of the paper: {expected:.3f} [")
    assert of_table.startswith("  12 models of the table: ")
    low, high = map(float, of_paper.partition("[")[2].rstrip("]").split(","))
    assert low < expected < high <= 1


def test_a_table_must_be_named() -> None:
    done = ran()
    assert done.returncode != 0
    assert "which table?" in done.stderr
