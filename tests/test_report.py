"""The report page: its numbers are those of `summarise`, it says what it does not know, and it stays small."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import itertools
import pathlib
import re
import time

import polars as pl
import pytest

from aligntax.errors import InputError
from aligntax.estimate import summarise
from aligntax.report import write_report
from aligntax.report.sheet import write_page
from aligntax.report.wording import UNCORRECTED, count, percent, reason
from aligntax.types import Problem
from pages import Element, parse
from verdicts import KINDS, one_verdict, verdict_frame

SHOWN = ("complete", "partially_hedged", "refused", "undetermined", "provider_blocked")


@pytest.fixture
def report(tmp_path: pathlib.Path):
    """Writes a report and gives it back parsed."""

    def write(verdicts, **options) -> Element:
        path = write_report(verdicts, tmp_path / "report.html", **options)
        return parse(path.read_text(encoding="utf-8"))

    return write


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return verdict_frame(3000, seed=1)


@pytest.fixture(scope="module")
def page(frame: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Element:
    out = tmp_path_factory.mktemp("report") / "report.html"
    problems = [Problem(file="calls.jsonl", line=12, reason="not valid JSON")]
    write_report(frame, out, source="calls.jsonl", problems=problems, skipped=5, not_calls=2)
    return parse(out.read_text(encoding="utf-8"))


def cells(row: Element) -> list[str]:
    return [cell.words for cell in row if cell.tag in ("td", "th")]


def table_after(page: Element, section: str, position: int = 0) -> dict[str, list[str]]:
    """A table's rows by their heading."""
    table = page.section(section).all("table")[position]
    return {row[0]: row[1:] for row in map(cells, table.one("tbody").all("tr"))}


# The numbers


def test_the_headline_and_its_table_are_the_totals_of_summarise(page, frame):
    total = summarise(frame).row(0, named=True)
    assert percent(total["refused"]) in page.one("h1").words
    assert percent(total["partially_hedged"]) in page.one("h1").words
    outcomes = table_after(page, "headline")
    assert outcomes["Refused"][0] == percent(total["refused"])
    assert outcomes["Truncated"][0] == percent(total["truncated"])
    assert outcomes["Other"][0] == percent(total["empty"] + total["tool_call"])
    lead = page.one("p", class_="lead").words
    assert f"{count(total['exchanges'])} calls" in lead
    assert f"{total['errors']} failed calls left out" in lead


@pytest.mark.parametrize(("position", "column"), [(0, "use_case"), (1, "model")])
def test_rates_per_slice_are_those_of_summarise_most_calls_first(page, frame, position, column):
    expected = summarise(frame, [column]).sort("exchanges", descending=True)
    rows = table_after(page, f"by-{position}")
    assert list(rows) == expected[column].to_list()
    for row in expected.iter_rows(named=True):
        said = rows[row[column]]
        assert said[0] == count(row["counted"])
        assert said[2:] == [percent(row[name]) for name in SHOWN]


def test_kinds_are_those_of_summarise_overall_and_per_slice(page, frame):
    total = summarise(frame).row(0, named=True)
    overall = [row[0] for row in table_after(page, "kinds").values()]
    assert overall == [percent(total[kind]) for kind in KINDS]
    per_case = table_after(page, "kinds", 1)
    for row in summarise(frame, ["use_case"]).iter_rows(named=True):
        assert per_case[row["use_case"]] == [percent(row[kind]) for kind in KINDS]


def test_a_stacked_bar_fills_its_width_and_no_more(page):
    for chart in page.all("svg", class_="stack"):
        widths = [float(rect.attributes["width"].rstrip("%")) for rect in chart.all("rect")]
        assert sum(widths) == pytest.approx(100, abs=0.1)


def test_every_section_with_a_rate_says_uncorrected_and_why(page):
    for section in page.all("section"):
        if "%" in section.words and section.attributes["aria-labelledby"] != "method":
            assert "UNCORRECTED" in section.words, section.attributes
            assert UNCORRECTED in section.words


