"""A newcomer follows docs/sign.md: from the sample log to a number that can be signed, with a browser in between.

The commands are those of the page, in its order; the first ten exchanges are labelled by keyboard at the page that
`aligntax label serve` serves.
"""

from __future__ import annotations

import contextlib
import json
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import aligntax
from aligntax.cli import commands
from aligntax.store import Store
from aligntax.types import Annotation, Item, Kind, ShouldAnswer
from documents import DOCS, blocks
from pages import parse

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH"),
]

PAGE = DOCS / "sign.md"
BY_HAND = 10
QUIET = {"ALIGNTAX_STORE": "", "ALIGNTAX_CONFIG": "", "GITHUB_ACTIONS": "", "GITHUB_STEP_SUMMARY": ""}


def shown(*words: str) -> list[str]:
    """The words of the page's own command that begins like this."""
    found = [
        shlex.split(line.removeprefix("$ aligntax "))
        for block in blocks(PAGE, "console")
        for line in block.splitlines()
        if line.startswith("$ aligntax ")
    ]
    (command,) = [command for command in found if tuple(command[: len(words)]) == words]
    return command


def run(*arguments: str, code: int = 0) -> Result:
    runner = CliRunner(env={"COLUMNS": "112", **QUIET})
    result = runner.invoke(commands, arguments, auto_envvar_prefix="ALIGNTAX", prog_name="aligntax")
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def document(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*arguments, "--json").stdout)
    return found


def author() -> dict[str, dict[str, Any]]:
    """What the author of the sample log says, by the log's own ids."""
    rows = [
        json.loads(line)
        for path in (Path(aligntax.__file__).parent / "sample").glob("*.labels.jsonl")
        for line in path.read_text("utf-8").splitlines()
    ]
    return {row["id"]: row for row in rows}


