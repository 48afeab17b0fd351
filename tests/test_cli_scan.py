"""`aligntax scan` on real files: what it prints, what it writes, how it stops."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from aligntax.cli import commands
from aligntax.cli.scan import FORMATS
from aligntax.logs.formats import READERS

REFUSAL = "I'm sorry, but I can't help with that request."
ANSWER = (
    "The starting dose is 5 mg once a day. Raise it after two weeks if the blood pressure stays above the target, "
    "and check potassium and creatinine one week after each change."
)


def write_log(path: Path, rows: int, *, first: int = 0, refused_every: int = 4, **fields) -> Path:
    """Plain JSONL of `rows` exchanges, every so many of them refused."""
    with path.open("w") as file:
        for number in range(first, first + rows):
            answer = REFUSAL if number % refused_every == 0 else ANSWER
            row = {
                "id": f"call-{number}",
                "prompt": f"What is the dose for patient {number}?",
                "response": answer,
            }
            file.write(json.dumps(row | {"use_case": "ward", "model": "m-1"} | fields) + "\n")
    return path


def scan(*arguments: str | Path, width: int = 100, **environment: str) -> Result:
    runner = CliRunner(env={"COLUMNS": str(width), **environment})
    result = runner.invoke(
        commands, ["scan", *map(str, arguments)], auto_envvar_prefix="ALIGNTAX", prog_name="aligntax"
    )
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def document(*arguments: str | Path, **environment: str) -> dict:
    result = scan(*arguments, "--json", **environment)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path / "log.jsonl", 40)


def test_the_summary_says_rates_that_they_are_uncorrected_and_what_to_do_next(log):
    result = scan(log)
    assert result.exit_code == 0
    assert result.stdout.startswith("40 exchanges: ")
    assert "UNCORRECTED" in result.stdout.splitlines()[1] + result.stdout.splitlines()[2]
    assert "25% refused" in result.stdout.replace("\n", " ")
    assert "ward" in result.stdout
    assert "--report report.html" in result.stdout
    assert "«" in result.stdout
    assert "can't help" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal_whatever_the_names(tmp_path, width):
    log = write_log(
        tmp_path / "log.jsonl", 20, use_case="clinical note drafting " * 9, model="vendor/model-" * 20
    )
    for line in scan(log, width=width).stdout.splitlines():
        assert len(line) <= width


def test_hostile_content_reaches_the_terminal_as_plain_text(tmp_path):
    evil = "\x1b[2J\x1b]0;owned\x07\u202e[bold red]\x9b31m"
    log = write_log(
        tmp_path / "log.jsonl", 10, use_case=f"case {evil}", model=f"m {evil}", prompt=f"How? {evil}"
    )
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    log.write_text("".join(json.dumps(row | {"response": row["response"] + evil}) + "\n" for row in rows))
    printed = scan(log, "--by", "use_case,model").stdout
    assert all(sign.isprintable() or sign == "\n" for sign in printed)
    assert "[bold red]" in printed  # shown, and not taken for markup


def test_json_is_one_document_and_nothing_else(log):
    result = scan(log, "--json")
    found = json.loads(result.stdout)
    assert found["total"]["exchanges"] == 40
    assert found["corrected"] is False
    assert found["by"] == ["use_case", "model"]
    assert [slice_["use_case"] for slice_ in found["slices"]] == ["ward"]
    assert found["versions"]["detector"]
    assert result.stdout.isascii()
    assert REFUSAL not in result.stdout
    assert result.stderr == ""


def test_json_lists_what_could_not_be_read_by_file_and_line(log):
    with log.open("a") as file:
        file.write("{broken\n")
    found = document(log)
    assert found["data"]["skipped"] == 1
    assert [(problem["file"], problem["line"]) for problem in found["data"]["problems"]] == [(str(log), 41)]
    summary = scan(log).stdout
    assert "1 row could not be read and was skipped" in summary
    assert "log.jsonl:41:" in "".join(summary.split())


def test_strict_stops_at_the_first_row_that_cannot_be_read(log):
    with log.open("a") as file:
        file.write("{broken\n")
    result = scan(log, "--strict")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {log}:41: ")
    assert result.stderr.count("\n") == 1


def test_slices_can_be_chosen_and_a_wrong_one_is_refused_before_the_scan(log, tmp_path):
    assert list(document(log, "--by", "model")["slices"][0])[:2] == ["model", "exchanges"]
    result = scan(log, "--by", "nope", "-o", tmp_path / "v.parquet")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: cannot slice by 'nope' (choose from model, tags.KEY, ")
    assert not (tmp_path / "v.parquet").exists()


def test_a_log_without_use_case_or_model_has_one_slice(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps({"prompt": "How?", "response": ANSWER}) + "\n")
    found = document(log)
    assert found["by"] == []
    assert len(found["slices"]) == 1
    assert scan(log).exit_code == 0


def test_use_case_fills_rows_that_name_none(tmp_path):
    log = write_log(tmp_path / "log.jsonl", 4, use_case=None)
    assert document(log, "--use-case", "letters")["slices"][0]["use_case"] == "letters"


def test_map_says_which_field_holds_a_column(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps({"ask": {"text": "How?"}, "said": ANSWER}) + "\n")
    assert document(log, "--map", "prompt=ask.text", "--map", "response=said")["total"]["exchanges"] == 1
    result = scan(log, "--map", "prompt")
    assert result.exit_code == 2
    assert "write COLUMN=FIELD" in result.stderr


def test_errors_are_one_line_with_a_remedy_and_exit_code_2(tmp_path):
    for arguments in ([tmp_path / "absent.jsonl"], [tmp_path], ["--format", "nope", tmp_path]):
        result = scan(*arguments)
        assert result.exit_code == 2
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""


def test_logs_or_the_sample_but_not_both_and_not_neither(log):
    for arguments in ([], [log, "--sample"]):
        result = scan(*arguments)
        assert result.exit_code == 2
        assert "aligntax scan --sample" in result.stderr


def test_the_sample_ships_and_scans():
    found = document("--sample")
    assert found["total"]["exchanges"] >= 320
    assert found["data"]["skipped"] == 0
    assert len({slice_["use_case"] for slice_ in found["slices"]}) == 4


def test_verdicts_are_kept_and_the_same_log_again_adds_nothing(log, tmp_path):
    out = tmp_path / "v.parquet"
    first = document(log, "-o", out)
    assert (first["data"]["new"], first["files"]["verdicts"]) == (40, str(out))
    before = out.read_bytes()
    again = document(log, "-o", out)
    assert (again["data"]["new"], again["data"]["repeated"], again["total"]["exchanges"]) == (0, 40, 40)
    assert out.read_bytes() == before
    assert again["total"] == first["total"]


def test_a_second_log_is_added_and_the_numbers_are_those_of_both(log, tmp_path):
    out = tmp_path / "v.parquet"
    scan(log, "-o", out)
    second = write_log(tmp_path / "second.jsonl", 60, first=40)
    found = document(second, "-o", out)
    assert (found["data"]["former"], found["data"]["new"], found["total"]["exchanges"]) == (40, 60, 100)
    assert found["total"] == document(log, second)["total"]


def test_overlapping_patterns_count_a_row_once(log):
    found = document(log, log.parent, log.parent / "*.jsonl")
    assert found["total"]["exchanges"] == 40


def test_rescan_replaces_the_file(log, tmp_path):
    out = tmp_path / "v.parquet"
    scan(write_log(tmp_path / "other.jsonl", 10, first=100), "-o", out)
    assert document(log, "-o", out, "--rescan")["total"]["exchanges"] == 40
    assert scan(log, "--rescan").exit_code == 2


def test_without_text_nothing_of_it_is_written_or_shown(tmp_path, monkeypatch):
    places = tmp_path / "temporary"
    places.mkdir()
    monkeypatch.setenv("TMPDIR", str(places))
    monkeypatch.setattr("tempfile.tempdir", None)
    log = write_log(
        tmp_path / "log.jsonl", 12, refused_every=1, prompt="SECRETPROMPT?", tags={"name": "SECRETTAG"}
    )
    out, report = tmp_path / "out" / "v.parquet", tmp_path / "out" / "report.html"
    out.parent.mkdir()
    result = scan(log, "--no-text", "-o", out, "--report", report)
    assert result.exit_code == 0, result.output
    assert "Clearest examples" not in result.stdout
    columns = set(pl.read_parquet_schema(out))
    assert not {"prompt", "response", "system", "history", "tags"} & columns
    for entry in [*out.parent.rglob("*"), *places.rglob("*")]:
        content = entry.read_bytes() if entry.is_file() else b""
        assert b"SECRET" not in content
        assert REFUSAL.encode() not in content
    again = scan(log, "-o", out)
    assert again.exit_code == 2
    assert "--no-text" in again.stderr


def test_without_out_nothing_stays_on_disk(log, tmp_path, monkeypatch):
    places = tmp_path / "temporary"
    places.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(places))
    assert scan(log).exit_code == 0
    assert list(places.iterdir()) == []


def test_a_report_can_be_written_along_and_its_folder_is_checked_first(log, tmp_path):
    report = tmp_path / "report.html"
    result = scan(log, "--report", report)
    assert result.exit_code == 0
    assert report.read_text().lstrip().lower().startswith("<!doctype html>")
    assert "open it in a browser" in " ".join(result.stdout.split())
    result = scan(log, "--report", tmp_path / "no" / "report.html")
    assert result.exit_code == 2
    assert "the folder does not exist" in result.stderr


def test_a_log_can_come_from_standard_input(log):
    done = subprocess.run(
        [sys.executable, "-m", "aligntax", "scan", "-", "--json"],
        input=log.read_bytes(), capture_output=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["total"]["exchanges"] == 40


def test_options_can_be_set_by_environment_variables(log):
    assert document(log, ALIGNTAX_SCAN_BY="model")["by"] == ["model"]


def test_colour_is_for_terminals_alone(log):
    assert "\x1b" not in scan(log).stdout
    assert "\x1b[1m" in scan(log, FORCE_COLOR="1", TERM="xterm-256color").stdout
    plain = scan(log, FORCE_COLOR="1", NO_COLOR="1", TERM="xterm-256color").stdout
    assert "\x1b[31m" not in plain
    assert "\x1b[33m" not in plain


def test_help_names_every_option_and_every_format():
    text = scan("--help").stdout
    for option in ("--out", "--by", "--report", "--format", "--map", "--use-case", "--strict", "--no-text",
                   "--rescan", "--json", "--jobs", "--sample"):  # fmt: skip
        assert option in text
    assert set(FORMATS) == set(READERS)


SMALL_PARTS = """
import sys
from aligntax.verdict_file import writer
writer._PART_ROWS = 100
from aligntax.cli import main
if __name__ == "__main__":
    main()