def test_a_trace_is_never_printed_as_nothing():
    assert percent(0.0) == "0.0%"
    assert percent(0.0001) == "<0.1%"
    assert percent(0.99999) == ">99.9%"
    assert percent(1.0) == "100.0%"
    assert percent(None) == percent(float("nan")) == "–"


# Time


def test_the_timeline_marks_the_week_in_which_the_served_model_changes(page):
    section = page.section("timeline")
    changes = [item.words for item in section.one("ul", class_="changes").all("li")]
    assert changes == [
        "A week of 7 Apr 2025: writer-2025-04 first serves",
        "B week of 14 Apr 2025: writer-2024-11 serves no more",
    ]
    rules = section.one("svg", class_="lines").all("text", class_="change-name")
    assert [rule.words for rule in rules] == ["A", "B"]


def test_the_timeline_table_holds_the_rates_of_each_week(page, frame):
    weekly = summarise(frame.with_columns(week=pl.col("time").dt.truncate("1w")), ["week"])
    rows = table_after(page, "timeline")
    assert [row[0] for row in rows.values()] == [count(n) for n in weekly["counted"]]
    assert [row[1] for row in rows.values()] == [percent(share) for share in weekly["refused"]]


def test_a_short_log_is_drawn_by_day(report, frame):
    week = frame.filter(pl.col("time") < dt.datetime(2025, 3, 10, tzinfo=dt.UTC))
    assert "By day" in report(week).section("timeline").words


def test_without_timestamps_the_page_says_so(report, frame):
    page = report(frame.with_columns(time=pl.lit(None, frame.schema["time"])))
    assert "carries no timestamps" in page.section("timeline").words


def test_calls_of_one_moment_make_no_line(report):
    moment = dt.datetime(2025, 3, 10, 12, tzinfo=dt.UTC)
    assert "no line to draw" in report(one_verdict(time=moment)).section("timeline").words


# Lengths


def test_distributions_count_every_judged_answer_of_a_label(page, frame):
    judged = frame.filter(pl.col("outcome") == "answered")
    section = page.section("distributions")
    for label, name in (("complete", "Complete"), ("refused", "Refused")):
        answers = judged.filter(pl.col("label") == label)
        assert f"{name} {count(answers.height)} answers" in section.words
        assert f"Median {count(answers['words'].quantile(0.5, 'linear'))} words" in section.words
    short = judged.filter(pl.col("label") == "refused", pl.col("words") < 10).height
    rows = table_after(page, "distributions")
    assert rows["<10"][2] == percent(short / judged.filter(pl.col("label") == "refused").height)


# Data quality and method


def test_data_quality_lists_outcomes_languages_and_skipped_rows(page, frame):
    quality = page.section("quality")
    rows = [cells(row) for row in quality.all("tr")]
    filtered = frame.filter(pl.col("outcome_raw") == "content_filter").height
    assert ["input blocked", "content_filter", str(filtered), percent(filtered / frame.height)] in rows
    swedish = frame.filter(pl.col("outcome") == "answered", pl.col("language") == "sv").height
    assert ["sv", str(swedish), "100.0%"] in rows
    assert ["calls.jsonl", "12", "not valid JSON"] in rows
    assert "5 rows skipped; the first 1 are listed" in quality.words
    assert "2 records of the log are no model calls" in quality.words


def test_method_names_the_detector_and_explains_uncorrected(page):
    method = page.section("method").words
    assert "lexicon+kernel 1" in method
    assert "What UNCORRECTED means" in method
    assert "from a score of 0.5" in method


# Logs that lack things


def test_a_log_stored_without_text_gives_numbers_and_says_why_there_are_no_examples(report, frame):
    page = report(frame.drop("prompt", "response", "system", "history", "tags"))
    assert "stored without its text" in page.section("examples").words
    assert not page.all("article")
    assert percent(summarise(frame)["refused"].item()) in page.one("h1").words


def test_optional_columns_may_be_absent_altogether(report, frame):
    page = report(frame.select("id", "response", "outcome", "label", *KINDS, "spans"), by=())
    assert percent(summarise(frame)["refused"].item()) in page.one("h1").words


