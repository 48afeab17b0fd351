"""Rates per slice: what is counted, what is divided by what, and what may be sliced by."""

from __future__ import annotations

import datetime as dt
import itertools

import polars as pl
import pytest

from aligntax.errors import InputError
from aligntax.estimate import examples, summarise
from aligntax.types import Kind, Outcome, exchange_schema, verdict_schema

SHARES = [
    "complete",
    "partially_hedged",
    "refused",
    "undetermined",
    "provider_blocked",
    "truncated",
    "empty",
    "tool_call",
]
_ids = itertools.count()


def row(**fields) -> dict:
    number = next(_ids)
    base = {"id": f"id{number:06}", "prompt": "How?", "response": f"Like {number}.", "outcome": "answered"}
    return base | {"label": "complete", "p_full": 0.9, "p_part": 0.05, "p_none": 0.05} | fields


def frame(*rows: dict) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema={**exchange_schema(), **verdict_schema()})


def refusal(p_none: float = 0.9, **fields) -> dict:
    span = {"start": 0, "end": 4, "function": "refusal", "rule": "r"}
    return row(
        **(
            {"label": "refused", "hard_refusal": p_none, "p_none": p_none, "p_full": 0.0, "spans": [span]}
            | fields
        )
    )


def test_errors_are_counted_but_leave_the_denominator():
    summary = summarise(frame(row(), refusal(), row(outcome="error", label=None)))
    assert summary.select("exchanges", "errors", "counted", "judged").row(0) == (3, 1, 2, 2)
    assert summary["complete"].item() == 0.5
    assert summary["not_complete"].item() == 0.5


def test_shares_of_what_was_counted_sum_to_one_whatever_the_mix():
    labels = ["complete", "partially_hedged", "refused", "undetermined", None]
    rows = [row(outcome=outcome.value, label=label) for outcome in Outcome for label in labels]
    summary = summarise(frame(*rows))
    assert summary.select(pl.sum_horizontal(SHARES)).item() == pytest.approx(1)
    # A label on a blocked or cut answer is not a verdict: it must not be counted as one.
    assert summary["refused"].item() == pytest.approx(1 / 35)
    assert summary["provider_blocked"].item() == pytest.approx(15 / 35)


def test_an_answer_without_a_label_is_undetermined_never_complete():
    summary = summarise(frame(row(label=None)))
    assert summary["undetermined"].item() == 1.0
    assert summary["complete"].item() == 0.0


def test_a_kind_counts_from_the_threshold_up_and_a_missing_score_is_absent():
    summary = summarise(frame(row(hedging=0.5), row(hedging=0.49), row(hedging=None), row(hedging=1.0)))
    assert summary["hedging"].item() == 0.5
    assert summary["hard_refusal"].item() == 0.0


def test_kinds_come_from_answers_alone_so_a_blocked_text_adds_none():
    summary = summarise(frame(row(), row(outcome="provider_refused", label=None, hard_refusal=1.0)))
    assert summary["hard_refusal"].item() == 0.0
    assert summary["provider_blocked"].item() == 0.5


def test_a_slice_of_errors_alone_has_no_rate_rather_than_a_rate_of_zero():
    summary = summarise(frame(row(use_case="a", outcome="error"), row(use_case="b")), by=["use_case"])
    assert summary["counted"].to_list() == [0, 1]
    for name in [*SHARES, *Kind, "not_complete"]:
        assert summary[name][0] is None


def test_no_rows_at_all_have_no_rate_either():
    summary = summarise(frame())
    assert summary.height == 1
    assert summary["counted"].item() == 0
    assert summary["complete"].item() is None


def test_every_rate_says_that_it_is_uncorrected():
    assert summarise(frame(row()))["corrected"].to_list() == [False]


def test_slices_are_sorted_and_rows_without_a_value_make_their_own_slice_at_the_end():
    summary = summarise(
        frame(row(use_case="b"), row(), row(use_case="a"), row(use_case="b")), by=["use_case"]
    )
    assert summary.select("use_case", "exchanges").rows() == [("a", 1), ("b", 2), (None, 1)]


def test_model_is_the_one_that_answered_or_else_the_one_that_was_asked_for():
    rows = [row(model_served="m-2024", model_requested="m"), row(model_requested="m"), row()]
    summary = summarise(frame(*rows), by=["model"])
    assert summary["model"].to_list() == ["m", "m-2024", None]