"""


def start(*arguments: str | Path) -> subprocess.Popen:
    """A scan in a process and a process group of its own, which writes a part every 100 rows."""
    return subprocess.Popen(
        [sys.executable, "-c", SMALL_PARTS, "scan", "-", "--format", "jsonl", "--jobs", "1", *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def feed(running: subprocess.Popen, log: Path, out: Path) -> None:
    """Give the scan a log without its end, and wait until part of it is on disk."""
    assert running.stdin is not None
    running.stdin.write(log.read_bytes())
    running.stdin.flush()
    end = time.monotonic() + 60
    while not list(out.parent.glob("v.parquet.parts/part-*")):
        assert running.poll() is None, running.stderr and running.stderr.read()
        assert time.monotonic() < end, "the scan made no parts"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGKILL, -9, ""), (signal.SIGINT, 130, "stopped: run"), (signal.SIGTERM, 143, "stopped: run")],
)
def test_a_scan_stopped_in_the_middle_goes_on_there_and_ends_like_one_never_stopped(
    tmp_path, number, code, said
):
    log, out = write_log(tmp_path / "log.jsonl", 10_000), tmp_path / "v.parquet"
    with start("-o", out) as running:
        feed(running, log, out)
        os.killpg(running.pid, number)
        _, stderr = running.communicate()
    assert running.returncode == code
    assert stderr.decode().startswith(said)
    assert stderr.count(b"\n") == (1 if said else 0)
    assert not out.exists()
    found = document(log, "-o", out)
    assert found["data"]["resumed"] >= 100
    assert found["data"]["resumed"] + found["data"]["new"] == 10_000
    assert found["total"] == document(log)["total"]
    assert [entry.name for entry in sorted(tmp_path.iterdir())] == ["log.jsonl", "v.parquet"]


def test_a_second_scan_into_the_same_file_is_refused_while_the_first_runs(tmp_path):
    log, out = write_log(tmp_path / "log.jsonl", 10_000), tmp_path / "v.parquet"
    with start("-o", out) as running:
        feed(running, log, out)
        second = scan(log, "-o", out)
        assert second.exit_code == 2
        assert f"is being written by process {running.pid}" in second.stderr
        running.communicate()
    assert running.returncode == 0
    assert pl.scan_parquet(out).select(pl.len()).collect().item() == 10_000


def test_a_reader_that_leaves_early_is_no_error_worth_a_word(log):
    command = (
        f'{sys.executable} -m aligntax scan "{log}" --json | head -c 1 >/dev/null; echo "${{PIPESTATUS[0]}}"'
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.strip() in {"0", "141"}  # a small document may have fitted into the pipe
