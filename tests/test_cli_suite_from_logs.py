"""`aligntax suite from-logs` on the sample log: what it picks, prints, keeps from others' eyes, and refuses."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from aligntax.cli import commands
from aligntax.suites import load
from aligntax.types import Intent

SECRET = "Zaphod"


def run(*arguments: str | Path) -> Result:
    result = CliRunner(env={"ALIGNTAX_STORE": "", "ALIGNTAX_CONFIG": ""}).invoke(
        commands, [*map(str, arguments)]
    )
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def pick(*arguments: str | Path) -> Result:
    return run("suite", "from-logs", *arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, scanned, with its author's labels in a store."""
    folder = tmp_path_factory.mktemp("picked")
    store = ("--store", folder / "labels.db")
    assert run("scan", "--sample", "-o", folder / "v.parquet").exit_code == 0
    assert run("label", "plan", folder / "v.parquet", "--budget", "200", "--seed", "7", *store).exit_code == 0
    assert run("label", "import", "--sample", *store).exit_code == 0
    return folder


@pytest.fixture
def verdicts(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return folder / "v.parquet"


def counted(*arguments: str | Path) -> dict[str, Any]:
    ran = pick(*arguments, "--json")
    assert ran.exit_code == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_the_sample_gives_a_suite_that_reads_and_checks(verdicts: Path) -> None:
    ran = pick(verdicts, "-o", "s.jsonl")
    assert ran.exit_code == 0, ran.stderr
    prompts = load("s.jsonl")
    assert len(prompts) == 200
    log = pl.read_parquet(verdicts)
    assert {prompt.id for prompt in prompts} <= {*log["id"]}
    assert {prompt.system for prompt in prompts} == {*log["system"]}
    assert {prompt.domain for prompt in prompts} == {*log["use_case"]}
    neighbours = [prompt for prompt in prompts if (prompt.tags or {})["why"] == "neighbour"]
    assert 50 <= len(neighbours) <= 100
    assert all(prompt.terms for prompt in neighbours)
    complete = log.filter(pl.col("label") == "complete")["id"]
    assert {prompt.id for prompt in neighbours} <= {*complete}
    assert "s.jsonl: 200 prompts" in ran.stdout
    assert "200 borderline" in ran.stdout
    assert "Rules miss names" in ran.stdout
    assert run("suite", "check", "s.jsonl").exit_code == 0


def test_names_of_the_sample_do_not_get_into_the_suite(verdicts: Path) -> None:
    assert pick(verdicts, "-o", "plain.jsonl", "--no-mask").stdout.count("Nothing was masked") == 1
    ran = pick(verdicts, "-o", "s.jsonl")
    assert "Farid Al-Hamzi" in Path("plain.jsonl").read_text("utf-8")
    assert "Al-Hamzi" not in Path("s.jsonl").read_text("utf-8")
    assert "Al-Hamzi" not in ran.stdout
    assert " NAME" in ran.stdout


def test_labels_of_the_store_make_requests_benign_or_leave_them_out(verdicts: Path, folder: Path) -> None:
    found = counted(verdicts, "-o", "s.jsonl", "--store", folder / "labels.db")
    assert found["intents"]["benign"] > 50
    assert found["picked"]["left_out"]["should not be answered, as labels say"] > 2
    assert found["picked"]["labelled"] >= found["intents"]["benign"]
    benign = [prompt for prompt in load("s.jsonl") if prompt.intent is Intent.BENIGN]
    assert {(prompt.tags or {})["label"] for prompt in benign} == {"expert"}


def test_what_is_written_is_for_its_owner_alone_and_whole(verdicts: Path) -> None:
    former = os.umask(0o022)
    try:
        assert pick(verdicts, "-o", "s.jsonl", "--review", "r.csv").exit_code == 0
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(former)
    assert [stat.S_IMODE(Path(name).stat().st_mode) for name in ("s.jsonl", "r.csv")] == [0o600, 0o600]
    assert sorted(path.name for path in Path().iterdir()) == ["r.csv", "s.jsonl"]


def test_files_are_only_replaced_with_force(verdicts: Path) -> None:
    Path("s.jsonl").write_text("mine", "utf-8")
    ran = pick(verdicts, "-o", "s.jsonl")
    assert (ran.exit_code, Path("s.jsonl").read_text("utf-8")) == (2, "mine")
    assert "--force" in ran.stderr
    assert pick(verdicts, "-o", "other.jsonl", "--review", "s.jsonl").exit_code == 2
    assert not Path("other.jsonl").exists()
    assert pick(verdicts, "-o", "s.jsonl", "--force").exit_code == 0
    assert pick(verdicts, "-o", verdicts, "--force").exit_code == 2
    assert pick(verdicts, "-o", "s.jsonl", "--review", "./s.jsonl", "--force").exit_code == 2
    assert pl.read_parquet(verdicts).height == 371


def test_the_same_seed_gives_the_same_file(verdicts: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert pick(verdicts, "-o", name, "--limit", "40", "--seed", seed).exit_code == 0
    assert Path("a").read_bytes() == Path("b").read_bytes() != Path("c").read_bytes()


def test_words_of_triggers_choose_the_neighbours(verdicts: Path) -> None:
    document = {
        "format": 1,
        "triggers": [{"words": ["overdose", "paracetamol overdose"]}, {"words": ["fraud"]}],
    }
    Path("t.json").write_text(json.dumps(document), "utf-8")
    found = counted(verdicts, "-o", "s.jsonl", "--triggers", "t.json")
    assert found["picked"]["terms"] == ["overdose", "paracetamol overdose", "fraud"]
    assert found["picked"]["terms_given"]
    neighbours = [prompt for prompt in load("s.jsonl") if (prompt.tags or {})["why"] == "neighbour"]
    assert neighbours
    assert all({*prompt.terms} & {"overdose", "fraud"} for prompt in neighbours)


def test_a_use_case_and_a_limit_narrow_the_choice(verdicts: Path) -> None:
    found = counted(verdicts, "-o", "s.jsonl", "--use-case", "legal_research", "--limit", "10")
    assert found["use_cases"] == {"legal_research": 10}


def test_a_review_goes_out_and_comes_back_by_the_suite_or_by_the_verdicts(verdicts: Path) -> None:
    assert pick(verdicts, "-o", "s.jsonl", "--limit", "20", "--review", "r.csv").exit_code == 0
    picked = load("s.jsonl")
    table = Path("r.csv").read_text("utf-8-sig").splitlines(keepends=True)
    for number, line in enumerate(table):
        if line.startswith(picked[0].id):
            parts = line.split(",", 6)
            table[number] = ",".join([*parts[:4], "benign", "yes", parts[6]])
        if line.startswith(picked[1].id):
            parts = line.split(",", 6)
            table[number] = ",".join([*parts[:5], "no", parts[6]])
    Path("r.csv").write_text("".join(table), "utf-8")
    by_suite = pick("s.jsonl", "-o", "one.jsonl", "--reviewed", "r.csv")
    by_verdicts = pick(verdicts, "-o", "two.jsonl", "--limit", "20", "--reviewed", "r.csv")
    assert (by_suite.exit_code, by_verdicts.exit_code) == (0, 0), by_suite.stderr + by_verdicts.stderr
    assert Path("one.jsonl").read_bytes() == Path("two.jsonl").read_bytes()
    found = load("one.jsonl")
    assert len(found) == 19
    assert found[0].intent is Intent.BENIGN
    assert "1 with an intent, 18 not decided, 1 dropped" in " ".join(by_suite.stdout.split())


def changed(verdicts: Path, name: str, **columns: pl.Expr) -> Path:
    pl.read_parquet(verdicts).with_columns(**columns).write_parquet(name)
    return Path(name)


def test_a_log_where_everything_was_answered_is_too_little(verdicts: Path) -> None:
    kinds = ("hard_refusal", "soft_refusal", "hedging", "topic_avoidance", "verbosity_inflation")
    zero = {name: pl.lit(0.0, pl.Float32) for name in kinds}
    whole = changed(verdicts, "w.parquet", outcome=pl.lit("answered"), label=pl.lit("complete"), **zero)
    ran = pick(whole, "-o", "s.jsonl")
    assert ran.exit_code == 3
    assert "nothing to pick" in ran.stderr
    assert not Path("s.jsonl").exists()


def test_no_error_holds_text_of_the_log(verdicts: Path) -> None:
    path = changed(verdicts, "z.parquet", prompt=pl.lit(SECRET), use_case=pl.lit(SECRET))
    Path("s.jsonl").write_text(json.dumps({"id": "a", "text": SECRET, "intent": SECRET}), "utf-8")
    Path("t.json").write_text(f'{{"{SECRET}": ', "utf-8")
    Path("list.json").write_text(f'["{SECRET}"]', "utf-8")
    Path("r.csv").write_text(f"id,intent,keep\n{SECRET},,\n", "utf-8")
    pl.read_parquet(path).drop("prompt", "response", "system", "history", "tags").write_parquet("no.parquet")
    for arguments in (
        (path, "-o", "o", "--use-case", "x"),
        (path, "-o", "o", "--reviewed", "r.csv"),
        (path, "-o", "o", "--reviewed", "none.csv"),
        (path, "-o", "o", "--triggers", "t.json"),
        (path, "-o", "o", "--triggers", "list.json"),
        (path, "-o", "o", "--triggers", "none.json"),
        (path, "-o", "none/o"),
        ("no.parquet", "-o", "o"),
        ("s.jsonl", "-o", "o"),
        ("s.jsonl", "-o", "o", "--reviewed", "r.csv"),
        ("none.parquet", "-o", "o"),
        (path, "-o", "o", "--store", "none.db"),
        (path, "-o", "o", "--masker", "presidio", "--no-mask"),
    ):
        ran = pick(*arguments)
        assert ran.exit_code == 2, arguments
        assert SECRET not in ran.output, arguments
        assert not Path("o").exists(), arguments
