"""A judge's numbers say how far to trust them, and its score plans labels without becoming one."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import numpy as np
import polars as pl
import pytest

from aligntax import label
from aligntax.errors import InputError
from aligntax.judge import Judge, agreement_with, summarise, with_second_score
from aligntax.label.settle import settled
from aligntax.types import Annotation, Answered, Kind, Outcome, Request, ShouldAnswer
from judges import GOOD, REFUSED, marked, says
from verdicts import one_verdict, verdict_frame

VERDICTS: dict[str, dict[str, Any]] = {
    "full": GOOD,
    "part": {"answered": "part", "kinds": ["soft_refusal"], "disclaimer": True, "hedging": 2},
    "none": REFUSED,
}


def judged(said: list[str], model: str = "m") -> pl.DataFrame:
    """What a judge says that repeats the answer it is shown as its verdict; where that is none, it is off the schema."""

    def answer(request: Request) -> object:
        return VERDICTS.get(marked(request, "answer"), "no verdict")

    return asyncio.run(Judge(says(answer), "verdict", model=model).verdicts([("q", text) for text in said]))


def labels(answered: list[str], **more: Any) -> list[Annotation]:
    return [
        Annotation(exchange=str(number), annotator="ann", answered=Answered(value), **more)
        for number, value in enumerate(answered)
    ]


def row(table: pl.DataFrame, axis: str) -> dict[str, Any]:
    return table.row(by_predicate=pl.col("axis") == axis, named=True)


def test_agreement_counts_what_both_said() -> None:
    frame = judged(["full"] * 20 + ["none"] * 10 + ["part"] * 5 + ["mumble"] * 3)
    given = labels(["full"] * 18 + ["part"] * 2 + ["none"] * 10 + ["none"] * 5 + ["full"] * 3)
    found = agreement_with(frame, given)
    answered = row(found.table, "answered")
    assert (answered["items"], answered["unjudged"]) == (35, 3)
    assert answered["agree"] == pytest.approx(28 / 35)
    counts = {
        (one["label"], one["judge"]): one["items"]
        for one in found.confusion.filter(axis="answered").to_dicts()
    }
    assert counts[("part", "full")] == 2
    assert counts[("none", "part")] == 5
    assert sum(counts.values()) == 35
    assert answered["low"] < answered["alpha"] < answered["high"]


def test_alpha_is_that_of_krippendorff_on_the_same_table() -> None:
    import krippendorff

    random = np.random.default_rng(0)
    names = np.array(["full", "part", "none"])
    people, judge = random.integers(0, 3, 80), random.integers(0, 3, 80)
    judge = np.where(random.random(80) < 0.7, people, judge)
    found = agreement_with(judged(names[judge].tolist()), labels(names[people].tolist()))
    expected = krippendorff.alpha(np.array([people, judge]), level_of_measurement="nominal")
    assert row(found.table, "answered")["alpha"] == pytest.approx(expected)


def test_every_axis_is_compared_in_its_own_way() -> None:
    frame = judged(["part", "full", "part", "none"])
    given = [
        Annotation(exchange="0", annotator="a", kinds=(Kind.SOFT_REFUSAL,), hedging=3, disclaimer=True),
        Annotation(exchange="1", annotator="a", kinds=(), hedging=0, disclaimer=False),
        Annotation(exchange="2", annotator="a", kinds=(Kind.HEDGING,), disclaimer=False),
        Annotation(exchange="3", annotator="a", should_answer=ShouldAnswer.NO),
    ]
    table = agreement_with(frame, given).table
    assert table["axis"].to_list() == [
        "answered",
        "hard_refusal",
        "soft_refusal",
        "topic_avoidance",
        "verbosity_inflation",
        "hedging",
        "disclaimer",
    ]
    assert row(table, "answered")["items"] == 0
    assert row(table, "soft_refusal")["agree"] == pytest.approx(2 / 3)
    assert row(table, "hedging")["agree"] == pytest.approx(2 / 3)  # a kind is at least grade 2
    assert row(table, "hedging")["positive_agreement"] == 1.0
    assert row(table, "disclaimer")["agree"] == pytest.approx(2 / 3)
    assert row(table, "topic_avoidance")["alpha"] is None


def test_skipped_and_foreign_labels_do_not_count() -> None:
    given = [
        Annotation(exchange="0", annotator="a", skipped="language"),
        Annotation(exchange="elsewhere", annotator="a", answered=Answered.FULL),
        Annotation(exchange="1", annotator="a", answered=Answered.FULL),
    ]
    assert row(agreement_with(judged(["full", "full"]), given).table, "answered")["items"] == 1


def test_several_labels_of_one_exchange_must_be_settled_first() -> None:
    given = [*labels(["full"]), *labels(["none"])]
    with pytest.raises(InputError, match="settle them"):
        agreement_with(judged(["full"]), given)
    assert row(agreement_with(judged(["full"]), settled(given)).table, "answered")["items"] == 1


def test_numbers_are_uncorrected_until_agreement_is_shown() -> None:
    frame = judged(["full"] * 30 + ["none"] * 10 + ["mumble"] * 10)
    alone = summarise(frame)
    assert set(alone["trust"]) == {"uncorrected"}
    refused = alone.filter(axis="answered", value="none").to_dicts()[0]
    assert (refused["items"], refused["unjudged"], refused["share"]) == (40, 10, 0.25)
    found = agreement_with(frame, labels(["full"] * 28 + ["none"] * 12))
    trust = summarise(frame, found).filter(axis="answered", value="none")["trust"].item()
    assert trust.startswith("alpha .")
    assert trust.endswith("on 40 labels")
    hedging = summarise(frame, found).filter(axis="hedging")["trust"].unique().to_list()
    assert hedging == ["uncorrected: no label to compare with"]


def test_few_labels_are_called_few() -> None:
    frame = judged(["full", "none", "none"])
    trust = agreement_with(frame, labels(["full", "none", "full"])).words("answered")
    assert "on 3 labels (too few to tell)" in trust
    same = agreement_with(judged(["full"] * 3), labels(["full"] * 3)).words("answered")
    assert same == "alpha not defined on 3 labels, 100% agree"


def test_the_agreement_of_another_judge_vouches_for_nobody() -> None:
    found = agreement_with(judged(["full"], model="one"), labels(["full"]))
    with pytest.raises(InputError, match="another judge"):
        summarise(judged(["full"], model="two"), found)
    both = pl.concat([judged(["full"], model="one"), judged(["full"], model="two")])
    with pytest.raises(InputError, match="several judges"):
        agreement_with(both, labels(["full"]))


def test_a_rubric_that_people_do_not_label_has_no_agreement() -> None:
    quality = asyncio.run(Judge(says(lambda _: {"quality": 3}), "quality").verdicts([("q", "a")]))
    with pytest.raises(InputError, match="no verdict on what people label"):
        agreement_with(quality, [])


def planned(verdicts: pl.LazyFrame) -> Any:
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return label.plan(verdicts, by=(), budget=120, seed=1, now=now)[0]


@pytest.fixture(scope="module")
def log() -> pl.DataFrame:
    return verdict_frame(600)


@pytest.fixture(scope="module")
def second(log: pl.DataFrame) -> pl.DataFrame:
    """A judge that finds every third answer incomplete, and is off the schema on every fifth."""

    def answer(request: Request) -> object:
        number = len(marked(request, "answer")) + len(marked(request, "request"))
        return "no verdict" if number % 5 == 0 else REFUSED if number % 3 == 0 else GOOD

    return asyncio.run(Judge(says(answer), "verdict", model="m").verdicts(log))


def test_a_judge_is_half_of_the_score_that_labels_are_planned_by(
    log: pl.DataFrame, second: pl.DataFrame
) -> None:
    both = with_second_score(log.lazy(), second).collect()
    joined = both.join(second.select("id", "score", "judging"), on="id").with_columns(before=log["p_full"])
    judged_rows = joined.filter(pl.col("score").is_not_null(), pl.col("before").is_not_null())
    expected = (judged_rows["before"] + 1 - judged_rows["score"]) / 2
    assert np.allclose(judged_rows["p_full"], expected, atol=1e-6)
    total = joined.filter(pl.col("p_full").is_not_null()).select(
        pl.sum_horizontal("p_full", "p_part", "p_none")
    )
    assert np.allclose(total.to_series(), 1, atol=1e-5)
    rest = joined.filter(pl.col("score").is_null())
    assert rest["p_full"].equals(rest["before"], null_equal=True)


def test_planning_by_two_scores_leaves_classes_and_axes_alone(
    log: pl.DataFrame, second: pl.DataFrame
) -> None:
    both = with_second_score(log.lazy(), second).collect()
    changed = {"p_full", "p_part", "p_none", "detector"}
    same = [name for name in log.columns if name not in changed]
    assert both.columns == log.columns
    assert both.schema == log.schema
    assert both.select(same).equals(log.select(same), null_equal=True)
    assert both["detector"].drop_nulls().str.ends_with(" + m verdict@1").all()


def test_a_draw_can_be_planned_by_both_scores_and_is_another_draw(
    log: pl.DataFrame, second: pl.DataFrame
) -> None:
    one, other = planned(log.lazy()), planned(with_second_score(log.lazy(), second))
    assert one.fingerprint != other.fingerprint
    assert "m verdict@1" in other.detector
    assert other.population == one.population
    assert sum(stratum.labels for stratum in other.strata) > 0


def test_an_answer_that_the_detector_could_not_judge_gets_the_judges_score() -> None:
    row = one_verdict(p_full=None, p_part=None, p_none=None, answered=None, label=None, language="sv")
    judged_row = asyncio.run(Judge(says(lambda _: REFUSED), "verdict").verdicts(row))
    both = with_second_score(row.lazy(), judged_row).collect()
    assert both.select("p_full", "p_part", "p_none").row(0) == (0.0, 0.5, 0.5)
    assert both["label"].item() is None


def test_a_blocked_call_never_gets_a_score(log: pl.DataFrame, second: pl.DataFrame) -> None:
    both = with_second_score(log.lazy(), second).collect()
    blocked = both.filter(pl.col("outcome") != Outcome.ANSWERED.value)
    assert blocked.height > 0
    assert blocked["p_full"].equals(
        log.filter(pl.col("outcome") != Outcome.ANSWERED.value)["p_full"], null_equal=True
    )


def test_an_id_judged_twice_has_no_score(log: pl.DataFrame, second: pl.DataFrame) -> None:
    with pytest.raises(InputError, match="no single score"):
        with_second_score(log.lazy(), pl.concat([second, second]))
    with pytest.raises(InputError, match="no single score"):
        with_second_score(log.lazy(), second.drop("score"))
