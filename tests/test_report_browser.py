"""The report in a real browser: it does what it says, fits every width, and runs nothing from a log."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Iterator

import msgspec
import polars as pl
import pytest

from aligntax import estimate
from aligntax.report import Gated, write_report
from aligntax.types import Problem
from surveys import compared, decided, labelled, surveyed
from verdicts import one_verdict, verdict_frame

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH"),
]

ATTACKS = (
    "<script>window.hit = 1; alert(1)</script>",
    "<img src=x onerror='window.hit = 1'>",
    "</script></style></textarea></title><svg onload='window.hit = 1'>",
    '"><iframe src="https://example.com/"></iframe><a href="javascript:window.hit=1">go</a>',
    "'-alert(1)-' ${window.hit=1} {{7*7}} {% for x in ().__class__ %} <!--",
    "\u202e<b onmouseover=window.hit=1>\u2066\x00\u2028</b>",
    "<meta http-equiv=refresh content='0;url=https://example.com/'><base href=https://example.com/>",
    "<link rel=stylesheet href=https://example.com/a.css><style>*{background:url(https://example.com/)}</style>",
)


LIMITS = "version: 1\nuse_cases:\n  legal: {ceiling: {over_refusal: 5 %}}\n"


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    quiet = ("--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-sync")
    with playwright.sync_playwright() as engine:
        started = engine.chromium.launch(
            executable_path=CHROMIUM, args=[*quiet, "--disable-component-update"]
        )
        yield started
        started.close()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The report of an ordinary log."""
    problems = [Problem(file="calls.jsonl", line=12, reason="not valid JSON")]
    out = tmp_path_factory.mktemp("plain") / "report.html"
    return write_report(verdict_frame(2000, seed=4), out, source="calls.jsonl", problems=problems)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The report of a log in which every field that people or vendors fill is an attack."""
    span = {"start": 0, "end": 6}
    rows = [
        one_verdict(
            id=str(n),
            **dict.fromkeys(("prompt", "response", "system", "use_case", "model_served"), attack),
            **dict.fromkeys(("language", "detector", "file", "outcome_detail", "tags"), attack),
            history=json.dumps([{"role": attack, "content": attack}]),
            spans=[span | {"function": attack, "rule": attack}],
            hard_refusal=0.9,
            label="refused",
        )
        for n, attack in enumerate(ATTACKS)
    ]
    rows.append(one_verdict(id="big", response="<b>x" * 2_500_000, hard_refusal=0.9))
    rows.append(one_verdict(id="raw", outcome="truncated", outcome_raw=ATTACKS[0], label=None))
    rows.append(one_verdict(id="wide", use_case="W" * 5000, model_served="m" * 5000, response="R" * 9000))
    frame = pl.concat(rows)
    problems = [Problem(file=attack, line=1, reason=attack) for attack in ATTACKS]
    out = tmp_path_factory.mktemp("hostile") / "report.html"
    return write_report(frame, out, source=ATTACKS[2], problems=problems)


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The report of an ordinary log with labels, a comparison and a decision of the gate."""
    frame = verdict_frame(800, seed=4)
    return write_report(
        frame,
        tmp_path_factory.mktemp("signed") / "report.html",
        source="calls.parquet",
        survey=surveyed(frame),
        comparison=compared(frame, "writer-2024-11", "writer-2025-04"),
        decision=decided(frame, "version: 1\nuse_cases:\n  legal research: {ceiling: {over_refusal: 5 %}}\n"),
    )