def test_columns_of_nulls_are_said_to_be_empty(report):
    page = report(one_verdict())
    assert "does not say which use case" in page.section("by-0").words
    assert "does not say which model" in page.section("by-1").words
    assert "1 call." in page.one("p", class_="lead").words
    assert "No answer was found refused" in page.one("h1").words


def test_a_missing_slice_value_among_others_shows_as_none(report):
    page = report(pl.concat([one_verdict(use_case="legal"), one_verdict(id="two")]))
    assert set(table_after(page, "by-0")) == {"legal few calls", "(none) few calls"}


def test_answers_that_nobody_could_judge_are_not_called_complete(report):
    page = report(one_verdict(label="undetermined", answered="undetermined", language="sv"))
    assert page.one("h1").words == "The detector could not judge any of these answers."
    assert table_after(page, "headline")["Undetermined"][0] == "100.0%"


def test_where_every_call_failed_there_is_no_rate(report):
    page = report(one_verdict(outcome="error", label=None, answered=None, response="", spans=None))
    assert page.one("h1").words == "No call came back, so there is nothing to count."
    assert "%" not in page.section("headline").words
    assert table_after(page, "kinds")[next(iter(table_after(page, "kinds")))][0] == "–"


def test_slices_may_be_numbers_or_tags(report, frame):
    tagged = frame.with_columns(tags=pl.lit('{"team": "north"}'))
    page = report(tagged, by=("tool_calls", "tags.team"))
    assert "north" in table_after(page, "by-1")


def test_many_slices_are_cut_with_a_word_about_the_rest(report, frame):
    page = report(frame.with_columns(use_case="id"))
    assert len(table_after(page, "by-0")) == 25
    assert "2,975 more are not shown" in page.section("by-0").words


# Refusing


def test_no_rows_is_an_error_and_not_a_rate_of_zero(report, frame):
    with pytest.raises(InputError, match="no exchanges"):
        report(frame.clear())


def test_a_frame_that_was_not_scanned_is_refused(report):
    with pytest.raises(InputError, match="aligntax scan"):
        report(pl.DataFrame({"id": ["a"], "outcome": ["answered"]}))


def test_an_unknown_slice_is_refused(report, frame):
    with pytest.raises(InputError, match="colour"):
        report(frame, by=("colour",))


