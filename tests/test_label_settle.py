"""Several people's labels become one, and where they differ is known."""

from __future__ import annotations

import datetime as dt

from aligntax.label.settle import alone, disagreements, settled
from aligntax.types import Annotation, Answered, Kind, ShouldAnswer

START = dt.datetime(2025, 3, 31, 9, tzinfo=dt.UTC)
HARD, SOFT, AVOIDS = Kind.HARD_REFUSAL, Kind.SOFT_REFUSAL, Kind.TOPIC_AVOIDANCE


def said(
    by: str, answered: Answered | None = None, *, minute: int | None = None, **rest: object
) -> Annotation:
    time = None if minute is None else START + dt.timedelta(minutes=minute)
    fields = {"exchange": "one", "answered": answered, "time": time, **rest}
    return Annotation(annotator=by, **fields)  # type: ignore[arg-type]


def settle(*given: Annotation) -> Annotation:
    (one,) = settled(given)
    return one


def test_a_single_label_stays_as_it_is() -> None:
    note = said("anna", Answered.PART, kinds=(SOFT,), note="close")
    assert settled([note]) == [note]


def test_exchanges_keep_the_order_in_which_they_appear() -> None:
    notes = [said("anna", exchange=name, hedging=0) for name in ("b", "a", "c")]
    notes.append(said("bob", exchange="a", hedging=0))
    assert [note.exchange for note in settled(notes)] == ["b", "a", "c"]


def test_what_people_agree_on_stands_and_names_them() -> None:
    one = settle(said("anna", Answered.FULL, minute=1), said("bob", Answered.FULL, minute=2, note="fine"))
    assert (one.answered, one.annotator, one.note) == (Answered.FULL, "anna, bob", "fine")
    assert one.time == START + dt.timedelta(minutes=2)


def test_a_majority_decides_axis_by_axis() -> None:
    one = settle(
        said("anna", Answered.FULL, should_answer=ShouldAnswer.NO, hedging=3),
        said("bob", Answered.PART, should_answer=ShouldAnswer.NO, hedging=1),
        said("cleo", Answered.PART, should_answer=ShouldAnswer.YES, hedging=1),
    )
    assert (one.answered, one.should_answer, one.hedging) == (Answered.PART, ShouldAnswer.NO, 1)


def test_between_two_the_one_who_labelled_first_decides() -> None:
    early, late = said("bob", Answered.PART, minute=1), said("anna", Answered.FULL, minute=2)
    assert settle(late, early).answered == Answered.PART
    untimed = settle(said("anna", Answered.FULL), said("bob", Answered.PART))
    assert untimed.answered == Answered.FULL


def test_an_axis_that_one_was_not_asked_is_decided_by_the_others() -> None:
    one = settle(said("anna", Answered.FULL, minute=1), said("bob", Answered.FULL, minute=2, disclaimer=True))
    assert one.disclaimer is True


def test_each_kind_is_decided_for_itself() -> None:
    three = settle(
        said("anna", kinds=(HARD, AVOIDS)), said("bob", kinds=(AVOIDS, SOFT)), said("cleo", kinds=(SOFT,))
    )
    assert set(three.kinds or ()) == {AVOIDS, SOFT}
    two = settle(said("anna", kinds=(), minute=1), said("bob", kinds=(HARD,), minute=2))
    assert two.kinds == ()
    nobody = settle(said("anna", hedging=0), said("bob", hedging=0))
    assert nobody.kinds is None


def test_an_adjudication_overrides_everybody_and_leaves_open_what_it_does_not_say() -> None:
    one = settle(
        said("anna", Answered.FULL, disclaimer=True, minute=1),
        said("bob", Answered.FULL, disclaimer=True, minute=2),
        said("judge", Answered.NONE, kinds=(HARD,), adjudicated=True, minute=0),
    )
    assert (one.answered, one.kinds, one.disclaimer) == (Answered.NONE, (HARD,), True)
    assert one.annotator == "judge"
    assert one.adjudicated


def test_a_later_adjudication_replaces_an_earlier_one() -> None:
    one = settle(
        said("judge", Answered.NONE, adjudicated=True, minute=5),
        said("other", Answered.PART, adjudicated=True, minute=3),
    )
    assert one.answered == Answered.NONE


def test_an_adjudicator_may_find_that_it_cannot_be_labelled() -> None:
    one = settle(said("anna", Answered.FULL), said("judge", skipped="cut", adjudicated=True))
    assert (one.skipped, one.answered) == ("cut", None)


def test_an_exchange_is_skipped_when_more_people_skip_than_label_it() -> None:
    anna, bob, cleo = (
        said("anna", skipped="cut"),
        said("bob", Answered.PART),
        said("cleo", skipped="language"),
    )
    assert settle(anna, bob) == bob
    assert settle(anna, bob, cleo).skipped == "cut"
    assert settle(anna, cleo).skipped == "cut"


def test_a_person_s_last_word_counts() -> None:
    first, second = said("anna", Answered.FULL, minute=1), said("anna", Answered.NONE, minute=2)
    assert settle(second, first) == second
    assert disagreements([first, second]) == {}


def test_disagreements_name_the_axes_on_which_people_differ() -> None:
    notes = [
        said(
            "anna", Answered.FULL, exchange="a", kinds=(HARD, SOFT), should_answer=ShouldAnswer.YES, hedging=1
        ),
        said(
            "bob", Answered.PART, exchange="a", kinds=(SOFT, HARD), should_answer=ShouldAnswer.NO, hedging=2
        ),
        said("anna", Answered.FULL, exchange="b", kinds=()),
        said("bob", Answered.FULL, exchange="b", kinds=(AVOIDS,)),
        said("anna", Answered.FULL, exchange="c"),
        said("anna", Answered.FULL, exchange="d"),
        said("bob", exchange="d", skipped="cut"),
    ]
    assert disagreements(notes) == {"a": ("answered", "should_answer"), "b": ("kinds",)}
    assert disagreements(notes, ["hedging"]) == {"a": ("hedging",)}


def test_what_is_adjudicated_is_no_disagreement_any_more() -> None:
    notes = [said("anna", Answered.FULL), said("bob", Answered.PART)]
    assert disagreements(notes) == {"one": ("answered",)}
    assert disagreements([*notes, said("judge", Answered.PART, adjudicated=True)]) == {}


def test_everybody_s_own_labels_can_be_had_alone() -> None:
    anna, bob = said("anna", Answered.FULL), said("bob", Answered.PART)
    judge, own = said("judge", Answered.PART, adjudicated=True), said("judge", Answered.NONE)
    assert alone([bob, anna, judge]) == {"anna": [anna], "bob": [bob]}
    assert alone([own, judge]) == {"judge": [own]}
