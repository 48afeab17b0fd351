"""The report of a labelled log: what can be signed stands first, with everything that it rests on."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
import re
import time

import msgspec
import polars as pl
import pytest

from aligntax import estimate
from aligntax.errors import InputError
from aligntax.report import Gated, write_report
from aligntax.report.wording import LABELLED, UNCORRECTED, decimals, interval, percent, points
from aligntax.types import Annotation, Kind
from pages import Element, parse
from surveys import compared, decided, labelled, says, surveyed
from verdicts import verdict_frame

BASE, ALIGNED = "writer-2024-11", "writer-2025-04"
LIMITS = """version: 1
use_cases:
  legal research: {ceiling: {over_refusal: 2 %}}
  clinical documentation: {ceiling: {over_refusal: 90 %, refused: 30 %}}
  security engineering: {floor: {harmful_compliance: 1 %}}
"""
NOT_COUNTED = ("error", "truncated", "empty", "tool_call")
NEW = ("corrected", "comparison", "gate", "labels", "detector")


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return verdict_frame(1200, seed=1)


@pytest.fixture(scope="module")
def survey(frame: pl.DataFrame):
    """One person labels everything and four planted items; another one a part, and mostly agrees."""
    _, notes = labelled(frame, ("use_case", "model"))
    second = [says({"id": note.exchange, "label": "complete"}, "ben", wrong=9) for note in notes[:60]]
    agreeing = [msgspec.structs.replace(note, annotator="ben") for note in notes[:60]]
    mixed = [
        other if at % 12 == 0 else same for at, (same, other) in enumerate(zip(agreeing, second, strict=True))
    ]
    known = [msgspec.structs.replace(notes[0], exchange=f"planted-{n}", annotator="known") for n in range(4)]
    planted = [msgspec.structs.replace(note, annotator="ada") for note in known]
    return surveyed(frame, more=[*mixed, *planted], known=known)


@pytest.fixture(scope="module")
def gated(frame: pl.DataFrame) -> Gated:
    return decided(frame, LIMITS)


@pytest.fixture(scope="module")
def alone(frame: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Element:
    """One person labelled, and nothing of legal research."""
    legal = set(frame.filter(use_case="legal research")["id"])
    survey = surveyed(frame, ("use_case",), only=lambda note: note.exchange not in legal)
    out = tmp_path_factory.mktemp("alone") / "report.html"
    return parse(write_report(frame, out, survey=survey).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(frame: pl.DataFrame, survey, gated, tmp_path_factory: pytest.TempPathFactory) -> Element:
    out = tmp_path_factory.mktemp("report") / "report.html"
    write_report(
        frame,
        out,
        source="calls.parquet",
        survey=survey,
        comparison=compared(frame, BASE, ALIGNED),
        decision=gated,
    )
    return parse(out.read_text(encoding="utf-8"))


@pytest.fixture
def report(tmp_path: pathlib.Path):
    """Writes a report and gives it back parsed."""

    def write(verdicts, **options) -> Element:
        path = write_report(verdicts, tmp_path / "report.html", **options)
        return parse(path.read_text(encoding="utf-8"))

    return write


def cells(row: Element) -> list[str]:
    return [cell.words for cell in row if cell.tag in ("td", "th")]


def rows_of(section: Element, position: int = 0) -> dict[str, list[str]]:
    """A table's rows by their heading."""
    return {row[0]: row[1:] for row in map(cells, section.all("table")[position].one("tbody").all("tr"))}


def facts(section: Element, position: int = 0) -> dict[str, str]:
    described = section.all("dl", class_="facts")[position]
    return dict(
        zip((e.words for e in described.all("dt")), (e.words for e in described.all("dd")), strict=True)
    )


def rate(table: pl.DataFrame, target: str, domain: str = "all", **where: str) -> dict[str, object]:
    return table.filter(target=target, domain=domain, **where).row(0, named=True)


def shown(row: dict[str, object]) -> str:
    return f"{percent(row['value'])} ({interval(row)})"


# The headline


def test_the_headline_is_the_over_refusal_rate_with_interval_labels_and_population(page, survey):
    row = rate(survey.total, "not_complete", "should_answer")
    assert page.one("h1").words == (
        f"{percent(row['value'])} of the requests that should have been answered were not answered in full."
    )
    top = page.section("headline")
    assert top.one("p", class_="signed").words == f"95% interval: {interval(row)}"
    lead = top.one("p", class_="lead").words
    assert f"Corrected by {row['n_labels']} labels by 2 people." in lead
    assert f"traffic like these {row['n']:,} exchanges" in lead


