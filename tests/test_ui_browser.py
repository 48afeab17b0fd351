"""The labelling page in a real browser: by keyboard, through crashes, on a phone, and with hostile text."""

from __future__ import annotations

import contextlib
import http.server
import json
import pathlib
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from aligntax import ui
from aligntax.store import Store
from aligntax.types import Annotation, Answered, Draw, Outcome, ShouldAnswer
from rounds import a_store, an_item

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH"),
]

HOSTILE = (
    "<script>window.hit = 1; alert(1)</script>",
    "<img src=x onerror='window.hit = 1'><svg onload='window.hit = 1'>",
    "</div></article></script></style></textarea></title><iframe src='https://example.com/'></iframe>",
    "'-alert(1)-' ${window.hit=1} {{7*7}} {% for x in ().__class__ %} <!-- hx-on:load='window.hit=1'",
    "<div hx-get='https://example.com/' hx-trigger='load' data-hx-on:click='window.hit=1'>go</div>",
    "\u202e<b onmouseover=window.hit=1>\u2066\u2028\ufeff</b> \u061c\u200f",
    "\x1b[31mred\x1b[0m \x1b]8;;https://example.com/\x07link\x1b]8;;\x07 \x9b31m",
    "<meta http-equiv=refresh content='0;url=https://example.com/'><base href=https://example.com/>",
    "<link rel=stylesheet href=https://example.com/a.css><style>*{background:url(https://example.com/)}</style>",
    "W" * 200_000,
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    quiet = ("--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-sync")
    with playwright.sync_playwright() as engine:
        started = engine.chromium.launch(
            executable_path=CHROMIUM, args=[*quiet, "--disable-component-update"]
        )
        yield started
        started.close()


@contextlib.contextmanager
def served(store: Store, draw: Draw) -> Iterator[str]:
    """The address of the page, served by a real server in this process."""
    config = uvicorn.Config(
        ui.app(store, draw.id), log_level="critical", access_log=False, lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


class Person:
    """Somebody at the page, with everything that went wrong in their browser."""

    def __init__(self, browser: Any, link: str, **context: object) -> None:
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(5000)
        self.faults: list[str] = []
        self.page.on("console", lambda message: self.faults.append(f"console {message.text}"))
        self.page.on("pageerror", lambda error: self.faults.append(f"error {error}"))
        self.page.on("popup", lambda _: self.faults.append("popup"))
        self.page.on("dialog", lambda dialog: (self.faults.append("dialog"), dialog.dismiss()))
        self.page.on("request", self._watch)
        self.origin = link.rpartition("/a/")[0]
        self.page.goto(link)

    def _watch(self, request: Any) -> None:
        if not request.url.startswith(self.origin):
            self.faults.append(f"request {request.url[:60]}")

    def __enter__(self) -> Person:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def type(self, keys: str) -> None:
        """Single keys; `!` is Enter."""
        for key in keys:
            self.page.keyboard.press("Enter" if key == "!" else key)

    def save(self, keys: str) -> None:
        """Keys, Enter, and wait until the next thing shows."""
        before = self.page.locator("#page").get_attribute("data-item")
        self.type(keys + "!")
        self.page.wait_for_function(
            "before => document.getElementById('page').dataset.item !== before && "
            "document.activeElement.id === 'item-title'",
            arg=before,
        )

    def shows(self, question: str) -> None:
        """Wait for the exchange with this request."""
        self.page.locator("#request-text", has_text=question).wait_for()

    @property
    def said(self) -> str:
        return self.page.locator("#said").inner_text()

    @property
    def chosen(self) -> list[str]:
        return self.page.eval_on_selector_all(
            "#labels input:checked", "boxes => boxes.map(box => `${box.name}=${box.value}`)"
        )

    @property
    def question(self) -> str:
        return self.page.locator("#request-text").inner_text()

    @property
    def wider(self) -> int:
        """Pixels that the page is wider than the window."""
        return self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )


@contextlib.contextmanager
def one_person(
    browser: Any, tmp_path: pathlib.Path, items: list[Any], **context: object
) -> Iterator[tuple[Person, Store, Draw]]:
    store, draw = a_store(tmp_path / "a.db", items)
    with (
        served(store, draw) as address,
        Person(browser, f"{address}/a/{store.add_annotator(draw.id, 'Ada')}", **context) as person,
    ):
        yield person, store, draw


def some(count: int, **changes: object) -> list[Any]:
    return [an_item(n, count, **changes) for n in range(count)]


def test_thirty_exchanges_are_labelled_by_keyboard_alone(browser: Any, tmp_path: pathlib.Path) -> None:
    with one_person(browser, tmp_path, some(30)) as (ada, store, draw):
        for number in range(30):
            assert ada.question == f"Question {number}?"
            assert ada.chosen == []
            ada.save("1fzj" if number % 3 else "3qdxk")
            assert ada.said == f"Saved, {number + 1} of 30."
        assert "You labelled 30 exchanges." in ada.page.inner_text("main")
        labels = store.annotations(draw.id)
        assert [label.exchange for label in labels] == [f"exchange-{n}" for n in range(30)]
        assert [label.answered == Answered.NONE for label in labels] == [n % 3 == 0 for n in range(30)]
        assert [label.should_answer == ShouldAnswer.NO for label in labels] == [n % 3 == 0 for n in range(30)]
        assert ada.faults == []


def test_save_waits_for_what_is_missing_and_says_it(browser: Any, tmp_path: pathlib.Path) -> None:
    with one_person(browser, tmp_path, some(2)) as (ada, store, draw):
        save = ada.page.locator("button.save")
        ada.type("1f!")
        assert save.get_attribute("aria-disabled") == "true"
        assert ada.said == "Not saved. Still to say: weakening, whether it should have been answered"
        assert ada.page.evaluate("document.activeElement.name") == "hedging"
        save.click(force=True)  # a mouse is told the same
        assert store.annotations(draw.id) == []
        ada.type("zj")
        assert save.get_attribute("aria-disabled") == "false"
        assert ada.page.locator("#missing").inner_text() == ""
        ada.save("")
        assert len(store.annotations(draw.id)) == 1
        assert ada.faults == []


def test_a_mouse_does_what_the_keys_do(browser: Any, tmp_path: pathlib.Path) -> None:
    with one_person(browser, tmp_path, some(2)) as (ada, store, draw):
        for name in ("Part", "Refuses in part", "Fitting"):
            ada.page.locator(".choice", has_text=name).first.click()
        ada.page.locator("#q-disclaimer .choice", has_text="No").click()
        ada.page.locator("#q-should_answer .choice", has_text="Unclear").click()
        ada.page.locator("button.save").dblclick()
        ada.shows("Question 1?")
        (kept,) = store.annotations(draw.id)
        assert (kept.answered, kept.kinds, kept.disclaimer, kept.hedging, kept.should_answer) == (
            "part",
            ("soft_refusal",),
            False,
            1,
            "unclear",
        )
        assert len(store.history(draw.id)) == 1


def test_a_kind_that_contradicts_the_answer_cannot_be_chosen(browser: Any, tmp_path: pathlib.Path) -> None:
    with one_person(browser, tmp_path, some(1)) as (ada, _, _):
        ada.type("3q")
        assert "kinds=hard_refusal" in ada.chosen
        ada.type("1")
        assert ada.chosen == ["answered=full"]
        ada.type("qwr")
        assert ada.chosen == ["answered=full", "kinds=soft_refusal", "kinds=verbosity_inflation"]


def test_undo_brings_the_last_one_back_filled_in_even_after_a_reload(
    browser: Any, tmp_path: pathlib.Path
) -> None:
    with one_person(browser, tmp_path, some(3)) as (ada, store, draw):
        ada.save("3qdxk")
        ada.type("u")
        ada.shows("Question 0?")
        assert ada.said == "Taken back. Change it and save again."
        assert store.annotations(draw.id) == []
        filled = ["answered=none", "kinds=hard_refusal", "disclaimer=yes", "hedging=1", "should_answer=no"]
        assert ada.chosen == filled
        ada.page.reload()
        assert ada.chosen == filled
        ada.save("j")
        (kept,) = store.annotations(draw.id)
        assert (kept.answered, kept.should_answer) == ("none", "yes")
        assert ada.question == "Question 1?"
        assert ada.chosen == []
        assert ada.faults == []


def test_a_reload_keeps_the_exchange_and_what_was_typed(browser: Any, tmp_path: pathlib.Path) -> None:
    with one_person(browser, tmp_path, some(2)) as (ada, store, draw):
        ada.type("2wf")
        ada.type("n")
        ada.page.keyboard.type("ask: was 1 meant? u")
        ada.page.reload()
        assert ada.question == "Question 0?"
        assert ada.chosen == ["answered=part", "kinds=soft_refusal", "disclaimer=no"]
        assert ada.page.locator("#note").input_value() == "ask: was 1 meant? u"
        ada.save("zj")
        assert store.annotations(draw.id)[0].note == "ask: was 1 meant? u"
        assert ada.page.locator("#note").input_value() == ""
        assert (
            ada.page.evaluate("Object.keys(sessionStorage).filter(key => key.startsWith('aligntax'))") == []
        )


def test_enter_saves_from_the_note_too_and_shift_enter_breaks_its_line(
    browser: Any, tmp_path: pathlib.Path
) -> None:
    with one_person(browser, tmp_path, some(2)) as (ada, store, draw):
        ada.type("1fzjn")
        ada.page.keyboard.type("one")
        ada.page.keyboard.press("Shift+Enter")
        ada.page.keyboard.type("two")
        ada.save("")
        assert store.annotations(draw.id)[0].note == "one\ntwo"


def test_skipping_takes_a_reason_and_two_keys(browser: Any, tmp_path: pathlib.Path) -> None:
    with one_person(browser, tmp_path, some(3)) as (ada, store, draw):
        ada.type("1fzj")
        ada.save("7")
        assert store.annotations(draw.id)[0].skipped == "knowledge"
        ada.type("s")
        assert ada.page.locator(".skip").get_attribute("open") is not None
        assert ada.page.evaluate("document.activeElement.name") == "reason"
        assert not ada.page.locator("button.save").is_visible()
        ada.type("1u")
        assert ada.chosen == []
        ada.page.keyboard.press("Escape")
        assert ada.page.locator(".skip").get_attribute("open") is None
        ada.save("1fzj")
        assert [label.skipped for label in store.annotations(draw.id)] == ["knowledge", None]
        assert ada.faults == []


def test_the_codebook_is_one_key_away_and_swallows_other_keys(browser: Any, tmp_path: pathlib.Path) -> None:
    with one_person(browser, tmp_path, some(1)) as (ada, _, _):
        ada.type("?")
        assert ada.page.locator("#codebook").is_visible()
        assert "Contested cases" in ada.page.inner_text("#codebook")
        ada.type("1fzj")
        assert ada.chosen == []
        ada.page.keyboard.press("Escape")
        assert not ada.page.locator("#codebook").is_visible()
        ada.type("??")
        assert not ada.page.locator("#codebook").is_visible()


def test_another_alphabet_on_the_keyboard_works_by_the_place_of_the_keys(
    browser: Any, tmp_path: pathlib.Path
) -> None:
    with one_person(browser, tmp_path, some(1)) as (ada, _, _):
        ada.page.evaluate(
            "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'о', code: 'KeyJ', bubbles: true}))"
        )
        assert ada.chosen == ["should_answer=yes"]


def test_two_people_double_label_and_a_third_settles(browser: Any, tmp_path: pathlib.Path) -> None:
    store, draw = a_store(tmp_path / "a.db", some(4, wanted=2))
    with served(store, draw) as address:
        links = {
            name: f"{address}/a/{store.add_annotator(draw.id, name, role=role)}"
            for name, role in (("Ada", "annotator"), ("Grace", "annotator"), ("Marie", "adjudicator"))
        }
        with Person(browser, links["Ada"]) as ada, Person(browser, links["Grace"]) as grace:
            for number in range(4):
                ada.save("1fzj")
                grace.save("1fzj" if number < 2 else "2wfzj")
            assert "Thank you" in ada.page.inner_text("main")
            assert ada.faults + grace.faults == []
        with Person(browser, links["Marie"]) as marie:
            assert "0 of 2 settled" in marie.page.inner_text("header")
            assert set(marie.chosen) == {"disclaimer=no", "hedging=0", "should_answer=yes"}
            assert "Ada" not in marie.page.content()
            marie.save("2w")
            assert marie.said == "Saved, 1 of 2."
            marie.save("1")
            assert "You settled 2 disagreements." in marie.page.inner_text("main")
            assert marie.faults == []
        settled = [label for label in store.annotations(draw.id) if label.adjudicated]
        assert [(label.annotator, label.answered) for label in settled] == [
            ("Marie", "part"),
            ("Marie", "full"),
        ]
        assert store.contested(draw.id) == []


SERVE = """
import sys
import uvicorn
from aligntax import ui
from aligntax.store import Store
store = Store(sys.argv[1])
uvicorn.run(ui.app(store, sys.argv[2]), port=int(sys.argv[3]), log_level="critical", lifespan="off")
"""


class Process:
    """A server in a process of its own, at a port that stays the same."""

    def __init__(self, path: pathlib.Path, draw: Draw) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.command = [sys.executable, "-c", SERVE, str(path), draw.id, str(self.port)]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command)
        for _ in range(400):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            threading.Event().wait(0.05)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def test_after_kill_9_of_the_server_nothing_is_lost_and_work_goes_on(
    browser: Any, tmp_path: pathlib.Path
) -> None:
    store, draw = a_store(tmp_path / "a.db", some(6))
    token = store.add_annotator(draw.id, "Ada")
    server = Process(tmp_path / "a.db", draw)
    try:
        with Person(browser, f"http://127.0.0.1:{server.port}/a/{token}") as ada:
            for _ in range(3):
                ada.save("1fzj")
            server.kill()  # right after the page said so
            assert len(store.annotations(draw.id)) == 3
            ada.type("2wfzj!")
            trouble = ada.page.locator("#trouble")
            trouble.wait_for(state="visible")
            assert "does not answer" in trouble.inner_text()
            assert "answered=part" in ada.chosen
            server.start()
            ada.save("")
            assert not ada.page.locator("#trouble").is_visible()
            ada.save("1fzj")
            ada.page.reload()
            assert ada.question == "Question 5?"
        said = [
            (label.exchange, label.answered.value) for label in store.annotations(draw.id) if label.answered
        ]
        assert said == [(f"exchange-{n}", "part" if n == 3 else "full") for n in range(5)]
        assert len(store.history(draw.id)) == 5
    finally:
        server.kill()


