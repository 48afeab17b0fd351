"""The labelling page, address by address: what it shows, what it keeps, and whom it turns away."""

from __future__ import annotations

import asyncio
import datetime as dt
import importlib.util
import json
import logging
import os
import pathlib
import signal
import socket
import subprocess
import sys
import urllib.parse
from collections.abc import AsyncIterator, Iterator

import httpx
import msgspec
import pytest
from starlette.applications import Starlette

from aligntax import ui
from aligntax.errors import InputError, MissingExtra
from aligntax.label.codebook import load_codebook
from aligntax.store import Store
from aligntax.types import Annotation, Answered, Draw, Item, Kind, Outcome, ShouldAnswer
from aligntax.ui.guard import HEADERS
from aligntax.ui.pages import KEYS, time_left, turns
from aligntax.ui.questions import NOTE_LIMIT
from aligntax.ui.serving import _links
from pages import Element, parse
from rounds import NOW, a_draw, a_store, an_item

BASE = "http://127.0.0.1:8600"
COMPLETE = {"answered": "full", "disclaimer": "no", "hedging": "0", "should_answer": "yes"}


RUNNER = asyncio.Runner()


@pytest.fixture(scope="module", autouse=True)
def closed_runner() -> Iterator[None]:
    yield
    RUNNER.close()


class Client:
    """A browser without scripts, straight at the application."""

    def __init__(self, app: Starlette, base: str = BASE, cookies: httpx.Cookies | None = None) -> None:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(
            transport=transport, base_url=base, follow_redirects=True, cookies=cookies, trust_env=False
        )
        self.cookies = self.client.cookies

    def get(self, path: str, **settings: object) -> httpx.Response:
        return RUNNER.run(self.client.get(path, **settings))

    def post(self, path: str, **settings: object) -> httpx.Response:
        return RUNNER.run(self.client.post(path, **settings))


class Visit:
    """One person's browser at the page, without scripts."""

    def __init__(
        self, store: Store, draw: Draw, name: str = "Ada", role: str = "annotator", **app: object
    ) -> None:
        self.store, self.draw, self.name = store, draw, name
        self.token = store.add_annotator(draw.id, name, role=role)
        self.client = Client(ui.app(store, draw.id, **app))
        self.page = self.read(self.client.get(f"/a/{self.token}"))

    def read(self, response: httpx.Response) -> Element:
        self.response = response
        self.page = parse(response.text)
        return self.page

    def home(self) -> Element:
        return self.read(self.client.get("/"))

    def fields(self, form: str = "/label") -> dict[str, object]:
        """What the form would send as it stands."""
        found = self.page.one("form", action=form)
        hidden = {e.attributes["name"]: e.attributes["value"] for e in found.all("input", type="hidden")}
        return hidden | chosen(self.page)

    def send(self, form: str = "/label", **changes: object) -> Element:
        return self.read(self.client.post(form, data=self.fields(form) | changes))

    def label(self, **changes: object) -> Element:
        return self.send("/label", **(COMPLETE | changes))

    @property
    def exchange(self) -> str:
        return str(self.fields()["exchange"])


async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
    yield body[:50_000]
    yield body[50_000:]


def chosen(page: Element) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for question in page.all("fieldset", class_="question"):
        for box in question.all("input"):
            if "checked" in box.attributes:
                found.setdefault(box.attributes["name"], []).append(box.attributes["value"])
    return found


def fields_asked(page: Element) -> list[str]:
    return [question.attributes["data-field"] for question in page.all("fieldset", class_="question")]


def notice(page: Element) -> str:
    return page.one("p", class_="notice").words


@pytest.fixture
def ten(tmp_path: pathlib.Path) -> Visit:
    return Visit(*a_store(tmp_path / "a.db", [an_item(n, 10) for n in range(10)]))


def one_item(tmp_path: pathlib.Path, **changes: object) -> Visit:
    return Visit(*a_store(tmp_path / "a.db", [an_item(0, 1, **changes)]))