def test_a_file_that_is_no_verdict_file_is_refused(report, tmp_path):
    (tmp_path / "log.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match="Parquet"):
        report(tmp_path / "log.jsonl")


# Writing


def test_a_frame_a_lazy_frame_and_a_file_give_the_same_page(report, frame, tmp_path):
    frame.write_parquet(tmp_path / "verdicts.parquet")
    pages = [report(source).words for source in (frame, frame.lazy(), tmp_path / "verdicts.parquet")]
    minutes = re.compile(r"\d\d:\d\d UTC")
    assert len({minutes.sub("", text) for text in pages}) == 1


def test_a_report_that_cannot_be_written_leaves_the_old_one_and_no_draft(frame, tmp_path, monkeypatch):
    out = tmp_path / "report.html"
    out.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aligntax.report.sheet.os.replace", full)
    with pytest.raises(InputError, match="No space left"):
        write_report(frame, out)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert out.read_text() == "old"


def test_a_folder_that_does_not_exist_is_made(frame, tmp_path):
    assert write_report(frame.head(50), tmp_path / "new" / "report.html").is_file()


def test_a_hundred_thousand_rows_are_quick_and_the_page_is_small(tmp_path):
    path = tmp_path / "verdicts.parquet"
    verdict_frame(100_000).write_parquet(path)
    started = time.process_time()
    out = write_report(path, tmp_path / "report.html")
    assert time.process_time() - started < 10  # about half a second where nothing else runs
    assert out.stat().st_size < 2_000_000


# The page as a document


def test_nothing_is_loaded_and_only_our_own_style_and_script_may_run(page):
    (policy,) = [e for e in page.all("meta") if e.attributes.get("http-equiv") == "Content-Security-Policy"]
    said = policy.attributes["content"]
    assert "default-src 'none'" in said
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        digest = hashlib.sha256("".join(page.one(tag).children).encode()).digest()
        assert f"{directive} 'sha256-{base64.b64encode(digest).decode()}'" in said
    for element in page:
        for name, value in element.attributes.items():
            assert not name.startswith("on"), name
            assert name not in ("style", "src", "srcset", "action"), name
            assert name != "href" or value.startswith("#"), value


def test_headings_are_in_order_and_every_reference_has_its_target(page):
    levels = [int(e.tag[1]) for e in page if re.fullmatch("h[1-6]", e.tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    ids = [e.attributes["id"] for e in page if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for element in page:
        target = element.attributes.get("aria-labelledby") or element.attributes.get("href", "#main")[1:]
        assert target in ids


def test_landmarks_language_title_and_labels_are_there(page):
    assert page.one("html").attributes["lang"] == "en"
    assert "calls.jsonl" in "".join(page.one("head").one("title").children)
    assert page.one("main")
    assert page.one("nav").attributes["aria-label"]
    labelled = [e for label in page.all("label") for e in label if e.tag in ("select", "input")]
    assert len(labelled) == len(page.all("select") + page.all("input")) > 3
    for chart in page.all("svg"):
        named = chart.attributes.get("role") == "img" and chart.attributes.get("aria-label")
        inner = "viewbox" in chart.attributes
        assert named or inner or chart.attributes.get("aria-hidden") == "true"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_its_ground(page, theme):
    css = "".join(page.one("style").children)
    start = css.index(":root {" if theme == "light" else ':root[data-theme="dark"]')
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", css[start : css.index("}", start)]))
    grounds = {"ink": ("page", "surface"), "muted": ("page", "surface"), "accent": ("page", "surface")}
    for name in ("no", "caution", "hedge", "padding", "else", "notice"):
        grounds[name] = (f"{name}-ground",)
        assert contrast(colours["ink"], colours[f"{name}-ground"]) >= 4.5
    for name, against in grounds.items():
        for ground in against:
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    for name in ("complete", "part", "refused", "undetermined", "blocked", "truncated", "other", "kind"):
        assert contrast(colours[name], colours["page"]) >= 3, name


def test_the_dark_colours_are_the_same_for_the_system_and_for_the_button(page):
    css = "".join(page.one("style").children)
    system = css[css.index(':root:not([data-theme="light"])') :]
    button = css[css.index(':root[data-theme="dark"]') :]
    colours = re.compile(r"--[\w-]+: #[0-9a-f]{6}")
    assert colours.findall(system[: system.index("}")]) == colours.findall(button[: button.index("}")])


def contrast(one: str, other: str) -> float:
    """Ref: WCAG 2.2, relative luminance and contrast ratio."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


# Reasons


def test_the_reason_says_the_verdict_its_chance_and_what_shows_it():
    row = one_verdict(
        label="refused",
        answered="none",
        p_full=0.01,
        p_part=0.02,
        p_none=0.97,
        hard_refusal=0.9,
        answer_start=400,
    ).row(0, named=True)
    assert reason(row) == (
        "Refused: 97% likely that nothing of the request was answered. "
        "It says no and gives nothing of what was asked. "
        "The first answering sentence comes after 400 characters."
    )


def test_the_reason_of_an_unjudged_call_is_its_outcome():
    row = one_verdict(outcome="input_blocked", outcome_raw="content_filter", label=None).row(0, named=True)
    assert reason(row) == (
        "A filter stopped the request before the model saw it (reported as “content_filter”)."
    )


def test_a_language_that_cannot_be_judged_is_named_in_the_reason():
    row = one_verdict(label="undetermined", p_full=None, p_part=None, p_none=None, language="sv")
    assert "does not judge text in this language (sv)" in reason(row.row(0, named=True))


def test_a_report_below_a_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match="cannot be written"):
        write_page(tmp_path / "file" / "report.html", "<p>")