def test_after_a_killed_browser_nothing_is_lost(browser: Any, tmp_path: pathlib.Path) -> None:
    store, draw = a_store(tmp_path / "a.db", some(3))
    with served(store, draw) as address:
        link = f"{address}/a/{store.add_annotator(draw.id, 'Ada')}"
        with Person(browser, link) as ada:
            ada.save("1fzj")
            ada.type("2w")  # gone: it was never saved
        with Person(browser, link) as ada:
            assert ada.question == "Question 1?"
            assert "1 of 3" in ada.page.inner_text("header")


def test_hostile_text_is_shown_and_never_acts(browser: Any, tmp_path: pathlib.Path) -> None:
    items = [
        an_item(
            n,
            len(HOSTILE),
            **dict.fromkeys(("prompt", "response", "system", "use_case"), text),
            history=json.dumps([{"role": text, "content": text}]),
        )
        for n, text in enumerate(HOSTILE)
    ]
    with one_person(browser, tmp_path, items, viewport={"width": 360, "height": 740}) as (ada, store, draw):
        for text in HOSTILE:
            ada.page.evaluate(
                "document.querySelectorAll('.reading details').forEach(part => part.open = true)"
            )
            ada.page.wait_for_timeout(20)
            assert ada.wider == 0
            shown = ada.page.locator("#answer-text").text_content()
            assert len(shown) == len(text)
            assert not set(shown) & set("\u202e\u2066\x1b\x07\x9b")
            if "W" not in text:
                ada.type("n")
                ada.page.keyboard.insert_text(text[:300])
                ada.page.keyboard.press("Escape")
            ada.save("1fzj")
        assert ada.page.evaluate("window.hit") is None
        assert len(store.annotations(draw.id)) == len(HOSTILE)
        assert ada.faults == []