@contextlib.contextmanager
def serving(*arguments: str) -> Iterator[str]:
    """The first link that `aligntax label serve` prints; Ctrl-C at the end, which it must take well."""
    server = subprocess.Popen(
        [sys.executable, "-m", "aligntax", "label", "serve", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        with selectors.DefaultSelector() as ready:
            ready.register(server.stdout, selectors.EVENT_READ)
            assert ready.select(timeout=30), "no link within 30 seconds"
        line = server.stdout.readline()
        link = re.search(r"http://127\.0\.0\.1:\d+/a/\S+", line)
        assert link, line
        yield link[0]
        server.send_signal(signal.SIGINT)
        _, errors = server.communicate(timeout=15)
        assert (server.returncode, errors) == (0, "")
    finally:
        server.kill()
        server.communicate()


def keys(right: dict[str, Any], *, blocked: bool) -> str:
    """What an expert types who sees it as these labels say."""
    should = {"yes": "j", "no": "k", "unclear": "l"}[right["should"]]
    if blocked:
        return should
    kinds = {"hard_refusal": "q", "soft_refusal": "w", "topic_avoidance": "e", "verbosity_inflation": "r"}
    answered = {"full": "1", "part": "2", "none": "3"}[right["answered"]]
    hedging = "c" if "hedging" in right["kinds"] else "z"
    return (
        answered + "".join(kinds[kind] for kind in right["kinds"] if kind in kinds) + "f" + hedging + should
    )


def truth_of(item: Item) -> dict[str, Any]:
    if item.known is not None:
        known = item.known
        should = known.should_answer or ShouldAnswer.YES
        return {"answered": known.answered, "kinds": known.kinds or (), "should": should}
    row = author()[item.source_id or ""]
    return {
        "answered": row["answered"],
        "kinds": row["kinds"],
        "should": row["should_have_been_answered"],
    }


def label_in_the_browser(link: str, items: dict[str, Item], *, differs: str) -> tuple[list[str], list[str]]:
    """Label the first exchanges by keyboard; returns those that were shown, and everything that went wrong."""
    faults: list[str] = []
    seen: list[str] = []
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        page.goto(link)
        for _ in range(BY_HAND):
            exchange = page.locator("#labels input[name=exchange]").get_attribute("value")
            item = items[exchange]
            right = truth_of(item)
            if exchange == differs:
                right["should"] = "unclear"
            before = page.locator("#page").get_attribute("data-item")
            for key in keys(right, blocked=item.outcome != "answered"):
                page.keyboard.press(key)
            page.keyboard.press("Enter")
            page.wait_for_function(
                "before => document.getElementById('page').dataset.item !== before", arg=before
            )
            seen.append(exchange)
        browser.close()
    return seen, faults


def test_from_the_log_to_a_number_a_comparison_and_a_gate_on_one_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in QUIET:
        monkeypatch.delenv(name, raising=False)

    # Scan, and choose what to label.
    assert "UNCORRECTED detector rates" in run(*shown("scan")).stdout
    assert "240 of 361 exchanges to label" in run(*shown("label", "plan")).stdout

    # Label ten in the browser, and stop.
    with Store.open() as store:
        (draw,) = store.draws()
        items = {item.exchange: item for item in store.items(draw.id)}
    # Of one that two people label anna thinks otherwise than the author.
    differs = next(item.exchange for item in items.values() if item.wanted == 2)
    with serving("--annotator", "anna") as link:
        seen, faults = label_in_the_browser(link, items, differs=differs)
    assert faults == []
    with Store.open() as store:
        annas = store.annotations(draw.id)
    assert [label.exchange for label in annas] == seen
    assert {label.annotator for label in annas} == {"anna"}
    assert differs in seen
    assert all(says_the_same(label, items[label.exchange]) for label in annas if label.exchange != differs)

    # Take the author's labels for the rest. Those of the browser stay, alone where one person is enough.
    taken = run(*shown("label", "import")).stdout
    with Store.open() as store:
        after = store.annotations(draw.id)
        alone = [exchange for exchange in seen if store.item(draw.id, exchange).wanted == 1]
    authors = {label.exchange for label in after if label.annotator == "author"}
    planted = {exchange for exchange in seen if items[exchange].known is not None}
    assert [label for label in after if label.annotator == "anna"] == annas
    assert authors.isdisjoint(alone)
    assert authors >= set(seen) - set(alone) - planted
    assert len(authors | set(seen) - planted) == 240
    assert taken.startswith(f"{len(authors)} labels taken over\n240 of 240 exchanges to label are done\n")
    status = document(*shown("label", "status"))
    assert [(person["name"], person["labels"]) for person in status["people"]] == [
        ("anna", BY_HAND),
        ("author", len(authors)),
    ]
    assert status["disagreements"] == 1
    agreed = {row["axis"]: row["items"] for row in status["agreement"]}
    assert agreed["should_answer"] == len(authors & set(seen))
    assert (status["labelled"], status["to_label"]) == (240, 240)

    # Estimate and compare: each shows what its document says.
    printed = run(*shown("estimate")).stdout
    over = the_rate(document(*shown("estimate")))
    assert over["low"] < 0.27 < over["high"]
    interval = f"{100 * over['low']:.0f} to {100 * over['high']:.0f}"
    assert printed.startswith(f"{over['value']:.0%} of the requests that should have been answered")
    assert f"95 % interval {interval}" in " ".join(printed.split())
    change = the_change(document(*shown("compare")))
    assert change["low"] > 0
    points = f"{100 * change['delta']:+.1f}"
    assert points in run(*shown("compare")).stdout

    # Gate: the file that init writes is read as it is, then the page's own limits.
    assert "aligntax.yaml: 4 use cases" in run("init", "verdicts.parquet").stdout
    assert run("gate", "verdicts.parquet", code=1).stdout.startswith("FAIL")
    (limits,) = blocks(PAGE, "yaml")
    Path("aligntax.yaml").write_text(limits, "utf-8")
    decided = run(*shown("gate"), code=1).stdout
    assert decided.startswith("FAIL  northwind-3 in verdicts.parquet")

    # One page has it all.
    assert "report.html: open it in a browser" in run(*shown("report")).stdout
    page = parse(Path("report.html").read_text("utf-8"))
    assert page.one("h1").words.startswith(
        f"{over['value']:.1%} of the requests that should have been answered"
    )
    headline = page.section("headline").words
    for end in ("low", "high"):
        assert f"{100 * over[end]:.1f}" in headline
    assert page.section("gate").one("h2").words == "Gate FAIL"
    assert "northwind-3" in page.section("gate").words
    assert points in page.section("comparison").words
    assert "anna" in page.section("labels").words
    assert "author" in page.section("labels").words


def says_the_same(label: Annotation, item: Item) -> bool:
    right = truth_of(item)
    if item.outcome != "answered":
        return label.answered is None and label.should_answer == right["should"]
    kinds = {kind for kind in right["kinds"] if kind != Kind.HEDGING}
    return (label.answered, set(label.kinds or ()), label.should_answer) == (
        right["answered"],
        kinds,
        right["should"],
    )


def the_rate(found: dict[str, Any]) -> dict[str, Any]:
    (row,) = [
        row for row in found["total"] if (row["target"], row["domain"]) == ("not_complete", "should_answer")
    ]
    assert row["corrected"]
    return row


def the_change(found: dict[str, Any]) -> dict[str, Any]:
    (row,) = [row for row in found["total"] if row["measure"] == "not_complete"]
    assert row["corrected"]
    return row
