"""From scores to sentences: what is claimed, what is not, and the page that says so."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from aligntax.lab.answers import _grouped, headline, questions_of
from aligntax.lab.as_json import document, write_json
from aligntax.lab.findings import AT, compare, ends_of, front_of, number, operating, rows_of
from aligntax.lab.over_seeds import OverSeeds, differences, over_seeds
from aligntax.lab.report import write_lab_report
from lab_runs import small_run
from pages import Element, parse

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def seeds(*values: float | None) -> OverSeeds:
    return over_seeds(values)


# -- numbers over seeds


def test_the_interval_over_three_seeds_is_students_with_two_degrees_of_freedom() -> None:
    mean = seeds(0.1, 0.2, 0.3).mean
    half = 4.302653 * 0.1 / 3**0.5  # t(.975, 2) s / sqrt n
    assert mean.value == pytest.approx(0.2)
    assert (mean.low, mean.high) == pytest.approx((0.2 - half, 0.2 + half), abs=1e-6)


def test_one_seed_has_no_interval_and_shows_nothing() -> None:
    assert seeds(0.5).mean.low is None
    (one,) = differences([("UTIL", "a", seeds(0.9), "b", seeds(0.1))])
    assert (one.word, one.p, one.shown) == ("one seed", None, False)


def test_a_seed_without_an_operating_point_leaves_a_pair_untested() -> None:
    found = differences(
        [("UTIL", "a", seeds(0.9, None, 0.9), "b", seeds(0.1, 0.1, 0.1)),
         ("UTIL", "c", seeds(0.91, 0.92, 0.9), "b", seeds(0.1, 0.1, 0.1))]
    )  # fmt: skip
    assert [one.word for one in found] == ["no operating point", "higher"]
    assert found[0].values == (pytest.approx(0.8), None, pytest.approx(0.8))


def test_holm_is_over_all_comparisons_of_a_question() -> None:
    near = ("UTIL", "a", seeds(0.30, 0.36, 0.33), "b", seeds(0.2, 0.2, 0.2))
    alone = differences([near])
    among = differences(
        [near, *(("UTIL", str(at), seeds(0.1, 0.3, 0.2), "b", seeds(0.2, 0.2, 0.2)) for at in range(9))]
    )
    assert alone[0].word == "higher"
    assert among[0].word == "no difference beyond noise"
    assert among[0].p == pytest.approx(10 * alone[0].p)
    assert among[0].mean == alone[0].mean


def test_seeds_that_agree_are_believed_no_finer_than_a_prompt() -> None:
    same = [("UTIL", "a", seeds(0.5, 0.5, 0.5), "b", seeds(0.49, 0.49, 0.49))]
    assert differences(same)[0].word == "higher"
    assert differences(same, grain=0.02)[0].word == "no difference beyond noise"


def test_no_false_claim_in_more_than_one_question_of_twenty() -> None:
    random = np.random.default_rng(3)
    claimed = 0
    for _ in range(400):
        table = random.normal(0.8, 0.03, size=(9, 3))
        pairs = [("UTIL", str(at), seeds(*row), "b", seeds(*table[0])) for at, row in enumerate(table[1:])]
        claimed += any(one.shown for one in differences(pairs))
    assert claimed / 400 < 0.05 + 2 * (0.05 * 0.95 / 400) ** 0.5


# -- rows and sentences


def test_a_row_is_the_report_of_what_selection_chose() -> None:
    results = small_run()
    row = next(row for row in rows_of(results) if row.method == "sft")
    for at, outcome in enumerate(results.of("sft")):
        safe = [point for point in outcome.points if point.selection.scores.safe >= AT]
        best = max((point.selection.scores.useful for point in safe), default=None)
        chosen = operating(outcome, AT)
        assert (None if chosen is None else chosen.selection.scores.useful) == best
        told = row.scores["UTIL"].values[at]
        assert told == (None if chosen is None or chosen.report is None else chosen.report.scores.useful)
    assert row.cpu_s > 0


def test_no_front_holds_a_point_that_another_of_it_beats_on_selection() -> None:
    for outcome in small_run().outcomes:
        points = [point.selection.scores.measured.point for point in front_of(outcome)]
        assert not any(a != b and a[0] <= b[0] and a[1] <= b[1] for a in points for b in points)


def test_claims_come_with_their_intervals_and_the_others_are_called_noise() -> None:
    found = differences(
        [("UTIL", "first", seeds(0.9, 0.91, 0.92), "b", seeds(0.5, 0.5, 0.5)),
         ("UTIL", "second", seeds(0.2, 0.21, 0.2), "b", seeds(0.5, 0.5, 0.5)),
         ("UTIL", "third", seeds(0.3, 0.7, 0.5), "b", seeds(0.5, 0.5, 0.5)),
         ("UTIL", "fourth", seeds(0.3, 0.7, None), "b", seeds(0.5, 0.5, 0.5))]
    )  # fmt: skip
    assert _grouped(found) == (
        "Higher: first +.41 [.39, .43]. Lower: second -.30 [-.31, -.28]. No difference beyond noise: third +.00. "
        "Without a state that safe on every seed: fourth."
    )


def test_every_question_is_answered_with_numbers_and_its_verdicts_are_those_of_its_comparisons() -> None:
    results = small_run()
    questions = questions_of(results)
    assert [question.key for question in questions] == [
        "tax", "averaging", "blocks", "protected", "over", "beaten", "free",
    ]  # fmt: skip
    for question in questions:
        text = " ".join(question.answer)
        assert re.search(r"\.\d\d", text), question.key
        if not any(one.shown for one in question.compared):
            assert "higher" not in text.lower().replace("is higher", "")
    tax = questions[0].compared[0]
    assert questions[0].answer[0].startswith("Yes" if tax.word == "lower" else "Not beyond noise")
    beaten = questions[5]
    better = [one.first for one in beaten.compared if one.word == "higher"]
    assert beaten.answer[0].startswith("Beaten by" if better else "Nothing beats it here")
    assert f"{len(better) or 'none'} of {len(beaten.compared)} other methods" in headline(results)


def test_questions_whose_methods_were_not_run_say_so() -> None:
    results = small_run()
    kept = tuple(one for one in results.outcomes if one.method in ("sft", "early", "average"))
    plan = msgspec.structs.replace(results.plan, methods=("sft", "early", "average"))
    fewer = msgspec.structs.replace(results, outcomes=kept, plan=plan)
    told = {question.key: question.answer[0] for question in questions_of(fewer)}
    assert told["blocks"] == told["protected"] == "Its methods were not run."


def test_comparisons_leave_out_what_was_not_run() -> None:
    rows = rows_of(small_run())
    assert len(compare(rows, [("CAP", "null-lora", "sft"), ("CAP", "absent", "sft")], grain=0)) == 1
    assert number(rows[0], "hypervolume") is rows[0].hypervolume


def test_ends_hold_the_base_which_refuses_nothing() -> None:
    scores = ends_of(small_run()).scores
    assert scores["base"]["OVER"].values == scores["base"]["SAFE"].values == (0.0, 0.0)


# -- the page and the document


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Element:
    out = tmp_path_factory.mktemp("lab") / "report.html"
    write_lab_report(small_run(), out, command="aligntax lab run --quick")
    return parse(out.read_text("utf-8"))


def test_the_page_opens_with_the_headline_and_holds_every_answer(page: Element) -> None:
    results = small_run()
    assert page.one("h1").words == headline(results)
    answers = [element.words for element in page.all("div", class_="answer")]
    for question, shown in zip(questions_of(results), answers, strict=True):
        assert question.asked in shown
        assert all(" ".join(text.split()) in shown for text in question.answer)


def test_every_method_is_in_the_table_with_its_seeds_and_mean(page: Element) -> None:
    results = small_run()
    cells = {
        row.one("th", role="rowheader").children[0]: [cell.words for cell in row.all("td")]
        for row in page.section("methods").all("tr")
        if row.all("td")
    }
    for row in rows_of(results):
        values = row.at["0.7"].values
        assert cells[row.label][:2] == ["none" if value is None else f"{value:.2f}" for value in values]


def test_the_page_has_a_panel_a_seed_and_fetches_nothing(page: Element) -> None:
    fronts = page.section("fronts")
    assert len(fronts.all("figure")) == 2 * len(fronts.all("h3"))
    assert (
        "default-src 'none'" in page.one("meta", http_equiv="Content-Security-Policy").attributes["content"]
    )
    assert not [e for e in page if e.attributes.get("src") or e.attributes.get("style")]


def test_the_page_says_how_to_repeat_it(page: Element) -> None:
    told = page.section("repeat").words
    assert "aligntax lab run --quick" in told
    assert small_run().digest in told


def test_the_document_holds_every_state_and_is_plain_json(tmp_path: Path) -> None:
    results = small_run()
    write_json(results, tmp_path / "results.json")
    read = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert read["form"] == "aligntax lab 1"
    assert len(read["states"]) == sum(len(outcome.points) for outcome in results.outcomes)
    assert read["headline"] == headline(results)
    assert read == json.loads(msgspec.json.encode(document(results)))


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH")
@pytest.mark.parametrize("width", [1180, 420])
def test_nothing_runs_over_the_edge_of_a_screen(tmp_path: Path, width: int) -> None:
    browser = pytest.importorskip("playwright.sync_api")
    out = tmp_path / "report.html"
    write_lab_report(small_run(), out, command="aligntax lab run --quick")
    with browser.sync_playwright() as engine:
        started = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-quic"])
        shown = started.new_page(viewport={"width": width, "height": 800})
        said: list[str] = []
        shown.on("console", lambda message: said.append(message.text))
        shown.goto(out.as_uri())
        wide = shown.evaluate("document.documentElement.scrollWidth")
        over = shown.evaluate(
            "[...document.querySelectorAll('table')].filter(t => !t.closest('.scroll') && !t.closest('details')"
            " && t.getBoundingClientRect().right > innerWidth).length"
        )
        started.close()
    assert (wide, over, said) == (width, 0, [])
