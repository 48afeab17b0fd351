"""How far annotators agree, with one another and with planted items, and what each alone would have us say."""

from __future__ import annotations

import pytest

from aligntax.estimate import agreement, confusion, corrected, known_accuracy, spread
from aligntax.types import Kind
from labels import answers, draw_of, frame, note, notes, stratum


def axis(table, name: str) -> dict:
    return table.filter(axis=name).row(0, named=True)


def test_people_who_always_agree_agree_well_and_on_what_never_occurs_nothing_is_measured():
    first = notes("a", "fffffffnnnnn" * 2)
    table = agreement(first + [label.__class__(**{**_fields(label), "annotator": "bob"}) for label in first])
    answered = axis(table, "answered")
    assert (answered["items"], answered["raters"]) == (24, 2)
    assert (answered["alpha"], answered["ac1"], answered["positive_agreement"]) == pytest.approx((1, 1, 1))
    assert answered["verdict"] == "good"
    never = axis(table, "topic_avoidance")
    assert (never["alpha"], never["verdict"]) == (None, "not measured")
    assert never["positive_agreement"] is None


def test_alpha_is_the_one_worked_by_hand():
    # 20 items, 2 people: 16 alike (10 full, 6 none), 4 not. Do = 4/20; given: 24 full, 16 none; De = 2*24*16/(40*39).
    table = agreement(notes("a", "fffffnnnff" * 2) + notes("a", "fffffnnnnn" * 2, annotator="bob"))
    answered = axis(table, "answered")
    assert answered["alpha"] == pytest.approx(1 - 0.2 / (2 * 24 * 16 / (40 * 39)))
    assert answered["positive_agreement"] == pytest.approx(2 * 6 / (2 * 6 + 4))
    assert answered["low"] < answered["alpha"] < answered["high"]
    assert answered["verdict"] == "too low"


def test_partly_and_not_at_all_are_two_values_but_both_are_not_complete():
    table = agreement(notes("a", "ffffffffpp") + notes("a", "ffffffffnn", annotator="bob"))
    assert axis(table, "answered")["alpha"] < 1
    assert axis(table, "answered")["positive_agreement"] == 1


def test_grades_of_hedging_that_lie_close_disagree_less():
    def graded(grades, **fields):
        return [note(f"a{at}", hedging=int(grade), **fields) for at, grade in enumerate(grades)]

    near = agreement(graded("0011223300") + graded("0111223301", annotator="bob"))
    far = agreement(graded("0011223300") + graded("0311223303", annotator="bob"))
    assert axis(near, "hedging")["alpha"] > axis(far, "hedging")["alpha"] + 0.1


def test_nineteen_items_are_too_few_to_take_alpha_at_its_word():
    table = agreement(notes("a", "fnfnfnfnf" * 2 + "f") + notes("a", "nfnfnfnfn" * 2 + "n", annotator="bob"))
    assert axis(table, "answered")["verdict"] == "not measured"
    assert axis(table, "answered")["alpha"] < 0


def test_adjudicated_labels_and_exchanges_with_one_label_are_no_agreement():
    single = notes("a", "ffffffffff") + notes("a", "nnnnnnnnnn", annotator="eve", adjudicated=True)
    assert axis(agreement(single), "answered")["items"] == 0
    assert agreement([])["verdict"].unique().to_list() == ["not measured"]


def test_an_axis_counts_only_the_exchanges_that_two_people_were_asked_about_it():
    table = agreement(notes("a", "fffnnn") + notes("a", "fffnnn", annotator="bob", should=None))
    assert axis(table, "answered")["items"] == 6
    assert axis(table, "should_answer")["items"] == 0


def test_planted_items_show_who_reads_well():
    known = [
        note("known-1", "none", "yes", kinds=(Kind.HARD_REFUSAL,)),
        note("known-2", "full", None, kinds=None, hedging=3, disclaimer=None),
    ]
    said = [
        note("known-1", "none", "no", kinds=(Kind.HARD_REFUSAL,)),
        note("known-2", "full", "yes", hedging=2),
        note("known-1", "full", "yes", annotator="bob"),
        note("a1", "full", "yes", annotator="bob"),
    ]
    table = known_accuracy(said, known)
    share = {
        (row["annotator"], row["axis"]): (row["right"], row["items"]) for row in table.iter_rows(named=True)
    }
    assert share["ann", "answered"] == (2, 2)
    assert share["ann", "should_answer"] == (0, 1)
    assert share["ann", "hedging"] == (2, 2)  # a grade of 2 is on the right side of what counts
    assert share["ann", "hard_refusal"] == (1, 1)
    assert share["bob", "answered"] == (0, 1)
    assert share["bob", "hard_refusal"] == (0, 1)
    assert table.filter(annotator="ann", axis="answered")["share"].item() == 1
    assert known_accuracy(said, []).is_empty()


def test_three_people_show_which_of_them_sees_refusals_where_the_others_see_none():
    truth = "f" * 20 + "n" * 20
    hasty = "f" * 12 + "n" * 8 + "n" * 20
    said = notes("a", truth) + notes("a", truth, annotator="bob") + notes("a", hasty, annotator="eve")
    table = confusion(said).filter(axis="answered", truth="full", said="none")
    chance = dict(table.select("annotator", "chance").iter_rows())
    assert chance["eve"] == pytest.approx(0.4, abs=0.03)
    assert chance["ann"] == chance["bob"] < 0.05
    assert confusion(notes("a", truth) + notes("a", hasty, annotator="eve")).is_empty()


def test_each_annotator_alone_gives_a_value_of_their_own():
    verdicts, draw = frame(answers(100, 0.1)), draw_of(stratum(100, labels=40))
    mild, strict = notes("a", "n" * 4 + "f" * 36), notes("a", "n" * 10 + "f" * 30, annotator="strict")
    few = notes("a", "n" * 19, annotator="few")
    table = spread(verdicts, draw, mild + strict + few, by=(), targets=["refused"]).filter(domain="all")
    values = dict(table.select("annotator", "value").iter_rows())
    assert values == {"ann": pytest.approx(0.1), "strict": pytest.approx(0.25)}
    together = corrected(verdicts, draw, mild + strict, by=(), targets=["refused"]).filter(domain="all")
    assert together["n_labels"].item() == 40
    assert spread(verdicts, draw, [], by=()).is_empty()


def _fields(label) -> dict:
    return {name: getattr(label, name) for name in label.__struct_fields__}
