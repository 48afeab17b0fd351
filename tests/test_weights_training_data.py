"""Rows are read strictly, and refusals never come alone unless that is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aligntax.errors import InputError
from aligntax.weights.training.data import (
    Row,
    as_columns,
    as_preferences,
    benign_wanted,
    held_out,
    mix,
    read_rows,
)
from aligntax.weights.training.rewards import refusal_reward

SECRET = "zebra-crossing"


def rows_of(n: int, intent: str, *, start: int = 0) -> list[Row]:
    return [
        Row(texts={"prompt": f"{intent} {at}", "completion": f"answer {at}"}, intent=intent)  # type: ignore[arg-type]
        for at in range(start, start + n)
    ]


def written(path: Path, rows: list[object]) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


def test_rows_of_each_method_are_read(tmp_path: Path) -> None:
    sft = written(tmp_path / "s", [{"prompt": "p", "completion": "c", "intent": "harmful", "id": 3}])
    dpo = written(tmp_path / "d", [{"prompt": "p", "chosen": "c", "rejected": "r", "intent": "benign"}])
    grpo = written(tmp_path / "g", [{"prompt": "p", "intent": "harmful"}])
    assert read_rows(sft, "sft")[0].texts == {"prompt": "p", "completion": "c"}
    assert read_rows(dpo, "dpo")[0].texts == {"prompt": "p", "chosen": "c", "rejected": "r"}
    assert read_rows(grpo, "grpo")[0].texts == {"prompt": "p"}
    assert (
        read_rows(written(tmp_path / "b", [{"prompt": "p"}]), "grpo", intent="benign")[0].intent == "benign"
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": SECRET, "intent": "harmful"}, "completion"),
        ({"prompt": SECRET, "completion": "c"}, "intent"),
        ({"prompt": SECRET, "completion": "c", "intent": "bad"}, "intent"),
        ({"prompt": SECRET, "completion": " ", "intent": "benign"}, "completion"),
        ({"prompt": [SECRET], "completion": "c", "intent": "benign"}, "prompt"),
        (f'{{"prompt": "{SECRET}', "JSON"),
        (f'["{SECRET}"]', "object"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line_and_never_quoted(
    tmp_path: Path, row: object, message: str
) -> None:
    path = written(tmp_path / "rows", [{"prompt": "p", "completion": "c", "intent": "benign"}, "", row])
    with pytest.raises(InputError, match=message) as caught:
        read_rows(path, "sft")
    assert f"{path}:3" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_pair_without_a_preference_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "d", [{"prompt": "p", "chosen": "c", "rejected": "c", "intent": "benign"}])
    with pytest.raises(InputError, match="the same"):
        read_rows(path, "dpo")


def test_refusals_alone_are_refused_unless_that_is_said() -> None:
    with pytest.raises(InputError, match="refusals only"):
        mix(rows_of(10, "harmful"))
    meant = mix(rows_of(10, "harmful"), refusals_only=True)
    assert meant.share == 0
    assert "over-refusal" in meant.notes[0]


def test_benign_rows_make_up_the_share_that_is_asked_for() -> None:
    mixed = mix(rows_of(70, "harmful"), benign=rows_of(100, "benign"), share=0.3)
    assert len(mixed.rows) == 100
    assert mixed.share == pytest.approx(0.3)
    assert not mixed.notes
    assert len({row.prompt for row in mixed.rows}) == 100


def test_benign_rows_of_the_data_count_first_and_are_never_dropped() -> None:
    data = rows_of(70, "harmful") + rows_of(20, "benign")
    assert benign_wanted(data, 0.3) == 10
    assert mix(data, benign=rows_of(100, "benign", start=1000)).share == pytest.approx(0.3)
    many = rows_of(10, "harmful") + rows_of(90, "benign")
    assert mix(many, benign=rows_of(100, "benign", start=1000)).share == pytest.approx(0.9)


def test_too_few_look_alikes_are_said_and_not_repeated() -> None:
    mixed = mix(rows_of(70, "harmful"), benign=rows_of(5, "benign"))
    assert len(mixed.rows) == 75
    assert mixed.notes == ("benign share 0.07 in place of 0.30: 25 more look-alikes are needed",)


def test_replay_is_a_share_of_all_rows() -> None:
    mixed = mix(
        rows_of(70, "harmful"),
        benign=rows_of(30, "benign"),
        replay=rows_of(200, "general"),
        replay_share=0.2,
    )
    assert len(mixed.rows) == 125
    short = mix(
        rows_of(7, "harmful"), benign=rows_of(3, "benign"), replay=rows_of(1, "general"), replay_share=0.5
    )
    assert short.notes == ("1 general rows in place of 10: the file holds no more",)


def test_the_same_seed_gives_the_same_mix_and_another_another() -> None:
    first, again, other = (
        mix(rows_of(20, "harmful"), benign=rows_of(50, "benign"), seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first.digest == again.digest != other.digest


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_shares_out_of_range_are_refused(share: float) -> None:
    with pytest.raises(InputError, match="out of range"):
        mix(rows_of(2, "harmful"), benign=rows_of(2, "benign"), share=share)


def test_what_is_held_out_shares_no_prompt_with_what_is_trained_on() -> None:
    data = [*rows_of(20, "harmful"), *rows_of(10, "benign"), *rows_of(20, "harmful")]
    train, measured = held_out(data, share=0.2, seed=3)
    assert not {row.prompt for row in train} & {row.prompt for row in measured}
    assert len(train) + len(measured) == len(data)
    assert {row.intent for row in measured} == {"harmful", "benign"}
    with pytest.raises(InputError, match="too few rows"):
        held_out(rows_of(1, "harmful"), share=0.2, seed=0)


def test_look_alikes_for_dpo_prefer_the_answer_to_a_refusal_of_the_data() -> None:
    harmful = [Row(texts={"prompt": "h", "chosen": "I cannot", "rejected": "yes"}, intent="harmful")]
    pairs = as_preferences(rows_of(2, "benign"), harmful)
    assert pairs[0].texts == {"prompt": "benign 0", "chosen": "answer 0", "rejected": "I cannot"}


def test_rows_become_chats_where_there_is_a_template() -> None:
    row = rows_of(1, "harmful")
    assert as_columns(row, "sft", chat=False) == [{**row[0].texts, "intent": "harmful"}]
    assert as_columns(row, "sft", chat=True) == [
        {
            "prompt": [{"role": "user", "content": "harmful 0"}],
            "completion": [{"role": "assistant", "content": "answer 0"}],
            "intent": "harmful",
        }
    ]


def test_the_reward_wants_both_and_silence_least() -> None:
    def judge(prompts: object, answers: list[str]) -> list[str]:
        return [{"no": "refused", "yes": "answered"}.get(answer, "unclear") for answer in answers]

    reward = refusal_reward(judge)  # type: ignore[arg-type]
    answers = ["no", "yes", "well", "", "...", "la " * 30]
    assert reward(["p"] * 6, answers, ["harmful"] * 6) == [1, 0, 0, -1, -1, -1]
    assert reward(["p"] * 6, answers, ["benign"] * 6, step=3) == [0, 1, 0, -1, -1, -1]
    chat = [[{"role": "assistant", "content": "no"}]]
    assert reward([[{"role": "user", "content": "p"}]], chat, ["harmful"]) == [1]
    with pytest.raises(InputError, match="differ"):
        reward(["p"], ["a", "b"], ["harmful"])
