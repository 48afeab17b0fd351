"""The review page, address by address: what it shows, what stands in the file, and whom it turns away."""

from __future__ import annotations

import asyncio
import csv
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from aligntax.errors import InputError
from aligntax.stats.binomial import clopper_pearson
from aligntax.suites.review import apply_review, review_table
from aligntax.twins import read_review, write_review
from aligntax.types import Intent, Prompt
from aligntax.ui import review
from aligntax.ui.guard import HEADERS
from aligntax.ui.review import Changed, Table
from aligntax.ui.review_pages import build
from pages import Element, parse

TOKEN = "a-token-of-the-review-page"
HOSTILE = (
    "</div></textarea><script>window.hit = 1</script><img src=x onerror='window.hit = 1'> {{7*7}} \u202e"
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
RUNNER = asyncio.Runner()


@pytest.fixture(scope="module", autouse=True)
def closed_runner() -> Iterator[None]:
    yield
    RUNNER.close()


def some_prompts(number: int = 5, **changes: object) -> list[Prompt]:
    tags = {"why": "short refusal", "kind": "bare_refusal"}
    return [
        Prompt(**{"id": f"log-{n}", "text": f"Request {n}", "domain": "bank", "tags": tags, **changes})
        for n in range(number)
    ]


def some_twins(number: int = 3) -> list[Prompt]:
    return [
        Prompt(
            id=f"{n}-{side}", text=f"Text {n} {side[:1]}", family=f"family-{n}", side=side, terms=("kill",)
        )
        for n in range(number)
        for side in ("sensitive", "neutral")
    ]


@pytest.fixture
def prompts_file(tmp_path: Path) -> Path:
    path = tmp_path / "review.csv"
    path.write_bytes(review_table(some_prompts()))
    return path


@pytest.fixture
def twins_file(tmp_path: Path) -> Path:
    path = tmp_path / "twins.csv"
    write_review(path, some_twins(), problems={"family-1": ("length differs",)})
    return path


class Visit:
    """A browser without scripts, straight at the application."""

    def __init__(self, path: Path, link: str = TOKEN, base: str = "http://127.0.0.1:8601") -> None:
        self.path, self.table = path, Table(path)
        transport = httpx.ASGITransport(app=build(self.table, TOKEN), raise_app_exceptions=False)
        self.client = httpx.AsyncClient(
            transport=transport, base_url=base, follow_redirects=True, trust_env=False
        )
        self.get(f"/a/{link}")

    def get(self, path: str = "/", **settings: object) -> Element:
        return self.read(RUNNER.run(self.client.get(path, **settings)))

    def post(self, path: str, **settings: object) -> Element:
        return self.read(RUNNER.run(self.client.post(path, **settings)))

    def read(self, response: httpx.Response) -> Element:
        self.response = response
        self.page = parse(response.text)
        return self.page

    def fields(self, form: str = "/decide") -> dict[str, str]:
        found = self.page.one("form", action=form)
        return {e.attributes["name"]: e.attributes["value"] for e in found.all("input", type="hidden")}

    def decide(self, choice: str, **changes: str) -> Element:
        return self.post("/decide", data=self.fields() | {"choice": choice, "note": ""} | changes)

    def undo(self) -> Element:
        return self.post("/undo", data=self.fields("/undo"))

    @property
    def text(self) -> str:
        return self.page.all("div", class_="text")[0].text

    @property
    def rows(self) -> list[dict[str, str]]:
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))

    def row(self, text: str, column: str = "prompt") -> dict[str, str]:
        (found,) = [row for row in self.rows if row[column] == text]
        return found


def test_a_decision_stands_in_the_file_before_the_next_row_shows(prompts_file: Path) -> None:
    visit = Visit(prompts_file)
    first = visit.text
    visit.decide("borderline", note="=two  words\r\nand more")
    row = visit.row(first)
    assert (row["keep"], row["intent"]) == ("yes", "borderline")
    assert row["note"] == "'=two words and more"  # no spreadsheet runs it
    assert visit.text != first
    assert sum(bool(row["keep"]) for row in visit.rows) == 1
    assert visit.page.one("strong").text == "1"