def contested_by_two(tmp_path: pathlib.Path) -> tuple[Store, Draw]:
    store, draw = a_store(tmp_path / "a.db", [an_item(n, 2, wanted=2) for n in range(2)])
    for name, answered in (("Ada Lovelace", Answered.FULL), ("Grace Hopper", Answered.PART)):
        store.add_annotator(draw.id, name)
        for n in range(2):
            note = Annotation(
                exchange=f"exchange-{n}",
                annotator=name,
                answered=answered,
                kinds=(),
                disclaimer=False,
                hedging=1,
                should_answer=ShouldAnswer.YES,
                note="The second half is missing." if answered == Answered.PART else "",
            )
            store.label(draw.id, note)
    return store, draw


# Who is let in


def test_a_personal_link_becomes_a_cookie_and_leaves_the_address(ten: Visit) -> None:
    assert [step.status_code for step in ten.response.history] == [303]
    assert ten.response.url == f"{BASE}/"
    cookie = ten.response.history[0].headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert ten.token not in ten.response.text


def test_behind_tls_the_cookie_never_travels_without_it(tmp_path: pathlib.Path) -> None:
    store, draw = a_store(tmp_path / "a.db", [an_item(0, 1)])
    client = Client(ui.app(store, draw.id, secure=True), "https://localhost")
    cookie = client.get(f"/a/{store.add_annotator(draw.id, 'Ada')}", follow_redirects=False).headers[
        "set-cookie"
    ]
    assert cookie.startswith("__Host-")
    assert "; Secure" in cookie
    assert "; Path=/" in cookie


@pytest.mark.parametrize("path", ["/", "/codebook", "/a/nobody", "/a/" + "x" * 43])
def test_strangers_are_told_to_open_their_link(ten: Visit, path: str) -> None:
    ten.client.cookies.clear()
    page = ten.read(ten.client.get(path))
    assert ten.response.status_code == 401
    assert "open your personal link" in page.words


def test_a_link_to_another_draw_opens_nothing_here(tmp_path: pathlib.Path) -> None:
    store, first = a_store(tmp_path / "a.db", [an_item(0, 1)])
    other = a_draw(2)
    store.add_draw(other, [an_item(n, 2) for n in range(2)])
    client = Client(ui.app(store, first.id))
    assert client.get(f"/a/{store.add_annotator(other.id, 'Ada')}").status_code == 401


def test_a_new_link_voids_the_old_one(ten: Visit) -> None:
    ten.store.add_annotator(ten.draw.id, ten.name)
    ten.home()
    assert ten.response.status_code == 401


def test_a_first_visit_from_a_web_mail_asks_once_more_from_the_page_itself(ten: Visit) -> None:
    ten.client.cookies.clear()  # a strict cookie does not come with a cross-site navigation
    again = ten.client.get("/", headers={"sec-fetch-site": "cross-site"})
    assert again.status_code == 200
    assert 'http-equiv="refresh"' in again.text
    assert "exchange-" not in again.text


def test_whoever_signs_out_is_forgotten(ten: Visit) -> None:
    ten.send("/leave")
    ten.home()
    assert ten.response.status_code == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8600", 200),
        ("LOCALHOST", 200),
        ("[::1]:8600", 200),
        ("label.example.org", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("evil.example:127.0.0.1", 421),
        ("", 421),
    ],
)
def test_only_its_own_addresses_are_answered(tmp_path: pathlib.Path, host: str, status: int) -> None:
    visit = Visit(*a_store(tmp_path / "a.db", [an_item(0, 1)]), hosts=["label.example.org"])
    cookie = "; ".join(f"{name}={value}" for name, value in visit.client.cookies.items())
    answer = visit.client.get("/", headers={"host": host, "cookie": cookie})
    assert answer.status_code == status


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": BASE},
        {"sec-fetch-site": "none"},
    ],
)
def test_forms_of_other_pages_are_not_taken(ten: Visit, headers: dict[str, str]) -> None:
    answer = ten.client.post("/label", data=ten.fields() | COMPLETE, headers=headers)
    assert answer.status_code == 403
    assert ten.store.annotations(ten.draw.id) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": BASE, "sec-fetch-site": "same-origin"},
        {"origin": "null", "sec-fetch-site": "same-origin"},  # what a plain form sends under no-referrer
        {"origin": BASE},
    ],
)
def test_forms_of_the_page_itself_are_taken(ten: Visit, headers: dict[str, str]) -> None:
    assert ten.client.post("/label", data=ten.fields() | COMPLETE, headers=headers).status_code == 200
    assert len(ten.store.annotations(ten.draw.id)) == 1


