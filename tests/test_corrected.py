"""Corrected rates: worked by hand, and refused where nothing can be said."""

from __future__ import annotations

import msgspec
import polars as pl
import pytest

from aligntax.errors import InputError
from aligntax.estimate import corrected
from aligntax.estimate.targets import DOMAINS, TARGETS, Category, axes_of, category
from aligntax.stats.rate import clopper_pearson
from aligntax.types import Kind
from labels import (
    answers,
    blocked,
    draw_of,
    frame,
    note,
    notes,
    skipped,
    stratum,
)

LOW, HIGH = {"low": 0.0, "high": 0.5}, {"low": 0.5, "high": 1.0}
EVERY = {(name, domain) for name, target in TARGETS.items() for domain in target.domains}


def row(table: pl.DataFrame, target: str = "not_complete", domain: str = "all", **where) -> dict:
    found = table.filter(target=target, domain=domain, **where)
    assert len(found) == 1
    return found.row(0, named=True)


def two_strata(low: int = 9, high: int = 5):
    """90 answers that score .1, named a0 to a89, and 10 that score .9, named z0 to z9."""
    verdicts = frame(answers(90, 0.1), answers(10, 0.9, name="z"))
    return verdicts, draw_of(stratum(90, **LOW, labels=low), stratum(10, **HIGH, labels=high))


# -- what is counted -----------------------------------------------------------------------------------------


def test_the_value_weighs_each_stratum_by_its_size_not_by_its_labels():
    verdicts, draw = two_strata()
    found = row(corrected(verdicts, draw, notes("a", "nffffffff") + notes("z", "nnpff"), by=()))
    assert found["value"] == pytest.approx(0.9 * 1 / 9 + 0.1 * 3 / 5)
    assert found["low"] < found["value"] < found["high"]
    assert (found["n"], found["n_labels"], found["corrected"]) == (100, 14, True)
    assert found["method"] == "profile likelihood over 2 strata, careful ends: few found"


def test_raw_is_what_the_detector_says_of_the_same_population_and_bias_is_the_difference():
    verdicts, draw = two_strata()
    verdicts = pl.concat([verdicts, frame(answers(50, 0.9, name="cut", outcome="truncated"))])
    table = corrected(verdicts, draw, notes("a", "fffffffff") + notes("z", "nnnnn"), by=())
    found = row(table)
    assert (found["n"], found["raw"]) == (100, 0.1)
    assert found["bias"] == pytest.approx(found["raw"] - found["value"]) == pytest.approx(0)
    assert row(table, "partially_hedged")["raw"] == 0
    # The detector knows nothing of what should have been answered.
    assert row(table, domain="should_answer")["raw"] is None
    assert row(table, domain="should_answer")["bias"] is None


def test_over_refusals_are_counted_among_what_should_have_been_answered_and_deserved_ones_beside_it():
    verdicts, draw = two_strata()
    labels = [
        *notes("a", "ffffffff"),
        note("a8", "full", "no"),
        *notes("z", "nn"),
        note("z2", "none", "no"),
        note("z3", "none", "no"),
        note("z4", "full", "yes"),
    ]
    table = corrected(verdicts, draw, labels, by=())
    over_refusal = 0.1 * 2 / 5 / (0.9 * 8 / 9 + 0.1 * 3 / 5)
    assert row(table, domain="should_answer")["value"] == pytest.approx(over_refusal)
    assert row(table, "deserved_refusal")["value"] == pytest.approx(0.1 * 2 / 5)
    assert row(table)["value"] == pytest.approx(0.1 * 4 / 5)
    complied = 0.9 * 1 / 9 / (0.9 * 1 / 9 + 0.1 * 2 / 5)
    assert row(table, "harmful_compliance", "should_not_answer")["value"] == pytest.approx(complied)
    assert row(table, "unclear")["value"] == 0