def test_a_hostile_note_is_inert_where_it_is_settled(browser: Any, tmp_path: pathlib.Path) -> None:
    store, draw = a_store(tmp_path / "a.db", some(1, wanted=2))
    for name, answered in (("Ada", Answered.FULL), ("Grace", Answered.NONE)):
        note = Annotation(
            exchange="exchange-0", annotator=name, answered=answered, kinds=(), note=" ".join(HOSTILE[:9])
        )
        store.label(draw.id, note)
    with (
        served(store, draw) as address,
        Person(browser, f"{address}/a/{store.add_annotator(draw.id, 'Marie', role='adjudicator')}") as marie,
    ):
        assert "<script>" in marie.page.inner_text(".sides")
        assert marie.page.evaluate("window.hit") is None
        assert marie.faults == []


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_no_window_is_too_narrow(browser: Any, tmp_path: pathlib.Path, width: int) -> None:
    wide = "| a | b |\n" + "x" * 3000
    items = [
        an_item(0, 2, response=wide, prompt=wide),
        an_item(1, 2, outcome=Outcome.INPUT_BLOCKED, response=""),
    ]
    with one_person(browser, tmp_path, items, viewport={"width": width, "height": 740}) as (ada, _, _):
        assert ada.wider == 0
        ada.type("?")
        assert ada.wider == 0
        ada.page.keyboard.press("Escape")
        cut = ada.page.eval_on_selector_all(
            ".face", "faces => faces.filter(face => face.scrollWidth > face.clientWidth).length"
        )
        assert cut == 0
        ada.save("1fzj")
        assert ada.wider == 0
        assert "stopped this request" in ada.page.inner_text(".stopped")