@pytest.fixture(scope="module")
def hostile_labels(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The report of a labelled log in which slices, models, people, files and limits are named by an attacker."""
    names = [*ATTACKS, "W" * 5000]
    count = 24 * len(names)
    frame = verdict_frame(count, seed=5).with_columns(
        use_case=pl.Series([names[n % len(names)] for n in range(count)]),
        model_served=pl.Series([ATTACKS[n // len(names) % 2] for n in range(count)]),
    )
    draw, notes = labelled(frame, ("use_case", "model"), budget=260)
    second = [msgspec.structs.replace(note, annotator=ATTACKS[n % 3]) for n, note in enumerate(notes)]
    survey = estimate.survey(frame.lazy(), draw, [*notes, *second], by=("use_case", "model"))
    survey = dataclasses.replace(
        survey, draw=msgspec.structs.replace(draw, source=ATTACKS[0], detector=ATTACKS[5])
    )
    record = dict(decided(frame.with_columns(use_case=pl.lit("legal")), LIMITS).record)
    side = record["inputs"]["candidate"] | {
        "model": ATTACKS[2],
        "verdicts": {"file": ATTACKS[5], "sha256": "a"},
    }
    record |= {"ungated": ATTACKS, "inputs": record["inputs"] | {"candidate": side}}
    record["findings"] = [
        record["findings"][0] | {"rule": record["findings"][0]["rule"] | {"use_case": name}, "sentence": name}
        for name in names
    ]
    return write_report(
        frame,
        tmp_path_factory.mktemp("hostile-labels") / "report.html",
        source=ATTACKS[2],
        survey=survey,
        comparison=compared(frame, *ATTACKS[:2]),
        decision=Gated(record=record),
    )


class Watched:
    """A page together with everything it did that a report must not do."""

    def __init__(self, browser: playwright.Browser, path: pathlib.Path, **context: object) -> None:
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.events: list[str] = []
        self.page.on(
            "dialog", lambda dialog: (self.events.append(f"dialog {dialog.message}"), dialog.dismiss())
        )
        self.page.on("console", lambda message: self.events.append(f"console {message.text}"))
        self.page.on("pageerror", lambda error: self.events.append(f"error {error}"))
        self.page.on("popup", lambda _: self.events.append("popup"))
        self.page.on("request", lambda request: self.events.append(f"request {request.url[:80]}"))
        self.page.goto(path.as_uri())
        self.first_request = self.events.pop(0)

    def __enter__(self) -> playwright.Page:
        return self.page

    def __exit__(self, *_: object) -> None:
        self.context.close()


def shown(page: playwright.Page) -> list[str]:
    """The numbers of the examples that are visible."""
    return page.locator(".example:visible .place").all_inner_texts()


def overflow(page: playwright.Page) -> int:
    """Pixels that the page is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def open_everything(page: playwright.Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")


# What must never happen


def test_a_hostile_log_runs_nothing_asks_for_nothing_and_stays_text(browser, hostile):
    watched = Watched(browser, hostile)
    with watched as page:
        open_everything(page)
        for mark in page.locator("mark:visible").all()[:6]:
            mark.hover()
            mark.focus()
        page.get_by_role("searchbox").fill("<script>")
        page.select_option("select[name=slice0]", index=2)
        page.wait_for_timeout(200)
        assert watched.events == []
        assert watched.first_request.startswith("request file://")
        assert page.evaluate("window.hit") is None
        assert page.url == hostile.as_uri()
        kinds = page.evaluate(
            "[...new Set([...document.querySelectorAll('*')].map(e => e.localName))].join(' ')"
        ).split()
        assert not {"iframe", "img", "base", "link", "b", "textarea", "object", "embed"} & set(kinds)
        assert page.locator("script").count() == page.locator("style").count() == 1
        assert page.locator("a:not([href^='#'])").count() == 0
        assert page.evaluate(
            "[...document.querySelectorAll('*')].every(e => [...e.attributes].every(a => !/^on/.test(a.name)))"
        )


def test_attacks_are_shown_as_they_were_written(browser, hostile):
    with Watched(browser, hostile) as page:
        texts = page.locator(".example .response").all_text_contents()
        # The evidence number stands behind the marked first six characters.
        assert any(text.startswith("<scrip1t>window.hit") for text in texts)
        assert any("{{7*7}}" in text for text in texts)
        assert page.locator("h1").inner_text().startswith("72.7% of calls")


def test_an_ordinary_report_makes_no_request_and_no_noise(browser, plain):
    watched = Watched(browser, plain)
    with watched as page:
        open_everything(page)
        page.wait_for_timeout(200)
        assert watched.events == []


def test_hostile_names_of_slices_people_files_and_limits_stay_text(browser, hostile_labels):
    watched = Watched(browser, hostile_labels)
    with watched as page:
        open_everything(page)
        page.wait_for_timeout(200)
        assert watched.events == []
        assert page.evaluate("window.hit") is None
        assert page.url == hostile_labels.as_uri()
        elements = page.evaluate(
            "[...new Set([...document.querySelectorAll('*')].map(e => e.localName))].join(' ')"
        )
        assert not {"iframe", "img", "base", "link", "b", "textarea", "object", "embed"} & set(
            elements.split()
        )
        assert page.locator("script").count() == page.locator("style").count() == 1
        assert page.locator("a:not([href^='#'])").count() == 0
        for section in ("corrected", "comparison", "gate", "labels"):
            text = page.locator(f"section[aria-labelledby={section}]").inner_text()
            assert "<script>window.hit = 1; alert(1)</script>" in text, section
            assert not set("\u202e\u2066\x00") & set(text), section


# Labels


def test_a_plot_draws_names_and_numbers_that_do_not_touch(browser, signed):
    with Watched(browser, signed, viewport={"width": 400, "height": 800}) as page:
        boxes = page.locator("section[aria-labelledby=corrected] svg.forest").first.evaluate(
            "plot => [...plot.querySelectorAll('g')].map(row => ['.row-name', '.row-value'].map("
            "css => row.querySelector(css).getBoundingClientRect().toJSON()))"
        )
        assert len(boxes) == 13
        assert all(name["right"] < value["left"] for name, value in boxes)


def test_the_marks_of_a_plot_stand_out_in_both_themes(browser, signed):
    for scheme in ("light", "dark"):
        with Watched(browser, signed, color_scheme=scheme) as page:
            ground, *inks = page.evaluate(
                "[getComputedStyle(document.body).backgroundColor, ...['.estimate', '.row-name', '.limit'].map(css => {"
                " const style = getComputedStyle(document.querySelector('svg.forest ' + css));"
                " return css === '.limit' ? style.stroke : style.fill; })]"
            )
            assert all(ink not in {ground, "none", "rgb(0, 0, 0)"} for ink in inks), (scheme, inks)


def test_print_keeps_plots_within_the_page(browser, signed):
    with Watched(browser, signed, viewport={"width": 688, "height": 1000}) as page:
        page.emulate_media(media="print")
        assert overflow(page) <= 0
        assert page.locator("section[aria-labelledby=corrected] svg.forest").first.is_visible()


# Examples


def test_pages_of_twenty_examples_turn(browser, plain):
    with Watched(browser, plain) as page:
        assert shown(page) == [str(n) for n in range(1, 21)]
        assert page.locator("#shown").inner_text() == "1 to 20 of 400 examples"
        assert page.locator("#previous").is_disabled()
        page.locator("#next").click()
        assert shown(page)[0] == "21"
        page.locator("#previous").click()
        assert shown(page)[0] == "1"


def test_filters_narrow_by_verdict_kind_slice_and_text_together(browser, plain):
    with Watched(browser, plain) as page:
        page.select_option("select[name=verdict]", "refused")
        page.select_option("select[name=kinds]", "topic_avoidance")
        page.select_option("select[name=slice0]", "security engineering")
        page.select_option("select[name=slice1]", "writer-2024-11")
        page.get_by_role("searchbox").fill("IMPORTANT topic")
        cards = page.locator(".example:visible")
        assert cards.count() > 0
        for card in cards.all():
            assert card.get_attribute("data-verdict") == "refused"
            assert "topic_avoidance" in (card.get_attribute("data-kinds") or "")
            assert card.get_attribute("data-slice0") == "security engineering"
            assert card.get_attribute("data-slice1") == "writer-2024-11"
            assert "important topic" in (card.text_content() or "").lower()
        page.get_by_role("searchbox").fill("no answer holds these words")
        assert cards.count() == 0
        assert page.locator("#shown").inner_text() == "No example matches these filters."


def test_j_and_k_walk_through_the_examples_and_across_pages(browser, plain):
    with Watched(browser, plain) as page:

        def focused() -> str | None:
            return page.evaluate("document.activeElement.id")

        page.keyboard.press("j")
        assert focused() == "example-1"
        page.keyboard.press("k")
        assert focused() == "example-1"
        for _ in range(20):
            page.keyboard.press("j")
        assert focused() == "example-21"
        assert shown(page)[0] == "21"
        page.keyboard.press("k")
        assert focused() == "example-20"
        page.get_by_role("searchbox").focus()
        page.keyboard.press("j")
        assert page.get_by_role("searchbox").input_value() == "j"


def test_evidence_says_what_it_is_on_focus_and_on_hover(browser, plain):
    with Watched(browser, plain) as page:
        mark = page.locator("mark:visible").first
        note = "getComputedStyle(document.querySelector('mark:not([hidden] *)'), '::after').content"
        assert page.evaluate(note) == "none"
        mark.focus()
        assert "rule" in page.evaluate(note)
        mark.blur()
        mark.hover()
        assert mark.get_attribute("data-note") in page.evaluate(note)


def test_without_javascript_numbers_charts_and_examples_are_there(browser, plain):
    with Watched(browser, plain, java_script_enabled=False) as page:
        assert "%" in page.locator("h1").inner_text()
        assert page.locator("svg.lines").is_visible()
        assert len(shown(page)) == 20
        page.locator("#more-examples > summary").click()
        assert len(shown(page)) == 400
        assert not page.locator("#filters").is_visible()
        assert not page.locator("#theme").is_visible()


# Look


def test_the_theme_follows_the_system_and_the_button(browser, plain):
    ground = "getComputedStyle(document.body).backgroundColor"
    grounds = {}
    for scheme in ("light", "dark"):
        with Watched(browser, plain, color_scheme=scheme) as page:
            grounds[scheme] = page.evaluate(ground)
            button = page.get_by_role("button", name="Dark")
            assert button.get_attribute("aria-pressed") == str(scheme == "dark").lower()
            button.click()
            other = page.evaluate(ground)
            assert button.get_attribute("aria-pressed") == str(scheme == "light").lower()
            button.click()
            assert page.evaluate(ground) == grounds[scheme] != other
    assert grounds["light"] != grounds["dark"]


@pytest.mark.parametrize("width", [360, 768, 1600])
@pytest.mark.parametrize("log", ["plain", "hostile", "signed", "hostile_labels"])
def test_the_page_never_scrolls_sideways(browser, request, log, width):
    path = request.getfixturevalue(log)
    with Watched(browser, path, viewport={"width": width, "height": 800}) as page:
        assert overflow(page) <= 0
        open_everything(page)
        assert overflow(page) <= 0


def test_nothing_moves_after_the_first_paint(browser, plain):
    with Watched(browser, plain) as page:
        page.wait_for_timeout(200)
        shift = page.evaluate(
            "new Promise(done => { let sum = 0; new PerformanceObserver(list => {"
            " for (const e of list.getEntries()) sum += e.value; })"
            ".observe({type: 'layout-shift', buffered: true}); setTimeout(() => done(sum), 200); })"
        )
        assert shift < 0.01


def test_the_skip_link_comes_first_and_leads_to_the_findings(browser, plain):
    with Watched(browser, plain) as page:
        page.keyboard.press("Tab")
        link = page.locator(":focus")
        assert link.inner_text() == "Skip to the findings"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"


def test_focus_is_visible_on_every_kind_of_control(browser, plain):
    with Watched(browser, plain) as page:
        outline = "e => getComputedStyle(e).outlineStyle + getComputedStyle(e).outlineWidth"
        page.keyboard.press("Tab")  # from here on focus counts as the keyboard's
        for control in ("#theme", "nav a", "summary", "select", "input", "#next", ".response", "mark"):
            element = page.locator(f"{control}:visible").first
            element.focus()
            assert element.evaluate(outline) == "solid3px", control


def test_print_shows_whole_answers_and_no_controls(browser, plain):
    with Watched(browser, plain) as page:
        page.emulate_media(media="print")
        assert not page.locator("#filters").is_visible()
        assert not page.locator("nav").is_visible()
        assert (
            page.locator(".response:visible").first.evaluate("e => getComputedStyle(e).maxHeight") == "none"
        )
