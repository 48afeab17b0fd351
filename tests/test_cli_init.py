"""`aligntax init`: a configuration to start from, for the use cases of a log."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aligntax.cli.init import starting_config
from aligntax.config import CONFIG_NAME, Config, find_config, parse_config, schema_text
from aligntax.floor import rules_of
from test_cli_gate import run
from verdicts import one_verdict


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ALIGNTAX_CONFIG", raising=False)


def verdicts(*use_cases: str | None) -> Path:
    rows = [one_verdict(id=str(number), use_case=name) for number, name in enumerate(use_cases)]
    path = Path("v.parquet")
    pl.concat(rows).write_parquet(path)
    return path


def written() -> Config:
    found = find_config()
    assert found is not None
    return found


def test_the_use_cases_of_the_log_are_in_it_the_largest_first() -> None:
    result = run("init", verdicts("law", "ward", "ward", None))
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{CONFIG_NAME}: 3 use cases, ")
    assert list(written().use_cases) == ["ward", "(none)", "law"]


def test_every_use_case_has_a_ceiling_from_the_start() -> None:
    run("init", verdicts("law", "ward"))
    assert [(rule.use_case, rule.target, rule.limit) for rule in rules_of(written())] == [
        ("law", "over_refusal", 0.05),
        ("ward", "over_refusal", 0.05),
    ]


def test_what_is_commented_out_is_right_too() -> None:
    run("init", verdicts("law"))
    lines = Path(CONFIG_NAME).read_text().splitlines()
    settings = (
        "floor:",
        "  harmful_compliance:",
        "change:",
        "  over_refusal:",
        "refused:",
        "over_refusal.hedging:",
        "store:",
    )
    opened = [
        line.replace("# ", "", 1) if line.lstrip().removeprefix("# ").startswith(settings) else line
        for line in lines
    ]
    found = parse_config("\n".join(opened).encode())
    assert found.defaults.floor is not None
    assert found.defaults.change == {"over_refusal": 0.02}
    assert found.defaults.ceiling == {"over_refusal": 0.05, "refused": 0.03, "over_refusal.hedging": 0.05}
    assert found.store


def test_without_verdicts_it_is_a_form_to_fill_in() -> None:
    result = run("init")
    assert result.exit_code == 0
    assert "no use case yet" in result.stdout
    assert written().use_cases == {}


def test_what_is_there_is_not_replaced_unless_asked() -> None:
    Path(CONFIG_NAME).write_text("version: 1\n")
    result = run("init")
    assert result.exit_code == 2
    assert "--force" in result.stderr
    assert Path(CONFIG_NAME).read_text() == "version: 1\n"
    assert run("init", "--force").exit_code == 0
    assert Path(CONFIG_NAME).read_text() != "version: 1\n"


def test_editors_find_the_schema_beside_it_and_git_does_not() -> None:
    run("init")
    first = Path(CONFIG_NAME).read_text().splitlines()[0]
    schema = Path(first.removeprefix("# yaml-language-server: $schema="))
    assert schema.read_text() == schema_text()
    assert (schema.parent / ".gitignore").read_text() == "*\n"


def test_a_file_that_is_no_verdict_file_leaves_nothing_behind(tmp_path: Path) -> None:
    assert run("init", "absent.parquet").exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_many_use_cases_are_cut_to_the_largest() -> None:
    result = run("init", verdicts(*(f"case {number}" for number in range(60)), "case 7"))
    assert "10 more are not in it" in result.stdout
    assert len(written().use_cases) == 50
    assert next(iter(written().use_cases)) == "case 7"


def test_its_file_can_be_gated_at_once() -> None:
    run("init", verdicts("law", "ward"))
    assert run("gate", "v.parquet").exit_code == 3


@given(st.lists(st.text(min_size=1, max_size=80), unique=True, max_size=5))
def test_any_name_comes_back_as_it_was(names: list[str]) -> None:
    text, left_out = starting_config(names)
    assert left_out == 0
    assert list(parse_config(text.encode()).use_cases) == names


@pytest.mark.parametrize(
    "name",
    [
        "yes",
        "~",
        "<<",
        "? x",
        "a: b",
        "# c",
        "- d",
        "1.5",
        "'",
        '"',
        "\x1b[2J",
        "é😀",
        "a" * 400,
        " ",
        "&a",
        "*a",
        "!x",
    ],
)
def test_names_that_yaml_reads_otherwise_are_quoted(name: str) -> None:
    text, _ = starting_config([name])
    assert list(parse_config(text.encode()).use_cases) == [name]


def test_a_name_too_long_for_a_key_is_left_out_and_counted() -> None:
    text, left_out = starting_config(["x" * 5_000, "law"])
    assert left_out == 1
    assert list(parse_config(text.encode()).use_cases) == ["law"]
