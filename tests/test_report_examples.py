"""Examples of the report: what is drawn, what is marked, and that nothing in a log acts on the page."""

from __future__ import annotations

import json
import pathlib
import re

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aligntax.report import write_report
from aligntax.report.draw import draw
from aligntax.report.findings import open_verdicts
from aligntax.report.text import clip, pieces, visible
from aligntax.types import Problem
from pages import Element, parse
from verdicts import KINDS, one_verdict, unmark, verdict_frame

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)></script></style><!-- ]]> {{7*7}} {% raw %} "
    "javascript:alert(3) \"'> & &lt; \u202egnp.exe\u2066 \x00\x1b[2J \u2028 \U000e0041"
)


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


def marked(text: str, **fields) -> pl.DataFrame:
    """One hard refusal whose evidence is written as in `verdicts`."""
    plain, spans = unmark(text)
    refusal = {"label": "refused", "answered": "none", "hard_refusal": 0.9}
    return one_verdict(response=plain, spans=spans, **(refusal | fields))


# What is drawn


def test_every_kind_and_slice_is_drawn_and_failed_calls_are_not(frame):
    drawn = frame.filter(pl.col("id").is_in(draw(open_verdicts(frame), ("use_case", "model"), 200)))
    assert drawn.height == 200
    assert drawn["outcome"].str.contains("error").sum() == 0
    for kind in KINDS:
        of_kind = drawn.filter(pl.col(kind) >= 0.5)
        assert of_kind["use_case"].n_unique() == 4
        assert of_kind["model_served"].n_unique() == 2
    assert {"complete", "undetermined"} <= set(drawn["label"])


def test_the_same_rows_are_drawn_in_whatever_order_the_log_comes(frame):
    again = frame.sample(fraction=1.0, shuffle=True, seed=3)
    first, second = (draw(open_verdicts(f), ("use_case",), 50) for f in (frame, again))
    assert first == second
    assert len(set(first)) == 50


def test_kinds_take_turns_so_that_the_first_page_shows_all(frame):
    by_id = {row["id"]: row for row in frame.iter_rows(named=True)}
    first = [by_id[id_] for id_ in draw(open_verdicts(frame), ("use_case",), 400)[:10]]
    assert {kind for row in first for kind in KINDS if (row[kind] or 0) >= 0.5} == set(KINDS)


def test_rows_that_share_an_id_are_shown_once(report):
    assert len(report(pl.concat([one_verdict()] * 3)).all("article")) == 1


def test_a_small_log_is_shown_whole(report, frame):
    few = frame.filter(pl.col("outcome") == "answered").head(30)
    assert len(report(few).all("article")) == 30


def test_the_number_of_examples_is_bounded(report, frame):
    assert len(report(frame, examples=25).all("article")) == 25
    assert not report(frame, examples=0).all("article")


# What one example shows


def test_evidence_is_marked_in_the_text_and_listed_below_with_its_rule(report):
    page = report(marked("Well, [[refusal_policy|cant_help:I can't help]]. Bye [[apology|sorry:sorry]]."))
    response = page.one("div", class_="response")
    marks = response.all("mark")
    assert [mark.children[0] for mark in marks] == ["I can't help", "sorry"]
    assert [mark.attributes["data-note"] for mark in marks] == [
        "refusal policy, rule cant_help",
        "apology, rule sorry",
    ]
    assert all(mark.attributes["tabindex"] == "0" for mark in marks)
    listed = [item.words for item in page.one("ol", class_="evidence").all("li")]
    assert listed == ["refusal policy I can't help cant_help", "apology sorry sorry"]


def test_offsets_count_characters_and_not_bytes(report):
    page = report(marked("Ça coûte 3 € 🤖🤖 [[refusal_policy|non:je ne peux pas]] 漢字"))
    (mark,) = page.one("div", class_="response").all("mark")
    assert mark.children[0] == "je ne peux pas"