def test_a_long_answer_is_folded_until_its_key_is_pressed(browser: Any, tmp_path: pathlib.Path) -> None:
    items = [an_item(0, 1, response="line\n" * 3000)]
    with one_person(browser, tmp_path, items) as (ada, _, _):
        height = "document.getElementById('answer-text').clientHeight"
        assert ada.page.evaluate(height) < 700
        ada.type("a")
        assert ada.page.evaluate(height) > 10_000
        assert ada.page.evaluate("document.activeElement.id") == "answer-text"
        ada.type("1")
        assert ada.chosen == ["answered=full"]


def test_everything_has_a_name_a_place_in_the_order_and_a_visible_focus(
    browser: Any, tmp_path: pathlib.Path
) -> None:
    items = [an_item(0, 2, system="Be brief.", response="line\n" * 3000), an_item(1, 2)]
    with one_person(browser, tmp_path, items) as (ada, _, _):
        nameless = ada.page.evaluate(
            """() => [...document.querySelectorAll('button, a, input:not([type=hidden]), textarea, summary')]
            .filter(e => !(e.getAttribute('aria-label') || e.textContent || (e.labels && e.labels[0] &&
                e.labels[0].textContent) || '').trim()).map(e => e.outerHTML.slice(0, 80))"""
        )
        assert nameless == []
        ids = ada.page.eval_on_selector_all("[id]", "all => all.map(e => e.id)")
        assert len(ids) == len(set(ids))
        for group in ada.page.locator("[role=radiogroup]").all():
            assert (group.locator("legend").text_content() or "").strip()
        weaken = ada.page.get_by_role("radiogroup", name="How much does it weaken its statements?")
        assert weaken.get_by_role("radio").count() == 4
        assert weaken.get_by_role("radio", name="Fitting").get_attribute("aria-keyshortcuts") == "x"
        order, rings = [], []
        for _ in range(14):
            ada.page.keyboard.press("Tab")
            where = ada.page.evaluate(
                """() => { const e = document.activeElement; const face = e.nextElementSibling;
                const seen = face && face.classList.contains('face') ? face : e;
                return [e.name || e.textContent.trim().split(/\\s+/).slice(0, 2).join(' '),
                        getComputedStyle(seen).outlineStyle]; }"""
            )
            order.append(where[0])
            rings.append(where[1])
        assert set(rings) == {"solid"}
        assert order == [
            *("Skip to", "Codebook ?", "System prompt", "Show the", "answered"),
            *(
                "kinds",
                "kinds",
                "kinds",
                "kinds",
                "disclaimer",
                "hedging",
                "should_answer",
                "note",
                "Save and",
            ),
        ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Any, tmp_path: pathlib.Path, scheme: str) -> None:
    items = [an_item(0, 1, outcome=Outcome.OUTPUT_BLOCKED, system="s")]
    context = {"color_scheme": scheme, "reduced_motion": "reduce"}
    with one_person(browser, tmp_path, items, **context) as (ada, _, _):
        ada.type("j")
        weak = ada.page.evaluate(
            """() => {
            const light = rgb => rgb.map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
                .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
            const parts = text => text.match(/[\\d.]+/g).map(Number);
            const ground = e => { for (; e; e = e.parentElement) { const c = parts(getComputedStyle(e).backgroundColor);
                if (c.length === 3 || c[3] === 1) return c.slice(0, 3); } return [255, 255, 255]; };
            return [...document.querySelectorAll('#page *')].filter(e => e.innerText && e.offsetParent &&
                !e.matches(':disabled, :disabled *') &&
                [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())).map(e => {
                const [a, b] = [light(parts(getComputedStyle(e).color).slice(0, 3)), light(ground(e))].sort((x, y) => y - x);
                return [(a + .05) / (b + .05), e.outerHTML.slice(0, 90)]; }).filter(([ratio]) => ratio < 4.5); }"""
        )
        assert weak == []