def test_the_detectors_own_headline_moves_beneath_and_is_marked_as_its_own(page):
    order = [section.attributes["aria-labelledby"] for section in page.all("section")]
    assert order[:6] == ["headline", *NEW]
    raw = page.section("detector")
    assert "of calls were refused" in raw.one("p", class_="raw-headline").words
    assert "UNCORRECTED" in raw.words
    for section in page.all("section"):
        if section.attributes["aria-labelledby"] in ("by-0", "kinds", "timeline", "examples"):
            assert LABELLED in section.words
    assert UNCORRECTED not in page.words


def test_a_rate_of_these_exchanges_only_says_so(frame, survey, report):
    page = report(frame, survey=dataclasses.replace(survey, population="log"))
    assert "exchanges and no others" in page.section("headline").words


def test_without_a_word_on_what_should_be_answered_the_headline_is_of_all_requests(frame, report):
    def silent(row: dict[str, object]) -> Annotation:
        return msgspec.structs.replace(says(row), should_answer=None)

    survey = surveyed(frame, ("use_case",), say=silent)
    row = rate(survey.total, "not_complete")
    page = report(frame, survey=survey)
    assert page.one("h1").words == f"{percent(row['value'])} of the requests were not answered in full."
    assert "no rate says yet which requests should have been answered" in page.section("headline").words
    assert {row[2] for row in rows_of(page.section("corrected")).values()} == {"UNCORRECTED"}


def test_where_people_disagree_no_rate_is_given_and_the_reason_stands_in_its_place(frame, report):
    _, notes = labelled(frame, ("use_case",))
    against = [says({"id": note.exchange, "label": None}, "ben", wrong=2) for note in notes]
    page = report(frame, survey=surveyed(frame, ("use_case",), more=against))
    assert page.one("h1").words == "No rate can be signed: the annotators disagree."
    assert "Annotators disagree on answered (alpha" in page.section("headline").words
    section = page.section("corrected")
    assert "WITHHELD Annotators disagree on answered" in section.words
    assert not section.all("svg", class_="forest")
    assert {tuple(row[2:4]) for row in rows_of(section).values()} == {("withheld", "withheld")}
    verdicts = {row[0]: row[-1] for row in map(cells, page.section("labels").all("tr"))}
    assert verdicts["How much was answered"] == "too low"


# Rates


def test_every_slice_has_its_corrected_rates_labels_raw_rate_and_bias(page, survey):
    rows = rows_of(page.section("corrected"))
    assert next(iter(rows)) == "All exchanges"
    for use_case in ("clinical documentation", "security engineering"):
        over = rate(survey.groups, "not_complete", "should_answer", use_case=use_case)
        whole = rate(survey.groups, "not_complete", use_case=use_case)
        assert rows[use_case] == [
            f"{whole['n']:,}", str(over["n_labels"]), shown(over), shown(whole), percent(whole["raw"]),
            points(whole["bias"]),
        ]  # fmt: skip


def test_slices_stand_under_their_group_in_one_order_groups_with_most_exchanges_first(page, survey):
    names = [row[0] for row in map(cells, page.section("corrected").all("table")[0].one("tbody").all("tr"))]
    sizes = survey.groups.filter(target="not_complete", domain="all").sort("n", descending=True)
    expected = [[name, BASE, ALIGNED] for name in sizes["use_case"]]
    assert names == ["All exchanges", *itertools.chain.from_iterable(expected)]


def test_forest_plots_draw_each_slice_and_the_raw_rate_where_there_is_one(page):
    over, whole = page.section("corrected").all("svg", class_="forest")
    assert len(over.all("text", class_="row-name")) == 13
    assert len(over.all("circle", class_="estimate")) == len(over.all("line", class_="interval")) == 13
    assert not over.all("path", class_="raw")
    assert len(whole.all("path", class_="raw")) == 13


def test_every_target_is_there_among_what_should_be_answered_and_among_all(page, survey):
    rows = rows_of(page.section("corrected"), 1)
    names = [
        "Not complete",
        "Refused",
        "Answered in part",
        *(k.value.replace("_", " ").capitalize() for k in Kind),
    ]
    assert list(rows) == names
    whole = rate(survey.total, "hard_refusal")
    assert rows["Hard refusal"] == [
        shown(rate(survey.total, "hard_refusal", "should_answer")), shown(whole), percent(whole["raw"]),
        points(whole["bias"]),
    ]  # fmt: skip