def test_prompt_history_and_system_prompt_are_folded_and_complete(report):
    history = json.dumps([{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi there"}])
    page = report(one_verdict(prompt="What now?", system="Be brief.", history=history))
    texts = [element.words for element in page.all("div", class_="text")]
    assert texts == ["Be brief.", "Hello", "Hi there", "What now?", "Because the sky is wide."]
    assert len(page.one("article").all("details")) == 2


def test_a_history_that_is_no_json_is_shown_as_it_stands(report):
    page = report(one_verdict(history="user: hello"))
    assert "user: hello" in [element.words for element in page.all("div", class_="text")]


def test_an_example_carries_what_the_filters_ask_for(report):
    page = report(marked("No.", use_case="legal", model_served="m-1"), by=("use_case", "model"))
    article = page.one("article").attributes
    assert article["data-verdict"] == "refused"
    assert article["data-kinds"] == "hard_refusal"
    assert (article["data-slice0"], article["data-slice1"]) == ("legal", "m-1")
    offered = {e.attributes["value"] for e in page.by_id("filters").all("option")}
    assert {"refused", "hard_refusal", "legal", "m-1"} <= offered


def test_a_blocked_call_shows_its_outcome_and_raw_value(report):
    page = report(
        one_verdict(outcome="output_blocked", outcome_raw="SAFETY", label=None, response="", spans=None)
    )
    assert "reported as “SAFETY”" in page.one("article").words
    assert "No response text." in page.one("article").words


def test_spans_that_lie_outside_of_the_text_mark_nothing(report):
    spans = [
        {"start": 4, "end": 400, "function": "refusal", "rule": "past_the_end"},
        {"start": 9, "end": 3, "function": "refusal", "rule": "reversed"},
        {"start": 900, "end": 950, "function": "refusal", "rule": "nowhere"},
    ]
    page = report(one_verdict(response="0123456789", spans=spans, hard_refusal=0.9))
    (mark,) = page.one("div", class_="response").all("mark")
    assert mark.children[0] == "456789"


# Long texts


def test_a_long_answer_is_cut_around_its_evidence_and_says_so(report):
    page = report(marked("a" * 500_000 + "[[refusal_policy|cant:I cannot]]" + "b" * 500_000))
    response = page.one("div", class_="response")
    assert [mark.children[0] for mark in response.all("mark")] == ["I cannot"]
    left_out = [int(e.words.split()[0][1:].replace(",", "")) for e in response.all("span", class_="left-out")]
    assert len(left_out) == 2  # in front of the stretch around the evidence, and behind it
    shown = re.findall(r"a{3,}|b{3,}", response.text)
    assert sum(left_out) + sum(map(len, shown)) == 1_000_000
    assert all(200 < len(stretch) < 2000 for stretch in shown)


def test_ten_megabytes_in_one_row_leave_the_page_small(tmp_path):
    rows = [
        one_verdict(id=str(n), response="word " * 2_000_000, prompt="<&>" * 1_000_000, hard_refusal=0.9)
        for n in range(3)
    ]
    out = write_report(pl.concat(rows), tmp_path / "report.html")
    assert out.stat().st_size < 150_000


def test_four_hundred_long_answers_of_markup_stay_under_two_megabytes(tmp_path):
    row = one_verdict(response="<&>" * 2000, prompt="<&>" * 2000)
    frame = pl.concat([row.with_columns(id=pl.lit(str(n))) for n in range(400)])
    assert write_report(frame, tmp_path / "report.html").stat().st_size < 2_000_000


@settings(deadline=None)  # a busy machine is no failure
@given(
    text=st.text(max_size=300),
    borders=st.lists(st.tuples(st.integers(0, 330), st.integers(0, 330)), max_size=6),
    limit=st.integers(10, 400),
)
def test_pieces_and_what_is_left_out_make_up_the_whole_text(text, borders, limit):
    spans = [{"start": low, "end": high, "function": "hedge", "rule": "r"} for low, high in borders]
    shown = pieces(text, spans, offset=0, length=len(text), limit=limit)
    at = 0
    for piece in shown:
        assert bool(piece.text) != bool(piece.left_out)
        end = at + len(piece.text) + piece.left_out
        if piece.text:
            assert piece.text == visible(text[at:end])
            covering = {n for n, (low, high) in enumerate(borders, 1) if low <= at and end <= high}
            assert set(piece.evidence) == covering
        at = end
    assert at == len(text)
    assert sum(len(piece.text) for piece in shown) <= max(limit, 0)


def test_the_narrowest_span_names_a_piece_that_several_cover():
    spans = [
        {"start": 0, "end": 9, "function": "refusal", "rule": "kernel"},
        {"start": 2, "end": 4, "function": "apology", "rule": "sorry"},
    ]
    shown = pieces("012345678", spans, offset=0, length=9, limit=100)
    assert [(piece.text, piece.evidence, piece.ends, piece.function) for piece in shown] == [
        ("01", (1,), (), "refusal"),
        ("23", (2, 1), (2,), "apology"),
        ("45678", (1,), (1,), "refusal"),
    ]


# Hostile texts


def test_control_and_direction_characters_become_marks_of_the_same_length():
    assert visible("a\x00b\u202ec\u2066d\U000e0041\x85") == "a␀b\ufffdc\ufffdd\ufffd\ufffd"
    assert visible("tab\tline\n ארבע 👩‍⚕️") == "tab\tline\n ארבע 👩‍⚕️"
    assert clip("\x00" * 5, 3) == "␀␀␀… [2 more characters]"


def test_hostile_texts_everywhere_stay_text(report):
    frame = marked(
        f"{HOSTILE} [[refusal_policy|cant:No]]",
        prompt=HOSTILE,
        system=HOSTILE,
        history=json.dumps([{"role": HOSTILE, "content": HOSTILE}]),
        use_case=HOSTILE,
        model_served=HOSTILE,
        outcome_raw=HOSTILE,
        language=HOSTILE,
        detector=HOSTILE,
        file=HOSTILE,
    ).with_columns(
        spans=pl.Series(
            [[{"start": 0, "end": 9, "function": HOSTILE, "rule": HOSTILE}]],
            dtype=one_verdict().schema["spans"],
        )
    )
    blocked = one_verdict(
        id="two", outcome="input_blocked", outcome_raw=HOSTILE, label=None, response=HOSTILE
    )
    page = report(
        pl.concat([frame, blocked]),
        source=HOSTILE,
        problems=[Problem(file=HOSTILE, line=1, reason=HOSTILE)],
    )
    assert len(page.all("script")) == len(page.all("style")) == 1
    assert not page.all("img")
    assert visible(HOSTILE) in [element.text for element in page.all("div", class_="response")]
    everything = "".join([page.text, *(value for element in page for value in element.attributes.values())])
    for character in ("\x00", "\x1b", "\u202e", "\u2066", "\U000e0041"):
        assert character not in everything
    assert "{{7*7}}" in page.text
    for element in page:
        assert not any(name.startswith("on") for name in element.attributes)
