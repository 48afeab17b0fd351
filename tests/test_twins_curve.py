"""A curve of checkpoints: the slope and its interval, capability from lm-evaluation-harness, the drawing."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from aligntax.errors import InputError
from aligntax.twins import Point, capability_of, curve_of, read_points
from aligntax.twins.curve import slope_of
from aligntax.twins.curve_chart import chart_lines, chart_of, svg_of
from aligntax.types import Estimate

HARNESS = {
    "results": {
        "mmlu": {"alias": "mmlu", "acc,none": 0.5, "acc_stderr,none": 0.02},
        "mmlu_law": {"acc,none": 0.4, "acc_stderr,none": 0.04},
        "arc": {"acc,none": 0.3, "acc_stderr,none": 0.01, "acc_norm,none": 0.4, "acc_norm_stderr,none": 0.02},
    },
    "group_subtasks": {"mmlu": ["mmlu_law"]},
}


def points(n: int = 8) -> list[Point]:
    random = np.random.default_rng(1)
    return [
        Point(
            name=f"step-{at}",
            safety=at / 10,
            tax=0.1 + 0.03 * at + float(random.normal(0, 0.01)),
            tax_low=0.05 + 0.03 * at,
            tax_high=0.15 + 0.03 * at,
            capability=0.6 - 0.01 * at,
        )
        for at in range(n)
    ]


def test_the_slope_is_that_of_the_line_and_its_interval_holds_it() -> None:
    found = curve_of(points())
    tax = found.slopes[0]
    assert tax.measure == "tax"
    assert tax.slope.low < 0.3 < tax.slope.high
    assert tax.slope.low > 0
    assert found.slopes[1].slope.value == pytest.approx(-0.1)
    assert found.slopes[1].slope.low is None  # points on a line show no error
    assert found.slopes[1].monotone


def test_the_slope_agrees_with_a_textbook_case_of_hc3() -> None:
    x, y = np.array([1.0, 2, 3, 4, 5, 7]), np.array([1.0, 3, 2, 5, 4, 9])
    found, intercept = slope_of(x, y)
    design = np.column_stack([np.ones(6), x])
    bread = np.linalg.inv(design.T @ design)
    beta = bread @ design.T @ y
    hats = np.diag(design @ bread @ design.T)
    weights = ((y - design @ beta) / (1 - hats)) ** 2
    error = np.sqrt((bread @ (design.T * weights) @ design @ bread)[1, 1])
    assert (found.value, intercept) == (pytest.approx(beta[1]), pytest.approx(beta[0]))
    assert (found.high - found.low) / 2 == pytest.approx(2.7764451 * error)


def test_steps_against_the_slope_are_counted() -> None:
    found = curve_of(
        [Point(name=str(at), safety=at, tax=tax) for at, tax in enumerate([0.1, 0.2, 0.15, 0.3, 0.4])]
    )
    assert (found.slopes[0].turns, found.slopes[0].monotone) == (1, False)


def test_fewer_than_three_checkpoints_make_no_curve_and_fewer_than_five_no_interval() -> None:
    with pytest.raises(InputError, match="three checkpoints"):
        curve_of(points(2))
    assert curve_of(points(4)).slopes[0].slope.low is None


def test_intervals_of_slopes_hold_as_often_as_they_say() -> None:
    random = np.random.default_rng(8)
    x = np.linspace(0, 1, 12)
    held = 0
    for _ in range(800):
        found, _ = slope_of(x, 0.2 + 0.3 * x + random.normal(0, 0.02 + 0.05 * x))
        held += found.low <= 0.3 <= found.high
    assert 0.92 <= held / 800 <= 0.98


def test_capability_comes_from_results_of_the_harness() -> None:
    assert capability_of(HARNESS) == (pytest.approx(0.45), pytest.approx(np.hypot(0.02, 0.02) / 2))
    assert capability_of(HARNESS, "mmlu_law") == (0.4, 0.04)
    assert capability_of(HARNESS, "arc:acc") == (0.3, 0.01)
    for document, task in (({}, None), (HARNESS, "gsm8k"), (HARNESS, "arc:bleu")):
        with pytest.raises(InputError):
            capability_of(document, task)


def test_points_come_from_a_table(tmp_path: Path) -> None:
    (tmp_path / "eval.json").write_text(json.dumps(HARNESS), "utf-8")
    table = tmp_path / "points.csv"
    table.write_text("name,reward,tax,log,capability\na,0.1,0.2,,eval.json\nb,0.2,,run.jsonl,0.5\n", "utf-8")

    def measured(log: Path) -> Estimate:
        assert log == tmp_path / "run.jsonl"
        return Estimate(value=0.3, low=0.2, high=0.4, level=0.95, n=9, n_labels=0, method="", corrected=False)

    found = read_points(table, tax_of_log=measured, task="mmlu")
    assert [(point.name, point.safety, point.tax, point.capability) for point in found] == [
        ("a", 0.1, 0.2, 0.5),
        ("b", 0.2, 0.3, 0.5),
    ]
    assert (found[1].tax_low, found[0].capability_error) == (0.2, 0.02)
    table.write_text(json.dumps({"points": [{"name": "a", "safety": 1, "tax": 0.1}]}), "utf-8")
    assert read_points(table)[0].safety == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,tax\na,0.1\n", "row 1: has no safety"),
        ("name,safety,tax\na,x,0.1\n", "row 1: safety is no number"),
        ("name,safety,log\na,1,run.jsonl\n", "name the suite"),
        ("name,safety,capability\na,1,gone.json\n", "no file that can be read"),
        ("[1]", "no list of checkpoints"),
        ("{", "not JSON"),
    ],
)
def test_a_broken_table_names_its_row(tmp_path: Path, text: str, message: str) -> None:
    table = tmp_path / "points"
    table.write_text(text, "utf-8")
    with pytest.raises(InputError, match=message):
        read_points(table)


def test_the_drawing_holds_every_checkpoint_within_its_frame() -> None:
    curve = curve_of(points())
    chart = chart_of(curve, curve.slopes[0])
    tree = ElementTree.fromstring(svg_of(chart))
    circles = [node for node in tree.iter() if node.tag.endswith("circle")]
    assert len(circles) == 8
    assert all(
        64 <= float(node.get("cx", 0)) <= 624 and 24 <= float(node.get("cy", 0)) <= 312 for node in circles
    )
    assert circles[0].find("{*}title").text == "step-0"  # type: ignore[union-attr]


def test_a_name_cannot_break_out_of_the_drawing() -> None:
    named = [Point(name="<script>x</script>", safety=at, tax=0.1 * at) for at in range(3)]
    curve = curve_of(named)
    assert "<script" not in svg_of(chart_of(curve, curve.slopes[0]))


@pytest.mark.parametrize("plain", [True, False])
def test_the_chart_fits_the_terminal(plain: bool) -> None:
    curve = curve_of(points())
    lines = chart_lines(curve, curve.slopes[0], width=72, plain=plain)
    assert max(map(len, lines)) <= 72
    assert sum(line.count("*" if plain else "●") for line in lines) == 8
    assert not plain or all(line.isascii() for line in lines)
