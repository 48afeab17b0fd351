"""The report with what `aligntax twins --json` and `aligntax triggers --json` printed: it says the same, and no more."""

from __future__ import annotations

import copy
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from aligntax.cli import commands
from aligntax.cli.trigger_words import to_json
from aligntax.errors import InputError
from aligntax.report import write_report
from aligntax.triggers import Found, Swap, Trigger
from aligntax.types import Estimate
from pages import Element, parse
from verdicts import verdict_frame

FRAME = verdict_frame(40, seed=2)
ATTACK = "\u202e<script>window.hit=1</script>{{7*7}}\x00" + "W" * 400


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `aligntax twins` prints of two simulated models."""
    folder = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = CliRunner(env={"ALIGNTAX_STORE": "", "ALIGNTAX_CONFIG": ""}).invoke(
            commands,
            [
                "twins",
                "security",
                "--model",
                "fake/aligned",
                "--base-model",
                "fake/base",
                "--repeats",
                "1",
                "--json",
            ],
        )
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def estimate(value: float, low: float | None, high: float | None) -> Estimate:
    return Estimate(
        value=value, low=low, high=high, level=0.95, n=90, n_labels=0, method="made up", corrected=False
    )


def trigger(word: str, value: float, prompts: int, low: float | None, high: float | None) -> Trigger:
    return Trigger(
        words=(word, f"the {word}"),
        odds_ratio=estimate(value, low, high),
        p_value=0.001,
        q_value=0.01,
        prompts=prompts,
        share_with=0.5,
        share_without=0.1,
        stability=0.9,
        topics=(),
        sensitivity=(),
        labelled=None,
        examples=("a",),
        sample=("a",),
    )


def found(*triggers: Trigger, **facts: Any) -> Found:
    known: dict[str, Any] = {"unstable": 2, "tested": 400, "exchanges": 3000, "prompts": 2900}
    known |= {"families": 2800, "share": 0.1, "labels": 0, "recalibrated": False, "topics": 8}
    known |= {"given_topics": False, "left_out": {"without a verdict": 11}, "needed": 5000, "q": 0.1}
    return Found(triggers=triggers, **(known | facts))


def swap(word: str, *, causes: bool) -> Swap:
    return Swap(
        word=word,
        substitute="stop",
        effect=estimate(0.4 if causes else 0.01, 0.2 if causes else -0.1, 0.6 if causes else 0.1),
        prompts=40,
        calls=240,
        failed=0,
        p_value=0.001,
        q_value=0.001,
        causes=causes,
    )


KILL, BLUE = trigger("kill", 4.0, 120, 2.0, 8.0), trigger("blue", 2.0, 900, 1.2, 3.1)


def page_of(folder: Path, *, tax: Any = None, triggers: str | None = None) -> Element:
    """The page with these documents, which stand in files of the folder."""
    files: dict[str, Path] = {}
    for name, content in (("tax", None if tax is None else json.dumps(tax)), ("triggers", triggers)):
        if content is not None:
            files[name] = folder / f"{name}.json"
            files[name].write_text(content)
    return parse(write_report(FRAME, folder / "page.html", **files).read_text("utf-8"))


def rows_of(table: Element) -> dict[str, list[str]]:
    """Cells of each row in words, by its name."""
    return {
        row.one("th").words: [cell.words for cell in row.all("td")] for row in table.one("tbody").all("tr")
    }


def percents(texts: list[str]) -> list[float]:
    return [float(text.rstrip("%").replace("−", "-")) for text in texts]


# The tax


def test_the_tax_opens_with_its_sentence_and_says_that_it_is_a_simulation(
    measured: dict[str, Any], tmp_path: Path
) -> None:
    page = page_of(tmp_path, tax=measured)
    section = page.section("tax")
    said = section.one("p", class_="signed").words
    assert said == measured["headline"].replace(" %", "%")
    warnings = [each.words for each in section.all("p", class_="uncorrected")]
    assert warnings[0].startswith("SIMULATION fake/base is a set of rules, not a model.")
    assert warnings[1].startswith("SIMULATION fake/aligned is a set of rules, not a model.")
    assert warnings[2].startswith("UNCORRECTED Who refused")
    assert "Quality is a proxy: the share of the required facts" in section.words
    assert "SIMULATION" in page.section("headline").one("ul", class_="glance").words
    assert "#tax" in [link.attributes["href"] for link in page.one("nav").all("a")]


def test_the_printed_parts_add_up_to_the_printed_tax_of_both_models(
    measured: dict[str, Any], tmp_path: Path
) -> None:
    section = page_of(tmp_path, tax=measured).section("tax")
    table = next(each for each in section.all("table") if "add up" in each.one("caption").words)
    rows = rows_of(table)
    for place, name in ((0, "tax"), (2, "base")):
        *parts, tax = percents([cells[place] for cells in rows.values()])
        assert sum(parts) == pytest.approx(tax, abs=1e-9)
        assert tax == pytest.approx(100 * measured[name]["tax"]["value"], abs=0.051)


def test_each_bar_of_the_parts_starts_where_the_one_above_ends(
    measured: dict[str, Any], tmp_path: Path
) -> None:
    tax = copy.deepcopy(measured)
    values = {"refused": 0.3, "half_refused": 0.1, "hedged_or_padded": -0.05, "content_lost": 0.05}
    for name, value in values.items():
        tax["tax"]["parts"][name]["value"] = value
    plot = page_of(tmp_path, tax=tax).section("tax").one("svg", class_="waterfall")
    bars = [bar for bar in plot.all("rect") if bar.attributes["class"] != "track"]
    spans = [(float(b.attributes["x"].rstrip("%")), float(b.attributes["width"].rstrip("%"))) for b in bars]
    ends = [(round(x), round(x + width)) for x, width in spans]
    assert ends == [(0, 75), (75, 100), (88, 100), (88, 100), (0, 100)]  # of 40 %, the furthest it goes


def test_terms_stand_in_a_plot_and_all_of_them_in_a_table_with_the_base(
    measured: dict[str, Any], tmp_path: Path
) -> None:
    section = page_of(tmp_path, tax=measured).section("tax")
    table = next(each for each in section.all("table") if each.one("caption").words == "Tax by term")
    rows = rows_of(table)
    terms = measured["tax"]["terms"]
    assert len(rows) == len(terms) > 50
    first = rows[terms[0]["name"]]
    assert first[0] == str(terms[0]["families"])
    base = next(each for each in measured["base"]["terms"] if each["name"] == terms[0]["name"])
    assert percents([first[1], first[4]]) == pytest.approx(
        [100 * terms[0]["tax"]["value"], 100 * base["tax"]["value"]], abs=0.051
    )
    assert any(cells[2] == "under 6 families" for cells in rows.values())
    assert len(section.all("svg", class_="forest")[-1].all("g")) == 12


def test_what_nobody_rated_is_called_a_proxy_and_what_experts_rated_is_not(
    measured: dict[str, Any], tmp_path: Path
) -> None:
    def follows(document: dict[str, Any]) -> dict[str, str]:
        section = page_of(tmp_path, tax=document).section("tax")
        table = next(each for each in section.all("table") if "Follows experts" in each.words)
        return {name: cells[-1] for name, cells in rows_of(table).items()}

    assert follows(measured)["Quality"] == follows(measured)["Directness *"] == "proxy"
    rated = copy.deepcopy(measured)
    rated["tax"]["source"] = "expert"
    rated["tax"]["measures"][1]["correlation"] = {"value": 0.71, "low": 0.6, "high": 0.8}
    assert follows(rated)["Quality"] == "–"
    assert follows(rated)["Directness *"] == "0.71 (0.60 to 0.80)"
    assert "UNCORRECTED" not in page_of(tmp_path, tax=rated).section("tax").words


def test_an_interval_with_no_tax_in_it_is_no_finding(measured: dict[str, Any], tmp_path: Path) -> None:
    none = copy.deepcopy(measured)
    none["tax"]["tax"] |= {"value": 0.02, "low": -0.01, "high": 0.05}
    assert (
        page_of(tmp_path, tax=none)
        .section("tax")
        .one("p", class_="signed")
        .words.startswith("No tax shown for fake/aligned: 2.0%")
    )


def test_two_models_on_prompts_without_twins_stand_beside_each_other_alone(
    measured: dict[str, Any], tmp_path: Path
) -> None:
    alone = measured | {"tax": None, "base": None, "beside": measured["beside"] | {"tax": None}}
    section = page_of(tmp_path, tax=alone).section("tax")
    assert "gives nothing in" in section.one("p", class_="signed").words
    assert len(section.all("table")) == 1


# Trigger words


def test_a_confirmed_word_is_filled_and_an_associated_one_hollow(tmp_path: Path) -> None:
    swaps = [swap("kill", causes=True), swap("blue", causes=False)]
    section = page_of(tmp_path, triggers=to_json(found=found(KILL, BLUE), swaps=swaps)).section("triggers")
    chart = section.one("svg", class_="scatter")
    assert [circle.attributes["class"] for circle in chart.all("circle")] == ["estimate", "associated"]
    rows = rows_of(section.one("table"))
    assert rows["1 kill with the kill"][:3] == ["4.00", "2.00 to 8.00", "120"]
    assert rows["1 kill with the kill"][-1].startswith("causes refusals +40.0 points (+20.0 to +60.0)")
    assert rows["2 blue with the blue"][-1].startswith("associated only")
    assert "1 of 2 that were swapped for a neutral word cause them" in section.words
    assert "UNCORRECTED" in section.words


def test_without_swaps_no_word_is_said_to_cause_anything(tmp_path: Path) -> None:
    section = page_of(tmp_path, triggers=to_json(found=found(KILL, BLUE))).section("triggers")
    assert {c.attributes["class"] for c in section.one("svg", class_="scatter").all("circle")} == {
        "associated"
    }
    assert "causes refusals" not in section.words
    assert "none was put to the test" in section.words
    assert "Confirmed" not in section.words


def test_stronger_words_stand_higher_frequent_ones_further_right_each_on_its_interval(tmp_path: Path) -> None:
    chart = (
        page_of(tmp_path, triggers=to_json(found=found(KILL, BLUE)))
        .section("triggers")
        .one("svg", class_="scatter")
    )
    (kill, blue), lines = chart.all("circle"), chart.all("line", class_="interval")
    down = [float(point.attributes["cy"]) for point in (kill, blue)]
    across = [float(point.attributes["cx"].rstrip("%")) for point in (kill, blue)]
    assert down[0] < down[1]
    assert across[0] < across[1]
    ends = [sorted(float(line.attributes[name]) for name in ("y1", "y2")) for line in lines]
    assert all(top < y < bottom for y, (top, bottom) in zip(down, ends, strict=True))
    assert down[0] == pytest.approx(sum(ends[0]) / 2, abs=0.1)  # 4 is midway of 2 and 8 on a log scale


def test_odds_that_no_scale_can_hold_keep_the_chart_whole(tmp_path: Path) -> None:
    wild = [trigger("all", 5e9, 3, 0.0, 1e11), trigger("none", 0.0, 5, None, None)]
    section = page_of(tmp_path, triggers=to_json(found=found(*wild))).section("triggers")
    chart = section.one("svg", class_="scatter")
    assert len(chart.all("circle")) == 1
    assert all(0 <= float(line.attributes["y1"]) <= 340 for line in chart.all("line"))
    assert "end at its edge" in section.words
    assert len(rows_of(section.one("table"))) == 2


def test_where_no_word_is_found_the_page_says_what_it_would_take(tmp_path: Path) -> None:
    section = page_of(tmp_path, triggers=to_json(found=found())).section("triggers")
    assert "No trigger words found: none of 400 words goes with refusals." in section.words
    assert "5,000 distinct prompts" in section.words
    assert not section.all("svg")
    assert not section.all("table")


# Both


def test_hostile_names_stay_text(measured: dict[str, Any], tmp_path: Path) -> None:
    tax = copy.deepcopy(measured)
    for part in (tax["tax"], tax["base"]):
        part["model"] = part["tax"]["method"] = ATTACK
        part["terms"][0]["name"] = part["worst"][0]["name"] = part["measures"][0]["name"] = ATTACK
        part["left_out"] = {ATTACK: 1}
    tax["tax"]["source"] = tax["tax"]["counted_in"] = ATTACK
    tax["beside"] |= {"base": ATTACK, "aligned": ATTACK}
    tax["logs"] = {"log": ATTACK}
    word = trigger(ATTACK, 4.0, 50, 2.0, 8.0)
    document = to_json(
        found=found(word, left_out={ATTACK: 2}), swaps=[swap(ATTACK, causes=True)], top=5
    ).replace('"substitute": "stop"', f'"substitute": {json.dumps(ATTACK)}')
    page = page_of(tmp_path, tax=tax, triggers=document)
    written = (tmp_path / "page.html").read_text("utf-8")
    assert len(page.all("script")) == len(page.all("style")) == 1
    assert not set("\u202e\x00") & set(written)
    for section in ("tax", "triggers"):
        assert "<script>window.hit=1</script>{{7*7}}" in page.section(section).text
    assert "W" * 400 not in written


def test_a_page_without_these_files_has_neither_section(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    assert not {"tax", "triggers"} & {each.attributes["aria-labelledby"] for each in page.all("section")}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("secret words", "not one JSON document"),
        ('{"secret":' * 100_000, "not one JSON document"),
        ('{"format": 1, "secret": NaN}', "not one JSON document"),
        ('{"format": 1, "aligntax": "0.1.0", "span": {"without": "secret"}}', "--json prints"),
        ("[]", "--json prints"),
    ],
)
@pytest.mark.parametrize("name", ["tax", "triggers"])
def test_a_foreign_file_is_one_clear_error_that_quotes_nothing(
    name: str, content: str, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "foreign.json"
    file.write_text(content)
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        write_report(FRAME, tmp_path / "page.html", **{name: file})
    assert "secret" not in str(caught.value)
    assert str(file) in str(caught.value)
    assert not (tmp_path / "page.html").exists()


def test_a_file_of_another_version_is_named_as_one(measured: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="format 2 is of another version"):
        page_of(tmp_path, tax=measured | {"format": 2})
    with pytest.raises(InputError, match="neither a tax nor two models"):
        page_of(tmp_path, tax=measured | {"tax": None, "base": None, "beside": None})


def test_the_command_takes_both_files(measured: dict[str, Any], tmp_path: Path) -> None:
    FRAME.write_parquet(tmp_path / "v.parquet")
    (tmp_path / "tax.json").write_text(json.dumps(measured))
    (tmp_path / "words.json").write_text(to_json(found=found(KILL)))
    paths = {name: str(tmp_path / name) for name in ("v.parquet", "page.html", "tax.json", "words.json")}
    arguments = ["report", paths["v.parquet"], "-o", paths["page.html"]]
    options = ["--tax", paths["tax.json"], "--triggers", paths["words.json"]]
    runner = CliRunner(env={"ALIGNTAX_STORE": "", "ALIGNTAX_CONFIG": ""})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        result = runner.invoke(commands, [*arguments, *options])
        absent = runner.invoke(commands, [*arguments, "--tax", str(tmp_path / "absent.json")])
    assert result.exit_code == 0, result.output
    page = parse((tmp_path / "page.html").read_text("utf-8"))
    assert page.section("tax").words
    assert page.section("triggers").words
    assert isinstance(absent.exception, InputError) or "cannot be read" in absent.output


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH")
def test_both_sections_fit_a_phone_a_screen_and_paper_and_load_nothing(
    measured: dict[str, Any], tmp_path: Path
) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    swaps = [swap("kill", causes=True), swap("blue", causes=False)]
    page_of(tmp_path, tax=measured, triggers=to_json(found=found(KILL, BLUE), swaps=swaps))
    wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page()
        noise: list[str] = []
        page.on("console", lambda message: noise.append(message.text))
        page.on("request", lambda request: noise.append(request.url))
        page.goto((tmp_path / "page.html").as_uri())
        page.evaluate(
            "document.querySelectorAll('[aria-labelledby=tax] details').forEach(d => d.open = true)"
        )
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for width in (320, 400, 1100):
                page.set_viewport_size({"width": width, "height": 800})
                assert page.evaluate(wider) <= 0, (scheme, width)
        page.set_viewport_size({"width": 688, "height": 1000})
        page.emulate_media(media="print")
        assert page.evaluate(wider) <= 0
        fills = page.evaluate(
            "[...document.querySelectorAll('svg.scatter circle')].map(c => getComputedStyle(c).fill)"
        )
        assert len(set(fills)) == 2
        assert len(noise) == 1
        assert noise[0].startswith("file://")
        browser.close()
