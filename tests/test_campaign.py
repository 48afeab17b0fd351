"""One round of labelling, from the draw to what an estimate loads: what is asked, kept, waited for and refused."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from aligntax import campaign
from aligntax.errors import InputError
from aligntax.store import Store
from aligntax.types import CONTENT_COLUMNS, Annotation, Draw, Item, Kind
from labels import answers, blocked, frame, note, skipped
from verdicts import verdict_frame

LATER = dt.datetime(2026, 3, 3, 9, tzinfo=dt.UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "labels.db") as opened:
        yield opened


def a_log(rows: int = 300) -> pl.DataFrame:
    """Calls of four use cases and two models, some of them cut, blocked or failed; with ids of the log's own."""
    return verdict_frame(rows, seed=5).with_columns(source_id=pl.format("call-{}", pl.int_range(pl.len())))


def an_even_log(rows: int = 120) -> pl.DataFrame:
    """Half of the answers look fine to the detector, half look refused."""
    return frame(answers(rows // 2, 0.01), answers(rows // 2, 0.9, name="r")).with_columns(
        response=pl.lit("an answer"), source_id=pl.concat_str(pl.lit("call-"), "id")
    )


def begun(store: Store, log: pl.DataFrame, **settings: Any) -> Draw:
    return campaign.start(store, log.lazy(), **{"budget": 60, "seed": 1, "known_share": 0} | settings)


def asked(store: Store, draw: Draw, *phases: str) -> list[Item]:
    return [item for item in store.items(draw.id) if item.phase in (phases or ("pilot", "rest"))]


def says_so(items: list[Item], **fields: Any) -> list[Annotation]:
    return [note(item.exchange, **fields) for item in items]


# ---- start


def test_every_slice_that_is_named_gets_labels_of_its_own(store: Store) -> None:
    log = a_log().with_columns(tags=pl.lit('{"team": "north"}'))
    draw = begun(store, log, by=("use_case", "model", "tags.team"), budget=200)
    assert draw.by == ("use_case", "model", "tags.team")
    labels: dict[tuple[str | None, ...], int] = {}
    for stratum in draw.strata:
        labels[stratum.slice] = labels.get(stratum.slice, 0) + stratum.labels
    cases, models = set(log["use_case"]), set(log["model_served"])
    assert set(labels) == {(case, model, "north") for case in cases for model in models}
    assert min(labels.values()) >= 4


def test_an_item_holds_what_was_asked_and_answered(store: Store) -> None:
    log = a_log().with_columns(system=pl.lit("You help clerks."))
    draw = begun(store, log)
    rows = {row["id"]: row for row in log.iter_rows(named=True)}
    items = asked(store, draw, "pilot", "reserve")
    assert len(items) >= 60
    for item in items:
        row = rows[item.exchange]
        for name in ("prompt", "response", "system", "use_case", "source_id", "outcome"):
            assert getattr(item, name) == (row[name] if row[name] is not None else ""), name


def test_text_that_the_verdicts_lack_comes_from_the_logs_batch_by_batch(store: Store) -> None:
    log = a_log()
    bare = log.drop(CONTENT_COLUMNS)
    draw = begun(store, bare, texts=(log[start : start + 70] for start in range(0, log.height, 70)))
    texts = dict(log.select("id", "response").iter_rows())
    items = asked(store, draw, "pilot", "reserve")
    assert {item.exchange: item.response for item in items} == {
        item.exchange: texts[item.exchange] or "" for item in items
    }
    assert any(item.response for item in items)


def test_the_same_draw_is_made_with_and_without_text(store: Store, tmp_path: Path) -> None:
    log = a_log()
    with_text = begun(store, log)
    with Store.open(tmp_path / "other.db") as other:
        without = begun(other, log.drop(CONTENT_COLUMNS), texts=[log])
    assert with_text.id == without.id
    assert with_text.strata == without.strata


def test_without_text_anywhere_nothing_is_drawn(store: Store) -> None:
    with pytest.raises(InputError, match="--logs"):
        begun(store, a_log().drop(CONTENT_COLUMNS))
    assert store.draws() == []


def test_logs_that_lack_drawn_exchanges_are_refused_with_their_number(store: Store) -> None:
    log = a_log(100)
    present = log.head(40)
    with pytest.raises(InputError, match=r"of the \d+ drawn exchanges are not in these logs"):
        begun(store, log.drop(CONTENT_COLUMNS), texts=[present])
    assert store.draws() == []


# ---- record


def test_a_positive_where_positives_are_rare_is_asked_of_somebody_else_too(store: Store) -> None:
    draw = begun(store, an_even_log(), double_share=0)
    low = [item for item in asked(store, draw) if item.exchange.startswith("a")]
    campaign.record(store, draw.id, note(low[0].exchange, "part"))
    campaign.record(store, draw.id, note(low[1].exchange, "full"))
    campaign.record(store, draw.id, skipped(low[2].exchange))
    campaign.record(store, draw.id, note(low[3].exchange, "none", adjudicated=True))
    assert [store.item(draw.id, item.exchange).wanted for item in low[:4]] == [2, 1, 1, 1]


def test_a_positive_where_they_are_common_is_not(store: Store) -> None:
    draw = begun(store, an_even_log(), double_share=0)
    high = next(item for item in asked(store, draw) if item.exchange.startswith("r"))
    campaign.record(store, draw.id, note(high.exchange, "none"))
    assert store.item(draw.id, high.exchange).wanted == 1


def test_the_second_opinion_stays_asked_for_when_the_first_is_given_again(store: Store) -> None:
    draw = begun(store, an_even_log(), double_share=0)
    low = next(item for item in asked(store, draw) if item.exchange.startswith("a"))
    for says in ("part", "none"):
        campaign.record(store, draw.id, note(low.exchange, says))
        assert store.item(draw.id, low.exchange).wanted == 2
    campaign.record(store, draw.id, note(low.exchange, "full"))
    assert store.item(draw.id, low.exchange).wanted == 1


def test_the_label_that_completes_the_pilot_starts_the_second_phase(store: Store) -> None:
    draw = begun(store, an_even_log())
    *pilot, last = asked(store, draw)
    for says in says_so(pilot):
        assert campaign.record(store, draw.id, says).phase == "pilot"
    whole = campaign.record(store, draw.id, skipped(last.exchange))
    assert whole.phase == "whole"
    assert sum(stratum.labels for stratum in whole.strata) == draw.budget
    assert len(asked(store, draw)) == draw.budget
    assert asked(store, draw, "reserve") == []


def test_two_people_who_finish_the_pilot_at_once_start_the_second_phase_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "labels.db"
    with Store.open(path) as store:
        draw = begun(store, an_even_log())
        *pilot, one, other = asked(store, draw)
        for says in says_so(pilot):
            campaign.record(store, draw.id, says)
    extended: list[bool] = []
    real: Callable[[Store, Draw], bool] = Store.extend_draw
    both = threading.Barrier(2)

    def watched(store: Store, draw: Draw) -> bool:
        both.wait(10)  # both have seen a complete pilot
        extended.append(real(store, draw))
        return extended[-1]

    monkeypatch.setattr(Store, "extend_draw", watched)
    arrived = threading.Barrier(2)

    def advance(name: str, exchange: str) -> None:
        with Store.open(path) as mine:
            mine.label(draw.id, note(exchange, annotator=name))
            arrived.wait(10)
            phases.append(campaign.advance(mine, draw.id).phase)

    phases: list[str] = []
    people = [
        threading.Thread(target=advance, args=(f"p{at}", item.exchange))
        for at, item in enumerate((one, other))
    ]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert sorted(extended) == [False, True]
    assert phases == ["whole", "whole"]
    with Store.open(path) as store:
        assert len(asked(store, draw)) == draw.budget


def test_many_recorders_at_once_leave_one_whole_draw(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    with Store.open(path) as store:
        draw = begun(store, an_even_log(), double_share=0)
        pilot = asked(store, draw)

        def work(name: str, items: list[Item]) -> None:
            for item in items:
                campaign.record(store, draw.id, note(item.exchange, annotator=name))

        threads = [threading.Thread(target=work, args=(f"p{at}", pilot[at::4])) for at in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        whole = store.draw(draw.id)
        assert whole.phase == "whole"
        assert [item.phase for item in asked(store, draw)].count("rest") == draw.budget - len(pilot)
        for number, stratum in enumerate(whole.strata):
            places = sorted(item.place for item in asked(store, draw) if item.stratum == number)
            assert places == list(range(stratum.labels))


def test_advancing_changes_nothing_before_the_pilot_is_done_nor_after_it_was_advanced(store: Store) -> None:
    draw = begun(store, an_even_log())
    assert campaign.advance(store, draw.id) == draw
    campaign.take_over(store, draw.id, says_so(asked(store, draw)))
    whole = store.draw(draw.id)
    assert whole.phase == "whole"
    before = list(store.items(draw.id))
    assert campaign.advance(store, draw.id) == whole
    assert list(store.items(draw.id)) == before


# ---- take over


@pytest.mark.parametrize("name", ["exchange", "source_id"])
def test_labels_from_elsewhere_name_exchanges_by_our_id_or_by_the_logs(store: Store, name: str) -> None:
    draw = begun(store, an_even_log())
    pilot = asked(store, draw)
    done = campaign.take_over(store, draw.id, [note(getattr(item, name)) for item in pilot])
    assert (done.labels, done.unchanged, done.waiting, done.unasked) == (len(pilot), 0, 0, 0)
    assert {label.exchange for label in store.annotations(draw.id)} == {item.exchange for item in pilot}
    assert done.draw.phase == "whole"


def test_labels_of_everything_are_taken_for_the_pilot_and_for_what_it_brings(store: Store) -> None:
    log = an_even_log()
    draw = begun(store, log)
    done = campaign.take_over(store, draw.id, [note(exchange) for exchange in log["id"]])
    assert done.labels == draw.budget
    assert done.unasked == log.height - draw.budget
    assert {label.exchange for label in store.annotations(draw.id)} == {
        item.exchange for item in asked(store, draw)
    }
    assert store.progress(draw.id).to_label == 0


def test_labels_for_the_second_phase_wait_while_the_pilot_lacks_one(store: Store) -> None:
    log = an_even_log()
    draw = begun(store, log)
    *pilot, last = asked(store, draw)
    rest = [note(exchange) for exchange in log["id"] if exchange != last.exchange]
    done = campaign.take_over(store, draw.id, rest)
    assert done.draw.phase == "pilot"
    assert done.labels == len(pilot)
    assert done.waiting > 0
    assert done.labels + done.waiting + done.unasked == len(rest)
    assert len(store.annotations(draw.id)) == len(pilot)
    assert campaign.record(store, draw.id, note(last.exchange)).phase == "whole"
    assert store.progress(draw.id).to_label == 0
    assert len(store.annotations(draw.id)) == draw.budget


@pytest.mark.parametrize("bad", ["", "x" * 101, "an\x1b[2Jna"])
def test_one_label_that_cannot_be_kept_keeps_all_of_them_out(store: Store, bad: str) -> None:
    log = an_even_log()
    draw = begun(store, log)
    pilot = {item.exchange for item in asked(store, draw)}
    # The bad one belongs to the second phase, which begins only when all others are taken.
    last = next(item for item in asked(store, draw, "reserve"))
    rows = [note(exchange) for exchange in log["id"] if exchange != last.exchange]
    with pytest.raises(InputError, match="name"):
        campaign.take_over(store, draw.id, [*rows, note(last.exchange, annotator=bad)])
    assert store.annotations(draw.id) == []
    assert store.draw(draw.id).phase == "pilot"
    assert {item.exchange for item in asked(store, draw)} == pilot


def test_labels_that_nobody_asked_for_are_counted_and_not_kept(store: Store) -> None:
    draw = begun(store, an_even_log())
    done = campaign.take_over(store, draw.id, [note("of another log"), note("call-nowhere")])
    assert (done.labels, done.unasked) == (0, 2)
    assert store.annotations(draw.id) == []


def test_the_same_labels_again_change_nothing(store: Store) -> None:
    log = an_even_log()
    draw = begun(store, log)
    rows = [note(exchange, kinds=(), time=LATER) for exchange in log["id"]]
    first = campaign.take_over(store, draw.id, rows)
    before = store.annotations(draw.id), store.history(draw.id)
    again = campaign.take_over(store, draw.id, [msgspec.structs.replace(row, time=None) for row in rows])
    assert again.unchanged == again.labels == first.labels
    assert (store.annotations(draw.id), store.history(draw.id)) == before


def test_a_label_that_was_mended_replaces_the_former_one_of_the_same_person(store: Store) -> None:
    draw = begun(store, an_even_log())
    item, *_ = asked(store, draw)
    campaign.take_over(store, draw.id, [note(item.exchange, "full")])
    done = campaign.take_over(store, draw.id, [note(item.exchange, "part")])
    assert (done.labels, done.unchanged) == (1, 0)
    assert [label.answered for label in store.annotations(draw.id)] == ["part"]


def test_what_others_have_said_stays_beside_what_is_imported(store: Store) -> None:
    draw = begun(store, an_even_log())
    item, *_ = asked(store, draw)
    campaign.record(store, draw.id, note(item.exchange, "full", annotator="ann"))
    campaign.take_over(store, draw.id, [note(item.exchange, "none", annotator="author")])
    assert {label.annotator: label.answered for label in store.annotations(draw.id)} == {
        "ann": "full",
        "author": "none",
    }
    assert store.contested(draw.id) == [item.exchange]


def test_where_only_what_is_wanted_is_taken_people_who_were_first_stay_alone(store: Store) -> None:
    draw = begun(store, an_even_log())
    pilot = asked(store, draw)
    single = next(item for item in pilot if item.wanted == 1)
    double = next(item for item in pilot if item.wanted == 2)
    for item in (single, double):
        campaign.record(store, draw.id, note(item.exchange, annotator="anna"))
    rows = says_so(pilot, annotator="author")
    for unchanged in (0, len(pilot) - 1):
        done = campaign.take_over(store, draw.id, rows, wanted_only=True)
        assert (done.labels, done.unchanged, done.enough, done.unasked) == (len(pilot) - 1, unchanged, 1, 0)
    people = [(label.exchange, label.annotator) for label in store.annotations(draw.id)]
    assert (single.exchange, "author") not in people
    assert (double.exchange, "author") in people
    assert campaign.take_over(store, draw.id, rows).unchanged == len(pilot) - 1
    assert len(store.annotations(draw.id)) == len(pilot) + 2


def test_who_names_hedging_and_who_grades_it_do_not_differ(store: Store) -> None:
    draw = begun(store, an_even_log())
    item, *_ = asked(store, draw)
    campaign.record(store, draw.id, note(item.exchange, "full", annotator="ann", hedging=2))
    named = note(item.exchange, "full", annotator="author", hedging=None, kinds=(Kind.HEDGING,))
    campaign.take_over(store, draw.id, [named])
    assert store.contested(draw.id) == []
    assert {(label.kinds, label.hedging) for label in store.annotations(draw.id)} == {((), 2)}
    assert campaign.take_over(store, draw.id, [named]).unchanged == 1


def test_an_adjudication_settles_and_a_skip_counts_as_done(store: Store) -> None:
    draw = begun(store, an_even_log())
    one, other, *_ = asked(store, draw)
    campaign.take_over(
        store,
        draw.id,
        [
            note(one.exchange, "full", annotator="ann"),
            note(one.exchange, "none", annotator="ben"),
            note(one.exchange, "part", annotator="ann", adjudicated=True),
            skipped(other.exchange),
        ],
    )
    assert store.contested(draw.id) == []
    assert store.progress(draw.id).labelled == 2
    assert len(store.annotations(draw.id)) == 4


def test_an_imported_positive_where_they_are_rare_is_asked_of_somebody_else_too(store: Store) -> None:
    draw = begun(store, an_even_log(), double_share=0)
    low = next(item for item in asked(store, draw) if item.exchange.startswith("a"))
    campaign.take_over(store, draw.id, [note(low.exchange, "none")])
    assert store.item(draw.id, low.exchange).wanted == 2


def test_an_id_of_the_log_that_several_exchanges_share_is_refused(store: Store) -> None:
    log = an_even_log().with_columns(source_id=pl.lit("the same talk"))
    draw = begun(store, log)
    with pytest.raises(InputError, match="several exchanges"):
        campaign.take_over(store, draw.id, [note("the same talk")])
    item, *_ = asked(store, draw)
    assert campaign.take_over(store, draw.id, [note(item.exchange)]).labels == 1


def test_two_labels_of_one_exchange_by_one_person_are_refused(store: Store) -> None:
    draw = begun(store, an_even_log())
    item, *_ = asked(store, draw)
    assert item.source_id is not None
    with pytest.raises(InputError, match="more than once"):
        campaign.take_over(store, draw.id, [note(item.exchange, "full"), note(item.source_id, "none")])
    assert store.annotations(draw.id) == []


def test_an_import_goes_on_when_somebody_begins_the_second_phase_meanwhile(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = an_even_log()
    draw = begun(store, log)
    real = Store.import_annotations

    def late(mine: Store, draw_id: str, notes: list[Annotation], **more: Any) -> int:
        monkeypatch.setattr(Store, "import_annotations", real)
        campaign.take_over(mine, draw.id, says_so(asked(mine, draw), annotator="quick"))
        return real(mine, draw_id, notes, **more)

    monkeypatch.setattr(Store, "import_annotations", late)
    done = campaign.take_over(store, draw.id, [note(exchange) for exchange in log["id"]])
    assert done.draw.phase == "whole"
    assert done.labels == draw.budget


# ---- what estimates load


def test_labels_are_found_by_the_population_that_they_were_drawn_from(store: Store) -> None:
    log = an_even_log()
    draw = begun(store, log)
    campaign.take_over(store, draw.id, says_so(asked(store, draw)))
    found, labels = campaign.load(store, log.sample(fraction=1, shuffle=True, seed=1).lazy())
    assert found == store.draw(draw.id)
    assert labels == store.annotations(draw.id)


def test_the_newest_draw_with_labels_counts_and_an_empty_one_does_not_hide_it(store: Store) -> None:
    log = an_even_log()
    first, second = begun(store, log, seed=1), begun(store, log, seed=2)
    assert campaign.load(store, log.lazy())[0] == store.draws()[0]
    campaign.take_over(store, first.id, says_so(asked(store, first)))
    begun(store, log, seed=3)
    found, labels = campaign.load(store, log.lazy())
    assert found is not None
    assert found.id == first.id
    assert len(labels) == len(asked(store, first, "pilot"))
    campaign.take_over(store, second.id, says_so(asked(store, second)[:1]))
    newer, _ = campaign.load(store, log.lazy())
    assert newer is not None
    assert newer.id == second.id


def test_verdicts_that_have_changed_have_no_draw_and_are_told_of_the_other(store: Store) -> None:
    log = an_even_log()
    draw = begun(store, log)
    campaign.take_over(store, draw.id, says_so(asked(store, draw)))
    grown = pl.concat([log, frame(answers(5, 0.2, name="new")).with_columns(response=pl.lit("more"))])
    assert campaign.load(store, grown.lazy()) == (None, [])
    other = campaign.other_state(store, grown.lazy())
    assert other is not None
    assert (other.draw.id, other.labelled) == (draw.id, len(store.annotations(draw.id)))
    assert other.present == len(asked(store, draw))


def test_part_of_the_file_is_another_state_too(store: Store) -> None:
    log = an_even_log()
    draw = begun(store, log)
    other = campaign.other_state(store, log.filter(pl.col("id").str.starts_with("a")).lazy())
    assert other is not None
    assert other.labelled == 0
    assert other.present == sum(item.exchange.startswith("a") for item in asked(store, draw))


def test_a_file_with_other_exchanges_has_no_other_state(store: Store) -> None:
    begun(store, an_even_log())
    assert campaign.other_state(store, a_log().lazy()) is None


# ---- what to expect


def test_what_to_expect_is_said_for_every_slice_and_for_the_whole(store: Store) -> None:
    log = a_log()
    draw = begun(store, log, by=("use_case",), budget=120)
    *slices, whole = campaign.expected(draw)
    assert [row["slice"] for row in slices] == sorted((case,) for case in set(log["use_case"]))
    assert whole["slice"] is None
    assert whole["exchanges"] == draw.population == sum(row["exchanges"] for row in slices)
    assert whole["labels"] == draw.budget == sum(row["labels"] for row in slices)
    for row in (*slices, whole):
        assert 0 <= row["low"] < row["value"] < row["high"] <= 1
    assert whole["high"] - whole["low"] < min(row["high"] - row["low"] for row in slices)


def test_one_slice_has_one_row_and_blocked_calls_are_known_not_to_be_complete(store: Store) -> None:
    log = frame(answers(60, 0.01), blocked(60)).with_columns(response=pl.lit("text"))
    (row,) = campaign.expected(begun(store, log, budget=40))
    assert row["value"] == pytest.approx(0.505, abs=0.02)
    # The doubt of 120 calls that are read to the end: that half of them was blocked adds none.
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * (0.25 / 120) ** 0.5, abs=0.01)


# ---- what one draw teaches the next


def test_the_next_draw_learns_from_labels_of_the_same_detector_and_slices_only(store: Store) -> None:
    log = a_log()
    assert campaign.learned(store, log.lazy(), ("use_case",)) == {}
    draw = begun(store, log, by=("use_case",), budget=120)
    lines = {'["legal research"]': (1.5, -0.25)}
    store.save_estimates(draw.id, [], {campaign.LEARNED: json.dumps(lines)})
    store.save_estimates(None, [], {})
    next_week = verdict_frame(200, seed=8)
    assert campaign.learned(store, next_week.lazy(), ("use_case",)) == lines
    assert campaign.learned(store, next_week.lazy(), ("model",)) == {}
    other = next_week.with_columns(detector=pl.lit("another 2"))
    assert campaign.learned(store, other.lazy(), ("use_case",)) == {}
    taught = begun(store, next_week, by=("use_case",), budget=80, recalibration=lines)
    assert taught.recalibration == lines


def test_the_newest_estimate_teaches_also_that_nothing_helps(store: Store) -> None:
    log = a_log()
    draw = begun(store, log)
    store.save_estimates(draw.id, [], {campaign.LEARNED: '{"[]": [2, 0]}'})
    assert campaign.learned(store, log.lazy(), ()) == {"[]": (2, 0)}
    store.save_estimates(draw.id, [], {campaign.LEARNED: "{}"})
    assert campaign.learned(store, log.lazy(), ()) == {}


# ---- planted items


def test_planted_items_bring_their_own_text_and_right_labels(store: Store) -> None:
    log = a_log()
    draw = begun(store, log, budget=100, known_share=0.1)
    right = {label.exchange: label for label in campaign.known_labels(store, draw)}
    assert len(right) == 10
    assert not set(right) & set(log["id"])
    planted = [item for item in store.items(draw.id) if item.exchange in right]
    assert all(item.prompt and item.response and item.known == right[item.exchange] for item in planted)


def test_planted_items_are_no_part_of_the_pilot(store: Store) -> None:
    draw = begun(store, a_log(), budget=100, known_share=0.1)
    own = [item for item in asked(store, draw) if item.known is None]
    assert campaign.take_over(store, draw.id, says_so(own)).draw.phase == "whole"


def test_labels_of_planted_items_are_taken_from_elsewhere_too(store: Store) -> None:
    draw = begun(store, a_log(), budget=100, known_share=0.1)
    right = campaign.known_labels(store, draw)
    assert campaign.take_over(store, draw.id, [note(label.exchange) for label in right]).labels == len(right)
