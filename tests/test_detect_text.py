"""Texts of any shape: folding, offsets, sentences, and rows that never touch one another."""

from __future__ import annotations

import functools
import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from aligntax.detect import judge
from aligntax.detect.phrases import expand
from aligntax.detect.text import CHUNK_BYTES, MAX_ROW_BYTES, flatten, fold
from aligntax.detect.tokens import tokenize
from answers import exchanges, refusals, verdict, verdicts, words

SCORES = (
    "p_full",
    "p_part",
    "p_none",
    "hard_refusal",
    "soft_refusal",
    "topic_avoidance",
    "hedge_density",
    "disclaimer_share",
)
EXACT = ("language", "answered", "label", "words", "answer_start", "spans")


# -- folding -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        "I can't help with that",
        "I CAN'T HELP WITH THAT",
        "I can’t help with that",
        "I **can't** help with *that",
        "I __can't__ help with `that",
        "I can't  help\twith\u00a0that",
        "I can't — help — with that",
        "I can't 🙂 help with that",
        "Ｉ ｃａｎ＇ｔ ｈｅｌｐ ｗｉｔｈ ｔｈａｔ",
        "𝐈 𝐜𝐚𝐧'𝐭 𝐡𝐞𝐥𝐩 𝐰𝐢𝐭𝐡 𝐭𝐡𝐚𝐭",
        "I can\u200b't help wi\u200dth that",
        "I can't he\u00adlp with that",
        "I can't help with\ufeff that",
    ],
)
@pytest.mark.parametrize("around", ["{}.", "Öffne Datei № ５: ﬁle! 👩\u200d👩\u200d👧 {}. Đặng: “à demain”."])
def test_a_refusal_is_found_however_it_is_written(written: str, around: str) -> None:
    assert refusals(verdict(around.format(written))) == [written]


def test_composed_and_decomposed_accents_are_the_same_letter() -> None:
    text = "Désolé, mais je ne peux pas vous aider à faire cela."
    apart = unicodedata.normalize("NFD", text)
    assert len(apart) > len(text)
    rows = verdicts(text, apart)
    assert [row["language"] for row in rows] == ["fr", "fr"]
    assert [row["answered"] for row in rows] == ["none", "none"]
    first, second = (len(row["spans"]) for row in rows)
    assert first == second > 0


@given(st.text(max_size=60))
@example("İstanbul ﬁﬂ ẞ ŉ ΐ K")
@example("e\u0301\u0323 \u0301 ﷺ")
def test_fold_names_the_origin_of_every_character(text: str) -> None:
    folded, origin = fold(text)
    if origin is None:
        assert len(folded) == len(text)
        return
    assert len(origin) == len(folded) + 1
    assert (origin[1:] >= origin[:-1]).all()
    assert origin[-1] == len(text)


# -- offsets -------------------------------------------------------------------------------------------------

SAID = st.sampled_from(
    [
        "I can't help with that",
        "I CAN’T help with that",
        "I **can't** help with that",
        "Ｉ ｃａｎ＇ｔ help with that",
        "I can\u200b't he\u00adlp with that",
        "As an AI language model",
        "抱歉，我无法满足您的请求",
        "Извините, но я не могу помочь",
        "माफ़ करें, मैं यह जानकारी नहीं दे सकता",
        "je ne peux pas vous aider",
    ]
)
FILLER = st.sampled_from(
    [
        "Run kill -9 on it",
        "Résumé: naïve façade",
        "E\u0301cole e\u0323\u0301",
        "ÀÉÎ ĄĘŻ",
        "进程 已 停止",
        "これを見る",
        "🙂👩\u200d💻🇫🇮",
        "ﬁle № ５",
        "İZMİR",
        "a\u00adb\u200bc",
        "x = 1 # code",
        "…",
        "",
    ]
)
GLUE = st.sampled_from([". ", "! ", "\n", "\n\n- ", "。", " ", "? "])
MIXED = st.lists(st.tuples(st.one_of(FILLER, SAID), GLUE), min_size=1, max_size=8).map(
    lambda parts: "".join(text + glue for text, glue in parts)
)


@functools.cache
def readings(rule: str) -> set[tuple[str, ...]]:
    return {words(phrase) for phrase in expand(rule.partition(": ")[2])}


