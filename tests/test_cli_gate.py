"""`aligntax gate` on the sample log with its labels: what it prints, writes and keeps, and its exit codes."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from click.testing import CliRunner, Result

import aligntax
from aligntax import campaign
from aligntax.cli import commands
from aligntax.store import Store
from aligntax.types import Annotation, Answered, Kind, ShouldAnswer
from aligntax.verdict_file import scan_verdicts
from verdicts import one_verdict

SAMPLE = Path(aligntax.__file__).parent / "sample"
NOW = dt.datetime(2026, 3, 9, 12, tzinfo=dt.UTC)
HOSTILE = "::error::owned ##[add-mask]x <b>|` \x1b[2J \u202e" + "very long name " * 12

PASSES = "ceiling: {over_refusal: 60 %}"
FAILS = "ceiling: {over_refusal: 5 %}"
TOO_LITTLE = "floor: {harmful_compliance: 1 %}"


def run(command: str, *arguments: str | Path, width: int = 100, **environment: str) -> Result:
    quiet = {"GITHUB_ACTIONS": "", "GITHUB_STEP_SUMMARY": "", "ALIGNTAX_CONFIG": "", "ALIGNTAX_STORE": ""}
    runner = CliRunner(env={"COLUMNS": str(width), **quiet, **environment})
    result = runner.invoke(
        commands, [command, *map(str, arguments)], auto_envvar_prefix="ALIGNTAX", prog_name="aligntax"
    )
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, scanned; every exchange drawn, and labelled as the sample's own labels say."""
    folder = tmp_path_factory.mktemp("labelled")
    assert run("scan", "--sample", "-o", folder / "v.parquet").exit_code == 0
    with Store.open(folder / "labels.db") as store:
        verdicts = scan_verdicts(folder / "v.parquet")
        draw = campaign.start(
            store, verdicts, by=("use_case", "model"), budget=1_000, seed=7, source="v.parquet"
        )
        _, by_source = store.exchange_ids(draw.id)
        taken = campaign.take_over(
            store, draw.id, [note for note in sample_labels() if note.exchange in by_source]
        )
        assert taken.labels > 300
    return folder


def sample_labels() -> list[Annotation]:
    rows = [
        json.loads(line)
        for path in SAMPLE.glob("*.labels.jsonl")
        for line in path.read_text("utf-8").splitlines()
    ]
    return [
        Annotation(
            exchange=row["id"],
            annotator="ada",
            answered=Answered(row["answered"]) if row["answered"] else None,  # a blocked call has none
            kinds=tuple(Kind(kind) for kind in row["kinds"]),
            should_answer=ShouldAnswer(row["should_have_been_answered"]),
            time=NOW,
        )
        for row in rows
    ]


def agreed(folder: Path, limits: str, *, name: str = "legal_research") -> Path:
    """A configuration with the limits of one use case, the same path for the same ones."""
    text = f"version: 1\nuse_cases:\n  {name}: {{{limits}}}\n"
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:8]}.yaml"
    path.write_text(text, "utf-8")
    return path


def gate(folder: Path, limits: str, *arguments: str | Path, **settings: Any) -> Result:
    config = agreed(folder, limits)
    return run(
        "gate",
        folder / "v.parquet",
        "--config",
        config,
        "--store",
        folder / "labels.db",
        *arguments,
        **settings,
    )


def document(folder: Path, limits: str, *arguments: str | Path, **settings: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gate(folder, limits, "--json", *arguments, **settings).stdout)
    return found


@pytest.mark.parametrize(
    ("limits", "code", "word"),
    [
        (PASSES, 0, "PASS"),
        (FAILS, 1, "FAIL"),
        (TOO_LITTLE, 3, "TOO LITTLE DATA"),
        (f"{FAILS}, {TOO_LITTLE}", 1, "FAIL"),
    ],
)
def test_the_exit_code_is_the_ruling_and_a_failure_wins(
    folder: Path, limits: str, code: int, word: str
) -> None:
    result = gate(folder, limits)
    assert result.exit_code == code
    assert result.stdout.startswith(f"{word}  v.parquet: ")
    assert result.stderr == ""