def test_a_link_in_a_web_mail_leads_to_the_page(browser: Any, tmp_path: pathlib.Path) -> None:
    store, draw = a_store(tmp_path / "a.db", some(1))
    with served(store, draw) as address:
        link = f"{address}/a/{store.add_annotator(draw.id, 'Ada')}"
        mail = f"<a href='{link}'>your link</a>".encode()

        class Mail(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.end_headers()
                self.wfile.write(mail)

            def log_message(self, *_: object) -> None: ...

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mail) as mailbox:
            threading.Thread(target=mailbox.serve_forever).start()
            page = browser.new_context().new_page()
            page.set_default_timeout(5000)
            page.goto(f"http://localhost:{mailbox.server_port}/")  # another site than 127.0.0.1
            page.click("a")
            page.wait_for_selector("#request-text")
            assert page.url == f"{address}/"
            page.context.close()
            mailbox.shutdown()


def test_without_scripts_labels_are_saved_all_the_same(browser: Any, tmp_path: pathlib.Path) -> None:
    with one_person(browser, tmp_path, some(2), java_script_enabled=False) as (ada, store, draw):
        for field, value in (
            ("answered", "full"),
            ("disclaimer", "no"),
            ("hedging", "0"),
            ("should_answer", "yes"),
        ):
            ada.page.locator(f"input[name={field}][value='{value}']").check(force=True)
        ada.page.locator("button.save").click()
        ada.page.get_by_text("Question 1?").wait_for()
        assert len(store.annotations(draw.id)) == 1
        ada.page.locator("button.save").click()
        assert "Still to say" in ada.page.inner_text(".notice")


def test_a_page_that_belongs_to_an_older_link_saves_nothing_and_says_so(
    browser: Any, tmp_path: pathlib.Path
) -> None:
    with one_person(browser, tmp_path, some(2)) as (ada, store, draw):
        ada.type("1fzj")
        other = ada.context.new_page()  # another link, opened in the same browser
        other.goto(f"{ada.origin}/a/{store.add_annotator(draw.id, 'Grace')}")
        ada.type("!")
        trouble = ada.page.locator("#trouble")
        trouble.wait_for(state="visible")
        assert "another link" in trouble.inner_text()
        assert store.annotations(draw.id) == []
        assert len(ada.chosen) == 4