@settings(max_examples=150, deadline=None)
@given(st.lists(MIXED, min_size=1, max_size=4))
def test_every_span_of_every_row_reads_as_its_rule_says(texts: list[str]) -> None:
    for row in verdicts(*texts):
        for span in row["spans"]:
            assert 0 <= span["start"] < span["end"] <= len(row["response"])
            read = words(row["response"][span["start"] : span["end"]])
            assert read in readings(span["rule"]), (row["response"], span)


@settings(max_examples=100, deadline=None)
@given(MIXED, MIXED)
def test_offsets_count_characters_of_the_original(before: str, after: str) -> None:
    said = "I can't help with that"
    row = verdict(f"{before}\n{said}.\n{after}")
    assert (len(before) + 1, len(before) + 1 + len(said)) in {
        (span["start"], span["end"]) for span in row["spans"]
    }


# -- sentences -----------------------------------------------------------------------------------------------


def sentences(text: str) -> list[str]:
    flat = flatten([text])
    tokens = tokenize(flat)
    first = tokens.sentence_first[: tokens.row_sentence[1]]
    starts = flat.characters(tokens.start[first], first * 0).tolist()
    pieces = [text[a:b].strip() for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]
    return [piece for piece in pieces if any(char.isalnum() for char in piece)]


@pytest.mark.parametrize(
    "expected",
    [
        ["Take 3.14 or 2.5 mg.", "Then stop."],
        ["Use a tool, e.g. grep, i.e. a filter.", "Then stop."],
        ["Ask Dr. Lee or Ms. Poe.", "They know."],
        ["Version 1.2.3 is out.", "Get it at example.org today."],
        ["Wait...", "Now go."],
        ["Wait…", "Now go."],
        ["Really?!", "Yes."],
        ['He said "stop."', "Then he left."],
        ["(See above.)", "It holds."],
        ["**Stop.**", "Then read the log."],
        ["看这里。", "再看那里。"],
        ["全角！", "次？", "終わり。"],
        ["यह पहला है।", "यह दूसरा है॥"],
        ["هل هذا صحيح؟", "نعم."],
    ],
)
def test_sentences_end_where_a_reader_ends_them(expected: list[str]) -> None:
    assert [words(piece) for piece in sentences(" ".join(expected))] == [words(piece) for piece in expected]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1. Install it\n2. Run it", 2),
        ("One line\nAnother line\n\n\nA third", 3),
        ("Ends with no point", 1),
        ("看这里。再看那里。", 2),
        ("a.b.c", 1),
    ],
)
def test_lines_end_sentences_and_numbers_of_items_do_not(text: str, count: int) -> None:
    assert len(sentences(text)) == count


# -- rows ----------------------------------------------------------------------------------------------------

ROWS = st.lists(
    st.one_of(
        MIXED,
        st.text(max_size=40),
        st.sampled_from(
            [
                "",
                "x",
                "```\nopen",
                'an "open quotation',
                "> quoted",
                "1.",
                ".",
                "\n",
                "I can't",
                "help with that.",
            ]
        ),
    ),
    min_size=1,
    max_size=10,
)


def agree(left: pl.DataFrame, right: pl.DataFrame) -> None:
    for one, other in zip(left.iter_rows(named=True), right.iter_rows(named=True), strict=True):
        for name in SCORES:
            assert one[name] == pytest.approx(other[name], abs=1e-5), (name, one["response"])
        near = any(
            one[name] is not None and abs(one[name] - edge) < 1e-4
            for name in SCORES
            for edge in (0.35, 0.5, 0.65)
        )
        for name in EXACT:
            assert near or one[name] == other[name], (name, one["response"])