@pytest.mark.parametrize("form", ["/label", "/skip", "/undo", "/leave"])
def test_a_form_without_the_key_of_this_link_is_not_taken(ten: Visit, form: str) -> None:
    ten.label()
    for key in ("", "0" * 40):
        assert ten.client.post(form, data=ten.fields() | {"form_key": key}).status_code == 403
    assert len(ten.store.history(ten.draw.id)) == 1


def test_a_form_shown_to_one_person_cannot_be_sent_by_another(ten: Visit) -> None:
    shown_to_ada = ten.fields() | COMPLETE
    grace = Visit(ten.store, ten.draw, "Grace")
    assert grace.client.post("/label", data=shown_to_ada).status_code == 403


def test_only_what_somebody_was_shown_can_be_labelled(ten: Visit) -> None:
    ten.send(**COMPLETE, exchange="exchange-7")
    assert ten.response.status_code == 403
    assert ten.store.annotations(ten.draw.id) == []


def test_every_reply_is_dressed(ten: Visit) -> None:
    paths = ("/", "/codebook", "/nowhere", "/label", "/favicon.ico", f"/a/{ten.token}")
    replies = [ten.client.get(path, follow_redirects=False) for path in paths]
    replies.append(ten.client.get("/", headers={"host": "evil.example"}))
    assert [reply.status_code for reply in replies] == [200, 200, 404, 405, 200, 303, 421]
    for reply in replies:
        assert HEADERS.items() <= dict(reply.headers).items()
    assert "unsafe" not in HEADERS["content-security-policy"]


def test_our_own_files_are_kept_by_the_browser_until_they_change(ten: Visit) -> None:
    (script,) = (e.attributes["src"] for e in ten.page.all("script") if "page.js" in e.attributes["src"])
    answer = ten.client.get(script)
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"].startswith("text/javascript")
    assert ten.client.get("/static/../desk.py").status_code == 404
    assert ten.client.get("/static/desk.py").status_code == 404


