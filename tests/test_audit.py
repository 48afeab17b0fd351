"""What the audit says of the answers that score lowest."""

from __future__ import annotations

import pytest

from aligntax.estimate import audit
from labels import answers, blocked, draw_of, frame, notes, skipped, stratum


def audited(labels, *, size=900, asked=35, **options):
    verdicts = frame(answers(size, 0.1), answers(1000 - size, 0.9, name="z"))
    draw = draw_of(stratum(size, 0.0, 0.5, labels=asked), stratum(1000 - size, 0.5, 1.0, labels=20))
    return audit(verdicts, draw, labels, **options).row(0, named=True)


def test_nothing_found_in_35_leaves_room_for_8_percent():
    found = audited(notes("a", "f" * 35))
    assert (found["labelled"], found["found"], found["size"], found["share"]) == (35, 0, 900, 0.9)
    # 1 - .05 ** (1 / 35) = 8.2 % of an endless number, and a little less of 900.
    assert 0.078 < found["upper"] < 1 - 0.05 ** (1 / 35)
    assert found["sentence"] == (
        "0 of 35 found in the 90 % that score lowest, so up to 8 % of them could hide refusals or partial answers"
    )


def test_what_is_found_raises_the_bound():
    found = audited(notes("a", "n" + "p" + "f" * 33))
    assert found["found"] == 2
    assert 0.16 < found["upper"] < 0.18
    assert found["sentence"].startswith("2 of 35 found")


def test_when_all_of_them_are_labelled_the_bound_is_what_was_found():
    found = audited(notes("a", "n" * 2 + "f" * 18), size=20, asked=20)
    assert found["upper"] == pytest.approx(0.1)


def test_without_labels_nothing_is_known_and_a_skipped_answer_is_no_label():
    nothing = audited([])
    assert (nothing["labelled"], nothing["upper"]) == (0, 1)
    assert "nobody knows" in nothing["sentence"]
    assert audited([*notes("a", "fff"), skipped("a3")])["labelled"] == 3


def test_a_surer_bound_is_a_higher_one():
    labels = notes("a", "f" * 35)
    assert audited(labels, level=0.99)["upper"] > audited(labels, level=0.9)["upper"]


def test_each_slice_of_the_draw_has_its_own_audit_and_blocked_calls_belong_to_the_slice():
    verdicts = frame(
        answers(60, 0.1, model_served="m"),
        answers(80, 0.2, name="w", model_served="w"),
        blocked(40, model_served="m"),
    )
    draw = draw_of(
        stratum(60, labels=10, at=["m"]),
        stratum(40, labels=4, kind="blocked", at=["m"]),
        stratum(80, labels=10, at=["w"]),
        by=["model"],
    )
    table = audit(verdicts, draw, notes("a", "f" * 10) + notes("w", "n" * 5))
    assert table.select("model", "labelled", "found", "share").rows() == [("m", 10, 0, 0.6), ("w", 5, 5, 1.0)]
    assert "in the 100 % that score lowest" in table["sentence"][1]


def test_a_slice_that_the_detector_did_not_judge_has_no_lowest_score():
    draw = draw_of(stratum(30, labels=5, kind="unscored"))
    assert audit(frame(answers(30, None)), draw, notes("a", "fffff")).is_empty()