def test_the_reader_of_prompts_takes_what_the_page_has_written(prompts_file: Path) -> None:
    visit = Visit(prompts_file)
    kept = {visit.text: Intent.HARMFUL}
    visit.decide("harmful")
    dropped = visit.text
    visit.decide("drop", note="who?")
    kept[visit.text] = Intent.BENIGN
    visit.decide("benign")
    after = apply_review(prompts_file, some_prompts())
    assert (after.decided, after.dropped, after.undecided, after.changed) == (2, 1, 2, 0)
    intents = {prompt.text: prompt.intent for prompt in after.prompts}
    assert dropped not in intents
    assert kept.items() <= intents.items()


def test_the_reader_of_twins_takes_what_the_page_has_written(twins_file: Path) -> None:
    visit = Visit(twins_file)
    for choice in ("pass", "fail", "pass"):
        visit.decide(choice)
    found = read_review(twins_file)
    assert (len(found.passed), len(found.failed), found.open) == (2, 1, 0)
    assert visit.page.one("h1").text == "All 3 are decided"
    exact = clopper_pearson(2, 3)
    shown = f"2 pass: 66.7% (95% interval {exact.low:.1%} to {exact.high:.1%})"
    assert visit.page.one("p", class_="lead").text == shown


def test_the_page_does_not_tell_where_a_row_came_from(prompts_file: Path, twins_file: Path) -> None:
    html = Visit(prompts_file).response.text
    assert not [word for word in ("log-", "bank", "short refusal", "bare_") if word in html]
    html = Visit(twins_file).response.text
    assert not [word for word in ("family-", "kill", "differs", "sensitive", "neutral") if word in html]


def test_either_twin_may_come_first(tmp_path: Path) -> None:
    path = tmp_path / "twins.csv"
    write_review(path, some_twins(20))
    visit, firsts = Visit(path), set()
    for _ in range(20):
        firsts.add(visit.text[-1])
        visit.decide("pass")
    assert firsts == {"s", "n"}


def test_undo_gives_back_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "review.csv"
    labelled = some_prompts(2, intent=Intent.HARMFUL, tags={"label": "expert", "why": "answered"})
    path.write_bytes(review_table(labelled))
    path.chmod(0o640)
    before = path.read_bytes()
    visit = Visit(path)
    first = visit.text
    visit.decide("benign")
    assert path.read_bytes() != before
    visit.undo()
    assert visit.text == first
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o640
    assert "disabled" in visit.page.one("button", data_key="u").attributes


def test_an_undo_that_is_sent_twice_takes_back_one(prompts_file: Path) -> None:
    visit = Visit(prompts_file)
    visit.decide("benign")
    visit.decide("drop")
    form = visit.fields("/undo")
    visit.post("/undo", data=form)
    visit.post("/undo", data=form)
    assert [row["keep"] for row in visit.rows if row["keep"]] == ["yes"]


def test_a_decision_that_is_sent_twice_is_one(prompts_file: Path) -> None:
    visit = Visit(prompts_file)
    form = visit.fields() | {"choice": "benign"}
    visit.post("/decide", data=form)
    visit.post("/decide", data=form)
    visit.undo()
    assert not any(row["keep"] for row in visit.rows)


def test_a_review_goes_on_after_a_restart_and_can_go_back_there(prompts_file: Path) -> None:
    visit = Visit(prompts_file)
    seen = [visit.text]
    visit.decide("benign", note="kept note")
    seen.append(visit.text)
    again = Visit(prompts_file)
    assert again.text == seen[1]
    again.undo()
    assert again.text == seen[0]
    assert again.page.by_id("note").text == "kept note"
    assert again.row(seen[0])["intent"] == ""


