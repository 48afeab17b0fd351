"""The store keeps draws, hands out their items, and loses no label: the same on both databases."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from aligntax.errors import InputError
from aligntax.store import Annotator, Store
from aligntax.store.schema import items as item_table
from aligntax.types import Annotation, Answered, Kind, Outcome, ShouldAnswer
from stores import NOW, draw, items, says, stratum

DRAW = draw()
FULL, PART, NONE = Answered.FULL, Answered.PART, Answered.NONE


@pytest.fixture
def kept(store: Store) -> Store:
    """A store that holds the small draw."""
    store.add_draw(DRAW, items())
    return store


def given(store: Store, who: str, **settings: object) -> str | None:
    item = store.next_item(DRAW.id, who, **settings)
    return item.exchange if item else None


def label_all(store: Store, who: str, answered: Answered = FULL) -> list[str]:
    done = []
    while exchange := given(store, who):
        store.label(DRAW.id, says(exchange, who, answered))
        done.append(exchange)
    return done


# ---- draws


def test_a_draw_comes_back_as_it_was_kept(store: Store) -> None:
    odd = draw(by=("model", "tags.team"), strata=(stratum(slice=("a\x00b", None), high=0.1 + 0.2),))
    store.add_draw(odd, items(strata=1))
    assert store.draw(odd.id) == odd
    assert store.draws() == [odd]


def test_items_come_back_as_they_were_kept(store: Store) -> None:
    one = items(strata=1)[0]
    full = msgspec.structs.replace(
        one,
        known=says(one.exchange, "editors", PART, kinds=(Kind.HEDGING,), time=NOW),
        source_id="call-17",
        use_case="legal research",
        outcome=Outcome.INPUT_BLOCKED,
        system="Be brief.",
        history='[{"role": "user", "content": "…"}]',
    )
    planted = msgspec.structs.replace(one, exchange="known-1", stratum=None)
    store.add_draw(DRAW, [full, planted])
    assert store.item(DRAW.id, full.exchange) == full
    assert set(map(repr, store.items(DRAW.id))) == {repr(full), repr(planted)}
    assert store.exchange_ids(DRAW.id) == ({full.exchange, "known-1"}, {"call-17": full.exchange})


def test_a_draw_is_found_by_the_beginning_of_its_id(store: Store) -> None:
    for name in ("aa11", "aa22", "aa2"):
        store.add_draw(draw(id=name), [])
    assert store.draw("aa1").id == "aa11"
    assert store.draw("aa2").id == "aa2"  # the whole id wins over one that begins with it
    with pytest.raises(InputError, match=r"draw aa: 3 draws begin like that"):
        store.draw("aa")
    for absent in ("b", "", "aa1\x00", "%"):
        with pytest.raises(InputError, match="there is no such draw"):
            store.draw(absent)


def test_the_newest_draw_comes_first(store: Store) -> None:
    for day, name in enumerate(["first", "second", "third"]):
        store.add_draw(draw(id=name, created=NOW + dt.timedelta(days=day)), [])
    assert [kept.id for kept in store.draws()] == ["third", "second", "first"]


def test_a_draw_is_kept_once_and_whole(store: Store) -> None:
    twice = [*items(), items()[0]]
    with pytest.raises(InputError, match="twice"):
        store.add_draw(DRAW, twice)
    assert store.draws() == []
    store.add_draw(DRAW, items())
    with pytest.raises(InputError, match=f"draw {DRAW.id}: is there already"):
        store.add_draw(DRAW, [])


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.next_item("nowhere", "ada"),
        lambda store: store.label("nowhere", says("s0p0")),
        lambda store: store.undo("nowhere", "ada"),
        lambda store: store.progress("nowhere"),
        lambda store: store.annotations("nowhere\x00"),
        lambda store: store.add_annotator("nowhere\ud800", "ada"),
        lambda store: store.contested("nowhere"),
        lambda store: store.save_estimates("nowhere", [], {}),
        lambda store: store.extend_draw(draw(id="nowhere")),
    ],
)
def test_an_unknown_draw_is_said_so(kept: Store, call: Callable[[Store], object]) -> None:
    with pytest.raises(InputError, match=r"draw nowhere.*: there is no such draw"):
        call(kept)


# ---- the queue


def test_the_pilot_is_asked_in_the_order_of_the_queue_and_the_reserve_not_at_all(kept: Store) -> None:
    assert label_all(kept, "ada") == ["s0p0", "s1p0", "s0p1", "s1p1", "s0p2", "s1p2"]


def test_two_people_are_never_given_the_same_item_unless_two_labels_are_wanted(store: Store) -> None:
    plan = [msgspec.structs.replace(item, wanted=2 if item.place == 0 else 1) for item in items()]
    store.add_draw(DRAW, plan)
    assert [given(store, who, now=NOW) for who in ("ada", "ben", "cem")] == ["s0p0", "s0p0", "s1p0"]
    assert [given(store, who, now=NOW) for who in ("dee", "eve", "fay")] == ["s1p0", "s0p1", "s1p1"]


def test_a_page_that_is_loaded_again_shows_the_same_item(kept: Store) -> None:
    assert given(kept, "ada") == given(kept, "ada") == "s0p0"


def test_an_item_that_somebody_left_lying_goes_to_the_next_person(kept: Store) -> None:
    late, hour = NOW + dt.timedelta(minutes=31), dt.timedelta(hours=1)
    assert given(kept, "ada", now=NOW) == "s0p0"
    assert given(kept, "ben", now=NOW, lease=hour) == "s1p0"
    assert given(kept, "cem", now=NOW + dt.timedelta(minutes=29)) == "s0p1"
    assert given(kept, "dee", now=late) == "s0p0"
    assert given(kept, "ada", now=late) == "s1p1"
    kept.label(DRAW.id, says("s0p0", "ada"))  # a late label is kept all the same
    assert [label.annotator for label in kept.annotations(DRAW.id)] == ["ada"]


def test_what_one_has_done_oneself_does_not_hide_what_others_began(store: Store) -> None:
    store.add_draw(DRAW, items(wanted=2))
    assert len(label_all(store, "ada")) == 6
    assert given(store, "ada") is None
    assert label_all(store, "ben") == ["s0p0", "s1p0", "s0p1", "s1p1", "s0p2", "s1p2"]
    assert given(store, "cem") is None


def test_a_skipped_item_is_done_for_that_person_and_counts_as_their_label(kept: Store) -> None:
    kept.label(DRAW.id, says("s0p0", answered=None, skipped="not my language"))
    assert given(kept, "ada") == "s1p0"
    assert given(kept, "ben") == "s0p1"
    assert kept.annotations(DRAW.id)[0].skipped == "not my language"


def test_a_second_label_is_asked_of_somebody_else(kept: Store) -> None:
    kept.label(DRAW.id, says("s0p0", answered=NONE), second=True)
    assert given(kept, "ada") == "s1p0"
    assert given(kept, "ben") == "s0p0"
    assert kept.item(DRAW.id, "s0p0").wanted == 2
    kept.label(DRAW.id, says("s0p0", answered=FULL))  # a slip: it is no rare positive after all
    assert kept.item(DRAW.id, "s0p0").wanted == 1


def test_what_an_adjudicator_settled_is_asked_of_nobody(store: Store) -> None:
    store.add_draw(DRAW, items(wanted=2))
    store.label(DRAW.id, says("s0p0", "chair", adjudicated=True))
    assert "s0p0" not in label_all(store, "ada")


# ---- the second phase


def test_the_second_phase_asks_for_the_first_of_each_stratum_and_forgets_the_others(kept: Store) -> None:
    whole = draw(phase="whole", strata=(stratum(labels=5), stratum(labels=3)))
    label_all(kept, "ada")
    assert kept.extend_draw(whole)
    assert kept.draw(DRAW.id) == whole
    assert [(item.exchange, item.phase) for item in kept.items(DRAW.id) if item.phase != "pilot"] == [
        ("s0p3", "rest"),
        ("s0p4", "rest"),
    ]
    assert label_all(kept, "ada") == ["s0p3", "s0p4"]


def test_the_second_phase_begins_once(kept: Store) -> None:
    first = draw(phase="whole", strata=(stratum(labels=5), stratum(labels=3)))
    assert kept.extend_draw(first)
    assert not kept.extend_draw(draw(phase="whole", strata=(stratum(labels=9), stratum(labels=9))))
    assert kept.draw(DRAW.id) == first


def test_the_reserve_is_not_labelled_by_hand_and_waits_when_it_is_imported(kept: Store) -> None:
    with pytest.raises(InputError, match="exchange s0p3: is in the reserve"):
        kept.label(DRAW.id, says("s0p3"))
    kept.import_annotations(DRAW.id, [says(f"s0p{place}") for place in (0, 3, 9)])
    assert [label.exchange for label in kept.annotations(DRAW.id)] == ["s0p0"]
    assert kept.progress(DRAW.id, "ada").labelled == kept.progress(DRAW.id).labelled == 1
    kept.extend_draw(draw(phase="whole", strata=(stratum(labels=5), stratum())))
    assert [label.exchange for label in kept.annotations(DRAW.id)] == ["s0p0", "s0p3"]
    assert [change.exchange for change in kept.history(DRAW.id)] == ["s0p0", "s0p3", "s0p9"]


# ---- people


def test_a_link_belongs_to_one_person_and_a_new_one_voids_the_old(kept: Store) -> None:
    first = kept.add_annotator(DRAW.id, "  Ada Ö. ")
    chair = kept.add_annotator(DRAW.id, "chair", role="adjudicator")
    assert kept.annotator(first) == Annotator(draw=DRAW.id, name="Ada Ö.", role="annotator")
    assert kept.annotator(chair) == Annotator(draw=DRAW.id, name="chair", role="adjudicator")
    second = kept.add_annotator(DRAW.id, "Ada Ö.")
    assert kept.annotator(first) is None
    assert kept.annotator(second) is not None
    for guess in ("", "x", "\x00", "\ud800", first[:-1]):
        assert kept.annotator(guess) is None
    assert [person.name for person in kept.annotators(DRAW.id)] == ["Ada Ö.", "chair"]


def test_secrets_are_not_in_the_database(kept: Store, tmp_path: Path) -> None:
    token = kept.add_annotator(DRAW.id, "ada")
    people = sa.text("SELECT * FROM annotators")
    rows = kept._database.read(lambda connection: connection.execute(people).all())
    assert token not in repr(rows)
    assert all(token.encode() not in path.read_bytes() for path in tmp_path.iterdir())


def test_who_labelled_without_a_link_is_known_too(kept: Store) -> None:
    kept.import_annotations(DRAW.id, [says("s0p0", "from a file")])
    assert [person.name for person in kept.annotators(DRAW.id)] == ["from a file"]


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 101, "a\x1b[31mb"])
def test_names_are_printable_and_not_endless(kept: Store, name: str) -> None:
    with pytest.raises(InputError, match="1 to 100 printable"):
        kept.add_annotator(DRAW.id, name)
    with pytest.raises(InputError, match="1 to 100 printable"):
        kept.label(DRAW.id, says("s0p0", name))
    with pytest.raises(InputError, match="choose from annotator, adjudicator"):
        kept.add_annotator(DRAW.id, "ada", role="owner")


# ---- labels, their history, and back


def test_a_label_comes_back_with_every_axis(kept: Store) -> None:
    whole = Annotation(
        exchange="s0p0",
        annotator="ada",
        answered=PART,
        kinds=(Kind.HEDGING, Kind.SOFT_REFUSAL),
        disclaimer=False,
        hedging=0,
        should_answer=ShouldAnswer.UNCLEAR,
        note="see § 12; 'quoted' -- DROP TABLE labels;",
        time=NOW,
    )
    bare = Annotation(exchange="s0p1", annotator="ada", answered=FULL, kinds=(), time=NOW)
    zone = dt.timezone(dt.timedelta(hours=2))
    elsewhere = Annotation(exchange="s0p2", annotator="ada", answered=FULL, time=NOW.astimezone(zone))
    for annotation in (whole, bare, elsewhere):
        kept.label(DRAW.id, annotation)
    assert kept.annotations(DRAW.id) == [whole, bare, elsewhere]


def test_history_says_who_when_and_what_was_replaced(kept: Store) -> None:
    minute = dt.timedelta(minutes=1)
    kept.label(DRAW.id, says("s0p0", answered=NONE, time=NOW), now=NOW)
    kept.label(DRAW.id, says("s0p0", answered=PART, time=NOW + minute), now=NOW + minute)
    kept.undo(DRAW.id, "ada", now=NOW + 2 * minute)
    first, second, third = kept.history(DRAW.id)
    assert [change.action for change in (first, second, third)] == ["label", "label", "undo"]
    assert [change.time for change in (first, second, third)] == [NOW, NOW + minute, NOW + 2 * minute]
    assert {change.annotator for change in (first, second, third)} == {"ada"}
    assert first.replaced is None
    assert first.label == second.replaced
    assert second.label == third.replaced == says("s0p0", answered=PART, time=NOW + minute)
    assert third.label is None
    assert kept.annotations(DRAW.id) == []


def test_undo_walks_back_through_ones_own_labels_only(kept: Store) -> None:
    for exchange, who in [("s0p0", "ada"), ("s1p0", "ben"), ("s0p1", "ada"), ("s1p1", "ben")]:
        kept.label(DRAW.id, says(exchange, who))
    newest = kept.undo(DRAW.id, "ada")
    assert newest is not None
    assert newest.exchange == "s0p1"
    assert given(kept, "ben") == "s0p2"  # what was taken back is kept for the one who took it back
    assert given(kept, "ada") == "s0p1"
    again = kept.undo(DRAW.id, "ada")
    assert again is not None
    assert again.exchange == "s0p0"
    assert kept.undo(DRAW.id, "ada") is None
    assert [label.annotator for label in kept.annotations(DRAW.id)] == ["ben", "ben"]


def test_undo_takes_back_the_wish_for_a_second_label(kept: Store) -> None:
    kept.label(DRAW.id, says("s0p0", answered=NONE), second=True)
    kept.undo(DRAW.id, "ada")
    assert kept.item(DRAW.id, "s0p0").wanted == 1


def test_a_label_for_an_exchange_outside_of_the_draw_is_refused(kept: Store) -> None:
    for odd in ("unheard of", "s0p0\x00", "\ud800", "s0p0' OR 1=1"):
        with pytest.raises(InputError, match="is not in this draw"):
            kept.label(DRAW.id, says(odd))
        with pytest.raises(InputError, match="is not in this draw"):
            kept.item(DRAW.id, odd)
    assert kept.history(DRAW.id) == []


def test_people_who_differ_are_contested_until_it_is_settled(store: Store) -> None:
    store.add_draw(DRAW, items(wanted=2))
    pairs = {
        "s0p0": ({"answered": FULL}, {"answered": PART}),
        "s1p0": ({"should_answer": ShouldAnswer.YES}, {"should_answer": ShouldAnswer.NO}),
        "s0p1": ({"kinds": (Kind.HEDGING,)}, {"kinds": ()}),
        "s1p1": ({"kinds": (Kind.HEDGING, Kind.SOFT_REFUSAL)}, {"kinds": (Kind.SOFT_REFUSAL, Kind.HEDGING)}),
        "s0p2": ({"hedging": 0, "note": "a"}, {"hedging": 3, "note": "b"}),  # no axis that decides
        "s1p2": ({"answered": None, "should_answer": ShouldAnswer.YES}, {"answered": NONE}),  # not asked
    }
    for exchange, sayings in pairs.items():
        for who, saying in zip(("ada", "ben"), sayings, strict=True):
            store.label(DRAW.id, says(exchange, who, **{"answered": FULL, **saying}))
    assert store.contested(DRAW.id) == ["s0p0", "s1p0", "s0p1"]
    assert store.progress(DRAW.id).disagreements == 3
    store.label(DRAW.id, says("s0p0", "ada", PART, adjudicated=True))
    assert store.contested(DRAW.id) == ["s1p0", "s0p1"]
    mine = [
        label for label in store.annotations(DRAW.id) if (label.exchange, label.annotator) == ("s0p0", "ada")
    ]
    assert [(label.answered, label.adjudicated) for label in mine] == [(FULL, False), (PART, True)]
    store.undo(DRAW.id, "ada")
    assert store.contested(DRAW.id) == ["s0p0", "s1p0", "s0p1"]


def test_an_import_is_kept_whole_or_not_at_all(kept: Store) -> None:
    many = [says("s0p0", "ada"), says("s0p1", "ben"), says("not drawn", "ada")]
    with pytest.raises(InputError, match="not drawn"):
        kept.import_annotations(DRAW.id, many)
    assert kept.annotations(DRAW.id) == []
    assert kept.history(DRAW.id) == []
    assert kept.import_annotations(DRAW.id, many[:2], second=["s0p1"]) == 2
    assert kept.import_annotations(DRAW.id, []) == 0
    assert kept.item(DRAW.id, "s0p1").wanted == 2
    assert {change.action for change in kept.history(DRAW.id)} == {"import"}


def test_the_pilot_is_counted_by_stratum(store: Store) -> None:
    strata = (stratum(), stratum(kind="blocked"), stratum())
    store.add_draw(draw(strata=strata), items(strata=3, wanted=2))
    yes, no = ShouldAnswer.YES, ShouldAnswer.NO
    for label in [
        says("s0p0", answered=PART), says("s0p0", "ben", FULL),  # the first is believed
        says("s0p1", answered=NONE), says("s0p1", "ben", FULL), says("s0p1", "cem", FULL),  # the majority
        says("s0p2", answered=FULL), says("s0p2", "chair", NONE, adjudicated=True),
        says("s1p0", answered=None, should_answer=yes), says("s1p1", answered=None, should_answer=no),
        says("s2p0", answered=None, skipped="no text"),
    ]:  # fmt: skip
        store.label(DRAW.id, label)
    assert store.counts(DRAW.id) == [(3, 2), (2, 1), (1, 0)]


def test_progress_says_how_far_it_is_and_how_long_it_takes(store: Store) -> None:
    plan = [msgspec.structs.replace(item, wanted=2 if item.place == 0 else 1) for item in items()]
    known = msgspec.structs.replace(plan[0], exchange="known", stratum=None, wanted=1, position=0.9)
    store.add_draw(DRAW, [*plan, known])
    empty = store.progress(DRAW.id)
    assert (empty.labelled, empty.to_label, empty.pilot_left, empty.double_left) == (0, 7, 6, 2)
    assert empty.seconds_per_item is None
    moment = NOW
    for seconds in (0, 20, 30, 3600, 40):  # an hour is a pause
        moment += dt.timedelta(seconds=seconds)
        exchange = given(store, "ada")
        assert exchange is not None
        store.label(DRAW.id, says(exchange), now=moment)
    all_of_it, ada, ben = (
        store.progress(DRAW.id),
        store.progress(DRAW.id, "ada"),
        store.progress(DRAW.id, "ben"),
    )
    assert (all_of_it.labelled, all_of_it.to_label, all_of_it.pilot_left, all_of_it.double_left) == (
        5,
        2,
        1,
        2,
    )
    assert (ada.labelled, ada.to_label, ada.seconds_per_item) == (5, 2, 30.0)
    assert (ben.labelled, ben.to_label, ben.seconds_per_item) == (0, 4, None)
    assert all_of_it.seconds_per_item == 30.0


def test_what_the_queue_knows_follows_from_the_labels_whatever_happens(store: Store) -> None:
    chance = random.Random(5)
    store.add_draw(DRAW, items(wanted=1))
    people, answers = ["ada", "ben", "cem"], [FULL, PART, NONE]
    moment, labelled = NOW, Counter[str]()
    for step in range(120):
        who = chance.choice(people)
        moment += dt.timedelta(seconds=chance.choice([5, 5, 2000]))
        exchange = given(store, who, now=moment)
        if exchange is not None and chance.random() < 0.7:
            second = chance.random() < 0.4
            store.label(DRAW.id, says(exchange, who, chance.choice(answers)), second=second, now=moment)
            labelled[who] += 1
        elif chance.random() < 0.6:
            labelled[who] -= store.undo(DRAW.id, who, now=moment) is not None
        if step == 60:
            store.extend_draw(draw(phase="whole", strata=(stratum(labels=8), stratum(labels=6))))
    assert Counter({who: store.progress(DRAW.id, who).labelled for who in people}) == labelled
    current = store.annotations(DRAW.id)
    assert len(current) > 5
    rows = store._database.read(lambda connection: connection.execute(sa.select(item_table)).mappings().all())
    for row in rows:
        mine = [label for label in current if label.exchange == row["exchange"]]
        assert row["done"] == len(mine) <= row["wanted"]
        assert row["missing"] == row["wanted"] - row["done"]
        assert row["first_by"] == min((label.annotator for label in mine), default="")
        assert bool(row["contested"]) == (len({label.answered for label in mine}) > 1)
    progress, asked = store.progress(DRAW.id), [row for row in rows if row["phase"] != "reserve"]
    assert progress.labelled == sum(row["done"] > 0 for row in asked)
    assert progress.to_label == sum(row["done"] == 0 for row in asked)
    assert progress.pilot_left == sum(row["done"] == 0 and row["phase"] == "pilot" for row in asked)
    assert progress.double_left == sum(row["wanted"] - max(row["done"], 1) for row in asked)
    for who in people:
        own = {label.exchange for label in current if label.annotator == who}
        left = sum(row["missing"] > 0 and row["exchange"] not in own for row in asked)
        assert store.progress(DRAW.id, who).to_label == left


# ---- the audit trail


def test_runs_estimates_and_decisions_are_kept_with_what_they_were_made_from(kept: Store) -> None:
    run = kept.record_run("estimate", {"verdicts.parquet": "sha256:1"}, {"by": ["model"]}, {"rows": 2})
    kept.record_run("scan", {}, {})
    assert [(entry.id, entry.kind, entry.result) for entry in kept.runs()][1] == (
        run,
        "estimate",
        {"rows": 2},
    )
    row = {"model": "small-model", "target": "refused", "value": 0.25, "low": float("nan"), "text": "a\x00é"}
    saved = kept.save_estimates(DRAW.id, [row], {"labels": "sha256:2"})
    kept.save_estimates(None, [], {})
    (table,) = kept.estimates(DRAW.id)
    assert (table.id, table.inputs, table.rows) == (saved, {"labels": "sha256:2"}, [row | {"low": None}])
    assert len(kept.estimates()) == 2
    kept.save_decision({"verdict": "pass"})
    kept.save_decision({"verdict": "fail", "numbers": [1, 2.5, None]})
    newest, oldest = kept.decisions()
    assert newest.record == {"verdict": "fail", "numbers": [1, 2.5, None]}
    assert oldest.time <= newest.time
    assert newest.time.utcoffset() == dt.timedelta(0)


# ---- text that somebody else wrote


def test_hostile_text_is_kept_the_same_in_both_databases(store: Store) -> None:
    odd = "a\x00b \ud83d c \U0001f600 \u202e ${jndi} %s {x} :name ' \" \\ \r\n \ufeff"
    known = odd.replace("\x00", "\ufffd").replace("\ud83d", "\ufffd")
    one = msgspec.structs.replace(items()[0], prompt=odd, response="é" * 5_000_000, system=odd, history=odd)
    store.add_draw(DRAW, [one])
    back = store.item(DRAW.id, one.exchange)
    assert back.prompt == back.system == back.history == known
    assert back.response == one.response  # ten megabytes
    store.label(DRAW.id, says(one.exchange, note=odd, answered=None, skipped=odd))
    (label,) = store.annotations(DRAW.id)
    assert label.note == label.skipped == known
    assert store.history(DRAW.id)[0].label == label
    store.undo(DRAW.id, "ada")


def test_an_item_that_cannot_be_asked_is_refused(store: Store) -> None:
    for change in ({"wanted": 3}, {"phase": "later"}, {"exchange": "a\x00"}):
        with pytest.raises(InputError, match="an item needs"):
            store.add_draw(DRAW, [msgspec.structs.replace(items()[0], **change)])