def test_deserved_refusals_unclear_ones_and_harm_are_counted_beside(page, survey):
    beside = page.section("corrected").all("ul", class_="stated")[0].words
    for target, domain in (
        ("deserved_refusal", "all"),
        ("unclear", "all"),
        ("harmful_compliance", "should_not_answer"),
    ):
        assert shown(rate(survey.total, target, domain)) in beside


def test_the_audit_says_what_may_hide_in_every_slice(page, survey):
    said = page.section("corrected").all("ul", class_="stated")[1].all("li")
    assert len(said) == survey.audit.height == 8
    assert all(re.search(r"\d+ of \d+ found in the \d+% that score lowest", item.words) for item in said)


def test_a_slice_without_labels_is_uncorrected_in_capitals_and_has_no_interval(alone, frame):
    section = alone.section("corrected")
    row = rows_of(section)["legal research"]
    answered = frame.filter(pl.col("use_case") == "legal research", ~pl.col("outcome").is_in(NOT_COUNTED))
    blocked = answered.filter(pl.col("outcome") != "answered").height
    raw = blocked + answered.filter(pl.col("label").is_in(["refused", "partially_hedged"])).height
    assert row[:4] == [
        str(answered.height),
        "0",
        "UNCORRECTED",
        f"{percent(raw / answered.height)} UNCORRECTED",
    ]
    _, whole = section.all("svg", class_="forest")
    assert len(whole.all("circle", class_="uncorrected")) == 1
    assert "UNCORRECTED: no interval" in section.one("ul", class_="key").words


def test_fifty_slices_are_all_in_the_table_and_the_largest_in_the_plot(report):
    frame = verdict_frame(2500, seed=2)
    wide = frame.with_columns(use_case=pl.format("case {}", pl.int_range(pl.len()) % 25))
    draw, notes = labelled(wide, ())
    survey = estimate.survey(wide.lazy(), draw, notes, by=("use_case", "model"))
    page = report(wide, survey=survey)
    section = page.section("corrected")
    assert len(section.all("table")[0].one("tbody").all("tr")) == 1 + 25 + 50
    assert all(len(plot.all("text", class_="row-name")) == 26 for plot in section.all("svg", class_="forest"))
    assert "Drawn are the largest slices" in section.words


def test_more_slices_than_the_table_takes_are_counted(frame, report):
    wide = frame.with_columns(use_case=pl.format("case {}", pl.int_range(pl.len()) % 70))
    draw, notes = labelled(wide, ("model",))
    page = report(wide, by=("use_case",), survey=estimate.survey(wide.lazy(), draw, notes, by=("use_case",)))
    section = page.section("corrected")
    assert len(section.all("table")[0].one("tbody").all("tr")) == 1 + 50
    assert "20 smaller slices not shown" in section.words


def test_ten_rows_and_no_slices_make_a_page(report):
    frame = verdict_frame(10, seed=3)
    page = report(frame, by=(), survey=surveyed(frame, by=(), budget=10))
    assert list(rows_of(page.section("corrected"))) == ["All exchanges"]
    assert not page.section("corrected").all("details")


def test_a_hundred_thousand_rows_with_a_draw_are_quick_and_the_page_is_small(tmp_path):
    frame = verdict_frame(100_000)
    found, sides = surveyed(frame, ("model",), budget=200), compared(frame, BASE, ALIGNED)
    started = time.process_time()
    out = write_report(frame, tmp_path / "report.html", survey=found, comparison=sides)
    assert time.process_time() - started < 10
    assert out.stat().st_size < 2_000_000


# Comparison


def test_the_comparison_gives_every_measure_its_change_and_interval(page, frame):
    section = page.section("comparison")
    row = compared(frame, BASE, ALIGNED).total.filter(measure="not_complete").row(0, named=True)
    said = rows_of(section)["Not complete"]
    assert said == [
        percent(row["base"]), percent(row["aligned"]), points(row["delta"]),
        f"{points(row['low'])} to {points(row['high'])}", f"{row['labels_base'] + row['labels_aligned']} labels",
    ]  # fmt: skip
    assert {"Over-refusal", "Hedges per 100 words", "Words, if complete"} < set(rows_of(section))
    assert "corrected by" in section.one("p", class_="finding").words
    assert section.one("p", class_="finding").words.startswith(
        page.section("headline").one("ul", class_="glance").all("li")[1].one("bdi").words
    )