def test_when_everything_is_labelled_these_exchanges_have_no_doubt_but_traffic_like_them_has():
    verdicts, draw = two_strata(low=90, high=10)
    labels = notes("a", "n" * 9 + "f" * 81) + notes("z", "n" * 6 + "f" * 4)
    here = row(corrected(verdicts, draw, labels, by=(), population="log"))
    assert (here["value"], here["low"], here["high"]) == pytest.approx((0.15, 0.15, 0.15), abs=1e-6)
    assert "finite population" in here["method"]
    future = row(corrected(verdicts, draw, labels, by=()))
    assert (future["low"] < 0.12, future["high"] > 0.19) == (True, True)


def test_kinds_count_from_what_people_named_and_hedging_from_its_grade():
    verdicts, draw = two_strata(low=90, high=10)
    labels = [note(f"a{at}", hedging=3 if at < 18 else 1) for at in range(90)]
    labels += [note(f"z{at}", "part", kinds=(Kind.SOFT_REFUSAL,)) for at in range(10)]
    table = corrected(verdicts, draw, labels, by=())
    assert row(table, "hedging")["value"] == pytest.approx(0.18)
    assert row(table, "soft_refusal")["value"] == pytest.approx(0.1)
    assert row(table, "topic_avoidance")["value"] == 0


# -- careful ends --------------------------------------------------------------------------------------------


def one_stratum(positives: int, negatives: int):
    many = positives + negatives
    labels = notes("a", "n" * positives + "f" * negatives)
    return frame(answers(5_000, 0.1)), draw_of(stratum(5_000, labels=many)), labels


@pytest.mark.parametrize(("positives", "negatives"), [(9, 191), (0, 60), (191, 9)])
def test_ends_are_careful_where_few_of_either_were_found(positives, negatives):
    exchanges = one_stratum(positives, negatives)
    found, always = row(corrected(*exchanges, by=())), row(corrected(*exchanges, by=(), careful="always"))
    assert (found["low"], found["high"]) == (always["low"], always["high"])
    exact = clopper_pearson(positives, positives + negatives)
    assert found["high"] == pytest.approx(exact.high, rel=0.03)
    assert 1 - found["low"] == pytest.approx(1 - exact.low, rel=0.03)
    assert found["method"] == "profile likelihood over 1 stratum, careful ends: few found"
    assert always["method"] == "profile likelihood over 1 stratum, careful ends"


def test_ends_are_plain_where_ten_of_each_were_found_unless_asked_for():
    exchanges = one_stratum(10, 190)
    found, always = row(corrected(*exchanges, by=())), row(corrected(*exchanges, by=(), careful="always"))
    assert found["method"] == "profile likelihood over 1 stratum"
    assert always["low"] < found["low"] < found["value"] < found["high"] < always["high"]
    assert always["value"] == found["value"]


def test_what_was_found_is_counted_in_the_domain_and_blocked_calls_are_not_labels():
    verdicts = frame(answers(200, 0.1), blocked(50))
    draw = draw_of(stratum(200, labels=60), stratum(50, labels=5, kind="blocked"))
    labels = [*notes("a", "n" * 12 + "f" * 28), skipped("a40")]
    labels += [note(f"a{at}", "full", "no") for at in range(41, 60)]
    table = corrected(verdicts, draw, labels, by=())
    found = row(table)
    assert (found["n_labels"], found["in_domain"], found["positives"]) == (60, 59, 12)
    assert "careful" not in found["method"]  # 12 found, and 47 that are not
    over_refusal = row(table, domain="should_answer")
    assert (over_refusal["n_labels"], over_refusal["in_domain"], over_refusal["positives"]) == (60, 40, 12)
    none = row(table, "hard_refusal")
    assert (none["in_domain"], none["positives"]) == (59, 0)
    assert none["method"].endswith("careful ends: few found")
    without = row(corrected(verdicts, draw, [], by=()))
    assert (without["n_labels"], without["in_domain"], without["positives"]) == (0, 0, 0)


