"""The page of a certificate: the verdict first, every figure in it, and nothing that a name could do."""

from __future__ import annotations

import itertools
import pathlib
import shutil
from collections.abc import Iterator

import msgspec
import pytest

from aligntax.errors import InputError
from aligntax.report.certificate import render_certificate, write_certificate
from aligntax.weights.certifying.certificate import Outside, changed
from aligntax.weights.certifying.words import measure
from certificates import KINDS, certificate, norm_of
from pages import parse

HEAD = Outside(name="lm_head.weight", layer=None, why="head", norm=1.1, relative_norm=None, share=0.11)
ATTACK = "</title><script>window.hit = 1</script><img src=x onerror='window.hit = 1'>\u202e"


def test_the_verdict_comes_first_with_its_figures_beside_it():
    page = parse(render_certificate(certificate(80)))
    assert page.one("h1").words == (
        "All 560 changed matrices stay within a leak of 0.1 on held-out data, and nothing else was changed."
    )
    figures = [element.words for element in page.one("dl", class_="beside").all("dd")]
    assert figures[1].startswith("0.00213")
    assert figures[3].startswith("none")


def test_what_lies_outside_is_named_in_the_verdict_and_in_the_table():
    page = parse(render_certificate(certificate(4, outside=(norm_of(3), HEAD))))
    assert page.one("h1").words == "A norm and the head were changed, of which no leak speaks."
    rows = page.section("outside").all("tr")[1:]
    assert [row.all("th")[0].words for row in rows] == [
        "lm_head.weight",
        "model.layers.3.input_layernorm.weight",
    ]
    assert [cell.words for cell in rows[0].all("td")] == ["head", "1.10", "–", "11.0%"]


def test_a_panel_a_kind_and_a_mark_a_matrix():
    shown = certificate(80, high=0.05)
    leaks = parse(render_certificate(shown)).section("leak")
    charts = leaks.all("svg", class_="leaks")
    assert len(charts) == len(KINDS)
    assert [len(chart.all("g")) for chart in charts] == [80] * len(KINDS)
    outside = sum(matrix.ruling == "outside" for matrix in shown.matrices)
    assert outside > 5
    assert sum(len(chart.all("path", class_="leak-outside")) for chart in charts) == outside


def test_marks_stand_inside_of_their_panel_and_higher_where_the_leak_is_higher():
    shown = certificate(12, high=0.2)
    charts = parse(render_certificate(shown)).section("leak").all("svg", class_="leaks")
    for kind, chart in zip(KINDS, charts, strict=True):
        matrices = [matrix for matrix in shown.matrices if matrix.kind == kind]
        marks = [group.all("line", class_="between")[0] for group in chart.all("g")]
        down = [float(mark.attributes["y1"]) for mark in marks]
        assert all(0 <= place <= 130 for place in down)
        by_leak = sorted(zip(matrices, down, strict=True), key=lambda pair: pair[0].leak.high)
        assert all(first[1] >= second[1] for first, second in itertools.pairwise(by_leak))


def test_every_changed_matrix_is_in_the_table_with_its_numbers():
    shown = certificate(4)
    tables = parse(render_certificate(shown)).section("leak").all("table", class_="every")
    rows = tables[0].all("tr")[1:]
    for row, matrix in zip(rows, changed(shown.matrices), strict=True):
        assert row.all("th")[0].words == f"{matrix.layer} {matrix.kind}"
        assert measure(matrix.leak.held_out) in row.words
        assert measure(matrix.leak.calibration) in row.words


def test_too_little_data_says_how_much_more():
    page = parse(render_certificate(certificate(2, enough=False)))
    assert page.one("h1").words.startswith("For 14 of 14 changed matrices the data do not decide")
    assert "4,000 more held-out tokens" in page.section("headline").words


def test_an_unchanged_model_has_a_page_without_leaks():
    same = certificate(2)
    still = tuple(
        msgspec.structs.replace(m, norm=0.0, leak=None, effect=None, ruling="unchanged")
        for m in same.matrices
    )
    page = parse(render_certificate(msgspec.structs.replace(same, matrices=still, ruling="unchanged")))
    assert page.one("h1").words.startswith("Nothing was changed")
    assert page.all("svg", class_="leaks") == []


def test_a_matrix_that_no_input_reached_is_said_to_be_unmeasured():
    shown = certificate(2)
    first = msgspec.structs.replace(shown.matrices[0], leak=None, effect=None, ruling="unmeasured")
    page = parse(
        render_certificate(
            msgspec.structs.replace(shown, matrices=(first, *shown.matrices[1:]), ruling="outside")
        )
    )
    assert page.one("h1").words == "No inputs reached 1 of 14 changed matrices."
    assert "not measured" in page.section("leak").words


def test_it_says_what_it_rests_on_and_how_to_repeat_it():
    shown = certificate(2, chat=False)
    page = parse(render_certificate(shown))
    for digest in (shown.base.sha256, shown.tuned.sha256, shown.held_out.sha256):
        assert digest in page.section("method").words
    command = page.one("pre", class_="repeat").words
    assert (
        "--held-out 0.3 --leak-target 0.1 --level 0.95 --max-tokens 512 --dtype bfloat16 --no-chat" in command
    )


def hostile() -> str:
    shown = certificate(3, high=0.5, name=ATTACK, outside=(msgspec.structs.replace(HEAD, name=ATTACK),))
    named = tuple(
        msgspec.structs.replace(matrix, name=f"model.layers.{matrix.layer}.{ATTACK}.{place}")
        for place, matrix in enumerate(shown.matrices)
    )
    return render_certificate(
        msgspec.structs.replace(
            shown,
            matrices=named,
            settings=(ATTACK,),
            notes=(ATTACK,),
            base=msgspec.structs.replace(shown.base, name=ATTACK, sha256=ATTACK, dtypes=(ATTACK,)),
            held_out=msgspec.structs.replace(shown.held_out, name=ATTACK),
            packages={ATTACK: ATTACK},
        )
    )


def test_names_are_text_whatever_they_hold():
    page = parse(hostile())  # a tag that a name could open would not be closed
    assert len(page.all("script")) == 1
    assert page.all("img") == []
    assert "\u202e" not in page.section("headline").text


def test_a_page_that_cannot_be_written_is_an_error_in_one_line(tmp_path: pathlib.Path):
    assert write_certificate(certificate(2), tmp_path / "certificate.html").stat().st_size > 10_000
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_certificate(certificate(2), tmp_path / "folder")


# -- in a browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on PATH")
    with playwright.sync_playwright() as engine:
        started = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-quic"])
        yield started
        started.close()


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 768, 1280])
@pytest.mark.parametrize("which", ["large", "small", "hostile"])
def test_the_page_fits_every_width_and_runs_nothing_of_a_name(browser, width, which, tmp_path):
    text = {
        "large": lambda: render_certificate(certificate(80, high=0.05, outside=(HEAD, norm_of(2)))),
        "small": lambda: render_certificate(certificate(2)),
        "hostile": hostile,
    }[which]()
    file = tmp_path / "certificate.html"
    file.write_text(text, encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 800})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("window.hit") is None
    assert said == []
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.close()
