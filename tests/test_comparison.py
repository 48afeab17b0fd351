"""Two sides compared: worked by hand, paired where prompts match, and never taken in by a detector's own bias."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from aligntax.errors import InputError
from aligntax.estimate.comparison import MEASURES, Side, compare, split
from aligntax.label.planning import allocate_rest, plan
from aligntax.stats.difference import mover, tango
from aligntax.types import Estimate, Kind
from labels import NOW, answers, blocked, draw_of, frame, labelled_by, note, notes, skipped, stratum
from verdicts import SCHEMA

ANSWER = {"label": "complete", "score": 0.1}
REFUSAL = {"label": "refused", "score": 0.9}


def asked(
    prompts: list[str | None],
    *,
    refused: int = 0,
    words: list[int] | int = 100,
    density: float = 0.0,
    **fields,
) -> pl.DataFrame:
    """One answer a prompt; the first `refused` of them are refusals, which have no measures."""
    lengths = [words] * len(prompts) if isinstance(words, int) else words
    rows = []
    for number, prompt in enumerate(prompts):
        score = 0.9 if number < refused else 0.1
        rows += answers(
            1,
            score,
            **(
                {"prompt": prompt, "words": lengths[number], "hedge_density": density}
                | ({"hedge_density": None} if number < refused else {})
                | fields
            ),
        )
    return frame([row | {"id": f"{fields.get('name', 'x')}{at}"} for at, row in enumerate(rows)])


def side(verdicts: pl.DataFrame, name: str, **fields) -> Side:
    return Side(name=name, verdicts=verdicts.lazy(), **fields)


def compared(base: pl.DataFrame, aligned: pl.DataFrame, **settings) -> pl.DataFrame:
    return compare(side(base, "base"), side(aligned, "aligned"), **settings)


def row(table: pl.DataFrame, measure: str, **where) -> dict:
    found = table.filter(measure=measure, **where)
    assert len(found) == 1
    return found.row(0, named=True)


def prompts(count: int, first: int = 0) -> list[str]:
    return [f"question {number}" for number in range(first, first + count)]


def labelled_side(name: str, says: str, *, size: int = 100) -> Side:
    """`size` answers of one score, of which the first ones are labelled."""
    verdicts = frame(answers(size, 0.1, name=name, words=50))
    return side(verdicts, name, draw=draw_of(stratum(size, labels=len(says))), annotations=notes(name, says))


# -- rates ---------------------------------------------------------------------------------------------------


def test_the_difference_of_two_corrected_rates_is_that_of_mover():
    found = row(
        compare(labelled_side("b", "f" * 36 + "nnnn"), labelled_side("a", "f" * 28 + "n" * 12)),
        "not_complete",
    )
    assert (found["base"], found["aligned"]) == pytest.approx((0.1, 0.3))
    ends = [
        Estimate(
            value=found[name],
            low=found[f"{name}_low"],
            high=found[f"{name}_high"],
            level=0.95,
            n=100,
            n_labels=40,
            method="",
            corrected=True,
        )
        for name in ("aligned", "base")
    ]
    expected = mover(*ends)
    assert (found["delta"], found["low"], found["high"]) == pytest.approx((0.2, expected.low, expected.high))
    assert 0 < found["low"] < 0.2 < found["high"]
    assert (found["labels_base"], found["labels_aligned"], found["corrected"]) == (40, 40, True)
    assert "MOVER" in found["method"]


def test_without_labels_on_a_side_the_difference_is_raw_uncorrected_and_has_no_interval():
    labelled = labelled_side("b", "n" * 40)  # people say that all of them were refused
    found = row(compare(labelled, side(frame(answers(50, 0.9)), "new")), "not_complete")
    # Corrected minus raw would be a difference of two different things: both are raw here.
    assert (found["base"], found["aligned"], found["delta"]) == (0.0, 1.0, 1.0)
    assert (found["low"], found["high"], found["corrected"]) == (None, None, False)
    assert (found["base_low"], found["base_high"]) == (None, None)
    assert found["method"] == "UNCORRECTED: no labels of new"
    neither = row(compared(frame(answers(9, 0.1)), frame(answers(9, 0.9))), "refused")
    assert neither["method"] == "UNCORRECTED: no labels of base and aligned"


def test_over_refusal_is_compared_among_what_should_have_been_answered():
    def of(name: str, says: list) -> Side:
        draw = draw_of(stratum(40, labels=20))
        return side(frame(answers(40, 0.5, name=name)), name, draw=draw, annotations=says)

    base = [note(f"b{at}", "none" if at < 10 else "full", "no" if at < 10 else "yes") for at in range(20)]
    aligned = [note(f"a{at}", "none" if at < 10 else "full", "yes") for at in range(20)]
    table = compare(of("b", base), of("a", aligned))
    assert row(table, "not_complete")["delta"] == pytest.approx(0)
    found = row(table, "over_refusal")
    assert (found["base"], found["aligned"], found["delta"]) == pytest.approx((0, 0.5, 0.5))


def test_over_refusal_has_no_row_where_nobody_said_what_should_have_been_answered():
    assert compared(frame(answers(9, 0.1)), frame(answers(9, 0.9))).filter(measure="over_refusal").is_empty()


def test_a_side_on_which_nothing_should_have_been_answered_has_no_over_refusal_to_compare():
    draw = draw_of(stratum(20, labels=10))
    base = side(frame(answers(20, 0.5)), "b", draw=draw, annotations=notes("a", "n" * 10, should_answer=None))
    no = [note(f"a{at}", "none", "no") for at in range(10)]
    base = side(frame(answers(20, 0.5)), "b", draw=draw, annotations=no)
    found = row(compare(base, labelled_side("a", "f" * 10, size=20)), "over_refusal")
    assert (found["base"], found["delta"], found["low"]) == (None, None, None)
    assert found["method"] == "a side has nothing in the domain"


def test_blocked_calls_count_as_not_complete_on_both_sides():
    found = compared(frame(answers(8, 0.1), blocked(2)), frame(answers(5, 0.1), blocked(5)))
    assert row(found, "not_complete")["delta"] == pytest.approx(0.3)
    assert row(found, "partially_hedged")["delta"] == 0


def test_where_annotators_do_not_agree_there_is_no_difference_either():
    doubly = [
        note(f"a{at}", word, annotator=who)
        for at in range(20)
        for who, word in (("ann", "full" if at % 2 else "none"), ("bob", "none" if at % 3 else "full"))
    ]
    bad = side(frame(answers(40, 0.1)), "b", draw=draw_of(stratum(40, labels=20)), annotations=doubly)
    found = row(compare(bad, labelled_side("c", "f" * 20, size=40)), "not_complete")
    assert (found["base"], found["aligned"], found["delta"], found["corrected"]) == (None, None, None, False)
    assert found["method"].startswith("withheld")


def test_a_skipped_exchange_is_outside_of_the_rate():
    noted = [*notes("b", "f" * 9), skipped("b9")]
    base = side(
        frame(answers(20, 0.1, name="b")), "b", draw=draw_of(stratum(20, labels=10)), annotations=noted
    )
    found = row(compare(base, labelled_side("a", "f" * 10, size=20)), "not_complete")
    assert (found["base"], found["aligned"], found["corrected"]) == (0, 0, True)


# -- slices --------------------------------------------------------------------------------------------------


def test_slices_are_compared_one_by_one_and_a_slice_of_one_side_has_no_difference():
    base = pl.concat([asked(prompts(10), use_case="law"), asked(prompts(10), use_case="care", name="y")])
    aligned = asked(prompts(10), refused=5, use_case="law")
    table = compared(base, aligned, by=["use_case"])
    assert table["use_case"].unique(maintain_order=True).to_list() == ["care", "law"]
    assert row(table, "not_complete", use_case="law")["delta"] == 0.5
    alone = row(table, "not_complete", use_case="care")
    assert (alone["base"], alone["aligned"], alone["delta"]) == (0, None, None)
    assert alone["method"] == "only on the side base"
    assert row(table, "hedge_density", use_case="care")["delta"] is None
    of_law = table.filter(use_case="law")["measure"].to_list()
    assert of_law == [name for name in MEASURES if name != "over_refusal"]


def test_slices_without_a_value_stay_a_slice_of_their_own_at_the_end():
    table = compared(
        pl.concat([asked(prompts(3)), asked(prompts(3), use_case="law", name="y")]),
        asked(prompts(3), refused=3),
        by=["use_case"],
    )
    assert table["use_case"].unique(maintain_order=True).to_list() == ["law", None]
    assert table.filter(pl.col("use_case").is_null(), measure="refused")["delta"].to_list() == [1.0]


def test_one_file_is_split_by_model_week_or_tag():
    one = asked(prompts(6), model_served="m-1", tags='{"arm": "a"}', time=NOW)
    two = asked(prompts(6), refused=3, model_served="m-2", tags='{"arm": "b"}', name="y")
    both = pl.concat([one, two]).lazy()
    for base, aligned in (
        ({"model": "m-1"}, {"model": "m-2"}),
        ({"tags.arm": "a"}, {"tags.arm": "b"}),
        ({"week": "2026-W10"}, {"tags.arm": "b", "model": "m-2"}),
    ):
        sides = split(both, base, aligned)
        assert [one_side.name for one_side in sides] == [" · ".join(x.values()) for x in (base, aligned)]
        assert row(compare(*sides), "refused")["delta"] == 0.5


def test_sides_with_an_exchange_in_common_are_refused():
    both = asked(prompts(6), model_served="m-1", use_case="law").lazy()
    with pytest.raises(InputError, match="6 exchanges are on both sides"):
        split(both, {"model": "m-1"}, {"use_case": "law"})


def test_a_side_without_exchanges_is_refused_with_the_values_that_there_are():
    both = asked(prompts(3), model_served="m-1", tags='{"ward": "secret"}').lazy()
    with pytest.raises(InputError, match=r"no exchange has model=m-9 \(here model is m-1\)"):
        compare(*split(both, {"model": "m-1"}, {"model": "m-9"}))
    # What a tag holds may be what people wrote: it never stands in an error.
    with pytest.raises(InputError) as error:
        compare(*split(both, {"model": "m-1"}, {"tags.ward": "x"}))
    assert "secret" not in str(error.value)


def test_labels_of_a_draw_over_the_whole_file_serve_both_of_its_sides():
    verdicts = frame(
        answers(60, 0.1, name="b", model_served="m-1"), answers(60, 0.1, name="a", model_served="m-2")
    )
    parts = [stratum(60, labels=30, at=["m-1"]), stratum(60, labels=30, at=["m-2"])]
    sides = split(
        verdicts.lazy(),
        {"model": "m-1"},
        {"model": "m-2"},
        draw=draw_of(*parts, by=["model"]),
        annotations=notes("b", "f" * 30) + notes("a", "f" * 15 + "p" * 15),
    )
    table = compare(*sides)
    found = row(table, "partially_hedged")
    assert (found["base"], found["aligned"], found["corrected"]) == pytest.approx((0, 0.5, True))
    assert (found["labels_base"], found["labels_aligned"]) == (30, 30)
    assert (found["n_base"], found["n_aligned"]) == (60, 60)


# -- pairs ---------------------------------------------------------------------------------------------------


def test_matching_prompts_are_pairs_and_the_detectors_own_calls_get_a_paired_interval():
    table = compared(asked(prompts(20), refused=2), asked(prompts(20), refused=8))
    found = row(table, "not_complete")
    expected = tango(6, 0, 20)
    assert found["matched"] == 20
    assert (found["calls_delta"], found["calls_low"], found["calls_high"]) == pytest.approx(
        (0.3, expected.low, expected.high)
    )
    assert found["calls_p"] == pytest.approx(2 * 0.5**6 - 0.5**6)
    # Still a raw rate: that interval is not one of the difference.
    assert (found["low"], found["corrected"]) == (None, False)


def test_repeats_of_a_prompt_are_one_family():
    once, thrice = prompts(10), [prompt for prompt in prompts(10) for _ in range(3)]
    found = row(compared(asked(once), asked(thrice, refused=9)), "refused")
    # The first 9 of 30 answers are all those of three prompts.
    values = np.array([1.0] * 3 + [0.0] * 7)
    half = stats.t.ppf(0.975, 9) * values.std(ddof=1) / math.sqrt(10)
    assert found["matched"] == 10
    assert (found["calls_delta"], found["calls_high"]) == pytest.approx((0.3, 0.3 + half))
    assert found["calls_p"] is None


def test_the_same_prompt_after_another_history_is_another_prompt():
    base = asked(prompts(10), history='[{"role": "user", "content": "before"}]')
    assert compared(base, asked(prompts(10)))["matched"].unique().to_list() == [0]
    assert compared(base, base)["matched"].unique().to_list() == [10]


def test_a_few_matching_prompts_do_not_speak_for_the_rest():
    table = compared(asked(prompts(30)), asked(prompts(30, first=20)))
    found = row(table, "hedge_density")
    assert (found["matched"], found["pairs"]) == (10, 0)
    assert row(table, "refused")["calls_delta"] is None
    most = row(compared(asked(prompts(30)), asked(prompts(30, first=15))), "length")
    assert (most["matched"], most["pairs"]) == (15, 15)


def test_rows_without_a_prompt_match_nothing_and_verdicts_without_text_say_so():
    nameless = asked([None, "", *prompts(8)])
    assert row(compared(nameless, nameless), "length")["matched"] == 8
    bare = asked(prompts(10)).drop("prompt", "history", "response")
    table = compared(bare, asked(prompts(10)))
    assert table["matched"].unique().to_list() == [None]
    assert row(table, "length")["pairs"] == 0
    assert row(table, "length")["delta"] == pytest.approx(1)


def test_a_call_that_the_provider_blocked_pairs_with_the_answer_to_its_prompt():
    stopped = frame([row | {"prompt": f"question {at}"} for at, row in enumerate(blocked(5))])
    rest = asked(prompts(15, first=5))
    table = compared(asked(prompts(20)), pl.concat([stopped, rest]))
    for name in ("not_complete", "refused"):
        assert row(table, name)["calls_delta"] == pytest.approx(0.25)
    assert row(table, "hard_refusal")["calls_delta"] == 0


def test_answers_without_a_prompt_each_count_for_themselves():
    counts = list(range(50, 62))
    table = compared(
        asked([None] * 12, words=counts), asked([""] * 12, words=[2 * count for count in counts])
    )
    found = row(table, "length")
    assert found["pairs"] == 0
    assert 1.5 < found["low"] < found["delta"] < found["high"] < 2.5


# -- hedging and length --------------------------------------------------------------------------------------


def with_measures(name: str, values: list[float], words: list[int], first: int = 0, **fields) -> pl.DataFrame:
    rows = [
        answers(1, 0.1, prompt=f"q{first + at}", hedge_density=value, words=count, **fields)[0]
        | {"id": f"{name}{at}"}
        for at, (value, count) in enumerate(zip(values, words, strict=True))
    ]
    return frame(rows)


def test_hedging_of_pairs_is_the_mean_difference_with_its_t_interval():
    base, aligned = [1.0, 2.0, 0.0, 3.0, 1.0, 2.0], [1.5, 2.0, 1.0, 5.0, 1.0, 3.0]
    found = row(
        compared(with_measures("b", base, [10] * 6), with_measures("a", aligned, [10] * 6)), "hedge_density"
    )
    interval = stats.ttest_rel(aligned, base).confidence_interval(0.95)
    assert (found["base"], found["aligned"], found["delta"]) == pytest.approx((1.5, 2.25, 0.75))
    assert (found["low"], found["high"]) == pytest.approx((interval.low, interval.high))
    assert (found["pairs"], found["corrected"], found["unit"]) == (6, None, "per_100_words")


def test_refusals_do_not_make_a_side_look_as_if_it_hedged_less():
    plain = with_measures("b", [2.0, 2.5, 3.0, 2.0, 2.5, 3.0], [10] * 6)
    refusals = frame(
        [
            row | {"id": f"r{at}", "prompt": f"r{at}"}
            for at, row in enumerate(answers(6, 0.9, hedge_density=0.0))
        ]
    )
    given = with_measures("r", [2.0] * 6, [10] * 6, first=20).with_columns(
        prompt=pl.format("r{}", pl.int_range(6))
    )
    found = row(compared(pl.concat([plain, given]), pl.concat([plain, refusals])), "hedge_density")
    assert (found["pairs"], found["delta"], found["n_aligned"]) == (6, 0, 6)


def test_hedging_without_pairs_is_welchs_difference():
    base, aligned = [1.0, 2.0, 0.0, 3.0, 1.0, 2.0, 4.0], [4.5, 2.0, 3.0, 5.0, 1.0, 3.0]
    found = row(
        compared(with_measures("b", base, [10] * 7), with_measures("a", aligned, [10] * 6, first=50)),
        "hedge_density",
    )
    interval = stats.ttest_ind(aligned, base, equal_var=False).confidence_interval(0.95)
    assert (found["low"], found["high"]) == pytest.approx((interval.low, interval.high))
    assert (found["pairs"], found["n_base"], found["n_aligned"]) == (0, 7, 6)


def test_length_of_pairs_is_the_geometric_mean_of_ratios_where_both_are_complete():
    words = [10, 20, 40, 80, 160, 320]
    base = with_measures("b", [0.0] * 6, words)
    aligned = with_measures("a", [0.0] * 6, [2 * count for count in words[:-1]] + [1280])
    refusals = asked(["q90"], words=7)
    table = compared(pl.concat([base, refusals]), pl.concat([aligned, asked(["q90"], refused=1, words=9)]))
    found = row(table, "length")
    logs = np.log([2.0] * 5 + [4.0])
    half = stats.t.ppf(0.975, 5) * logs.std(ddof=1) / math.sqrt(6)
    # The refusal is shorter and is not one of the pairs: it is no answer at equal coverage.
    assert found["pairs"] == 6
    assert found["delta"] == pytest.approx(math.exp(logs.mean()))
    assert (found["low"], found["high"]) == pytest.approx(
        (math.exp(logs.mean() - half), math.exp(logs.mean() + half))
    )
    assert found["aligned"] / found["base"] == pytest.approx(found["delta"])


def test_a_change_of_mix_is_not_read_as_longer_answers_or_more_hedging():
    random = np.random.default_rng(3)

    def log(name: str, short: int, long: int, first: int) -> pl.DataFrame:
        return pl.concat(
            [
                with_measures(
                    f"{name}{case}",
                    random.normal(density, 0.2, count).tolist(),
                    random.integers(int(0.8 * words), int(1.2 * words), count).tolist(),
                    first=first + start,
                    use_case=case,
                )
                for case, count, words, density, start in (
                    ("chat", short, 20, 0.5, 0),
                    ("letters", long, 400, 3.0, 1000),
                )
            ]
        )

    table = compared(log("b", 150, 30, 0), log("a", 30, 150, 5000))
    length, hedging = row(table, "length"), row(table, "hedge_density")
    assert length["low"] < 1 < length["high"] < 1.2
    assert hedging["low"] < 0 < hedging["high"] < 0.3
    assert "within each of 2 use cases" in length["method"]
    # Two use cases against each other share none: they are compared as a whole, and it says so.
    both = pl.concat([log("b", 60, 0, 0), log("c", 0, 60, 5000)]).lazy()
    crude = row(compare(*split(both, {"use_case": "chat"}, {"use_case": "letters"})), "length")
    assert 15 < crude["low"] < crude["delta"] < crude["high"] < 25
    assert "taken together" in crude["method"]


def test_use_cases_are_pooled_by_how_much_both_sides_have_of_them():
    def log(name: str, law: int, care: int, more: tuple[float, float], first: int) -> pl.DataFrame:
        return pl.concat(
            [
                with_measures(
                    f"{name}{case}", [extra, extra + 1] * (n // 2), [10] * n, first + at * 500, use_case=case
                )
                for at, (case, n, extra) in enumerate((("law", law, more[0]), ("care", care, more[1])))
            ]
        )

    base, aligned = log("b", 30, 10, (0.0, 0.0), 0), log("a", 60, 10, (0.0, 1.0), 5000)
    # 30 and 60 weigh 30 x 60 / 90 = 20, 10 and 10 weigh 5: a fifth of the change by 1 counts.
    assert row(compared(base, aligned), "hedge_density")["delta"] == pytest.approx(5 / 25)


def test_too_few_answers_have_a_ratio_but_no_interval():
    table = compared(
        with_measures("b", [0.0, 1.0, 2.0], [10, 20, 30]),
        with_measures("a", [0.0, 1.0, 2.0], [20, 40, 60], 9),
    )
    length = row(table, "length")
    assert (length["base"], length["aligned"], length["delta"]) == pytest.approx((20, 40, 2))
    assert (length["low"], length["high"]) == (None, None)
    assert row(table, "hedge_density")["low"] is None
    assert "too few" in length["method"]


def test_a_side_without_complete_answers_has_no_length():
    table = compared(asked(prompts(8)), asked(prompts(8, 20), refused=8))
    found = row(table, "length")
    assert (found["delta"], found["method"]) == (None, "a side has no complete answers")
    assert row(table, "hedge_density")["method"] == "a side has no answers"


def test_a_slice_named_as_what_is_counted_does_no_harm():
    table = compared(asked(prompts(8), words=5), asked(prompts(8), words=5), by=["words", "outcome", "label"])
    assert row(table, "length")["delta"] == pytest.approx(1)


# -- simulation ----------------------------------------------------------------------------------------------


def equal_models(rows: int, *, seed: int) -> tuple[pl.DataFrame, dict]:
    """Two models that fail to answer equally often, 25 %; the detector misses half of one's and adds to the other's."""
    random = np.random.default_rng(seed)
    frames, truth = [], {}
    for model, seen, false in (("plain", 0.45, 0.01), ("apologetic", 0.95, 0.12)):
        wrong = np.arange(rows) < rows // 4
        called = random.random(rows) < np.where(wrong, seen, false)
        score = np.clip(random.normal(np.where(called, 0.8, 0.15), 0.1), 0.01, 0.99)
        ids = [f"{model}{at}" for at in range(rows)]
        frames.append(
            pl.DataFrame(
                {
                    "id": ids,
                    "model_served": model,
                    "outcome": "answered",
                    "detector": "test 1",
                    "p_full": 1 - score,
                    "label": np.where(called, "refused", "complete"),
                    "words": 50,
                }
            )
        )
        truth |= {id_: note(id_, "none" if bad else "full") for id_, bad in zip(ids, wrong, strict=True)}
    whole = pl.concat(frames).with_columns(
        *(pl.lit(0.0).alias(kind.value) for kind in Kind), model=pl.col("model_served")
    )
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in SCHEMA.items() if name not in whole.columns]
    return whole.with_columns(missing), truth


def test_a_raw_difference_that_is_all_detector_is_corrected_to_none():
    covered, rounds = 0, 12
    for seed in range(rounds):
        verdicts, truth = equal_models(600, seed=seed)
        draw, items = plan(verdicts, by=["model"], budget=160, seed=seed, now=NOW, known_share=0)
        pilot = labelled_by(truth, items, draw)
        where = {item.exchange: item.stratum for item in items}
        positives, done = [0] * len(draw.strata), [0] * len(draw.strata)
        for label in pilot:
            at = where[label.exchange]
            done[at] += 1
            positives[at] += label.answered == "none"
        draw = allocate_rest(draw, positives, done)
        sides = split(
            verdicts.lazy(),
            {"model": "plain"},
            {"model": "apologetic"},
            draw=draw,
            annotations=labelled_by(truth, items, draw),
        )
        raw = row(compare(*(Side(name=s.name, verdicts=s.verdicts, where=s.where) for s in sides)), "refused")
        assert raw["delta"] > 0.12  # and nothing of it is true
        found = row(compare(*sides), "refused")
        assert found["corrected"]
        covered += found["low"] <= 0 <= found["high"]
    assert covered >= rounds - 2


@pytest.mark.long
@pytest.mark.parametrize("paired", [True, False])
def test_intervals_of_length_and_hedging_hold_in_95_percent(paired):
    """Prompts differ among themselves far more than the sides do; mixes of use cases differ where nothing is paired."""
    random, rounds, held = np.random.default_rng(11), 400, {"length": 0, "hedge_density": 0}
    for _ in range(rounds):
        sides = []
        topic = random.normal(0, 0.8, (2, 60))
        for at, (longer, more) in enumerate(((0.0, 0.0), (0.2, 0.3))):
            parts = []
            for case, centre in enumerate((3.5, 5.5)):
                count = 60 if paired else (15, 60)[case == at]
                level = topic[case] if paired else random.normal(0, 0.8, count)
                words = np.exp(centre + level + longer + random.normal(0, 0.3, count)).round().astype(int) + 1
                density = centre + level + more + random.normal(0, 0.5, count)
                first = 1000 * case + (0 if paired else 10_000 * at)
                parts.append(
                    with_measures(
                        f"{at}-{case}-", density.tolist(), words.tolist(), first, use_case=str(case)
                    )
                )
            sides.append(pl.concat(parts))
        table = compared(*sides)
        for name, truth in (("length", math.exp(0.2)), ("hedge_density", 0.3)):
            found = row(table, name)
            held[name] += found["low"] <= truth <= found["high"]
    print({name: count / rounds for name, count in held.items()})
    assert all(count / rounds >= 0.925 for count in held.values())