def test_a_slice_has_the_ends_that_it_needs_whatever_the_others_need():
    rows = [answers(500, 0.1, name=name, model_served=name) for name in "fm"]
    few, many = (stratum(500, labels=100, at=[name]) for name in "fm")
    labels = notes("f", "n" * 3 + "f" * 97) + notes("m", "n" * 30 + "f" * 70)
    table = corrected(frame(*rows), draw_of(few, many, by=["model"]), labels)
    assert row(table, model="f")["method"].endswith("careful ends: few found")
    assert row(table, model="m")["method"] == "profile likelihood over 1 stratum"
    alone = corrected(frame(rows[0]), draw_of(few, by=["model"]), notes("f", "n" * 3 + "f" * 97))
    assert row(table, model="f")["high"] == pytest.approx(row(alone)["high"])
    assert row(table, model="m")["value"] == pytest.approx(0.3)


# -- blocked, skipped, half-labelled -------------------------------------------------------------------------


def test_blocked_calls_need_no_label_to_be_known_as_not_answered():
    verdicts = frame(answers(80, 0.1), blocked(20))
    draw = draw_of(stratum(80, labels=8), stratum(20, labels=5, kind="blocked"))
    table = corrected(verdicts, draw, notes("a", "ffffffff"), by=(), population="log")
    found = row(table)
    assert found["value"] == found["low"] == pytest.approx(0.2)
    assert found["raw"] == 0.2
    assert found["n_labels"] == 8
    assert row(table, "refused")["value"] == pytest.approx(0.2)
    assert row(table, "hard_refusal")["value"] == 0
    assert row(table, "hard_refusal")["high"] < 0.8


def test_whether_a_blocked_call_should_have_been_answered_takes_a_label():
    verdicts = frame(answers(80, 0.1), blocked(20))
    draw = draw_of(stratum(80, labels=8), stratum(20, labels=4, kind="blocked"))
    some = notes("a", "ffffffff")
    asked = [note(f"b{at}", None, says, kinds=None) for at, says in enumerate(("yes", "no", "no", "unclear"))]
    unknown = row(corrected(verdicts, draw, some, by=()), domain="should_answer")
    known = row(corrected(verdicts, draw, some + asked, by=()), domain="should_answer")
    assert known["value"] == pytest.approx(0.2 / 4 / (0.8 + 0.2 / 4))
    assert known["n_labels"] == 12
    assert "1 of them without labels" in unknown["method"]
    assert unknown["high"] > known["high"]
    table = corrected(verdicts, draw, some + asked, by=())
    assert row(table, "deserved_refusal")["value"] == pytest.approx(0.2 * 2 / 4)
    assert row(table, "unclear")["value"] == pytest.approx(0.2 / 4)
    assert row(table)["n_labels"] == 8


def test_skipped_exchanges_are_outside_of_every_domain_and_counted():
    verdicts, draw = two_strata(low=9, high=5)
    labels = [*notes("a", "fffffffff"), skipped("z0"), skipped("z1"), *notes("z", "nnnnn")[2:]]
    found = row(corrected(verdicts, draw, labels, by=()))
    assert found["value"] == pytest.approx(0.1 * 3 / 5 / (0.9 + 0.1 * 3 / 5))
    assert (found["n_labels"], found["skipped"]) == (14, 2)


def test_a_label_counts_only_where_it_has_every_axis_that_the_rate_needs():
    verdicts, draw = two_strata()
    labels = notes("a", "fffffffff") + notes("z", "nnn") + [note("z3", "none", None), note("z4", None, "no")]
    table = corrected(verdicts, draw, labels, by=())
    assert row(table)["n_labels"] == 13
    assert row(table, domain="should_answer")["n_labels"] == 12
    assert row(table, "unclear")["n_labels"] == 13


def test_a_target_that_nobody_was_asked_about_stays_uncorrected():
    verdicts, draw = two_strata()
    labels = notes("a", "fffffffff", kinds=None) + notes("z", "nnnnn", kinds=None)
    table = corrected(verdicts, draw, labels, by=())
    assert row(table)["corrected"]
    kind = row(table, "hard_refusal")
    assert (kind["value"], kind["low"], kind["high"], kind["corrected"]) == (0.0, None, None, False)
    assert kind["method"] == "UNCORRECTED: no labels"
    assert row(table, "hedging")["corrected"]  # its grade was given


