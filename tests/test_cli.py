"""The command line as a whole: help, versions, exit codes, the small commands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import aligntax
from aligntax.cli import COMMANDS, commands
from aligntax.verdict_file import scan_verdicts


def run(*arguments: str | Path, width: int = 80) -> Result:
    runner = CliRunner(env={"COLUMNS": str(width)})
    return runner.invoke(commands, [*map(str, arguments)], prog_name="aligntax")


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("verdicts") / "v.parquet"
    assert run("scan", "--sample", "-o", out).exit_code == 0
    return out


def test_help_lists_every_command_with_what_it_does():
    result = run("--help")
    assert result.exit_code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_within_eighty_columns(name):
    result = run(name, "--help")
    assert result.exit_code == 0
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


def test_the_version_is_that_of_the_package():
    assert run("--version").stdout == f"aligntax {aligntax.__version__}\n"


def test_an_unknown_command_or_option_exits_2():
    assert run("nope").exit_code == 2
    assert run("scan", "--nope").exit_code == 2


def test_python_dash_m_is_the_same_program():
    done = subprocess.run(
        [sys.executable, "-m", "aligntax", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"aligntax {aligntax.__version__}\n"


def test_an_error_shows_no_escape_sequence_of_a_file_name(tmp_path):
    result = run("scan", tmp_path / "no\x1b[2Jsuch.jsonl")
    assert result.exit_code == 2
    assert "\x1b" not in result.stderr
    assert result.stderr.startswith("error: ")


def test_a_bug_shows_its_traceback_and_does_not_pass_for_a_failed_gate(tmp_path):
    code = "import aligntax.cli.doctor as d, aligntax.cli as c\ndef broken(): raise ZeroDivisionError\nd._findings = broken\nimport sys\nsys.argv = ['aligntax', 'doctor']\nc.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "ZeroDivisionError" in done.stderr
    assert "this is a bug in aligntax" in done.stderr


def test_doctor_says_line_by_line_that_this_installation_can_scan():
    result = run("doctor")
    assert result.exit_code == 0, result.stdout
    lines = result.stdout.splitlines()
    assert all(line.startswith("ok ") for line in lines)
    for name in ("aligntax", "packages", "detector", "weights"):
        assert any(line.split()[1] == name for line in lines)


def test_doctor_exits_2_when_the_weights_are_missing(monkeypatch, tmp_path):
    (tmp_path / "detect").mkdir()
    monkeypatch.setattr("aligntax.cli.doctor.package", str(tmp_path / "__init__.py"))
    result = run("doctor")
    assert result.exit_code == 2
    assert "NO  weights" in result.stdout


def test_report_writes_a_page_from_kept_verdicts(verdicts, tmp_path):
    page = tmp_path / "report.html"
    result = run("report", verdicts, "--out", page, "--by", "use_case")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{page}: open it in a browser\n"
    assert "clinical_documentation" in page.read_text()


def test_report_refuses_what_is_no_verdict_file_in_one_line(tmp_path):
    letter = tmp_path / "letter.parquet"
    letter.write_text("Dear all")
    for path in (letter, tmp_path / "absent.parquet"):
        result = run("report", path, "--out", tmp_path / "report.html")
        assert result.exit_code == 2
        assert result.stderr.startswith(f"error: {path}: ")
        assert result.stderr.count("\n") == 1


def test_what_scan_keeps_python_reads_with_the_same_numbers(verdicts):
    total = json.loads(run("scan", "--sample", "--json").stdout)["total"]
    assert aligntax.summarise(scan_verdicts(verdicts)).row(0, named=True) == total


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", [["scan", "--sample"], ["scan", "--sample", "--json"]])
def test_a_full_disk_behind_the_output_is_said_in_one_line(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "aligntax", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: what this prints cannot be written: ")
    assert "Traceback" not in done.stderr