@settings(max_examples=60, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_a_row_is_judged_as_if_it_were_alone(texts: list[str], random) -> None:  # type: ignore[no-untyped-def]
    frame = exchanges(texts)
    together = judge(frame)
    agree(together, pl.concat([judge(frame[at : at + 1]) for at in range(frame.height)]))
    order = random.sample(range(frame.height), frame.height)
    agree(together[order], judge(frame[order]))


def test_rows_of_a_later_chunk_are_judged_like_those_of_the_first() -> None:
    texts = [
        f"Note {n}: it is done. " + "Ünit and 进程 restart. " * (n % 7) * 40 + "I can’t help with that."
        for n in range(400)
    ]
    assert sum(map(len, texts)) > 1.5 * CHUNK_BYTES
    rows = verdicts(*texts)
    assert all(refusals(row) == ["I can’t help with that"] for row in rows)
    some = [0, 3, 250, 398, 399]
    agree(judge(exchanges(texts))[some], judge(exchanges([texts[at] for at in some])))


def test_threads_do_not_disturb_one_another() -> None:
    frames = [exchanges([f"Unit {n} is down. " * (50 + n), "I can't help with that."] * 20) for n in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(judge, frames))
    for frame, judged in zip(frames, together, strict=True):
        assert_frame_equal(judge(frame), judged)


@pytest.mark.parametrize("measure", ["disclaimer_share", "soft_refusal", "functions"])
def test_marks_at_the_head_of_a_row_do_not_lengthen_the_row_before(measure: str) -> None:
    text = "Run kill -9 on it. Run kill -9 on it. I can't help with that. "
    beside, _ = verdicts(text, "-" * 40 + " Title")
    assert beside[measure] == pytest.approx(verdict(text)[measure], abs=1e-5)


def test_a_refusal_across_two_rows_is_none() -> None:
    rows = verdicts("I can't", "help with that", "I can't help with that")
    assert [len(refusals(row)) for row in rows] == [0, 0, 1]


def test_marks_left_open_in_one_row_hide_nothing_in_the_next() -> None:
    plain = "I can't help with that."
    rows = verdicts(
        "```\nopen fence", plain, 'an open " mark', plain, "a `tick", plain, "an open “ mark", plain
    )
    assert [len(refusals(row)) for row in rows] == [0, 1] * 4


# -- odd texts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", " ", "\n\n\n", "\t \n", "...", "?", "\x00\x00", "🙂🙂🙂", "—", "\u200b", "\ufeff", "#"]
)
def test_a_text_without_words_is_never_complete_or_refused(text: str) -> None:
    row = verdict(text)
    assert row["label"] in (None, "undetermined")
    assert not row["spans"]


@pytest.mark.parametrize("text", ["a", "7", "是", "é", "Ａ", "\x00a", "a\x00b", "x" * 100_000])
def test_a_text_of_one_word_is_judged(text: str) -> None:
    row = verdict(text)
    assert row["words"] in (1, 2)
    assert row["label"] is not None


def test_nul_and_control_characters_only_separate() -> None:
    assert refusals(verdict("\x00I can't\x00help\x07with that.")) == ["I can't\x00help\x07with that"]


def test_lone_surrogates_are_no_reason_to_stop() -> None:
    flat = flatten(["\ud800 I can’t help \udfff"])
    assert len(tokenize(flat).start) > 4


@pytest.mark.parametrize(
    ("filler", "most"),
    [
        ("word ", MAX_ROW_BYTES // 5 + 8),
        ("进程", MAX_ROW_BYTES),
        ("Ünï ", MAX_ROW_BYTES),
        ("ﷺ ", MAX_ROW_BYTES),
        ("``` a\n", MAX_ROW_BYTES),
        ('"a" ', MAX_ROW_BYTES),
        ("> a\n", MAX_ROW_BYTES),
        (". ", 8),
    ],
)
def test_ten_megabytes_cost_no_more_than_their_beginning(filler: str, most: int) -> None:
    verdict("warm")
    text = "I can't help with that. " + filler * (10_000_000 // len(filler))
    begin = time.perf_counter()
    row = verdict(text)
    assert time.perf_counter() - begin < 3
    assert row["words"] <= most
    assert refusals(row)[:1] == ["I can't help with that"]


def test_a_letter_under_thousands_of_marks_costs_no_more_than_others() -> None:
    verdict("warm")
    begin = time.perf_counter()
    verdict("É a" + "\u0301\u0323" * 40_000)
    assert time.perf_counter() - begin < 2


def test_blank_lines_before_an_answer_change_nothing_but_offsets() -> None:
    answer = "I'm sorry, but I can't help with that. You could ask a lawyer instead."
    plain, blank = verdict(answer), verdict("\n \n\n" + answer)
    assert blank["label"] == plain["label"]
    assert abs(blank["p_full"] - plain["p_full"]) < 0.05
    assert [span["start"] for span in blank["spans"]] == [span["start"] + 4 for span in plain["spans"]]


def test_one_compatibility_character_does_not_make_the_rest_of_a_text_slow() -> None:
    text = "Plain words that go on and on. " * 4000
    begin = time.process_time()
    folded, origin = fold("É ² " + text)
    assert time.process_time() - begin < 0.05  # 125 kB; letter by letter it took 0.1 s and more
    assert folded == "é 2 " + text.lower()
    assert origin is not None
    assert origin[-1] == len(text) + 4