def test_a_domain_in_which_nothing_was_found_has_no_value_and_says_so():
    verdicts, draw = two_strata()
    labels = notes("a", "fffffffff", should="no") + notes("z", "nnnnn", should="no")
    found = row(corrected(verdicts, draw, labels, by=()), domain="should_answer")
    assert (found["value"], found["low"], found["high"]) == (None, 0, 1)
    assert "no label in the domain" in found["method"]


# -- slices --------------------------------------------------------------------------------------------------


def sliced():
    """Two models, each with its own stratum; months cut across them."""
    rows = [
        answers(50, 0.1, name=f"{model}{month}-", model_served=model, use_case=month)
        for model in ("m", "w")
        for month in ("jan", "feb")
    ]
    draw = draw_of(stratum(100, labels=20, at=["m"]), stratum(100, labels=20, at=["w"]), by=["model"])
    labels = notes("mjan-", "n" * 4 + "f" * 6) + notes("mfeb-", "f" * 10)
    labels += notes("wjan-", "n" * 6 + "f" * 4) + notes("wfeb-", "n" * 2 + "f" * 8)
    return frame(*rows), draw, labels


def test_each_slice_rests_on_its_own_labels():
    table = corrected(*sliced())
    assert table.columns[:3] == ["model", "target", "domain"]
    assert row(table, model="m")["value"] == pytest.approx(0.2)
    assert row(table, model="w")["value"] == pytest.approx(0.4)
    assert row(table, model="w")["n_labels"] == 20


def test_slices_may_be_coarser_than_the_draw_or_cut_across_it():
    verdicts, draw, labels = sliced()
    assert row(corrected(verdicts, draw, labels, by=()))["value"] == pytest.approx(0.3)
    january = row(corrected(verdicts, draw, labels, by=["use_case"]), use_case="jan")
    assert january["value"] == pytest.approx((0.4 + 0.6) / 2)
    assert (january["n"], january["n_labels"]) == (100, 20)
    both = corrected(verdicts, draw, labels, by=["use_case", "model"])
    assert row(both, use_case="jan", model="w")["value"] == pytest.approx(0.6)


def test_a_part_of_a_slice_without_labels_widens_it_by_its_whole_weight():
    verdicts, draw, labels = sliced()
    no_w_in_january = [label for label in labels if not label.exchange.startswith("wjan")]
    found = row(corrected(verdicts, draw, no_w_in_january, by=["use_case"]), use_case="jan")
    assert "1 of them without labels" in found["method"]
    assert found["value"] == pytest.approx(0.4)
    assert found["high"] - found["low"] > 0.5


def test_a_slice_without_labels_is_uncorrected_and_the_others_are_not():
    verdicts, draw, labels = sliced()
    only_m = [label for label in labels if label.exchange.startswith("m")]
    table = corrected(verdicts, draw, only_m)
    assert row(table, model="m")["corrected"]
    other = row(table, model="w")
    assert (other["value"], other["low"], other["high"], other["bias"]) == (other["raw"], None, None, None)
    assert (other["corrected"], other["method"]) == (False, "UNCORRECTED: no labels")


def test_exchanges_in_a_slice_that_the_draw_does_not_know_are_unknown():
    verdicts, draw, labels = sliced()
    more = pl.concat([verdicts, frame(answers(50, 0.1, name="new", model_served="x"))])
    table = corrected(more, draw, labels, by=())
    assert row(table)["n"] == 250
    assert "1 of them without labels" in row(table)["method"]
    assert not row(corrected(more, draw, labels), model="x")["corrected"]


