"""The examples run, on the sample and on a folder that is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from aligntax.types import CONTENT_COLUMNS
from documents import DOCS, ROOT

sys.path.append(str(DOCS))
import shown

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
OF_A_TABLE = ROOT / "examples" / "or_bench_spearman.py"  # the others read logs
USE_CASES = ("clinical_documentation", "financial_compliance", "legal_research", "security_engineering")


def run(name: str, folder: Path, *logs: str) -> str:
    script = ROOT / "examples" / name
    ran = subprocess.run(
        [sys.executable, script, *logs], cwd=folder, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize(
    "script", [path for path in EXAMPLES if path != OF_A_TABLE], ids=lambda path: path.stem
)
def test_an_example_says_the_same_of_the_sample_and_of_a_folder_with_its_files(
    script: Path, tmp_path: Path
) -> None:
    shown.prepare(tmp_path)
    assert run(script.name, tmp_path) == run(script.name, tmp_path, "logs")


def test_scanning_a_folder_prints_a_line_per_use_case(tmp_path: Path) -> None:
    lines = run("scan_a_folder.py", tmp_path).splitlines()
    assert [line.split()[0] for line in lines] == [*USE_CASES]


def test_slicing_exports_rates_and_verdicts_without_text(tmp_path: Path) -> None:
    printed = run("slice_and_export.py", tmp_path)
    rates = pl.read_csv(tmp_path / "rates.csv")
    incomplete = pl.read_parquet(tmp_path / "incomplete.parquet")
    assert set(rates["use_case"]) == {*USE_CASES}
    assert printed.startswith(f"{incomplete.height} of {rates['exchanges'].sum()} answers")
    assert not set(CONTENT_COLUMNS) & set(incomplete.columns)


def test_the_evidence_names_rule_words_and_place(tmp_path: Path) -> None:
    lines = run("find_the_evidence.py", tmp_path).splitlines()
    rules, places = lines[::2], lines[1::2]
    assert len(rules) == len(places) > 2
    assert all("en: " in rule or "kernel" in rule for rule in rules)
    assert all("“" in place and ".jsonl:" in place for place in places)


def test_every_example_is_described() -> None:
    described = (ROOT / "examples" / "README.md").read_text("utf-8")
    assert [path.name for path in EXAMPLES if f"`{path.name}`" not in described] == []
