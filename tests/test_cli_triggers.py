"""`aligntax triggers` on real files: what it prints, what it refuses, and what a hostile log cannot do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

from aligntax.cli import commands
from aligntax.types import exchange_schema, verdict_schema

SCHEMA = {**exchange_schema(), **verdict_schema()}
FRAMES = (
    "How do I {} the {} {} in the {} before the nightly {} starts",
    "Write a short note that says why we {} the {} {} of the {} after every {}",
    "Which steps are needed to {} a {} {} for the {} during the {}",
    "Explain to a new colleague how to {} one {} {} when the {} reports the {}",
)
FILL = [
    f"{first}{second}"
    for first in ("tan", "bel", "cor", "dim", "fen", "gal")
    for second in ("or", "us", "ix", "ea", "um")
]


def run(*arguments: str | Path, width: int = 110) -> Result:
    runner = CliRunner(env={"COLUMNS": str(width)})
    result = runner.invoke(
        commands, [*map(str, arguments)], auto_envvar_prefix="ALIGNTAX", prog_name="aligntax"
    )
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def write(path: Path, prompts: list[str], refused: list[bool], use_case: list[str] | None = None) -> Path:
    rows = pl.DataFrame(
        {
            "id": [f"x{at}" for at in range(len(prompts))],
            "prompt": prompts,
            "outcome": ["answered"] * len(prompts),
            "detector": ["made up"] * len(prompts),
            "p_full": [0.03 if one else 0.97 for one in refused],
            "use_case": use_case or ["work"] * len(prompts),
        }
    )
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in SCHEMA.items() if name not in rows.columns]
    frame = rows.with_columns(missing).select([pl.col(name).cast(dtype) for name, dtype in SCHEMA.items()])
    frame.write_parquet(path)
    return path


def prompts(words: tuple[str, ...], count: int, seed: int) -> list[str]:
    random = np.random.default_rng(seed)
    return [
        FRAMES[at % 4].format(
            words[at % len(words)], *(FILL[int(one)] for one in random.integers(0, len(FILL), 4))
        )
        for at in range(count)
    ]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def verdicts(here) -> Path:
    random = np.random.default_rng(1)
    asked = prompts(("kill", "start", "file", "read", "copy", "move", "open", "close"), 1200, 2)
    refused = [bool(random.random() < (0.5 if "kill" in one else 0.03)) for one in asked]
    return write(here / "v.parquet", asked, refused)


def test_the_table_says_what_goes_with_refusals_and_that_it_proves_nothing(verdicts: Path) -> None:
    result = run("triggers", verdicts, "--by", "use_case")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert "kill: associated only" in result.stdout
    assert "such as: …" in result.stdout or "such as: How do I kill" in result.stdout
    assert "UNCORRECTED" in result.stdout
    assert "--confirm" in result.stdout
    assert max(map(len, result.stdout.splitlines()[3:6])) <= 110


def test_json_has_numbers_and_ids_and_no_prompt(verdicts: Path) -> None:
    result = run("triggers", verdicts, "--json")
    document = json.loads(result.stdout)
    (found,) = document["triggers"]
    assert found["words"][0] == "kill"
    assert found["odds_ratio"]["low"] > 5
    assert found["status"] == "associated only"
    assert found["examples"][0].startswith("x")
    assert len(found["sensitivity"]) == 2
    assert "nightly" not in json.dumps(document["triggers"][0]["examples"])
    assert document["given_topics"] is False


def test_a_simulated_model_confirms_what_it_refuses(verdicts: Path) -> None:
    Path("words.yaml").write_text("kill: stop\n")
    result = run(
        "triggers",
        verdicts,
        "--by",
        "use_case",
        "--confirm",
        "--model",
        "fake/strict",
        "--vocabulary",
        "words.yaml",
        "--repeats",
        "3",
    )
    assert result.exit_code == 0, result.output
    assert "kill: causes refusals: +" in result.stdout
    assert re.search(r"“kill” against “stop” in \d\d prompts", result.stdout)
    assert "SIMULATION: fake/strict is a set of rules, not a model." in result.stdout
    other = run(
        "triggers",
        verdicts,
        "--confirm",
        "--model",
        "fake/strict",
        "--vocabulary",
        "words.yaml",
        "--json",
        "--prompts",
        "10",
    )
    swap = json.loads(other.stdout)["triggers"][0]["swap"]
    assert swap["prompts"] == 10
    assert swap["calls"] == 60


def test_a_word_without_a_substitute_stays_associated(verdicts: Path) -> None:
    Path("words.yaml").write_text("poison: dose\n")
    result = run("triggers", verdicts, "--confirm", "--model", "fake/strict", "--vocabulary", "words.yaml")
    assert "associated only (no substitute in the vocabulary)" in result.stdout


def test_one_prompt_is_cut_down_to_what_is_refused(verdicts: Path) -> None:
    frame = pl.read_parquet(verdicts)
    risky = "How would I kidnap, molest and bomb the old test server with a reverse shell"
    frame = frame.with_columns(prompt=pl.when(pl.col("id") == "x0").then(pl.lit(risky)).otherwise("prompt"))
    frame.write_parquet(verdicts)
    result = run("triggers", verdicts, "--minimise", "x0", "--model", "fake/strict", "--repeats", "3")
    assert result.exit_code == 0, result.output
    assert "Without “" in result.stdout or "answered as it is" in result.stdout
    as_json = run("triggers", verdicts, "--minimise", "x0", "--model", "fake/strict", "--json")
    assert json.loads(as_json.stdout)["span"]["calls"] >= 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--confirm",), "no model is named"),
        (("--minimise", "x0"), "no model is named"),
        (("--confirm", "--model", "fake/aligned"), "nothing says which word is neutral"),
        (("--vocabulary", "w.yaml"), "swaps need to be asked for"),
        (
            ("--confirm", "--model", "fake/aligned", "--vocabulary", "absent.yaml"),
            "vocabulary cannot be read",
        ),
        (("--minimise", "nobody", "--model", "fake/aligned"), "no exchange has this id"),
        (("--by", "nope"), "cannot slice by 'nope'"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_the_remedy(
    verdicts: Path, arguments: tuple[str, ...], says: str
) -> None:
    result = run("triggers", verdicts, *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert says in result.stderr


def test_an_unknown_model_and_verdicts_without_text_are_one_line(verdicts: Path) -> None:
    Path("words.yaml").write_text("kill: stop\n")
    result = run("triggers", verdicts, "--confirm", "--model", "nobody/none", "--vocabulary", "words.yaml")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    pl.read_parquet(verdicts).drop("prompt", "response", "system", "history", "tags").write_parquet(verdicts)
    result = run("triggers", verdicts)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "--no-text" in result.stderr


def test_nothing_found_is_one_clear_line_with_what_would_be_needed(here: Path) -> None:
    path = write(here / "v.parquet", prompts(("start", "read"), 200, 3), [at % 25 == 0 for at in range(200)])
    result = run("triggers", path)
    assert result.exit_code == 0
    (line,) = [one for one in result.stdout.splitlines() if one.startswith("No trigger words found")]
    assert "distinct prompts" in line
    few = write(here / "few.parquet", ["a b", "c d"], [True, False])
    assert "no word stands in enough prompts" in run("triggers", few).stdout


def test_a_log_cannot_steer_the_terminal(here: Path) -> None:
    asked = [
        f"\x1b[2J\x1b]0;owned\x07{one} \u202etxt.exe"
        for one in prompts(("kill", "start", "read", "copy", "open"), 600, 4)
    ]
    path = write(here / "v.parquet", asked, ["kill" in one for one in asked], ["\x1b[31mward"] * 600)
    result = run("triggers", path, "--by", "use_case")
    assert "\x1b" not in result.stdout
    assert "\x07" not in result.stdout
    assert "\u202e" not in result.stdout
    assert "kill" in result.stdout


def test_a_narrow_terminal_and_one_topic_are_enough(verdicts: Path) -> None:
    result = run("triggers", verdicts, "--topics", "1", width=60)
    assert result.exit_code == 0
    assert "kill" in result.stdout