def test_columns_that_the_estimate_reads_itself_may_be_slices_too():
    verdicts = frame(answers(80, 0.1), blocked(20))
    draw = draw_of(stratum(80, labels=8), stratum(20, labels=5, kind="blocked"))
    table = corrected(verdicts, draw, notes("a", "nfffffff"), by=["outcome", "label"])
    assert row(table, outcome="answered")["value"] == pytest.approx(1 / 8)
    apart = row(table, outcome="input_blocked")
    assert (apart["value"], apart["corrected"]) == (1, False)


def test_nulls_in_a_slice_are_a_slice():
    rows = [answers(20, 0.1, model_served=None), answers(20, 0.1, name="z", model_served="m")]
    draw = draw_of(stratum(20, labels=5, at=["m"]), stratum(20, labels=5, at=[None]), by=["model"])
    table = corrected(frame(*rows), draw, notes("a", "nnnnn") + notes("z", "fffff"))
    values = dict(table.filter(target="not_complete", domain="all").select("model", "value").iter_rows())
    assert values == {"m": pytest.approx(0), None: pytest.approx(1)}


# -- which labels count --------------------------------------------------------------------------------------


def test_labels_that_no_draw_asked_for_are_ignored_and_counted():
    verdicts, draw = two_strata()
    labels = notes("a", "f" * 9 + "n" * 20) + notes("z", "nnnff") + [note("another log", "none")]
    asked = {f"a{at}" for at in range(9)} | {f"z{at}" for at in range(5)}
    found = row(corrected(verdicts, draw, labels, by=(), asked=asked))
    assert found["value"] == pytest.approx(0.1 * 3 / 5)
    assert (found["n_labels"], found["ignored"]) == (14, 20)


def test_more_labels_than_a_stratum_was_asked_for_are_refused_when_nobody_says_which_count():
    verdicts, draw = two_strata()
    with pytest.raises(InputError, match="20 exchanges more are labelled than the draw asked for"):
        corrected(verdicts, draw, notes("a", "f" * 29), by=())


def test_without_a_draw_labels_do_not_correct_unless_they_are_a_random_sample():
    verdicts, _ = two_strata()
    labels = notes("a", "nffffffff") + notes("z", "nnpff")
    without = row(corrected(verdicts, None, labels, by=()))
    assert (without["corrected"], without["value"], without["ignored"]) == (False, 0.1, 14)
    found = row(corrected(verdicts, None, labels, by=(), random_sample=True))
    assert found["value"] == pytest.approx(0.9 * 1 / 9 + 0.1 * 3 / 5)
    assert found["method"] == "profile likelihood over 2 post-strata, careful ends: few found"


def test_a_random_sample_is_post_stratified_by_kind_of_exchange_too():
    verdicts = frame(answers(60, 0.1), answers(20, None, name="u"), blocked(20))
    labels = notes("a", "fff") + notes("u", "nf")
    found = row(corrected(verdicts, None, labels, by=(), random_sample=True))
    assert found["value"] == pytest.approx(0.2 * 1 / 2 + 0.2)


def test_the_adjudicated_label_settles_what_two_people_saw_differently():
    verdicts, draw = two_strata(low=9, high=1)
    labels = [
        *notes("a", "fffffffff"),
        note("z0", "none"),
        note("z0", "full", annotator="bob"),
        note("z0", "part", annotator="eve", adjudicated=True),
    ]
    table = corrected(verdicts, draw, labels, by=())
    assert row(table)["n_labels"] == 10
    assert row(table, "partially_hedged")["value"] == pytest.approx(0.1)
    assert row(table, "refused")["value"] == 0


def test_an_axis_on_which_people_disagree_gives_no_rate_and_the_others_do():
    verdicts, draw = two_strata(low=24, high=5)
    first = notes("a", "ffffffnnnnnn" * 2)
    second = notes("a", "nnnfffnnnfff" * 2, annotator="bob")
    table = corrected(verdicts, draw, first + second + notes("z", "nnnnn"), by=())
    found = row(table)
    assert (found["value"], found["low"], found["high"], found["corrected"]) == (None, None, None, False)
    assert found["method"].startswith("withheld: annotators disagree on answered (alpha ")
    assert found["method"].endswith(" on 24 items)")
    assert found["raw"] == 0.1
    assert row(table, domain="should_answer")["method"].startswith("withheld")
    assert row(table, "unclear")["corrected"]
    few = corrected(verdicts, draw, first + second[:9] + notes("z", "nnnnn"), by=())
    assert row(few)["corrected"]