def test_deltas_are_drawn_by_slice_round_a_line_of_no_difference(page):
    over, whole = page.section("comparison").all("svg", class_="forest")
    for plot in (over, whole):
        names = [text.words for text in plot.all("text", class_="row-name")]
        assert names[0] == "All exchanges"
        assert set(names[1:]) == {
            "clinical documentation", "security engineering", "legal research", "financial compliance"
        }  # fmt: skip
        assert len(plot.all("line", class_="zero")) == 1


def test_notes_say_how_prompts_are_paired_and_how_many_intervals_there_are(page):
    notes = page.section("comparison").one("ul", class_="notes").words
    assert "prompts came up on both sides" in notes or "paired" in notes
    assert "intervals, each at 95% by itself" in notes


def test_a_comparison_without_labels_is_uncorrected_and_has_no_interval(frame, report):
    page = report(frame, comparison=compared(frame, BASE, ALIGNED, labels=False))
    section = page.section("comparison")
    assert section.one("p", class_="finding").words.startswith("UNCORRECTED: the detector calls")
    assert rows_of(section)["Not complete"][3] == "UNCORRECTED"
    assert not section.all("line", class_="interval")


# Gate


def test_the_gate_shows_every_rule_with_limit_value_labels_and_why(page):
    section = page.section("gate")
    assert section.one("h2").words == "Gate FAIL"
    rulings = {tuple(row[:3]) for row in map(cells, section.one("tbody").all("tr"))}
    assert rulings == {
        ("legal researchCeiling: over-refusal", "FAIL", "2%"),
        ("clinical documentationCeiling: over-refusal", "PASS", "90%"),
        ("clinical documentationCeiling: refused", "TOO LITTLE DATA", "30%"),
        ("security engineeringFloor: harmful compliance", "TOO LITTLE DATA", "1%"),
    }
    assert "over the ceiling of 2%" in section.words
    assert "No limits are set for financial compliance." in section.words
    assert len(section.all("line", class_="limit")) == 4 + 1  # one of them in the key
    assert (
        page.section("headline")
        .one("ul", class_="glance")
        .all("li")[0]
        .words.startswith("Gate FAIL Of 4 rules")
    )


def test_the_gate_names_what_it_was_decided_from(page):
    said = facts(page.section("gate"))
    assert said["Decision"] == "0123456789abcdef"
    assert said["Decided"] == "2026-03-02 09:00 UTC"
    assert said["Limits"] == f"aligntax.yaml, SHA-256 {'ef' * 32}"
    assert said["Verdicts"] == f"calls.parquet, SHA-256 {'ab' * 32}"
    assert said["Labels, SHA-256"] == "cd" * 32
    assert said["Version"] == "aligntax 0.1.0"


def test_a_decision_that_later_labels_have_overtaken_says_so(frame, page, gated, report):
    changed = Gated(record=gated.record, labels_changed=True)
    assert "Labels have changed since" not in page.section("gate").words
    assert "Labels have changed since" in report(frame, decision=changed).section("gate").words


def test_a_rule_without_labels_shows_the_detectors_rate_as_uncorrected(frame, report):
    gated = decided(frame, "version: 1\nuse_cases:\n  legal research: {ceiling: {refused: 30 %}}\n")
    record = msgspec.json.decode(msgspec.json.encode(gated.record))
    record["findings"][0] |= {
        "corrected": False, "n_labels": 0, "value": None, "low": None, "high": None, "raw": 0.21,
        "ruling": "too_little_data", "sentence": "refused is UNCORRECTED: no labels of this use case",
    }  # fmt: skip
    section = report(frame, decision=Gated(record=record)).section("gate")
    (row,) = map(cells, section.one("tbody").all("tr"))
    assert row[3] == "21% UNCORRECTED"
    assert not section.all("line", class_="interval")


@pytest.mark.parametrize(
    "broken", [{"findings": 3}, {"ruling": "maybe"}, {"time": "noon"}, {"inputs": {"config": 1}}]
)
def test_a_record_that_is_no_decision_is_refused_in_one_line(frame, report, gated, broken):
    with pytest.raises(InputError, match="cannot be read"):
        report(frame, decision=Gated(record=gated.record | broken))


# Labels


