"""The compiled loops and the array operations that stand in for them: the same verdicts."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from aligntax import read
from aligntax.detect import judge, native
from aligntax.types import verdict_schema
from answers import exchanges
from test_detect_sample import LOGS

pytestmark = pytest.mark.skipif(native.load() is None, reason="the compiled loops are not built here")


def agree(frame: pl.DataFrame) -> None:
    compiled = judge(frame)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "load", lambda: None)
        arrays = judge(frame)
    columns = list(verdict_schema())
    assert_frame_equal(compiled.select(columns), arrays.select(columns), abs_tol=1e-5)


PIECES = st.sampled_from(
    [
        "I can't help with that",
        "it may perhaps be",
        "3.14 e.g. this",
        "1.",
        "...",
        "?!",
        "。",
        "।",
        "…",
        "\n",
        "\n> ",
        "```",
        "`",
        '"',
        "“",
        "”",
        "„",
        "抱歉，我无法",
        "ＡＢＣ",
        "é",
        "E\u0301",
        "🙂",
        "\u200b",
        "\x00",
        " ",
        "word",
        "A.B",
        "٣",
        "؟",
        "-",
        "*",
    ]
)
TEXT = st.one_of(st.lists(PIECES, max_size=25).map("".join), st.text(max_size=30))


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=6))
def test_they_agree_on_any_text(texts: list[str]) -> None:
    agree(exchanges(texts, prompts=[text[::-1] for text in texts]))


def test_they_agree_on_the_sample_log() -> None:
    agree(pl.concat(list(read(LOGS))))


@pytest.mark.parametrize(
    "text", ["word " * 60_000, "进程" * 60_000, '"a" `b` ' * 30_000, "I can't help. " * 20_000]
)
def test_they_agree_on_long_texts(text: str) -> None:
    agree(exchanges([text, "after it"]))