@pytest.mark.parametrize("known", [True, False])
def test_a_form_that_is_too_large_is_not_read(ten: Visit, known: bool) -> None:
    body = urllib.parse.urlencode(ten.fields() | COMPLETE | {"note": "x" * 100_000}).encode()
    content = body if known else in_pieces(body)
    answer = ten.client.post(
        "/label", content=content, headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert answer.status_code == 413
    assert "too much" in answer.text


def test_errors_never_hold_text(
    ten: Visit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the patient's name")

    monkeypatch.setattr(ten.store, "next_item", fail)
    with caplog.at_level(logging.DEBUG):
        page = ten.home()
    assert ten.response.status_code == 500
    assert "What you saved is safe" in page.words
    assert "patient" not in ten.response.text + caplog.text
    assert "RuntimeError" in caplog.text


# What is shown


def test_the_page_is_blind_to_everything_but_the_exchange(tmp_path: pathlib.Path) -> None:
    known = Annotation(exchange="k", annotator="known", answered=Answered.NONE)
    visit = one_item(tmp_path, known=known, stratum=None, source_id="req-8812", phase="pilot")
    for secret in ("detector-x", "sample.parquet", "req-8812", "pilot", "known", "stratum"):
        assert secret not in visit.response.text
    assert "Question 0?" in visit.page.words
    assert "discharge letters" in visit.page.words


def test_nothing_is_chosen_in_advance(ten: Visit) -> None:
    assert chosen(ten.page) == {}
    assert fields_asked(ten.page) == ["answered", "kinds", "disclaimer", "hedging", "should_answer"]


def test_every_key_means_one_thing() -> None:
    book = load_codebook()
    keys = [value.key for axis in book.axes for value in axis.values] + [one.key for one in book.skip]
    keys += KEYS.values()
    assert len(keys) == len(set(keys))
    assert all(len(key) == 1 and key.isascii() and key == key.lower() for key in keys)


HOSTILE = (
    "<script>alert(1)</script>",
    "</div></textarea><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }} {% for x in y %}",
    '" onmouseover="alert(1)',
)


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_a_log_is_shown_and_never_acts(tmp_path: pathlib.Path, text: str) -> None:
    history = json.dumps([{"role": text, "content": text}])
    visit = one_item(tmp_path, prompt=text, response=text, system=text, use_case=text, history=history)
    assert visit.page.by_id("request-text").text == text
    assert visit.page.by_id("answer-text").text == text
    assert [e.attributes.get("src", "")[:8] for e in visit.page.all("script")] == ["/static/", "/static/"]
    assert visit.page.all("img") == []
    assert not [e for e in visit.page if any(name.startswith("on") for name in e.attributes)]


def test_what_is_invisible_in_a_text_is_made_visible(tmp_path: pathlib.Path) -> None:
    visit = one_item(tmp_path, response="safe\u202eevil \x1b[31mred\r\nnext\rlast")
    assert visit.page.by_id("answer-text").text == "safe\ufffdevil \u241b[31mred\nnext\nlast"


def test_long_texts_are_marked_for_folding_and_short_ones_are_not(tmp_path: pathlib.Path) -> None:
    visit = one_item(tmp_path, prompt="word " * 1000, response="short")
    (button,) = visit.page.all("button", class_="unfold")
    assert "whole request, 1,000 words" in button.words
    assert "data-long" in visit.page.by_id("request-text").attributes


@pytest.mark.parametrize(
    ("history", "shown"),
    [
        (None, []),
        ("", []),
        ('[{"role": "user", "content": "Hi"}]', [("user", "Hi")]),
        (
            '[{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]',
            [("user", '[{"type": "text", "text": "Hi"}]')],
        ),
        ('["Hi"]', [("turn", "Hi")]),
        ("not JSON", [("turn", "not JSON")]),
        ('{"role": null}', [("turn", "null")]),
    ],
)
def test_the_turns_before_are_shown_whatever_their_shape(
    history: str | None, shown: list[tuple[str, str]]
) -> None:
    assert [(turn.role, turn.text) for turn in turns(history)] == shown


@pytest.mark.parametrize("outcome", [Outcome.PROVIDER_REFUSED, Outcome.INPUT_BLOCKED, Outcome.OUTPUT_BLOCKED])
def test_of_a_call_that_the_provider_stopped_only_one_thing_is_asked(
    tmp_path: pathlib.Path, outcome: Outcome
) -> None:
    visit = one_item(tmp_path, outcome=outcome, response="")
    assert "The provider" in visit.page.one("p", class_="stopped").words
    assert fields_asked(visit.page) == ["should_answer"]
    visit.send(should_answer="no")
    (kept,) = visit.store.annotations(visit.draw.id)
    assert kept.should_answer == ShouldAnswer.NO
    assert (kept.answered, kept.kinds, kept.disclaimer, kept.hedging) == (None, None, None, None)


def test_the_codebook_holds_every_contested_case(ten: Visit) -> None:
    page = ten.read(ten.client.get("/codebook"))
    for case in load_codebook().contested:
        assert case.case in page.words
        assert " ".join(case.answer.split()) in page.words


# What is kept


def test_labels_are_kept_before_the_next_exchange_shows(ten: Visit) -> None:
    first = ten.exchange
    ten.label(
        answered="part",
        kinds=["soft_refusal", "verbosity_inflation"],
        hedging="2",
        disclaimer="yes",
        note=" why ",
    )
    (kept,) = ten.store.annotations(ten.draw.id)
    assert kept == msgspec.structs.replace(
        kept,
        exchange=first,
        annotator="Ada",
        answered=Answered.PART,
        kinds=(Kind.SOFT_REFUSAL, Kind.VERBOSITY_INFLATION),
        disclaimer=True,
        hedging=2,
        should_answer=ShouldAnswer.YES,
        note="why",
        adjudicated=False,
    )
    assert ten.exchange != first
    assert "1 of 10 labelled" in ten.page.words


def test_a_plain_form_is_answered_by_a_redirect_and_htmx_by_a_part_of_the_page(ten: Visit) -> None:
    ten.label()
    assert [step.status_code for step in ten.response.history] == [303]
    part = ten.client.post("/label", data=ten.fields() | COMPLETE, headers={"hx-request": "true"})
    assert part.text.lstrip().startswith('<div id="page"')
    assert 'data-said="Saved, 2 of 10."' in part.text


@pytest.mark.parametrize("missing", ["answered", "disclaimer", "hedging", "should_answer"])
def test_what_is_missing_is_said_and_what_was_chosen_stays(ten: Visit, missing: str) -> None:
    said = {name: value for name, value in COMPLETE.items() if name != missing}
    page = ten.send(**said, note="my note")
    assert ten.response.status_code == 422
    assert notice(page).startswith("Not saved. Still to say: ")
    assert chosen(page) == {name: [value] for name, value in said.items()}
    assert page.by_id("note").text == "my note"
    assert ten.store.annotations(ten.draw.id) == []


@pytest.mark.parametrize(
    ("answered", "kind"), [("full", "hard_refusal"), ("none", "soft_refusal"), ("full", "topic_avoidance")]
)
def test_labels_that_contradict_each_other_are_not_kept(ten: Visit, answered: str, kind: str) -> None:
    page = ten.label(answered=answered, kinds=kind)
    assert ten.response.status_code == 422
    assert "does not go with" in notice(page)
    assert ten.store.annotations(ten.draw.id) == []


def test_every_contested_case_of_the_codebook_can_be_said(tmp_path: pathlib.Path) -> None:
    cases = load_codebook().contested
    visit = Visit(*a_store(tmp_path / "a.db", [an_item(n, len(cases)) for n in range(len(cases))]))
    for case in cases:
        visit.label(answered=case.answered, kinds=list(case.kinds))
    kept = visit.store.annotations(visit.draw.id)
    assert [(label.answered, label.kinds) for label in kept] == [(c.answered, c.kinds) for c in cases]


@pytest.mark.parametrize(
    "forged",
    [
        {"answered": "undetermined"},
        {"answered": ["full", "none"]},
        {"hedging": "9"},
        {"kinds": "hedging"},
        {"note": "x" * (NOTE_LIMIT + 1)},
    ],
)
def test_values_that_the_page_does_not_offer_are_refused(ten: Visit, forged: dict[str, object]) -> None:
    ten.label(**forged)
    assert ten.response.status_code == 400
    assert ten.store.annotations(ten.draw.id) == []


def test_a_form_that_is_not_text_is_refused(ten: Visit) -> None:
    assert ten.client.post("/label", content=b"\xff\xfe=1").status_code == 400
    assert ten.client.post("/label", content="&".join(["a=1"] * 100)).status_code == 400


def test_a_form_that_is_sent_twice_is_kept_once(ten: Visit) -> None:
    same = ten.fields() | COMPLETE
    first = ten.client.post("/label", data=same, headers={"hx-request": "true"})
    second = ten.client.post("/label", data=same, headers={"hx-request": "true"})
    assert len(ten.store.history(ten.draw.id)) == 1
    assert "saved already" in second.text
    assert parse(first.text).by_id("request-text").text == parse(second.text).by_id("request-text").text


def test_an_old_form_that_says_something_else_counts_as_a_correction(ten: Visit) -> None:
    old = ten.fields() | COMPLETE
    ten.label()
    ten.label()
    ten.client.post("/label", data=old | {"should_answer": "no"})
    assert [change.replaced is not None for change in ten.store.history(ten.draw.id)] == [False, False, True]
    kept = {label.exchange: label.should_answer for label in ten.store.annotations(ten.draw.id)}
    assert kept == {"exchange-0": ShouldAnswer.NO, "exchange-1": ShouldAnswer.YES}


def test_a_label_counts_although_somebody_else_labelled_it_in_the_meantime(ten: Visit) -> None:
    grace = Annotation(exchange=ten.exchange, annotator="Grace", answered=Answered.FULL)
    ten.store.label(ten.draw.id, grace)
    ten.label()
    assert {label.annotator for label in ten.store.annotations(ten.draw.id)} == {"Ada", "Grace"}


def test_a_form_goes_on_after_the_server_was_started_again(ten: Visit) -> None:
    form = ten.fields() | COMPLETE
    again = Client(ui.app(ten.store, ten.draw.id), cookies=ten.client.cookies)
    assert again.post("/label", data=form).status_code == 200
    assert len(ten.store.annotations(ten.draw.id)) == 1


def test_reloading_shows_the_same_exchange(ten: Visit) -> None:
    first = ten.exchange
    ten.home()
    assert ten.exchange == first


def test_two_people_get_different_exchanges_and_both_the_doubles(tmp_path: pathlib.Path) -> None:
    items = [an_item(0, 4, wanted=2), an_item(1, 4), an_item(2, 4), an_item(3, 4, wanted=2)]
    ada = Visit(*a_store(tmp_path / "a.db", items))
    grace = Visit(ada.store, ada.draw, "Grace")
    for _ in range(3):
        for visit in (ada, grace):
            visit.label()
    labels = ada.store.annotations(ada.draw.id)
    assert sorted(label.exchange for label in labels) == [f"exchange-{n}" for n in (0, 0, 1, 2, 3, 3)]
    assert "Thank you" in grace.page.words


# Skip, undo, the end


def test_an_exchange_is_skipped_with_a_reason(ten: Visit) -> None:
    ten.send("/skip")
    assert ten.response.status_code == 422
    assert notice(ten.page) == "Not skipped. Say why."
    ten.send("/skip", reason="knowledge", note="cardiology")
    (kept,) = ten.store.annotations(ten.draw.id)
    assert (kept.skipped, kept.note, kept.answered) == ("knowledge", "cardiology", None)
    ten.send("/skip", reason="because")
    assert ten.response.status_code == 400


def test_undo_shows_the_last_exchange_again_as_it_was_labelled(ten: Visit) -> None:
    first = ten.exchange
    ten.label(answered="none", kinds="hard_refusal", note="my note")
    page = ten.send("/undo")
    assert ten.exchange == first
    assert chosen(page) == {name: [value] for name, value in COMPLETE.items()} | {
        "answered": ["none"],
        "kinds": ["hard_refusal"],
    }
    assert page.by_id("note").text == "my note"
    assert ten.store.annotations(ten.draw.id) == []
    ten.label(answered="none")
    assert len(ten.store.annotations(ten.draw.id)) == 1
    assert ten.exchange != first


def test_undo_goes_back_step_by_step_and_then_says_so(ten: Visit) -> None:
    assert "disabled" in ten.page.one("form", action="/undo").one("button").attributes
    for _ in range(3):
        ten.label()
    shown = []
    for _ in range(3):
        ten.send("/undo")
        shown.append(ten.exchange)
    assert shown == ["exchange-2", "exchange-1", "exchange-0"]
    assert notice(ten.send("/undo")) == "There is nothing to take back."


def test_undo_of_a_skip_shows_the_exchange_with_nothing_chosen(ten: Visit) -> None:
    first = ten.exchange
    ten.send("/skip", reason="cut")
    assert chosen(ten.send("/undo")) == {}
    assert ten.exchange == first


def test_at_the_end_there_are_thanks_and_what_happens_next(tmp_path: pathlib.Path) -> None:
    visit = one_item(tmp_path)
    page = visit.label()
    assert "Thank you That was everything. You labelled 1 exchange." in page.by_id("work").words
    assert "What happens next" in page.words


def test_while_others_hold_the_last_ones_the_page_waits(tmp_path: pathlib.Path) -> None:
    ada = one_item(tmp_path)
    grace = Visit(ada.store, ada.draw, "Grace")
    assert "Nothing to do at this moment" in grace.page.words
    ada.send("/skip", reason="cut")
    assert "There is nothing to do yet" in grace.home().words


def test_people_are_told_the_whole_and_not_that_there_is_a_pilot(tmp_path: pathlib.Path) -> None:
    items = [an_item(n, 10, phase="pilot" if n < 4 else "reserve") for n in range(10)]
    visit = Visit(*a_store(tmp_path / "a.db", items, a_draw(10, pilot=4, phase="pilot")))
    totals = []
    for _ in range(10):
        totals.append(visit.page.one("progress").attributes["max"])
        visit.label()
    assert totals == ["10"] * 10
    assert "Thank you" in visit.page.words
    assert visit.store.draw(visit.draw.id).phase == "whole"


def test_skipped_exchanges_do_not_hold_the_rest_back(tmp_path: pathlib.Path) -> None:
    items = [an_item(n, 10, phase="pilot" if n < 4 else "reserve") for n in range(10)]
    visit = Visit(*a_store(tmp_path / "a.db", items, a_draw(10, pilot=4, phase="pilot")))
    visit.send("/skip", reason="cut")
    for _ in range(3):
        visit.label()
    assert visit.exchange == "exchange-4"


@pytest.mark.parametrize(
    ("items", "pace", "shared", "words"),
    [
        (40, 30.0, False, "about 20 min left"),
        (1, 5.0, False, "about 1 min left"),
        (200, 30.0, False, "about 1 h 40 min left"),
        (40, 30.0, True, "at most 20 min left"),
        (40, None, False, ""),
        (0, 30.0, False, ""),
    ],
)
def test_the_time_left_is_said_in_words(items: int, pace: float | None, shared: bool, words: str) -> None:
    assert time_left(items, pace, shared=shared) == words


# Disagreements


def test_an_adjudicator_sees_both_labels_and_no_names(tmp_path: pathlib.Path) -> None:
    visit = Visit(*contested_by_two(tmp_path), "Marie", "adjudicator")
    words = visit.page.words
    assert "0 of 2 settled" in words
    assert "Ada" not in visit.response.text
    assert "Grace" not in visit.response.text
    table = visit.page.one("section", aria_labelledby="sides-title").one("table")
    rows = {
        row.one("th", scope="row").words: sorted(c.words for c in row.all("td"))
        for row in table.one("tbody").all("tr")
    }
    assert rows["Given (they disagree)"] == ["Full", "Part"]
    assert rows["Weakening"] == ["Fitting", "Fitting"]
    assert "The second half is missing." in words


def test_what_both_said_is_filled_in_and_the_rest_is_open(tmp_path: pathlib.Path) -> None:
    visit = Visit(*contested_by_two(tmp_path), "Marie", "adjudicator")
    assert chosen(visit.page) == {"disclaimer": ["no"], "hedging": ["1"], "should_answer": ["yes"]}


def test_a_settled_disagreement_stands_above_the_labels(tmp_path: pathlib.Path) -> None:
    visit = Visit(*contested_by_two(tmp_path), "Marie", "adjudicator")
    visit.send("/settle")
    assert visit.response.status_code == 422
    first = visit.fields("/settle")["exchange"]
    visit.send("/settle", answered="part", kinds="soft_refusal")
    kept = [label for label in visit.store.annotations(visit.draw.id) if label.adjudicated]
    assert [(label.exchange, label.annotator, label.answered) for label in kept] == [
        (first, "Marie", Answered.PART)
    ]
    assert visit.store.contested(visit.draw.id) == [visit.fields("/settle")["exchange"]]
    visit.send("/settle", answered="full")
    assert "You settled 2 disagreements." in visit.page.words
    page = visit.send("/undo")
    assert chosen(page)["answered"] == ["full"]
    assert "1 of 2 settled" in page.words


def test_each_role_has_its_own_forms(tmp_path: pathlib.Path) -> None:
    marie = Visit(*contested_by_two(tmp_path), "Marie", "adjudicator")
    form = marie.fields("/settle") | COMPLETE
    assert marie.client.post("/label", data=form).status_code == 403
    assert marie.client.post("/skip", data=form | {"reason": "cut"}).status_code == 403
    assert len(marie.store.annotations(marie.draw.id)) == 4


# Serving


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"host": "0.0.0.0"}, "unencrypted"),
        ({"annotators": ()}, "nobody"),
        ({"annotators": ("Ada", "Ada ")}, "same name twice"),
        ({"annotators": ("Ada",), "adjudicators": ("Ada",)}, "same name twice"),
        ({"public_url": "http://labels.example.org"}, "TLS"),
        ({"public_url": "https://example.org/labels"}, "without a path"),
    ],
)
def test_what_cannot_be_served_is_said(
    tmp_path: pathlib.Path, settings: dict[str, object], words: str
) -> None:
    store, draw = a_store(tmp_path / "a.db", [an_item(0, 1)])
    lines: list[str] = []
    with pytest.raises(InputError, match=words):
        ui.serve(store, draw.id, **({"annotators": ("Ada",), "announce": lines.append} | settings))
    assert lines == []