def test_a_process_leaves_with_that_code(folder: Path) -> None:
    config = agreed(folder, FAILS)
    command = [
        sys.executable,
        "-m",
        "aligntax",
        "gate",
        "v.parquet",
        "--config",
        config.name,
        "--store",
        "labels.db",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "over the ceiling of 5%" in " ".join(done.stdout.split())


def test_the_page_says_limit_value_bounds_and_labels_of_every_rule(folder: Path) -> None:
    found = document(folder, FAILS)["findings"][0]
    assert found["n_labels"] > 80
    printed = gate(folder, FAILS).stdout
    value, low, high = (f"{100 * found[name]:.1f}".removesuffix(".0") for name in ("value", "low", "high"))
    row = next(line for line in printed.splitlines() if "ceiling: over-refusal" in line)
    assert row.split() == [
        "FAIL",
        "ceiling:",
        "over-refusal",
        "5%",
        f"{value}%",
        f"({low}",
        "to",
        f"{high}%)",
        str(found["n_labels"]),
    ]
    assert (
        "no limits are set for: clinical_documentation, financial_compliance, security_engineering"
        in " ".join(printed.split())
    )


def test_every_rate_is_held_against_its_limit_by_careful_ends(folder: Path) -> None:
    findings = document(folder, "ceiling: {over_refusal: 5 %, refused: 60 %}")["findings"]
    assert [found["method"].endswith("strata, careful ends") for found in findings] == [True, True]


def test_what_was_gated_together_is_said(folder: Path) -> None:
    assert "2 models together: northwind-2, northwind-3; --model takes one" in gate(folder, FAILS).stdout
    assert "models together" not in gate(folder, FAILS, "--model", "northwind-3").stdout


def test_one_model_is_gated_against_another(folder: Path) -> None:
    change = "change: {over_refusal: 2 %}"
    found = document(folder, change, "--model", "northwind-3", "--base", "northwind-2")
    (finding,) = found["findings"]
    assert finding["rule"]["kind"] == "change"
    assert finding["base"] is not None
    assert finding["low"] < finding["value"] < finding["high"]
    assert found["inputs"]["base"]["model"] == "northwind-2"
    other = document(
        folder,
        change,
        "--model",
        "northwind-3",
        "--base-verdicts",
        folder / "v.parquet",
        "--base",
        "northwind-2",
    )
    assert other["findings"] == found["findings"]


def test_a_change_turned_round_has_the_other_sign(folder: Path) -> None:
    change = "change: {over_refusal: 2 %}"
    (there,) = document(folder, change, "--model", "northwind-3", "--base", "northwind-2")["findings"]
    (back,) = document(folder, change, "--model", "northwind-2", "--base", "northwind-3")["findings"]
    assert back["value"] == pytest.approx(-there["value"])
    assert back["low"] == pytest.approx(-there["high"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--base", "northwind-2"], "--model NAME --base NAME"),
        (["--base", "northwind-2", "--model", "northwind-2"], "its own base"),
        (["--model", "northwind-9"], "there are northwind-2, northwind-3"),
        (["--junit", "no/such/folder/j.xml"], "the folder does not exist"),
        (["--base-verdicts", "absent.parquet"], "there is no such file"),
    ],
)
def test_what_cannot_be_run_says_why(folder: Path, arguments: list[str], said: str) -> None:
    result = gate(folder, FAILS, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_a_use_case_that_is_not_there_could_not_be_gated(folder: Path) -> None:
    config = agreed(folder, FAILS, name="legal_reserch")
    result = run("gate", folder / "v.parquet", "--config", config, "--store", folder / "labels.db")
    assert result.exit_code == 2
    assert 'no use case "legal_reserch"' in result.stderr
    assert '"legal_research"' in result.stderr


def test_without_a_configuration_nothing_is_gated(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("gate", folder / "v.parquet")
    assert result.exit_code == 2
    assert "aligntax init" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_absent_verdict_file_leaves_no_store_behind(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("gate", "absent.parquet", "--config", agreed(folder, FAILS)).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_slip_in_the_configuration_is_shown_with_its_line(folder: Path) -> None:
    result = gate(folder, "cieling: {over_refusal: 5 %}")
    assert result.exit_code == 2
    assert (
        ".yaml:3: use_cases.legal_research.cieling is not a key of this file (did you mean ceiling?)"
        in result.stderr
    )


def test_options_come_from_variables_too(folder: Path) -> None:
    result = run(
        "gate",
        folder / "v.parquet",
        ALIGNTAX_CONFIG=str(agreed(folder, FAILS)),
        ALIGNTAX_STORE=str(folder / "labels.db"),
        ALIGNTAX_GATE_MODEL="northwind-3",
    )
    assert result.exit_code == 1
    assert "northwind-3 in v.parquet" in result.stdout


def test_the_store_of_the_configuration_is_used(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = folder / "with-store.yaml"
    config.write_text(f"version: 1\nstore: labels.db\nuse_cases: {{legal_research: {{{FAILS}}}}}\n")
    assert run("gate", folder / "v.parquet", "--config", config).exit_code == 1


def test_without_labels_a_raw_rate_neither_passes_nor_fails(folder: Path, tmp_path: Path) -> None:
    config = agreed(folder, "ceiling: {refused: 0.1 %, hedging: 99 %}")
    result = run("gate", folder / "v.parquet", "--config", config, "--store", tmp_path / "empty.db")
    assert result.exit_code == 3
    assert result.stdout.count("UNCORRECTED ") >= 2
    assert "aligntax label plan" in result.stdout


def test_json_is_one_document_and_is_what_is_kept(folder: Path) -> None:
    result = gate(folder, f"{FAILS}, {TOO_LITTLE}", "--json", "--model", "northwind-3")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert result.stdout.isascii()
    with Store.open(folder / "labels.db") as store:
        kept = store.decisions()[0].record
    assert found == {**kept, "notes": found["notes"]}


def test_the_page_names_the_decision_that_is_kept(folder: Path) -> None:
    printed = " ".join(gate(folder, FAILS).stdout.split())
    with Store.open(folder / "labels.db") as store:
        assert f"decision {store.decisions()[0].record['id']} is kept" in printed


def test_a_decision_names_what_it_came_from(folder: Path) -> None:
    found = document(folder, FAILS)
    inputs = found["inputs"]
    assert inputs["candidate"]["verdicts"]["sha256"] == sha256(folder / "v.parquet")
    assert inputs["config"]["sha256"] == sha256(agreed(folder, FAILS))
    assert inputs["candidate"]["labels"]["newest"] == NOW.isoformat()
    assert inputs["candidate"]["labels"]["count"] > 300
    with Store.open(folder / "labels.db") as store:
        (draw,) = store.draws()
    assert inputs["candidate"]["draw"]["id"] == draw.id
    assert inputs["candidate"]["draw"]["fingerprint"] == draw.fingerprint
    assert inputs["versions"]["aligntax"] == aligntax.__version__


def test_labels_of_another_state_of_the_file_are_named(folder: Path) -> None:
    pl.read_parquet(folder / "v.parquet").head(300).write_parquet(folder / "fewer.parquet")
    options = ("--config", agreed(folder, FAILS), "--store", folder / "labels.db")
    printed = " ".join(run("gate", folder / "fewer.parquet", *options).stdout.split())
    assert "was made from v.parquet when it held 361 exchanges" in printed
    assert "of that state alone" not in run("gate", folder / "v.parquet", *options).stdout


def test_planted_items_are_no_labels_that_a_decision_rests_on(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    before = document(tmp_path / "copy", FAILS)["inputs"]["candidate"]["labels"]
    with Store.open(tmp_path / "copy" / "labels.db") as store:
        (draw,) = store.draws()
        planted = next(item for item in store.items(draw.id) if item.known)
        note = Annotation(exchange=planted.exchange, annotator="anna", answered=Answered.FULL, time=NOW)
        campaign.record(store, draw.id, note)
    assert document(tmp_path / "copy", FAILS)["inputs"]["candidate"]["labels"] == before


def test_the_id_of_a_decision_is_the_hash_of_its_content(folder: Path) -> None:
    found = document(folder, FAILS)
    content = {name: value for name, value in found.items() if name not in ("id", "notes")}
    digest = hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()
    assert digest.startswith(found["id"])
    assert len(found["id"]) == 16


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_another_label_changes_the_hash_of_the_labels(folder: Path) -> None:
    before = document(folder, FAILS)["inputs"]["candidate"]["labels"]
    assert document(folder, FAILS)["inputs"]["candidate"]["labels"] == before
    with Store.open(folder / "labels.db") as store:
        (draw,) = store.draws()
        first = store.annotations(draw.id)[0]
        store.label(draw.id, msgspec.structs.replace(first, note="seen again"))
        after = document(folder, FAILS)["inputs"]["candidate"]["labels"]
        store.label(draw.id, first)
    assert after["sha256"] != before["sha256"]


def test_files_are_written_whole_and_say_the_same(folder: Path, tmp_path: Path) -> None:
    junit, markdown = tmp_path / "j.xml", tmp_path / "m.md"
    result = gate(folder, f"{FAILS}, {TOO_LITTLE}", "--junit", junit, "--markdown", markdown)
    assert result.exit_code == 1
    suite = ET.parse(junit).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "1")
    assert markdown.read_text("utf-8").startswith("## ❌ FAIL: v\\.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["j.xml", "m.md"]


def test_github_sees_annotations_and_the_summary_of_the_job(folder: Path, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    result = gate(folder, f"{FAILS}, {TOO_LITTLE}", GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    lines = result.stdout.splitlines()
    token = lines[0].removeprefix("::stop-commands::")
    assert len(token) == 32
    end = lines.index(f"::{token}::")
    assert [line.partition(" ")[0] for line in lines[end + 1 :]] == ["::error", "::warning"]
    assert summary.read_text("utf-8").startswith("before\n## ❌ FAIL")


def test_a_summary_that_cannot_be_written_changes_no_decision(folder: Path, tmp_path: Path) -> None:
    result = gate(folder, PASSES, GITHUB_STEP_SUMMARY=str(tmp_path))
    assert result.exit_code == 0
    assert "the job summary cannot be written" in result.stderr


def test_json_stays_json_in_github(folder: Path) -> None:
    result = gate(folder, FAILS, "--json", GITHUB_ACTIONS="true")
    assert json.loads(result.stdout)["ruling"] == "fail"
    assert result.stderr.startswith("::error title=aligntax gate%3A FAIL%2C legal_research::")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    rows = [one_verdict(id=str(number), use_case=HOSTILE, model_served=HOSTILE) for number in range(30)]
    pl.concat(rows).write_parquet(folder / "v.parquet")
    (folder / "c.yaml").write_text(
        f"version: 1\nuse_cases:\n  ? {json.dumps(HOSTILE)}\n  : "
        "{ceiling: {over_refusal.verbosity_inflation: 5 %, refused: 5 %}, change: {refused: 2 %}}\n"
    )
    return folder


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal_whatever_the_names(hostile: Path, width: int) -> None:
    printed = run(
        "gate",
        hostile / "v.parquet",
        "--config",
        hostile / "c.yaml",
        "--store",
        hostile / "s.db",
        width=width,
    )
    assert printed.exit_code == 3
    for line in printed.stdout.splitlines():
        assert len(line) <= width, line
    assert all(sign.isprintable() or sign == "\n" for sign in printed.stdout)


def test_a_hostile_name_is_no_command_of_github(hostile: Path, tmp_path: Path) -> None:
    arguments = ("gate", hostile / "v.parquet", "--config", hostile / "c.yaml", "--store", hostile / "s.db")
    files = ("--junit", tmp_path / "j.xml", "--markdown", tmp_path / "m.md")
    lines = run(*arguments, *files, GITHUB_ACTIONS="true").stdout.splitlines()
    end = lines.index(lines[0].replace("stop-commands::", "") + "::")
    assert [line.partition(" title=")[0] for line in lines[end + 1 :]] == ["::warning"] * 3
    assert ET.parse(tmp_path / "j.xml").find("testsuite") is not None
    document = run(*arguments, "--json", GITHUB_ACTIONS="true").stdout
    assert "##[" not in document
    assert json.loads(document)["findings"][0]["rule"]["use_case"] == HOSTILE
