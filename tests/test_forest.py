"""Forest plots, in SVG and in characters: what is drawn where, and what is never drawn."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from aligntax.cli.forest import Bar, forest_lines, writes_ascii_only
from aligntax.report.forest import Row, forest

SVG = "{http://www.w3.org/2000/svg}"


def drawn(rows: list[Row], **settings) -> ElementTree.Element:
    text = str(forest(rows, title="Differences", **{"zero": True} | settings))
    assert "style" not in text  # the page's policy forbids inline styles
    return ElementTree.fromstring(text.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def across(element: ElementTree.Element, name: str) -> float:
    return float(element.attrib[name].removesuffix("%"))


def of_class(picture: ElementTree.Element, css: str) -> list[ElementTree.Element]:
    return [element for element in picture.iter() if css in element.attrib.get("class", "").split()]


def ticks(picture: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in of_class(picture, "tick")]


def test_an_interval_is_a_line_with_the_estimate_on_it_and_zero_has_its_line():
    picture = drawn(
        [Row(label="all", value=0.1, low=0.0, high=0.3), Row(label="x", value=-0.2, low=-0.4, high=0.0)]
    )
    first, second = of_class(picture, "interval")
    (zero,) = of_class(picture, "zero")
    assert across(first, "x1") == across(zero, "x1") == across(second, "x2")
    dots = [across(dot, "cx") for dot in of_class(picture, "estimate")]
    # -40 to +30 takes the width between the edges, so that a tenth of it is a seventh of the way.
    assert dots[0] - across(first, "x1") == pytest.approx(
        (across(first, "x2") - across(first, "x1")) / 3, abs=0.02
    )
    assert dots[1] < across(zero, "x1") < dots[0]
    assert ticks(picture) == ["−40", "−20", "0", "+20", "+40"]


def test_an_uncorrected_row_is_hollow_stamped_and_has_no_interval_even_when_one_is_given():
    picture = drawn([Row(label="raw", value=0.1, low=0.05, high=0.2, corrected=False)])
    assert of_class(picture, "interval") == of_class(picture, "estimate") == []
    assert len(of_class(picture, "uncorrected")) == 1
    assert of_class(picture, "stamp")[0].text == "+10.0, UNCORRECTED"
    assert "UNCORRECTED" in picture.find(f"{SVG}desc").text


def test_the_raw_rate_stands_beside_the_corrected_one_as_a_hollow_diamond():
    picture = drawn([Row(label="all", value=0.1, low=0.05, high=0.2, raw=0.3)], zero=False)
    assert len(of_class(picture, "raw")) == 1
    assert ticks(picture) == ["0%", "10%", "20%", "30%"]


def test_every_row_says_its_numbers_in_words():
    picture = drawn([Row(label="all", value=0.123, low=-0.05, high=0.3), Row(label="none", value=None)])
    assert picture.attrib["role"] == "img"
    assert picture.attrib["aria-label"] == picture.find(f"{SVG}title").text == "Differences"
    assert picture.find(f"{SVG}desc").text == "all: +12.3 (−5.0 to +30.0); none: no estimate"
    rates = drawn([Row(label="all", value=0.123, low=0.05, high=0.3)], zero=False)
    assert rates.find(f"{SVG}desc").text == "all: 12.3% (5.0 to 30.0)"
    plain = drawn([Row(label="hedges", value=1.5, low=-0.25, high=2)], percent=False)
    assert plain.find(f"{SVG}desc").text == "hedges: +1.50 (−0.25 to +2.00)"


def test_names_from_logs_are_shown_and_never_act():
    hostile = 'a\u202e<script>"</script>' + "long " * 40
    picture = drawn([Row(label=hostile, value=0.1)])
    assert list(picture.iter(f"{SVG}script")) == []
    (name,) = of_class(picture, "row-name")
    assert name.text.startswith('a\ufffd<script>"</script>')
    assert len(name.text) <= 64


@pytest.mark.parametrize("values", [(0.0, 0.0, 0.0), (1e-7, 0.0, 2e-7), (0.5, 0.0, 1.0), (-0.99, -1.0, 0.0)])
def test_every_mark_is_inside_of_the_picture(values):
    value, low, high = values
    picture = drawn([Row(label="x", value=value, low=low, high=high, raw=value / 2)])
    marks = [
        float(number) for number in re.findall(r'"([\d.-]+)%"', ElementTree.tostring(picture, "unicode"))
    ]
    assert marks
    assert all(0 <= mark <= 100 for mark in marks)
    assert 2 <= len(ticks(picture)) <= 12


def test_no_rows_draw_nothing():
    assert forest([], title="x", zero=True) == ""


# -- in a terminal -------------------------------------------------------------------------------------------

BARS = [
    Bar(label="all", value=0.2, low=0.1, high=0.3, note="+20.0"),
    Bar(label="clinical documentation", value=0.0, low=-0.1, high=0.1, note="0.0"),
    Bar(label="law", value=-0.1, note="UNCORRECTED"),
]


def points(value: float) -> str:
    return f"{100 * value:+.0f}" if value else "0"


def test_bars_share_one_axis_with_a_zero_line_through_it():
    lines = forest_lines(BARS, width=70, number=points)
    assert len(lines) == 4
    zero = lines[0].index("│")
    assert lines[1][zero] == "●"
    assert lines[0].index("├") == lines[1].index("┤")  # +10, the low end of one and the high end of the other
    assert lines[2].index("○") == lines[1].index("├")
    assert lines[3].split() == ["-10", "0", "+30"]
    assert abs(lines[3].index("0", lines[3].index("-10") + 3) - zero) <= 1


def test_zero_inside_of_an_interval_shows_through_it():
    (line, _) = forest_lines([Bar(label="x", value=0.2, low=-0.1, high=0.4)], width=60, number=points)
    assert line.index("├") < line.index("┼") < line.index("●") < line.index("┤")


def test_without_an_interval_a_bar_is_hollow():
    line = forest_lines(BARS, width=70, number=points)[2]
    assert "○" in line
    assert not set(line) & set("├┤─●")


def test_a_plot_for_plain_terminals_is_ascii():
    text = "\n".join(forest_lines(BARS, width=70, number=points, plain=True))
    assert text.isascii()
    assert {"[", "]", "*", "o", "|"} <= set(text)


@pytest.mark.parametrize("width", [50, 60, 80, 120])
def test_no_line_is_wider_than_it_may_be_whatever_the_names(width):
    bars = [*BARS, Bar(label="a name that goes on " * 9 + "\x1b[31m", value=0.1, note="+10.0")]
    lines = forest_lines(bars, width=width, number=points)
    assert lines
    assert max(map(len, lines)) <= width
    assert "\x1b" not in "".join(lines)


def test_where_there_is_no_room_there_is_no_plot():
    assert forest_lines(BARS, width=30, number=points) == []
    assert forest_lines([], width=80, number=points) == []


def test_differences_that_are_all_zero_are_drawn_too():
    lines = forest_lines([Bar(label="x", value=0.0, low=0.0, high=0.0)], width=60, number=points)
    assert "●" in lines[0]


def test_which_terminals_show_the_lines():
    assert [writes_ascii_only(name) for name in ("utf-8", "utf-16", "cp437")] == [False, False, True]
    assert [writes_ascii_only(name) for name in ("ascii", "latin-1", "cp1252", "no such", None)] == [True] * 5