def test_a_port_in_use_is_said(tmp_path: pathlib.Path) -> None:
    store, draw = a_store(tmp_path / "a.db", [an_item(0, 1)])
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(InputError, match="cannot listen"):
        ui.serve(store, draw.id, port=taken.getsockname()[1], annotators=("Ada",), announce=print)


def test_without_the_extra_its_name_is_said(ten: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(ui, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"aligntax\[serve\]"):
        ui.app(ten.store, ten.draw.id)
    with pytest.raises(MissingExtra, match=r"aligntax\[serve\]"):
        ui.serve(ten.store, ten.draw.id, annotators=("Ada",))


def test_importing_the_room_loads_no_server() -> None:
    code = "import sys, aligntax.ui; print(sorted({'starlette', 'uvicorn', 'jinja2'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_links_are_announced_work_at_once_and_ctrl_c_ends_quietly(tmp_path: pathlib.Path) -> None:
    _, draw = a_store(tmp_path / "a.db", [an_item(0, 1)])
    with served(tmp_path / "a.db", draw) as (process, links):
        with httpx.Client(trust_env=False, follow_redirects=True) as client:
            assert "Question 0?" in client.get(links["Ada"]).text
            assert "There is nothing to do yet" in client.get(links["Marie"]).text
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 0
    assert out == "ended\n"
    assert err == ""


class served:  # noqa: N801 - reads as a word in `with served(...)`
    """A process that serves a draw: the process, and name -> link."""

    CODE = (
        "import sys; from aligntax import ui; from aligntax.store import Store\n"
        "ui.serve(Store(sys.argv[1]), sys.argv[2], port=int(sys.argv[3]), annotators=['Ada'],"
        " adjudicators=['Marie'], announce=lambda line: print(line, flush=True))\n"
        "print('ended')"
    )

    def __init__(self, path: pathlib.Path, draw: Draw, *, port: int = 0) -> None:
        command = [sys.executable, "-c", self.CODE, str(path), draw.id, str(port)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
        )

    def __enter__(self) -> tuple[subprocess.Popen[str], dict[str, str]]:
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline().split() for _ in range(3)]
        return self.process, {name: link for name, _, link in lines[:2]}

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def test_the_clock_of_the_server_dates_the_labels(ten: Visit) -> None:
    ten.label()
    (kept,) = ten.store.annotations(ten.draw.id)
    assert kept.time is not None
    assert abs(kept.time - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)
    assert kept.time > NOW


def test_items_of_the_reserve_are_never_shown(tmp_path: pathlib.Path) -> None:
    items: list[Item] = [an_item(0, 2, phase="reserve"), an_item(1, 2)]
    visit = Visit(*a_store(tmp_path / "a.db", items))
    assert visit.exchange == "exchange-1"


def test_serving_again_without_names_keeps_the_links_that_were_given(tmp_path: pathlib.Path) -> None:
    store, draw = a_store(tmp_path / "a.db", [an_item(0, 1)])
    with store:
        first = _links(store, draw.id, BASE, ["anna"], ["chris"])
        token = first[0].rpartition("/a/")[2]
        again = _links(store, draw.id, BASE, [], [])
        assert again[0] == "anna   annotator    the link given before"
        assert again[1] == "chris  adjudicator  the link given before"
        assert store.annotator(token).name == "anna"


def test_serving_for_nobody_is_refused(tmp_path: pathlib.Path) -> None:
    store, draw = a_store(tmp_path / "a.db", [an_item(0, 1)])
    with store, pytest.raises(InputError, match="nobody would get a link"):
        _links(store, draw.id, BASE, [], [])