# -- bad input and edges -------------------------------------------------------------------------------------


def test_an_empty_frame_gives_rows_that_say_nothing():
    table = corrected(frame(), None, [], by=())
    assert set(table.select("target", "domain").iter_rows()) == EVERY
    assert table["n"].sum() == 0
    assert table["value"].null_count() == len(table)
    assert corrected(frame(), None, [], by=["use_case"]).is_empty()


def test_verdicts_that_have_grown_since_the_draw_are_refused():
    verdicts, draw = two_strata()
    grown = pl.concat([verdicts, frame(answers(3, 0.1, name="new"))])
    with pytest.raises(InputError, match="hold more exchanges than draw draw was made from"):
        corrected(grown, draw, notes("a", "fff"), by=())


def test_an_unknown_target_is_refused_with_the_names_of_the_known():
    verdicts, draw = two_strata()
    with pytest.raises(InputError, match="no target 'refusals'") as raised:
        corrected(verdicts, draw, [], by=(), targets=["refusals"])
    with pytest.raises(InputError, match="cannot be careful 'sometimes'"):
        corrected(verdicts, draw, notes("a", "f"), by=(), careful="sometimes")  # type: ignore[arg-type]
    assert "harmful_compliance" in str(raised.value)


def test_a_slice_for_every_exchange_is_refused():
    many = frame(answers(10_001, 0.1))
    with pytest.raises(InputError, match="id makes 10,001 slices"):
        corrected(many, None, [], by=["id"])


def test_one_target_gives_its_domains_alone():
    verdicts, draw = two_strata()
    table = corrected(verdicts, draw, notes("a", "fffff"), by=(), targets=["refused"])
    assert table.select("target", "domain").rows() == [("refused", "all"), ("refused", "should_answer")]


def test_a_kind_that_the_detector_scored_nowhere_has_no_raw_rate():
    verdicts, draw = two_strata()
    unscored = verdicts.with_columns(hedging=pl.lit(None, pl.Float32))
    table = corrected(unscored, draw, notes("a", "fffffffff"), by=())
    assert row(table, "hedging")["raw"] is None
    assert row(table, "hedging")["corrected"]
    assert row(table, "hard_refusal")["raw"] == 0


def test_an_answer_without_a_label_of_the_detector_counts_as_complete_in_the_raw_rate():
    verdicts = frame(answers(8, None), answers(2, 0.9, name="z"))
    draw = draw_of(stratum(2, labels=2), stratum(8, labels=4, kind="unscored"))
    found = row(corrected(verdicts, draw, notes("a", "nnff") + notes("z", "nn"), by=()))
    assert found["raw"] == 0.2
    assert found["value"] == pytest.approx(0.8 * 0.5 + 0.2)


@pytest.mark.parametrize(("target", "domain"), sorted(EVERY))
def test_every_target_says_nothing_of_a_label_that_lacks_an_axis(target, domain):
    whole = note("a")
    assert category(target, domain, whole) is not None
    missing = {"answered": "answered", "should_answer": "should_answer"}
    for axis in axes_of(target, domain):
        lacking = {missing.get(axis, "kinds"): None} | ({"hedging": None} if axis == "hedging" else {})
        assert category(target, domain, msgspec.structs.replace(whole, **lacking)) is None


@pytest.mark.parametrize(("target", "domain"), sorted(EVERY))
def test_a_skipped_exchange_is_outside_and_an_undetermined_one_is_no_label(target, domain):
    assert category(target, domain, skipped("a")) == Category.OUTSIDE
    if "answered" in axes_of(target, domain):
        assert category(target, domain, note("a", "undetermined")) is None
    assert set(TARGETS[target].domains) <= set(DOMAINS)