def test_what_somebody_else_wrote_meanwhile_is_not_lost(prompts_file: Path) -> None:
    visit = Visit(prompts_file)
    theirs = prompts_file.read_bytes().replace(b"Request 3", b"Request three")
    prompts_file.write_bytes(theirs)
    visit.decide("benign")
    assert visit.response.status_code == 409
    assert prompts_file.read_bytes() == theirs


def test_a_write_that_fails_leaves_file_page_and_folder_as_they_were(
    prompts_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit, before = Visit(prompts_file), prompts_file.read_bytes()
    first = visit.text

    def full(_: int) -> None:
        raise OSError(28, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(review.os, "fsync", full)
        visit.decide("benign")
    assert visit.response.status_code == 500
    assert prompts_file.read_bytes() == before
    assert os.listdir(prompts_file.parent) == [prompts_file.name]
    visit.get()
    assert visit.text == first
    visit.decide("benign")
    assert visit.row(first)["keep"] == "yes"


def test_a_link_stays_a_link(prompts_file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.csv"
    link.symlink_to(prompts_file)
    table = Table(link)
    table.decide(table.next(), table.kind.choices[0], "")
    assert link.is_symlink()
    assert Table(prompts_file).progress().done == 1


def test_hostile_text_is_text(tmp_path: Path) -> None:
    path = tmp_path / "review.csv"
    path.write_bytes(review_table(some_prompts(1, text=HOSTILE, system=HOSTILE)))
    visit = Visit(path)
    shown = HOSTILE.replace("\u202e", "\ufffd")
    assert [text.text for text in visit.page.all("div", class_="text")] == [shown, shown]
    assert not visit.page.all("img")
    assert len(visit.page.all("script")) == 2
    visit.decide("benign", note=HOSTILE)
    visit.undo()
    assert visit.page.by_id("note").text == HOSTILE
    assert apply_review(path, some_prompts(1, text=HOSTILE, system=HOSTILE)).changed == 0


def test_every_reply_has_the_strict_headers(prompts_file: Path) -> None:
    visit = Visit(prompts_file)
    for path in ("/", "/nothing", "/a/wrong"):
        visit.get(path)
        assert {name: visit.response.headers[name] for name in HEADERS} == HEADERS


@pytest.mark.parametrize("link", ["wrong", "", "ä"])
def test_without_the_link_there_is_nothing(prompts_file: Path, link: str) -> None:
    visit, before = Visit(prompts_file, link=link), prompts_file.read_bytes()
    assert visit.response.status_code in (401, 404)
    visit.get()
    assert visit.response.status_code == 401
    visit.post("/decide", data={"row": "1", "choice": "benign"})
    assert visit.response.status_code == 401
    assert "Request 1" not in visit.page.text
    assert prompts_file.read_bytes() == before


def test_another_host_name_is_not_answered(prompts_file: Path) -> None:
    assert Visit(prompts_file, base="http://rebound.example:8601").response.status_code == 421


@pytest.mark.parametrize(
    ("changes", "headers", "status"),
    [
        ({"form_key": "x"}, {}, 403),
        ({"ticket": "x"}, {}, 403),
        ({"row": "0"}, {}, 403),  # the header
        ({"choice": "pass"}, {}, 400),
        ({"note": "n" * 2001}, {}, 400),
        ({"note": "n" * 70_000}, {}, 413),
        ({}, {"origin": "https://example.com"}, 403),
        ({}, {"sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_forms_that_are_not_the_pages_own_change_nothing(
    prompts_file: Path, changes: dict[str, str], headers: dict[str, str], status: int
) -> None:
    visit, before = Visit(prompts_file), prompts_file.read_bytes()
    visit.post("/decide", data=visit.fields() | {"choice": "benign"} | changes, headers=headers)
    assert visit.response.status_code == status
    assert prompts_file.read_bytes() == before


def test_undo_where_nothing_is_decided_is_no_fault_of_the_server(prompts_file: Path) -> None:
    visit = Visit(prompts_file)
    visit.undo()
    assert visit.response.status_code == 400


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a,b\n1,2\n", "no review table"),
        ("id,intent,keep,prompt\n", "no rows"),
        ("id,intent,keep,prompt\n1,,maybe,secret\n", "neither yes nor no"),
        ("id,intent,keep,prompt\n1,,,a\n1,,,b\n", "has the id of row 1"),
        ("id,intent,keep,prompt\n1,,\n", "fields"),
        ("family;sensitive;neutral;pass\n1;a;b;\n", "commas"),
        ('id,intent,keep,prompt\n1,,,"a"b\n', "not CSV"),
    ],
)
def test_a_file_that_is_no_review_is_one_clear_line(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=says) as caught:
        Table(path)
    assert "secret" not in str(caught.value)


def test_a_table_that_a_spreadsheet_saved_keeps_its_form(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeffID;Intent;Keep;Prompt\r\n1;;;"a;b"\r\n\r\n2;;no;c\r\n'.encode())
    table = Table(path)
    table.decide(table.next(), table.kind.choices[0], "")
    assert (
        path.read_bytes().decode() == '\ufeffID;Intent;Keep;Prompt\r\n1;benign;yes;"a;b"\r\n\r\n2;;no;c\r\n'
    )
    path.write_text("changed")
    with pytest.raises(Changed):
        table.undo(1)


def test_the_command_prints_one_link_and_a_kill_loses_nothing(prompts_file: Path) -> None:
    command = [sys.executable, "-m", "aligntax", "suite", "review", str(prompts_file), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        link = server.stdout.readline().strip()
        base = link.rpartition("/a/")[0]
        assert base.startswith("http://127.0.0.1:")
        with httpx.Client(trust_env=False, follow_redirects=True) as client:
            page = parse(client.get(link).text)
            form = page.one("form", action="/decide")
            fields = {e.attributes["name"]: e.attributes["value"] for e in form.all("input", type="hidden")}
            client.post(f"{base}/decide", data=fields | {"choice": "benign", "note": ""})
        server.send_signal(signal.SIGKILL)
    assert Table(prompts_file).progress().done == 1


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH")
def test_three_rows_are_decided_by_keyboard_alone_on_a_narrow_screen(tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = tmp_path / "review.csv"
    path.write_bytes(review_table(some_prompts(3, text=HOSTILE + "W" * 3000)))
    config = uvicorn.Config(
        build(Table(path), TOKEN), log_level="critical", access_log=False, lifespan="off", ws="none"
    )
    server, faults = uvicorn.Server(config), []
    with socket.create_server(("127.0.0.1", 0)) as listening, playwright.sync_playwright() as engine:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            started = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = started.new_page(viewport={"width": 360, "height": 640})
            page.set_default_timeout(5000)
            page.on("console", lambda message: faults.append(message.text))
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.goto(f"http://127.0.0.1:{listening.getsockname()[1]}/a/{TOKEN}")
            assert page.evaluate("document.documentElement.scrollWidth") == 360
            for done, keys in enumerate(("1", "nab1\x1bd", "3"), start=1):
                for key in keys:
                    page.keyboard.press("Escape" if key == "\x1b" else key)
                page.wait_for_function(
                    "done => document.querySelector('.count strong').textContent === String(done) && "
                    "document.activeElement.id === 'item-title'",
                    arg=done,
                )
            page.keyboard.press("u")
            page.wait_for_selector("#page[data-state=item]")
            page.keyboard.press("2")
            page.wait_for_selector("#page[data-state=done]")
            assert page.evaluate("window.hit") is None
            started.close()
        finally:
            server.should_exit = True
            thread.join()
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted((row["keep"], row["intent"], row["note"]) for row in rows) == [
        ("no", "", "ab1"),
        ("yes", "benign", ""),
        ("yes", "borderline", ""),
    ]
    assert faults == []
