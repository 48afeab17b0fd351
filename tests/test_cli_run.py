"""`aligntax run` on real files and a real server: what it prints, how it stops, how it goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aligntax.cli import commands
from aligntax.cli.run_progress import words
from aligntax.run import Progress
from aligntax.testing import FakeModel, FakeServer
from served import served

PROMPTS = 60


def run(*arguments: str | Path, **environment: str) -> Result:
    runner = CliRunner(env={"OPENAI_API_KEY": "", "OPENAI_BASE_URL": "", **environment})
    result = runner.invoke(
        commands, ["run", *map(str, arguments)], auto_envvar_prefix="ALIGNTAX", prog_name="aligntax"
    )
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def started(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "aligntax", "run", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TEST_API_KEY": "k"},
    )  # fmt: skip


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()]


def wait_for(out: Path, count: int) -> None:
    end = time.monotonic() + 20
    while not out.exists() or out.read_bytes().count(b"\n") < count:
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "cases.jsonl"
    rows = [
        {"id": f"p{n}", "text": f"What is recorded in case {n}?", "domain": "clinical"}
        for n in range(PROMPTS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_summary_says_what_is_in_the_file_and_what_comes_next(suite, tmp_path):
    out = tmp_path / "a.jsonl"
    result = run(suite, "--model", "fake/base", "-o", out, "--repeats", "2", "--price", "1,10")
    assert result.exit_code == 0, result.output
    assert (
        f"cases: {PROMPTS} prompts x 2 to fake/base (a simulation, which says nothing of any real model)"
        in result.output
    )
    assert "120 answered" in result.output
    assert f"${sum(line['cost_usd'] for line in lines(out)):.4f}" in result.output
    assert f"aligntax scan {out}" in result.output
    assert len(lines(out)) == 120


def test_the_scan_that_it_names_works(suite, tmp_path):
    out = tmp_path / "a.jsonl"
    run(suite, "--model", "fake:aligned", "-o", out)
    result = CliRunner().invoke(commands, ["scan", str(out), "--json"])
    found = json.loads(result.stdout)
    assert (found["total"]["exchanges"], found["data"]["problems"]) == (PROMPTS, [])
    assert {piece["use_case"] for piece in found["slices"]} == {"clinical"}


def test_without_o_the_file_is_named_for_suite_and_model(suite, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("cases.jsonl", "--model", "fake/base").exit_code == 0
    assert len(lines(tmp_path / "cases.fake-base.jsonl")) == PROMPTS


def test_a_dry_run_prints_calls_tokens_and_cost_and_touches_nothing(suite, tmp_path):
    out, before = tmp_path / "a.jsonl", sorted(tmp_path.iterdir())
    options = (
        suite,
        "--model",
        "openai/some-model",
        "-o",
        out,
        "--repeats",
        "2",
        "--max-tokens",
        "100",
        "--dry-run",
    )
    result = run(*options, "--price", "1,10")
    assert result.exit_code == 0, result.output
    assert "calls     120" in result.output
    assert "at most 12,000 out" in result.output
    assert "at most $0.12" in result.output
    assert sorted(tmp_path.iterdir()) == before
    assert "unknown without --price" in run(*options).output


def test_a_dry_run_counts_what_is_missing_alone(suite, tmp_path):
    out = tmp_path / "a.jsonl"
    run(suite, "--model", "fake/base", "-o", out)
    found = json.loads(
        run(suite, "--model", "fake/base", "-o", out, "--repeats", "3", "--dry-run", "--json").stdout
    )
    assert (found["calls"], found["former"], found["simulated"], found["usd"]) == (120, 60, True, None)


def test_json_says_it_all(suite, tmp_path):
    found = json.loads(run(suite, "--model", "fake/base", "-o", tmp_path / "a.jsonl", "--json").stdout)
    assert (found["format"], found["calls"], found["new"], found["failed"]) == (1, PROMPTS, PROMPTS, 0)
    assert found["outcomes"] == {"answered": PROMPTS}
    assert found["file"] == str(tmp_path / "a.jsonl")


def test_a_system_prompt_comes_from_a_file(suite, tmp_path):
    (tmp_path / "system.txt").write_text("You assist clinicians.\n")
    run(suite, "--model", "fake/base", "-o", tmp_path / "a.jsonl", "--system", tmp_path / "system.txt")
    assert {line["system"] for line in lines(tmp_path / "a.jsonl")} == {"You assist clinicians."}


def test_facts_of_the_suite_reach_the_simulated_model(tmp_path):
    row = {
        "id": "p",
        "text": "What is the maximum dose?",
        "facts": [{"name": "maximum dose", "value": 4, "unit": "g"}],
    }
    (tmp_path / "s.jsonl").write_text(json.dumps(row) + "\n")
    run(tmp_path / "s.jsonl", "--model", "fake/compliant", "-o", tmp_path / "a.jsonl")
    assert "4 g" in lines(tmp_path / "a.jsonl")[0]["response"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "fake/nobody"], "there is no simulated model fake/nobody"),
        (["--model", "nobody/m"], "no provider is called 'nobody'"),
        (["--model", "openai/m"], "there is no API key"),
        (["--model", "openai-api/mine/m"], "set MINE_BASE_URL"),
        (
            ["--model", "fake/base", "--budget-usd", "1"],
            "a budget in money needs to know what the model costs",
        ),
        (
            ["--model", "openai/m", "--budget-usd", "1"],
            "a budget in money needs to know what the model costs",
        ),
        (["--model", "fake/base", "--price", "cheap"], "is no price"),
        (["--model", "fake/base", "--system", "no-such-file"], "no-such-file: No such file"),
        (["--model", "fake/base", "-o", "no/such/folder/a.jsonl"], "the folder does not exist"),
    ],
)
def test_what_is_wrong_is_one_clear_line(suite, arguments, said):
    result = run(suite, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_a_suite_that_is_not_there_is_one_clear_line(tmp_path):
    result = run(tmp_path / "none.jsonl", "--model", "fake/base")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


def test_an_exhausted_budget_says_what_is_stored_and_how_to_go_on(suite, tmp_path):
    out = tmp_path / "a.jsonl"
    options = (suite, "--model", "fake/base", "-o", out, "--max-tokens", "300", "--price", "1,10")
    stopped = run(*options, "--budget-usd", "0.02")
    stored = len(lines(out))
    assert stopped.exit_code == 2
    assert 0 < stored < PROMPTS
    assert sum(line["cost_usd"] for line in lines(out)) <= 0.02
    assert "the budget is exhausted" in stopped.stderr
    assert (
        f"{stored} of {PROMPTS} calls are stored in {out}; run the same command again to go on"
        in stopped.stderr
    )
    assert run(*options).exit_code == 0
    assert len(lines(out)) == PROMPTS


def test_calls_that_fail_are_counted_and_asked_again_on_request(suite, tmp_path):
    out = tmp_path / "a.jsonl"
    with served(lambda: FakeServer(FakeModel("fake/base"), script=["400"] * 3)) as server:
        options = (suite, "--model", "openai/m", "--base-url", server.base_url, "-o", out)
        first = run(*options)
        assert first.exit_code == 0, first.output
        assert "3: the same command with --retry-errors asks them again" in first.output
        again = run(*options, "--retry-errors", "--json")
    assert json.loads(again.stdout)["new"] == 3
    assert {line["outcome"] for line in lines(out)} == {"answered"}
    assert server.calls == PROMPTS + 3


def test_a_run_whose_every_call_failed_is_no_success(suite, tmp_path):
    with served(lambda: FakeServer(faults={"400": 1.0})) as server:
        result = run(suite, "--model", "openai/m", "--base-url", server.base_url, "-o", tmp_path / "a.jsonl")
    assert result.exit_code == 2


def test_a_wrong_key_is_one_clear_line(suite, tmp_path):
    with served(lambda: FakeServer(key="right")) as server:
        result = run(
            suite,
            "--model",
            "openai/m",
            "--base-url",
            server.base_url,
            "-o",
            tmp_path / "a.jsonl",
            OPENAI_API_KEY="wrong-key",
        )
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "wrong-key" not in result.stderr


def test_after_kill_9_nothing_is_lost_and_nothing_repeated(suite, tmp_path):
    out, concurrency = tmp_path / "a.jsonl", 4
    model = FakeModel("fake/base", delay_s=0.02)
    with served(lambda: FakeServer(model)) as server:
        options = (
            suite,
            "--model",
            "openai-api/test/m",
            "--base-url",
            server.base_url,
            "-o",
            out,
            "--concurrency",
            concurrency,
        )
        for _ in range(2):
            before = len(lines(out)) if out.exists() else 0
            process = started(*options)
            wait_for(out, before + 10)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        stored = {line["id"]: line for line in lines(out)}
        assert 20 <= len(stored) < PROMPTS
        finished = started(*options)
        stdout, stderr = finished.communicate()
    assert finished.returncode == 0, stderr
    assert f"{len(stored)} of them from an earlier start" in stdout
    found = {line["id"]: line for line in lines(out)}
    assert len(lines(out)) == len(found) == PROMPTS
    assert {key: found[key] for key in stored} == stored
    # Only what was in flight at a kill was asked twice.
    assert server.calls <= PROMPTS + 2 * concurrency
    assert max(server.answered.values()) <= 3


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_says_how_to_go_on(suite, tmp_path, sent, code):
    out = tmp_path / "a.jsonl"
    with served(lambda: FakeServer(FakeModel("fake/base", delay_s=0.05))) as server:
        options = (
            suite,
            "--model",
            "openai-api/test/m",
            "--base-url",
            server.base_url,
            "-o",
            out,
            "--concurrency",
            "2",
        )
        process = started(*options)
        wait_for(out, 4)
        process.send_signal(sent)
        _, stderr = process.communicate()
        assert process.returncode == code, stderr
        stored = len(lines(out))
        assert (
            stderr
            == f"stopped: {stored} of {PROMPTS} calls are stored in {out}; run the same command again to go on\n"
        )
    assert (tmp_path / ".a.jsonl.run" / "lock").exists()
    assert 4 <= stored < PROMPTS


def test_a_second_run_into_the_same_file_is_turned_away(suite, tmp_path):
    out = tmp_path / "a.jsonl"
    with served(lambda: FakeServer(FakeModel("fake/base", delay_s=0.05))) as server:
        options = (
            suite,
            "--model",
            "openai-api/test/m",
            "--base-url",
            server.base_url,
            "-o",
            out,
            "--concurrency",
            "2",
        )
        process = started(*options)
        wait_for(out, 2)
        result = run(*options, TEST_API_KEY="k")
        process.kill()
        process.communicate()
    assert result.exit_code == 2
    assert f"is being written by process {process.pid}" in result.stderr


def test_progress_shows_rate_cost_failures_and_time_left():
    progress = Progress(calls=2400, former=100, new=1100, failed=2, cost_usd=0.0213, elapsed_s=100.0)
    assert words(progress) == "1,200/2,400 · 11.0/s · $0.0213 · 2 failed · 1:49 left"


def test_a_pipe_sees_no_progress(suite, tmp_path):
    result = run(suite, "--model", "fake/base", "-o", tmp_path / "a.jsonl")
    assert result.stderr == ""
