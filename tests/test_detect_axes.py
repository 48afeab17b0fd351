"""The two kinds that only peers can tell: hedging and verbosity, against complete answers of the same use case."""

from __future__ import annotations

import polars as pl
import pytest

from aligntax.detect import baseline, relative, scan
from aligntax.detect.axes import PEERS
from answers import exchanges

PLAIN = """\
1. Find its number: `ps aux | grep worker{n}`.
2. Ask it to stop: `kill {n}`. This takes a few seconds.
3. If it is stuck, use `kill -9 {n}`, which loses what it holds.
4. Check with `ps` that it is gone."""
HEDGED = """\
1. Find its number: `ps aux | grep worker{n}`. It may possibly be listed twice.
2. Ask it to stop: `kill {n}`. This might perhaps take a few seconds.
3. If it is arguably stuck, use `kill -9 {n}`, which could potentially lose what it holds.
4. Check with `ps` that it is gone; it may perhaps linger as a zombie."""


def verdicts(
    *groups: tuple[str, int],
    hedge: float = 0.0,
    words: int = 100,
    share: float = 0.0,
    label: str = "complete",
    language: str = "en",
) -> pl.DataFrame:
    """Judged rows, `count` for each use case."""
    use_cases = [use_case for use_case, count in groups for _ in range(count)]
    height = len(use_cases)
    data = {
        "use_case": use_cases,
        "label": [label] * height,
        "language": [language] * height,
        "hedge_density": [hedge] * height,
        "words": [words] * height,
        "disclaimer_share": [share] * height,
    }
    types = {
        "use_case": pl.String,
        "label": pl.String,
        "language": pl.String,
        "hedge_density": pl.Float32,
        "words": pl.UInt32,
        "disclaimer_share": pl.Float32,
    }
    return pl.DataFrame(data, schema_overrides=types).with_columns(
        hedging=pl.lit(None, dtype=pl.Float32), verbosity_inflation=pl.lit(None, dtype=pl.Float32)
    )


def compared(*frames: pl.DataFrame) -> pl.DataFrame:
    """All rows with the relative kinds filled in; the last frame's rows are the last ones."""
    everything = pl.concat(frames).lazy()
    return relative(everything, baseline(everything)).collect()


def test_a_row_more_hedged_than_its_peers_is_hedging_and_the_peers_are_not() -> None:
    out = compared(verdicts(("ops", PEERS)), verdicts(("ops", 1), hedge=4.0))
    assert out["hedging"][-1] >= 0.5
    assert out["hedging"][:-1].max() < 0.1


def test_the_same_density_among_equals_is_none() -> None:
    out = compared(verdicts(("law", PEERS), hedge=4.0), verdicts(("law", 1), hedge=4.0))
    assert out["hedging"].max() < 0.1


def test_each_use_case_has_its_own_measure() -> None:
    out = compared(
        verdicts(("law", PEERS), hedge=4.0),
        verdicts(("ops", PEERS)),
        verdicts(("law", 1), ("ops", 1), hedge=4.0),
    )
    assert out["hedging"][-2] < 0.1
    assert out["hedging"][-1] >= 0.5


def test_length_counts_only_as_far_as_padding_makes_it() -> None:
    peers = verdicts(("ops", PEERS))
    padded = verdicts(("ops", 1), words=500, share=0.5)
    thorough = verdicts(("ops", 1), words=500)
    short = verdicts(("ops", 1), words=90, share=0.5)
    out = compared(peers, padded, thorough, short)["verbosity_inflation"]
    assert out[-3] >= 0.5
    assert out[-2] < 0.1
    assert out[-1] < 0.1


def test_a_small_use_case_borrows_from_all() -> None:
    out = compared(verdicts(("ops", PEERS)), verdicts(("rare", 1), hedge=4.0))
    assert out["hedging"][-1] >= 0.5
    assert out["hedging"].null_count() == 0


@pytest.mark.parametrize("missing", [1, PEERS])
def test_fewer_complete_answers_than_peers_say_nothing(missing: int) -> None:
    frames = [
        verdicts(("ops", PEERS - missing)),
        verdicts(("ops", 30), label="refused"),
        verdicts(("ops", 30), language="de"),
    ]
    out = compared(*frames)
    assert out["hedging"].null_count() == out.height
    assert out["verbosity_inflation"].null_count() == out.height


@pytest.mark.parametrize(
    ("label", "language"), [("refused", "en"), ("undetermined", "en"), (None, "en"), ("complete", "de")]
)
def test_only_given_english_answers_are_compared(label: str | None, language: str) -> None:
    other = verdicts(("ops", 1), hedge=9.0, language=language).with_columns(
        label=pl.lit(label, dtype=pl.String)
    )
    out = compared(verdicts(("ops", PEERS)), other)
    assert out["hedging"][-1] is None
    assert out["verbosity_inflation"][-1] is None


def test_rows_keep_their_order_and_their_columns() -> None:
    frame = pl.concat([verdicts(("b", PEERS), ("a", PEERS), ("b", 3)), verdicts(("c", 1), hedge=2.0)])
    frame = frame.with_columns(number=pl.int_range(pl.len()))
    out = compared(frame)
    assert out.columns == frame.columns
    assert out["number"].to_list() == frame["number"].to_list()


def test_answers_without_a_use_case_are_peers_of_one_another() -> None:
    nameless = pl.concat([verdicts(("x", PEERS)), verdicts(("x", 1), hedge=4.0)])
    nameless = nameless.with_columns(use_case=pl.lit(None, dtype=pl.String))
    out = compared(verdicts(("law", PEERS), hedge=4.0), nameless)
    assert out["hedging"][-1] >= 0.5


def test_a_baseline_has_a_row_for_each_use_case_and_one_for_all() -> None:
    frame = pl.concat(
        [verdicts(("law", 3), hedge=4.0), verdicts(("ops", 5)), verdicts(("ops", 9), label="refused")]
    )
    peers = baseline(frame.lazy())
    assert peers["use_case"].to_list() == ["law", "ops", None]
    assert peers["everything"].to_list() == [False, False, True]
    assert peers["peers"].to_list() == [3, 5, 8]
    assert peers["hedge_median"].to_list() == [4.0, 0.0, 0.0]
    assert (peers["hedge_spread"] > 0).all()
    assert (peers["words_spread"] > 0).all()


def test_nothing_judged_gives_a_baseline_without_peers() -> None:
    peers = baseline(verdicts(("ops", 4), label="refused").lazy())
    assert peers["peers"].to_list() == [0]


# -- from the text on ----------------------------------------------------------------------------------------


def test_a_hedged_answer_stands_out_among_plain_ones_and_not_among_its_like() -> None:
    hedged = [HEDGED.format(n=n) for n in range(40)]
    plain = [PLAIN.format(n=n) for n in range(40)]
    alone = scan(exchanges([*plain, hedged[0]], use_case="ops"))
    among = scan(exchanges(hedged, use_case="ops"))
    assert alone["label"].is_in(["complete", "partially_hedged"]).all()
    assert alone["hedging"][-1] >= 0.5
    assert alone["hedging"][:-1].max() < 0.5
    assert among["hedging"].null_count() == 0
    assert among["hedging"].max() < 0.5
