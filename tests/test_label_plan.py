"""A draw: who is in it, with what probability, in which order, and what the second phase makes of it."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter

import msgspec
import numpy as np
import polars as pl
import pytest

from aligntax import label
from aligntax.errors import InputError
from aligntax.estimate import slice_columns
from aligntax.label.allocation import slice_budgets
from aligntax.label.known import load_known
from aligntax.stats.profile import profile_interval
from aligntax.types import Annotation, Answered, Draw, Item, Kind, Outcome
from verdicts import verdict_frame

NOW = dt.datetime(2025, 3, 31, 9, tzinfo=dt.UTC)


def scored(rows: int, *, seed: int = 0, **columns: object) -> pl.DataFrame:
    """Answers of which most look complete, a call in 50 blocked, one in 50 in a language that is not judged."""
    random = np.random.default_rng(seed)
    p_full = random.beta(4, 0.8, rows).astype(np.float32)
    outcome = random.choice(["answered", "output_blocked", "truncated"], rows, p=[0.96, 0.02, 0.02])
    return pl.DataFrame(
        {
            "id": [f"{number:024x}" for number in random.permutation(rows)],
            "outcome": outcome,
            "p_full": p_full,
            "detector": "aligntax-1",
            "use_case": random.choice(["law", "care", "code"], rows),
            "prompt": "Why?",
            "response": [f"answer {number}" for number in range(rows)],
            **columns,
        }
    ).with_columns(
        p_full=pl.when((pl.col("outcome") == "answered") & (pl.Series(random.random(rows)) > 0.02)).then(
            "p_full"
        )
    )


def drawn(verdicts: pl.DataFrame, **settings: object) -> tuple[Draw, list[Item]]:
    return label.plan(verdicts, **{"by": [], "budget": 200, "seed": 1, "now": NOW} | settings)  # type: ignore[arg-type]


def asked(items: list[Item]) -> list[Item]:
    return [item for item in items if item.known is None]


def test_the_same_rows_in_any_order_give_the_same_draw() -> None:
    verdicts = scored(1000)
    turned = verdicts.sample(fraction=1, shuffle=True, seed=3).lazy()
    assert drawn(verdicts, by=["use_case"]) == drawn(turned, by=["use_case"])  # type: ignore[arg-type]


def test_another_seed_draws_others_from_the_same_strata() -> None:
    verdicts = scored(1000)
    (one, some), (other, others) = drawn(verdicts, seed=1), drawn(verdicts, seed=2)
    assert one.strata == other.strata
    assert one.id != other.id
    pilots = [
        {item.exchange for item in items if item.phase == "pilot" and not item.known}
        for items in (some, others)
    ]
    assert len(pilots[0] & pilots[1]) < len(pilots[0]) / 2


def test_strata_hold_the_whole_population_and_nothing_else() -> None:
    verdicts = verdict_frame(3000, seed=4)
    draw, _ = drawn(verdicts, by=["use_case"], budget=300)
    counts = Counter(verdicts["outcome"])
    answered, blocked = (
        counts["answered"],
        sum(counts[name] for name in counts if "blocked" in name or "refused" in name),
    )
    assert draw.population == answered + blocked == sum(stratum.size for stratum in draw.strata)
    assert draw.left_out == {name: counts[name] for name in ("empty", "error", "tool_call", "truncated")}
    assert draw.detector == "lexicon+kernel 1"
    kinds = {
        kind: sum(stratum.size for stratum in draw.strata if stratum.kind == kind)
        for kind in ("blocked", "unscored")
    }
    assert kinds["blocked"] == blocked
    assert (
        kinds["unscored"]
        == verdicts.filter((pl.col("outcome") == "answered") & pl.col("p_full").is_null()).height
    )


@pytest.mark.parametrize("recalibration", [{}, {'["law"]': (1.7, -0.4), '[ "care" ]': (0.6, 1)}])
def test_every_exchange_is_assigned_to_the_stratum_that_it_was_drawn_from(
    recalibration: dict[str, tuple[float, float]],
) -> None:
    verdicts = scored(2000)
    draw, items = drawn(verdicts, by=["use_case"], recalibration=recalibration)
    assigned = label.assign(verdicts.lazy(), draw).collect()
    assert assigned.drop("stratum").equals(verdicts)  # rows keep their order
    assert assigned["stratum"].dtype == pl.Int32
    sizes = Counter(assigned["stratum"].drop_nulls())
    assert [sizes[number] for number in range(len(draw.strata))] == [stratum.size for stratum in draw.strata]
    assert assigned.filter(pl.col("stratum").is_null())["outcome"].unique().to_list() == ["truncated"]
    of = dict(assigned.select("id", "stratum").iter_rows())
    assert all(of[item.exchange] == item.stratum for item in asked(items))


def test_strata_follow_the_score_within_each_slice() -> None:
    verdicts = scored(2000)
    draw, _ = drawn(verdicts, by=["use_case"])
    rows = label.assign(verdicts, draw).collect().with_columns(score=1 - pl.col("p_full").cast(pl.Float64))
    assert {stratum.slice for stratum in draw.strata} == {("law",), ("care",), ("code",)}
    for number, stratum in enumerate(draw.strata):
        inside = rows.filter(stratum=number)
        assert inside["use_case"].unique().to_list() == list(stratum.slice)
        if stratum.kind == "scored":
            assert stratum.low <= inside["score"].min() <= inside["score"].max() <= stratum.high
            assert stratum.expected == pytest.approx(inside["score"].mean(), abs=0.01)
    scored_ones = [
        stratum for stratum in draw.strata if stratum.slice == ("law",) and stratum.kind == "scored"
    ]
    assert len(scored_ones) == 4
    assert (scored_ones[0].low, scored_ones[-1].high) == (0, 1)
    assert [stratum.high for stratum in scored_ones[:-1]] == [stratum.low for stratum in scored_ones[1:]]


def test_recalibration_moves_the_score_that_strata_are_cut_by() -> None:
    verdicts = scored(1000).with_columns(p_full=pl.lit(0.8, pl.Float32), outcome=pl.lit("answered"))
    plain, _ = drawn(verdicts)
    moved, _ = drawn(verdicts, recalibration={"[]": (2.0, 1.0)})
    odds = 1 / (1 + np.exp(-(2 * np.log(0.2 / 0.8) + 1)))
    assert plain.strata[0].expected == pytest.approx(0.2)
    assert moved.strata[0].expected == pytest.approx(odds)
    assert moved.recalibration == {"[]": (2.0, 1.0)}


def test_slices_may_be_nothing_numbers_or_keys_of_the_log() -> None:
    verdicts = scored(600, use_case=pl.Series([None, "law"] * 300), tool_calls=pl.Series([0, 1, 2] * 200))
    verdicts = verdicts.with_columns(tags=pl.lit('{"team": "north"}'), model_served=pl.lit("writer"))
    by = ["use_case", "tool_calls", "tags.team", "model"]
    sliced = verdicts.with_columns(slice_columns(by, verdicts.schema))
    draw, _ = drawn(sliced, by=by)
    assert draw.by == tuple(by)
    assert {stratum.slice for stratum in draw.strata} == {
        (case, number, "north", "writer") for case in ("law", None) for number in ("0", "1", "2")
    }
    sizes = Counter(label.assign(sliced, draw).collect()["stratum"].drop_nulls())
    assert [sizes[number] for number in range(len(draw.strata))] == [stratum.size for stratum in draw.strata]


def test_equal_scores_and_small_budgets_make_fewer_strata() -> None:
    same = scored(400).with_columns(p_full=pl.lit(0.9, pl.Float32), outcome=pl.lit("answered"))
    assert len(drawn(same)[0].strata) == 1
    only_answers = scored(400).filter(pl.col("p_full").is_not_null())
    assert [len(drawn(only_answers, budget=budget)[0].strata) for budget in (8, 16, 24, 40)] == [1, 2, 3, 4]


def test_the_pilot_comes_first_and_is_labelled_before_anything_else_is_decided() -> None:
    draw, items = drawn(scored(2000))
    assert draw.phase == "pilot"
    assert sum(stratum.pilot for stratum in draw.strata) == 50
    assert all(min(4, stratum.size) <= stratum.pilot == stratum.labels for stratum in draw.strata)
    assert [item.position for item in items] == sorted(item.position for item in items)
    pilot = [item for item in asked(items) if item.phase == "pilot"]
    assert asked(items)[:50] == pilot
    assert {item.phase for item in asked(items)[50:]} == {"reserve"}
    assert all(0 <= item.position < 1 for item in items)


def test_each_stratum_is_a_random_order_whose_front_is_asked_first() -> None:
    draw, items = drawn(scored(2000))
    for number, stratum in enumerate(draw.strata):
        mine = [item for item in items if item.stratum == number]
        assert [item.place for item in mine] == list(range(stratum.reserve))
        assert [item.phase for item in mine] == ["pilot"] * stratum.pilot + ["reserve"] * (
            len(mine) - stratum.pilot
        )
        assert stratum.reserve == min(stratum.size, draw.budget)


def test_every_exchange_of_a_stratum_has_the_same_chance() -> None:
    verdicts = scored(60).filter(pl.col("p_full").is_not_null())
    counts: Counter[str] = Counter()
    draws = 200
    for seed in range(draws):
        draw, items = drawn(verdicts, budget=8, seed=seed, known_share=0)
        counts.update(item.exchange for item in items if item.phase == "pilot")
    (stratum,) = draw.strata
    expected = draws * stratum.pilot / stratum.size
    spread = sum((counts[exchange] - expected) ** 2 / expected for exchange in verdicts["id"])
    assert spread / (stratum.size - 1) < 1.6  # chi-square of 55 degrees of freedom: 1.6 is beyond 99.5 %


def test_positions_mix_the_strata() -> None:
    draw, items = drawn(scored(5000), budget=400, pilot=200)
    pilot = [item for item in asked(items) if item.phase == "pilot"]
    for number, stratum in enumerate(draw.strata):
        early = sum(item.stratum == number for item in pilot[:100])
        assert abs(early - stratum.pilot / 2) <= 2 + stratum.pilot / 4


def test_the_share_of_doubles_holds_for_every_front_of_every_stratum() -> None:
    draw, items = drawn(scored(2000), double_share=0.3)
    for number in range(len(draw.strata)):
        wanted = np.array([item.wanted == 2 for item in items if item.stratum == number])
        assert (np.abs(wanted.cumsum() - 0.3 * np.arange(1, len(wanted) + 1)) <= 1).all()
    assert not [item for item in drawn(scored(500), double_share=0)[1] if item.wanted > 1]


def test_no_more_is_planted_than_the_log_calls_for() -> None:
    _, items = drawn(scored(40), budget=10_000)
    assert sum(item.known is not None for item in items) == 2  # 5 % of 40, not of the budget


def test_known_items_look_like_the_others() -> None:
    draw, items = drawn(scored(2000), by=["use_case"])
    known = [item for item in items if item.known]
    assert len(known) == 10
    assert {item.use_case for item in known} <= {"law", "care", "code"}
    assert all(len(item.exchange) == 24 and int(item.exchange, 16) for item in known)
    assert len({item.prompt for item in known}) == 10
    assert all(item.known and item.known.exchange == item.exchange and item.response for item in known)
    positions = [item.position for item in known]
    assert min(positions) < 0.1
    assert max(positions) > 0.9
    ends = sum(stratum.pilot for stratum in draw.strata) / draw.budget
    assert all((item.phase == "pilot") == (item.position < ends) for item in known)
    assert known != [item for item in drawn(scored(2000), by=["use_case"], seed=2)[1] if item.known]


def test_known_items_are_not_given_away_by_a_missing_system_prompt() -> None:
    items = drawn(scored(2000))[1]
    with_prompts = [
        item if item.known else msgspec.structs.replace(item, system="You help lawyers.", use_case="law")
        for item in items
    ]
    known = [item for item in label.disguised(with_prompts) if item.known and item.use_case == "law"]
    assert known
    assert {item.system for item in known} == {"You help lawyers."}
    assert label.disguised(with_prompts) == label.disguised(with_prompts)
    assert label.disguised(items) == items  # where nobody has one, nobody gets one


@pytest.mark.parametrize(("budget", "count"), [(20, 1), (30, 2), (200, 10), (2000, 30)])
def test_there_are_as_many_known_items_as_the_budget_bears(budget: int, count: int) -> None:
    items = drawn(scored(3000), budget=budget)[1]
    assert sum(item.known is not None for item in items) == count


def test_known_items_are_short_and_cover_every_answer() -> None:
    known = load_known()
    assert len(known) == 30
    assert len({item.key for item in known}) == len({item.prompt for item in known}) == 30
    assert {item.answered for item in known} == {Answered.FULL, Answered.PART, Answered.NONE}
    assert {item.should_answer for item in known} == {"yes", "no", None}
    assert all(
        item.should_answer == "no"
        for item in known
        if item.prompt.startswith(("Tell me how", "Write a threat"))
    )
    assert all(len(item.prompt) < 250 and len(item.response) < 250 for item in known)
    assert all((item.answered == Answered.FULL) == (item.kinds == ()) for item in known)
    assert all((Kind.SOFT_REFUSAL in item.kinds) == (item.answered == Answered.PART) for item in known)


def test_the_whole_draw_spends_the_budget_and_audits_the_lowest_stratum() -> None:
    draw, _ = drawn(scored(5000), by=["use_case"], budget=300)
    whole = label.planned(draw)
    assert whole.phase == "whole"
    for values in {stratum.slice for stratum in whole.strata}:
        mine = [stratum for stratum in whole.strata if stratum.slice == values]
        assert sum(stratum.labels for stratum in mine) == 100
        assert mine[0].labels >= 20
    assert label.planned(drawn(scored(5000), budget=150)[0]).strata[0].labels >= 30
    assert label.planned(drawn(scored(5000), budget=32)[0]).strata[0].labels == 16  # half of a small budget


def test_the_second_phase_goes_where_the_pilot_found_something() -> None:
    draw, _ = drawn(scored(5000), budget=300)
    done = [stratum.pilot for stratum in draw.strata]
    found = [0] * len(done)
    clean = label.allocate_rest(draw, found, done)
    found[0] = done[0] // 2  # half of what the detector calls complete is not
    blind = label.allocate_rest(draw, found, done)
    assert blind.strata[0].labels > 1.2 * clean.strata[0].labels
    for draws in (clean, blind):
        assert sum(stratum.labels for stratum in draws.strata) == 300
        assert all(stratum.pilot <= stratum.labels <= stratum.reserve for stratum in draws.strata)


def test_what_is_labelled_already_is_never_taken_back() -> None:
    draw, _ = drawn(scored(5000))
    done = [stratum.pilot for stratum in draw.strata]
    done[3] += 60
    whole = label.allocate_rest(draw, [0] * len(done), done)
    assert whole.strata[3].labels >= done[3]
    assert sum(stratum.labels for stratum in whole.strata) == 200
    assert label.allocate_rest(whole, done, done) == whole  # once
    with pytest.raises(InputError, match="counts for 1 strata"):
        label.allocate_rest(draw, [1], [1])


def test_a_budget_above_the_population_labels_everything() -> None:
    verdicts = scored(120)
    draw, items = drawn(verdicts, budget=500)
    assert draw.phase == "whole"
    assert all(stratum.size == stratum.pilot == stratum.labels == stratum.reserve for stratum in draw.strata)
    assert {item.exchange for item in asked(items)} == set(
        verdicts.filter(pl.col("outcome") != "truncated")["id"]
    )
    assert {item.phase for item in items} == {"pilot"}


def test_what_a_small_slice_cannot_use_goes_to_the_others() -> None:
    assert slice_budgets([1000, 10, 1000], 100) == [45, 10, 45]
    assert slice_budgets([7, 7, 7], 11) == [3, 4, 4]
    assert slice_budgets([3, 2], 100) == [3, 2]
    few = pl.concat(
        [
            scored(1000, use_case="law"),
            scored(10, seed=5, use_case="care").with_columns(id="use_case" + pl.col("id")),
        ]
    )
    whole = label.planned(drawn(few, by=["use_case"], budget=100)[0])
    care = [stratum for stratum in whole.strata if stratum.slice == ("care",)]
    assert all(stratum.labels == stratum.size for stratum in care)
    assert sum(stratum.labels for stratum in whole.strata) == 100


def test_a_positive_where_positives_are_rare_is_looked_at_twice() -> None:
    draw, items = drawn(scored(3000))
    low, high = (next(i for i in items if i.stratum == number and i.wanted == 1) for number in (0, 3))
    assert draw.strata[0].expected < 0.05 < draw.strata[3].expected
    positive = Annotation(exchange="x", annotator="anna", answered=Answered.PART)
    complete = Annotation(exchange="x", annotator="anna", answered=Answered.FULL)
    skipped = Annotation(exchange="x", annotator="anna", skipped="cut")
    assert label.second_label(draw, low, positive)
    assert not label.second_label(draw, high, positive)
    assert not label.second_label(draw, low, complete)
    assert not label.second_label(draw, low, skipped)
    doubled = next(item for item in items if item.stratum == 0 and item.wanted == 2)
    known = next(item for item in items if item.known)
    assert not label.second_label(draw, doubled, positive)
    assert not label.second_label(draw, known, positive)


def test_the_fingerprint_is_of_the_population_and_of_nothing_else() -> None:
    verdicts = scored(500)
    mark = label.fingerprint(verdicts)
    assert mark == drawn(verdicts)[0].fingerprint
    assert mark == label.fingerprint(verdicts.reverse().lazy())
    assert mark == label.fingerprint(
        verdicts.with_columns(response=pl.lit("other"), use_case=pl.lit("other"))
    )
    assert mark == label.fingerprint(verdicts.filter(pl.col("outcome") != "truncated"))
    first = pl.int_range(pl.len()) == verdicts["p_full"].is_not_null().arg_max()
    changed = [
        verdicts.with_columns(p_full=pl.when(first).then(pl.col("p_full") + 0.001).otherwise("p_full")),
        verdicts.with_columns(id=pl.when(first).then(pl.lit("other")).otherwise("id")),
        verdicts.with_columns(outcome=pl.when(first).then(pl.lit("input_blocked")).otherwise("outcome")),
        verdicts.filter(~first),
    ]
    assert len({mark, *map(label.fingerprint, changed)}) == 5


def test_the_fingerprint_never_changes_with_the_version() -> None:
    verdicts = pl.DataFrame(
        {
            "id": ["b", "aé", "c"],
            "outcome": ["answered", "answered", "input_blocked"],
            "p_full": [0.25, float("nan"), None],
        }
    )
    lengths = np.array([3, 1, 1], "<u4").tobytes()  # bytes of the ids, sorted
    scores = np.array([-1, 0.25, -1], "<f4").tobytes()
    written = lengths + "aébc".encode() + b"answered answered input_blocked" + scores
    assert label.fingerprint(verdicts) == hashlib.blake2b(written, digest_size=16).hexdigest()
    as_categories = verdicts.with_columns(pl.col("outcome").cast(pl.Categorical))
    assert label.fingerprint(as_categories) == label.fingerprint(verdicts)


def test_texts_are_those_of_the_drawn_and_no_more() -> None:
    verdicts = verdict_frame(500, seed=2)
    ids = verdicts["id"].sample(5, seed=1).to_list()
    found = label.texts(verdicts.lazy(), [*ids, "absent"])
    assert set(found["id"]) == set(ids)
    assert found.columns == [
        "id",
        "source_id",
        "use_case",
        "outcome",
        "prompt",
        "response",
        "system",
        "history",
    ]
    assert "response" not in label.texts(verdicts.drop("response"), ids).columns


@pytest.mark.parametrize("kind", ["blocked", "unscored"])
def test_a_log_without_any_score_can_be_labelled(kind: str) -> None:
    outcome = "input_blocked" if kind == "blocked" else "answered"
    verdicts = scored(300).with_columns(p_full=pl.lit(None, pl.Float32), outcome=pl.lit(outcome))
    draw, _ = drawn(verdicts, budget=40)
    assert [(stratum.kind, stratum.size) for stratum in draw.strata] == [(kind, 300)]
    assert label.planned(draw).strata[0].labels == 40
    assert set(label.assign(verdicts, draw).collect()["stratum"]) == {0}
    assert drawn(verdicts[:1], budget=1)[0].phase == "whole"


SETTINGS = {
    "budget": ({"budget": 0}, "a budget of 0"),
    "seed": ({"seed": -1}, "seed -1"),
    "level": ({"level": 1.0}, "a confidence of 1"),
    "pilot": ({"pilot": 0}, "a pilot of 0"),
    "double": ({"double_share": 1.5}, "a double share of 1.5"),
    "known": ({"known_share": 0.6}, "a known share of 0.6"),
    "column": ({"by": ["team"]}, "no column team"),
    "too many": ({"by": ["response"]}, r"makes \d+ slices.*50 at most"),
    "too few": ({"by": ["use_case"], "budget": 12}, r"too small: 4 labels.*raise the budget to 36"),
    "slope": ({"recalibration": {"[]": (-1.0, 0.0)}}, "recalibrate nothing"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_that_make_no_draw_are_refused(case: str) -> None:
    settings, message = SETTINGS[case]
    with pytest.raises(InputError, match=message):
        drawn(scored(600), **settings)


def test_the_budget_that_the_refusal_names_is_enough() -> None:
    assert drawn(scored(600), by=["use_case"], budget=36)[0].budget == 36


def test_rows_that_are_no_verdicts_are_refused() -> None:
    verdicts = scored(100)
    twice = pl.concat([verdicts, verdicts])
    nothing = verdicts.with_columns(outcome=pl.lit("error"))
    odd = verdicts.with_columns(outcome=pl.lit("lost"))
    wrong = verdicts.with_columns(p_full=pl.lit(1.5, pl.Float32), outcome=pl.lit("answered"))
    for rows, message in (
        (twice, "more than once"),
        (nothing, "nothing to label"),
        (odd, "does not know"),
        (wrong, "outside of 0 to 1"),
        (verdicts.drop("p_full"), "no column p_full"),
    ):
        with pytest.raises(InputError, match=message):
            drawn(rows)
    with pytest.raises(InputError, match="by which the draw was sliced"):
        label.assign(verdicts.drop("use_case"), drawn(verdicts, by=["use_case"])[0])


@pytest.mark.parametrize("blind", [0.0, 0.25])
def test_two_phases_do_not_bias_the_estimate(blind: float) -> None:
    random = np.random.default_rng(7)
    verdicts = scored(6000, seed=3).filter(pl.col("p_full").is_not_null())
    draw, _ = drawn(verdicts, budget=150)
    rows = label.assign(verdicts, draw).collect()
    positive = random.random(rows.height) < 1 - rows["p_full"].to_numpy()
    # A share of the positives looks complete to the detector: its score is then that of a clean answer.
    strata = rows["stratum"].to_numpy().copy()
    unseen = positive & (random.random(rows.height) < blind)
    strata[unseen] = 0
    sizes = np.bincount(strata)
    held = np.bincount(strata, weights=positive).astype(int)
    resized = [
        msgspec.structs.replace(stratum, size=int(size))
        for stratum, size in zip(draw.strata, sizes, strict=True)
    ]
    draw = msgspec.structs.replace(draw, strata=tuple(resized))
    counts = np.array([two_phases(draw, held, sizes, random) for _ in range(600)])
    intervals = profile_interval(counts, np.tile(sizes, (len(counts), 1)), population="log")
    truth = held.sum() / sizes.sum()
    spread = intervals.value.std()
    assert abs(intervals.value.mean() - truth) < max(4 * spread / np.sqrt(len(counts)), 0.1 * spread)
    # 600 campaigns measure .94 to within .02.
    assert ((intervals.low <= truth) & (truth <= intervals.high)).mean() > 0.91


def two_phases(
    draw: Draw, held: np.ndarray, sizes: np.ndarray, random: np.random.Generator
) -> list[list[int]]:
    """Positive and negative labels per stratum, of one whole campaign."""
    pilot = np.array([stratum.pilot for stratum in draw.strata])
    found = random.hypergeometric(held, sizes - held, pilot)
    whole = label.allocate_rest(draw, found.tolist(), pilot.tolist())
    more = np.array([stratum.labels for stratum in whole.strata]) - pilot
    found = found + random.hypergeometric(held - found, sizes - held - (pilot - found), more)
    return np.stack([found, pilot + more - found], axis=1).tolist()


def test_outcomes_travel_with_the_items() -> None:
    draw, items = drawn(scored(2000))
    blocked = [number for number, stratum in enumerate(draw.strata) if stratum.kind == "blocked"]
    assert {item.outcome for item in items if item.stratum in blocked} == {Outcome.OUTPUT_BLOCKED}
    assert {item.outcome for item in items if item.stratum not in blocked} == {Outcome.ANSWERED}