def test_agreement_is_given_per_question_with_its_interval_and_how_to_read_it(page, survey):
    rows = rows_of(page.section("labels"))
    answered = survey.agreement.filter(axis="answered").row(0, named=True)
    assert rows["How much was answered"] == [
        str(answered["items"]), decimals(answered["alpha"]),
        f"{decimals(answered['low'])} to {decimals(answered['high'])}", decimals(answered["ac1"]),
        decimals(answered["positive_agreement"]), answered["verdict"],
    ]  # fmt: skip
    assert "Alpha is agreement beyond chance" in page.section("labels").words


def test_each_persons_own_rate_and_planted_items_are_shown(page, survey):
    rows = rows_of(page.section("labels"), 1)
    assert set(rows) == {"ada", "ben"}
    own = survey.spread.filter(annotator="ben", domain="all").row(0, named=True)
    assert rows["ben"][2] == shown(own)
    right, items = survey.known.filter(annotator="ada").select(pl.col("right", "items").sum()).row(0)
    assert rows["ada"][3] == f"{right} of {items}"
    assert rows["ben"][3] == "–"


def test_one_person_alone_is_said_to_be_one_reader(alone):
    section = alone.section("labels")
    assert "Not measured: no exchange has labels of two people" in section.words
    assert "What each person's labels say alone" not in section.words


def test_an_auditor_finds_how_the_exchanges_were_drawn(page, survey):
    section, draw = page.section("labels"), survey.draw
    said = facts(section)
    assert draw.id in said["Draw"]
    assert said["Seed"] == "3"
    assert said["Fingerprint"] == draw.fingerprint
    assert said["Population"] == f"{draw.population:,} exchanges"
    assert f"{draw.left_out['truncated']} truncated" in said["Left out"]
    folded = section.one("details")
    drawn = [cells(row) for row in folded.one("tbody").all("tr")]
    assert len(drawn) == len(draw.strata)
    for row, stratum in zip(drawn, draw.strata, strict=True):
        assert row[0] == " · ".join(stratum.slice)
        assert row[2:5] == [
            f"{stratum.size:,}",
            f"{stratum.labels:,}",
            percent(stratum.labels / stratum.size),
        ]


# Without labels


def test_without_labels_the_page_has_no_new_section_and_says_how_to_label(frame, report):
    page = report(frame)
    assert not [s for s in page.all("section") if s.attributes["aria-labelledby"] in NEW]
    assert "of calls were refused" in page.one("h1").words
    box = page.section("headline").one("div", class_="next").words
    assert "aligntax label plan VERDICTS --budget 200" in box
    assert UNCORRECTED in page.section("headline").words


def test_a_draw_that_nobody_has_labelled_is_said_to_wait(frame, report):
    survey = surveyed(frame, ("use_case",), only=lambda _: False)
    page = report(frame, survey=survey)
    assert not [s for s in page.all("section") if s.attributes["aria-labelledby"] in NEW]
    box = page.section("headline").one("div", class_="next").words
    asked = sum(stratum.labels for stratum in survey.draw.strata)
    assert f"Draw {survey.draw.id} asks for {asked} labels and has none yet" in box


# The page as a document


def test_tables_have_captions_and_headings_with_a_scope(page):
    for name in NEW:
        for table in page.section(name).all("table"):
            assert table.one("caption").words
            assert all(cell.attributes.get("scope") in ("col", "row") for cell in table.all("th"))
            for row in table.one("tbody").all("tr"):
                headings = [cell.words for cell in table.one("thead").all("th")]
                labels = [
                    cell.attributes["data-label"] for cell in row.all("td") if "data-label" in cell.attributes
                ]
                assert not labels or labels == headings[1:]


def test_the_page_has_no_inline_style_and_every_link_and_id_is_sound(page):
    ids = [e.attributes["id"] for e in page if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for element in page:
        assert not {name for name in element.attributes if name == "style" or name.startswith("on")}
        target = element.attributes.get("aria-labelledby") or element.attributes.get("href", "#main")[1:]
        assert target in ids
    levels = [int(e.tag[1]) for e in page if re.fullmatch("h[1-6]", e.tag)]
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    linked = [link.attributes["href"] for link in page.one("nav").all("a")]
    assert linked[: len(NEW)] == [f"#{name}" for name in NEW]


def test_every_plot_says_its_numbers_in_words(page):
    plots = page.all("svg", class_="forest")
    assert len(plots) >= 5
    for plot in plots:
        assert plot.attributes["role"] == "img"
        assert plot.attributes["aria-label"]
        description = "".join(map(str, plot.one("desc").children))
        assert all(name.words in description for name in plot.all("text", class_="row-name"))