def test_a_tag_of_the_log_slices_even_with_dots_and_quotes_in_its_key():
    rows = [
        row(tags='{"team": "er", "a.b": 1, "q\\"x": "z"}'),
        row(tags='{"team": "icu"}'),
        row(tags="not json"),
        row(),
    ]
    assert summarise(frame(*rows), by=["tags.team"])["tags.team"].to_list() == ["er", "icu", None]
    assert summarise(frame(*rows), by=["tags.a.b"])["tags.a.b"].to_list() == ["1", None]
    assert summarise(frame(*rows), by=['tags.q"x'])['tags.q"x'].to_list() == ["z", None]


def test_days_iso_weeks_and_months_of_the_time_slice_in_utc():
    eastern = dt.timezone(dt.timedelta(hours=-5))
    rows = [
        row(time=dt.datetime(2024, 12, 29, 20, 0, tzinfo=eastern)),  # 01:00 of the next day in UTC
        row(time=dt.datetime(2024, 12, 31, 12, 0, tzinfo=dt.UTC)),
        row(time=dt.datetime(2025, 1, 5, 23, 59, tzinfo=dt.UTC)),
        row(),
    ]
    days = summarise(frame(*rows), by=["day"])["day"].to_list()
    assert days == ["2024-12-30", "2024-12-31", "2025-01-05", None]
    # The last days of December belong to the first week of the next year.
    assert summarise(frame(*rows), by=["week"]).select("week", "exchanges").rows() == [
        ("2025-W01", 3),
        (None, 1),
    ]
    assert summarise(frame(*rows), by=["month"])["month"].to_list() == ["2024-12", "2025-01", None]


def test_a_column_of_that_name_comes_before_the_period():
    verdicts = frame(row()).with_columns(week=pl.lit("first"))
    assert summarise(verdicts, by=["week"])["week"].to_list() == ["first"]


def test_several_slices_cross_and_a_name_given_twice_counts_once():
    rows = [row(use_case="a", model_served="x"), row(use_case="a", model_served="y")]
    summary = summarise(frame(*rows), by=["use_case", "model", "use_case"])
    assert summary.select("use_case", "model").rows() == [("a", "x"), ("a", "y")]


@pytest.mark.parametrize("name", ["nope", "spans", "p_full", "prompt", "tags."])
def test_what_cannot_be_sliced_by_is_refused_with_the_list_of_what_can(name):
    with pytest.raises(InputError, match=r"cannot slice by .*model, tags\.KEY, day, week, month, .*use_case"):
        summarise(frame(row()), by=[name])


def test_tags_cannot_be_sliced_by_where_the_text_was_left_out():
    with pytest.raises(InputError, match="cannot slice by"):
        summarise(frame(row()).drop("tags"), by=["tags.team"])


def test_an_outcome_that_no_reader_writes_is_an_error_because_shares_would_not_add_up():
    with pytest.raises(InputError, match="1 rows have an outcome"):
        summarise(frame(row(outcome="exploded"), row()))


def test_a_lazy_frame_gives_the_same_as_a_frame():
    verdicts = frame(row(use_case="a"), refusal(use_case="b"))
    assert summarise(verdicts.lazy(), by=["use_case"]).equals(summarise(verdicts, by=["use_case"]))


def test_examples_show_one_of_each_kind_before_a_second_of_any():
    verdicts = frame(
        row(),
        refusal(0.99),
        refusal(0.98),
        refusal(0.7, label="partially_hedged", hard_refusal=0.0, soft_refusal=0.8, p_part=0.6),
        refusal(0.6, hard_refusal=0.1, topic_avoidance=0.9),
    )
    shown = examples(verdicts, 4)
    assert shown["kind"].to_list() == ["hard_refusal", "soft_refusal", "topic_avoidance", "hard_refusal"]
    assert shown["probability"].to_list() == pytest.approx([0.99, 0.6, 0.6, 0.98])


def test_examples_are_never_complete_blocked_without_evidence_or_endless():
    verdicts = frame(
        refusal(label="complete"),
        refusal(outcome="provider_refused"),
        refusal(spans=[]),
        refusal(response="no " * 5000),
    )
    assert examples(verdicts, 3).height == 0


def test_examples_never_show_the_same_answer_twice():
    verdicts = frame(
        *(refusal(0.9, response="I can't.") for _ in range(6)), refusal(0.8, response="I won't.")
    )
    assert examples(verdicts, 3)["response"].to_list() == ["I can't.", "I won't."]


def test_the_same_log_gives_the_same_examples_whatever_the_order_of_its_rows():
    verdicts = frame(*(refusal(0.9) for _ in range(50)))
    assert examples(verdicts, 3)["id"].to_list() == examples(verdicts.reverse(), 3)["id"].to_list()


def test_there_are_no_examples_where_the_text_was_left_out():
    assert examples(frame(refusal()).drop("response"), 3).height == 0
