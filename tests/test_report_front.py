"""The page of a search: what is hollow, what is missing, what is claimed, and a chart that screen readers can read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import pytest

from aligntax.report.front import heat_rows, write_front_report
from aligntax.report.front_chart import front_chart, legend
from aligntax.stats.front import FrontRow
from aligntax.types import Estimate
from aligntax.weights.ratios import Ratios
from aligntax.weights.searching.sensitivity import Moved, readings
from pages import parse


def estimate(value: float, width: float = 0.08) -> Estimate:
    return Estimate(
        value=value, low=max(value - width, -1), high=min(value + width, 1), level=0.95, n=100, n_labels=0,
        method="Wilson", corrected=False,
    )  # fmt: skip


def row(method: str, safety: float, usefulness: float, **more: bool) -> FrontRow:
    return FrontRow(
        method=method, label="0.90 <b>", safety=estimate(safety), usefulness=estimate(usefulness),
        over=estimate(0.2), **more,
    )  # fmt: skip


ROWS = [
    row("uniform", 0.9, 0.5, baseline=True),
    row("uniform", 0.7, 0.8, baseline=True, chosen=True),
    row("blocks", 0.92, 0.6, chosen=True),
    row("blocks", 0.75, 0.85),
]


def test_every_point_is_drawn_with_its_interval_and_said_in_words() -> None:
    chart = parse(str(front_chart(ROWS, title="Fronts", floor=0.8)))
    points = chart.all("path", class_="point")
    assert len(points) == 4
    assert sum("hollow" in point.attributes["class"] for point in points) == 2
    assert len(chart.all("line", class_="bars")) == 8
    assert len(chart.all("circle", class_="ring")) == 2
    assert len(chart.all("line", class_="floor")) == 1
    (said,) = [e.children[0] for e in chart.all("desc")]
    assert "blocks 0.90 <b>: safety 92% (84 to 100), usefulness 60% (52 to 68)" in str(said)
    across = {round(float(e.attributes["x"].rstrip("%")), 1) for e in chart.all("svg", width="1")}
    assert len(across) == 4  # safer is further to the right
    assert [name for name, _ in legend(ROWS)] == ["uniform", "blocks"]
    assert str(front_chart([], title="")) == ""


def test_the_staircase_is_the_edge_of_what_a_method_reaches() -> None:
    rows = [*ROWS, row("blocks", 0.7, 0.6)]  # dominated: no corner of it
    first, second = (
        parse(str(front_chart(which, title=""))).all("path", class_="line") for which in (ROWS, rows)
    )
    assert [line.attributes["d"] for line in first] == [line.attributes["d"] for line in second]
    assert first[0].attributes["d"].count("H") == 1


def test_a_page_of_rows_alone_serves_the_laboratory(tmp_path: Path) -> None:
    page = parse(
        write_front_report(ROWS, tmp_path / "p.html", title="lab <i>", facts={"seeds": 3}).read_text()
    )
    assert "theta = theta0 + a * (theta1 - theta0)" in page.words
    assert "92% (84 to 100)" in page.section("points").words
    assert "0.90 <b>" in page.section("points").words  # text, not markup
    assert not page.all("section", aria_labelledby="gains")
    assert "Seeds3" in page.section("settings").words


def test_the_heat_strip_shades_by_size_and_says_what_is_worse(tmp_path: Path) -> None:
    moved = [
        Moved(
            part=part, kind="block", share=0.0, ratios=Ratios(blocks=(0.0, 1.0)), safety=estimate(safety),
            usefulness=estimate(0.1), over=estimate(-0.3), word="free",
        )
        for part, safety in (("layers 0-1", -0.5), ("layers 2-3", 0.0))
    ]  # fmt: skip
    cells = [cells for _, _, cells, _ in heat_rows(moved)]
    assert [cell.css for cell in cells[0]] == ["heat-down-5", "heat-up-1", "heat-up-3"]
    assert cells[1][0].css == "heat-none"
    page = parse(write_front_report(ROWS, tmp_path / "p.html", sensitivity=moved).read_text())
    assert "−50" in page.section("sensitivity").words
    assert "The scan took 3 evaluations" in page.section("sensitivity").words
    assert "Free to restore: layers 0-1, layers 2-3" in page.section("sensitivity").words
    bare = msgspec.structs.replace(moved[0], over=None)
    assert heat_rows([bare])[0][2][2].said == "not measured"


def test_a_part_that_costs_safety_at_any_share_is_not_called_free() -> None:
    def at(part: str, share: float, word: Literal["free", "costs safety", "unclear"]) -> Moved:
        return Moved(
            part=part, kind="block", share=share, ratios=Ratios(blocks=(share,)), safety=estimate(0.0),
            usefulness=estimate(0.0), over=None, word=word,
        )  # fmt: skip

    rows = [
        at("a", 0.0, "free"), at("a", 0.5, "unclear"), at("b", 0.0, "unclear"), at("b", 0.5, "free"),
        at("c", 0.0, "unclear"), at("c", 0.5, "costs safety"), at("d", 0.5, "free"), at("d", 0.0, "free"),
    ]  # fmt: skip
    assert readings(rows) == [
        ("free to restore", ("a", "d")), ("costs safety", ("c",)), ("unclear", ("b",)),
    ]  # fmt: skip
    assert readings([]) == []


def test_the_page_says_which_baselines_are_missing_and_how_to_write_the_point(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the weights extra is not installed")
    from aligntax.weights.searching.search import Settings, search
    from search_world import resident, sides

    found = search(resident(), sides(), Settings(strategies=("blocks",), budget=3))
    write = "aligntax weights average base aligned --blocks 0.9,0.7,0.8 -o OUT"
    page = parse(write_front_report(found.rows, tmp_path / "p.html", found=found, write=write).read_text())
    missing = [notice.words for notice in page.all("p", class_="uncorrected")]
    assert len(missing) == 2
    assert all("no gain over it can be claimed" in words for words in missing)
    assert write in page.section("verdict").text
    table = page.section("gains").words
    for gain in found.gains:
        assert f"{gain.method.capitalize()} less {gain.baseline}" in table
        assert gain.ruling in table
    assert page.words.count("operating point") >= 2
    counts = found.prompts
    rest = f"rest on {counts['report useful families']} useful and {counts['report harmful families']} harmful prompts"
    assert rest in table
    kept = msgspec.structs.replace(found, chosen=None)
    page = parse(write_front_report(kept.rows, tmp_path / "k.html", found=kept).read_text())
    assert "Next: keep ALIGNED" in page.section("verdict").words
