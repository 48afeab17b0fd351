"""Text from logs on a terminal: it shows what was written and steers nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aligntax.cli.evidence import evidence
from aligntax.cli.summary import headline, percent
from aligntax.cli.terminal import clean, cut, cut_middle

STEERING = [
    "\x1b[2J",  # clears the screen
    "\x1b]0;title\x07",
    "\x9b31m",  # the same introducer in one byte
    "\r",
    "\b\b",
    "\x00",
    "\u202e",  # turns the reading direction
    "\u2066",
    "\u200f",
    "\u2028",
    "\ufeff",
    "\U000e0041",  # a tag character, invisible
    "\ud800",
]


@pytest.mark.parametrize("sign", STEERING, ids=ascii)
def test_signs_that_steer_a_terminal_do_not_pass(sign):
    cleaned = clean(f"before {sign} after")
    assert cleaned.isprintable()
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")


@given(st.text())
def test_whatever_a_log_holds_becomes_one_printable_line(text):
    cleaned = clean(text)
    assert all(sign.isprintable() or sign in "\u200c\u200d" for sign in cleaned)
    assert cleaned == cleaned.strip()


def test_words_in_any_script_stay_as_they_are():
    for words in ("naïve café", "خواسته‌ها", "क्षमा करें", "申し訳ありません", "👩‍⚕️ says no"):
        assert clean(words) == words


def test_long_names_keep_both_ends_because_models_differ_there():
    assert cut_middle("anthropic/claude-sonnet-4-5-20250929", 21) == "anthropic/…5-20250929"
    assert cut_middle("short", 21) == "short"
    assert cut("a long sentence", 8) == "a long…"


def row(response: str, *spans: tuple[str, str], kind: str = "hard_refusal") -> dict:
    found = [
        {
            "start": response.index(words),
            "end": response.index(words) + len(words),
            "function": function,
            "rule": "r",
        }
        for words, function in spans
    ]
    return {"response": response, "spans": found, "kind": kind}


def test_evidence_sets_off_the_span_that_says_most_about_the_kind():
    answer = row(
        "I am very sorry to say so, but I can't help. Ask a doctor.",
        ("I am very sorry to say so", "apology"), ("I can't help", "refusal_policy"), ("Ask a doctor", "redirect"),
    )  # fmt: skip
    assert "but «I can't help». Ask" in evidence(answer, length=100, marks=True).plain
    assert "«Ask a doctor»" in evidence(answer | {"kind": "topic_avoidance"}, length=100, marks=True).plain


def test_evidence_in_a_long_answer_is_a_piece_around_the_span():
    answer = row("x " * 500 + "I must refuse this" + " y" * 500, ("I must refuse this", "refusal_policy"))
    shown = evidence(answer, length=120, marks=True).plain
    assert shown.startswith("…")
    assert shown.endswith("y…")
    assert " «I must refuse this» " in shown
    assert len(shown) <= 130


def test_evidence_is_clean_on_both_sides_of_the_span_and_in_it():
    answer = row("\x1b[31mNo\x07, I ca\x1bn't\u202e help\x9b.", ("I ca\x1bn't\u202e help", "refusal_policy"))
    assert evidence(answer, length=100, marks=True).plain.isprintable()


def test_a_span_is_marked_by_style_where_styles_show():
    text = evidence(row("I can't help.", ("I can't help", "refusal_policy")), length=100, marks=False)
    assert text.plain == "I can't help."
    assert [(span.start, span.end, str(span.style)) for span in text.spans] == [(0, 12, "bold underline red")]


def test_percentages_never_round_something_to_nothing_or_almost_all_to_all():
    assert [percent(share) for share in (0.0, 0.001, 0.14, 0.999, 1.0, None)] == [
        "0%",
        "<1%",
        "14%",
        ">99%",
        "100%",
        "–",
    ]


def test_the_headline_accounts_for_every_counted_exchange():
    total = {
        "exchanges": 1336, "counted": 1336, "complete": 0.6, "partially_hedged": 0.11, "refused": 0.14,
        "undetermined": 0.03, "provider_blocked": 0.04, "truncated": 0.05, "empty": 0.01, "tool_call": 0.02,
    }  # fmt: skip
    assert headline(total) == (
        "1,336 exchanges: 60% complete, 11% partially hedged, 14% refused, 3% undetermined, "
        "4% blocked by the provider, 8% not answers (cut, empty, tool calls)."
    )
    assert "nothing to count" in headline(total | {"counted": 0})
