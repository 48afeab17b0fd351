"""`aligntax report` beside a store: it finds the labels of these verdicts, two models, and the gate's last word."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from aligntax import campaign
from aligntax.cli import commands
from aligntax.store import Store
from aligntax.verdict_file import scan_verdicts
from pages import Element, parse
from surveys import says
from verdicts import verdict_frame

LIMITS = "version: 1\nuse_cases:\n  legal research: {ceiling: {over_refusal: 5 %}}\n"
NEW = {"corrected", "comparison", "gate", "labels", "detector"}


def run(*arguments: str | Path) -> Result:
    runner = CliRunner(env={"ALIGNTAX_STORE": "", "ALIGNTAX_CONFIG": "", "GITHUB_ACTIONS": ""})
    result = runner.invoke(
        commands, [*map(str, arguments)], auto_envvar_prefix="ALIGNTAX", prog_name="aligntax"
    )
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def report(verdicts: Path, *arguments: str | Path) -> Element:
    out = verdicts.with_suffix(".html")
    result = run("report", verdicts, "-o", out, *arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}: open it in a browser\n"
    return parse(out.read_text("utf-8"))


def sections(page: Element) -> set[str]:
    return {section.attributes["aria-labelledby"] for section in page.all("section")}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with verdicts of two models, their labels in a store, and limits."""
    folder = tmp_path_factory.mktemp("labelled")
    frame = verdict_frame(300, seed=6).with_columns(
        pl.col("model_served").replace({"writer-2024-11": "writer-b", "writer-2025-04": "writer-a"})
    )
    frame.write_parquet(folder / "v.parquet")
    with Store.open(folder / "labels.db") as store:
        draw = campaign.start(store, scan_verdicts(folder / "v.parquet"), by=("model",), budget=60, seed=1)
        notes = [says(row) for row in frame.select("id", "label").iter_rows(named=True)]
        campaign.take_over(store, draw.id, notes)
    (folder / "limits.yaml").write_text(LIMITS)
    return folder


@pytest.fixture
def folder(labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it for one test, which runs in it."""
    monkeypatch.chdir(shutil.copytree(labelled, tmp_path / "work"))
    return Path.cwd()


def gate(folder: Path, name: str = "v.parquet") -> None:
    result = run("gate", folder / name, "--config", "limits.yaml", "--store", "labels.db")
    assert result.exit_code in (0, 1, 3), result.output


def test_one_page_has_corrected_rates_the_comparison_and_the_decision(folder):
    gate(folder)
    page = report(folder / "v.parquet", "--store", "labels.db")
    assert sections(page) >= NEW
    assert "of the requests that should have been answered" in page.one("h1").words
    assert page.section("gate").one("h2").words.startswith("Gate ")
    assert "Labels have changed" not in page.section("gate").words


def test_the_model_that_answered_first_is_the_base(folder):
    page = report(folder / "v.parquet", "--store", "labels.db")
    assert page.by_id("comparison").words == "Comparison: writer-b and writer-a"


def test_sides_may_be_chosen_and_slices_that_tell_them_apart_are_left_out(folder):
    sides = ("--base", "use_case=legal research", "--aligned", "use_case=security engineering")
    page = report(folder / "v.parquet", "--store", "labels.db", *sides)
    assert page.by_id("comparison").words == "Comparison: legal research and security engineering"
    names = {text.words for text in page.section("comparison").all("text", class_="row-name")}
    assert names == {"All exchanges", "writer-a", "writer-b"}


def test_one_side_alone_is_refused(folder):
    result = run("report", "v.parquet", "-o", "r.html", "--base", "model=writer-2024-11")
    assert result.exit_code == 2
    assert "--base NAME=VALUE --aligned NAME=VALUE" in result.stderr
    assert not Path("r.html").exists()


def test_without_two_models_to_tell_apart_nothing_is_compared_unasked(folder):
    page = report(folder / "v.parquet", "--store", "labels.db", "--by", "use_case")
    assert sections(page) & NEW == {"corrected", "labels", "detector"}


def test_a_decision_about_another_file_is_not_shown(folder):
    other = pl.read_parquet("v.parquet").head(250)
    other.write_parquet("other.parquet")
    gate(folder, "other.parquet")
    page = report(folder / "v.parquet", "--store", "labels.db")
    assert "gate" not in sections(page)
    assert "gate" in sections(report(folder / "other.parquet", "--store", "labels.db"))


def test_of_several_decisions_the_newest_is_shown_and_later_labels_are_noticed(folder):
    gate(folder)
    Path("limits.yaml").write_text(LIMITS.replace("5 %", "99 %"))
    gate(folder)
    page = report(folder / "v.parquet", "--store", "labels.db")
    assert page.section("gate").one("h2").words == "Gate PASS"
    with Store.open("labels.db") as store:
        draw = store.draws()[0]
        note = store.annotations(draw.id)[0]
        store.label(draw.id, says({"id": note.exchange, "label": "refused"}, "ben"))
    page = report(folder / "v.parquet", "--store", "labels.db")
    assert "Labels have changed since this decision" in page.section("gate").words


def test_without_a_store_the_page_is_as_before_and_no_store_is_made(folder):
    page = report(folder / "v.parquet")
    assert not sections(page) & NEW
    assert "aligntax label plan" in page.section("headline").words
    assert not Path(".aligntax").exists()


def test_labels_of_other_verdicts_are_not_taken(folder):
    pl.read_parquet("v.parquet").head(200).write_parquet("other.parquet")
    assert not sections(report(folder / "other.parquet", "--store", "labels.db")) & NEW


def test_labels_of_another_state_of_the_file_are_named(folder):
    pl.read_parquet("v.parquet").head(200).write_parquet("other.parquet")
    said = run("report", "other.parquet", "--out", "page.html", "--store", "labels.db").output
    assert "UNCORRECTED: draw" in said
    assert "Its labels speak of that state alone." in said
    assert (
        "UNCORRECTED" not in run("report", "v.parquet", "--out", "page.html", "--store", "labels.db").output
    )


def test_a_draw_without_labels_waits_on_the_page(folder):
    with Store.open("empty.db") as store:
        campaign.start(store, scan_verdicts(folder / "v.parquet"), by=("model",), budget=60, seed=1)
    page = report(folder / "v.parquet", "--store", "empty.db")
    assert not sections(page) & NEW
    assert "has none yet" in page.section("headline").one("div", class_="next").words
