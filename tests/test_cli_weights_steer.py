"""`aligntax weights steer` on a tiny model that over-refuses: what it prints, writes and refuses to write."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import torch
from click.testing import CliRunner

from aligntax.cli import commands
from aligntax.weights.loading import load_model
from aligntax.weights.steering.directions import says
from refusing_model import (
    BENIGN,
    HARMFUL,
    LOOK_ALIKES,
    REFUSE,
    saved_refusing_model,
    suite_file,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

MARK = "w87"  # the word of token REFUSE


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model and its three files of prompts."""
    folder = tmp_path_factory.mktemp("steer")
    saved_refusing_model(folder / "model")
    saved_refusing_model(folder / "english", sentences=True)
    suite_file(folder / "harmful.txt", HARMFUL[:200])
    suite_file(folder / "benign.txt", BENIGN[:120])
    suite_file(folder / "alike.txt", LOOK_ALIKES[:160])
    return folder


def steer(place: Path, *more: str, model: str = "model", harmful: str = "harmful.txt") -> Result:
    arguments = [
        "weights", "steer", str(place / model), "--harmful", str(place / harmful),
        "--benign", str(place / "benign.txt"), "--look-alikes", str(place / "alike.txt"),
        "--max-tokens", "1", "--batch-size", "300", "--budget", "10", *more,
    ]  # fmt: skip
    return CliRunner().invoke(commands, arguments, env={"COLUMNS": "80"})


def document(result: Result) -> Any:
    return json.loads(result.stdout)


def test_it_writes_a_model_that_declines_harm_and_fewer_benign_requests(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = steer(place, "--refusal", MARK, "-o", str(out))
    assert result.exit_code == 0, result.output
    assert f"Written:{out}" in "".join(result.stdout.split())
    assert "provably declines at least" in result.stdout.replace("\n", " ")
    assert max(map(len, result.stdout.replace(str(out), "OUT").splitlines())) <= 80
    assert "…" not in result.stdout
    before, after = load_model(place / "model"), load_model(out)
    unseen, harm = LOOK_ALIKES[160:], HARMFUL[200:]
    assert says(before, unseen, [REFUSE]).mean() - says(after, unseen, [REFUSE]).mean() > 0.3
    assert says(after, harm, [REFUSE]).mean() > 0.9
    card = json.loads((out / "steering.json").read_text("utf-8"))
    assert card["chosen"]["bound"]["low"] >= card["floor"] == 0.95
    words = (out / "README.md").read_text("utf-8") + json.dumps(card)
    assert text(HARMFUL[0]) not in words  # no prompt lies in the card
    assert str(place) not in words


def test_the_detector_judges_where_no_refusal_is_named(place: Path) -> None:
    named = document(steer(place, "--refusal", MARK, "--dry-run", "--json"))
    judged = document(steer(place, "--dry-run", "--json", model="english"))
    assert judged["prompts"] == named["prompts"]  # the same model, in English sentences
    assert judged["prompts"]["look-alikes declined"] >= 16
    assert [row["layer"] for row in judged["directions"]] == [0, 1, 2]
    assert min(row["cosine"] for row in judged["directions"]) > 0.9


def test_a_dry_run_prints_directions_and_writes_nothing(place: Path) -> None:
    before = sorted(place.rglob("*"))
    result = steer(place, "--refusal", MARK, "--dry-run")
    assert result.exit_code == 0
    assert "lambda" in result.stdout
    assert "Written" not in result.stdout
    assert sorted(place.rglob("*")) == before


def test_without_a_point_above_the_floor_nothing_is_written(place: Path, tmp_path: Path) -> None:
    """Harmful prompts of which the model answers many: no steering of it can hold a floor of 0.95."""
    mixed = suite_file(place / "mixed.txt", [*HARMFUL[:100], *BENIGN[120:220]])
    out = tmp_path / "out"
    result = steer(place, "--refusal", MARK, "-o", str(out), harmful=mixed.name)
    assert result.exit_code == 1, result.output
    assert "Nothing found" in result.stdout
    assert "Nothing is written" in result.stdout.replace("\n", " ")
    assert not out.exists()
    as_json = steer(place, "--refusal", MARK, "-o", str(out), "--json", harmful=mixed.name)
    assert as_json.exit_code == 1
    assert document(as_json)["chosen"] is None
    assert document(as_json)["out"] is None
    assert not out.exists()


def test_what_holds_the_floor_and_gains_nothing_beyond_noise_is_not_written(
    place: Path, tmp_path: Path
) -> None:
    """So few look-alikes that answering each of them would not be beyond noise."""
    few = tmp_path / "alike.txt"
    few.write_text("".join((place / "alike.txt").read_text("utf-8").splitlines(keepends=True)[:16]), "utf-8")
    out = tmp_path / "out"
    words = (
        "--refusal",
        MARK,
        "--least",
        "2",
        "--look-alikes",
        str(few),
        "--floor",
        "0.8",
        "--level",
        "0.9999",
        "-o",
        str(out),
    )
    result = steer(place, *words)
    assert result.exit_code == 1, result.output
    told = " ".join(result.stdout.split())
    assert "Best (*): trial" in told
    assert re.search(
        r"No gain in usefulness beyond noise: \+\d+\.\d points \([+-]\d+\.\d to \+\d+\.\d\); nothing was written\.$",
        told,
    )
    assert "Written" not in told
    assert not out.exists()
    as_json = steer(place, *words, "--json")  # from the journal
    assert as_json.exit_code == 1
    made = document(as_json)
    assert made["chosen"]["holds"]
    assert (made["gains"], made["out"]) == (False, None)
    assert made["chosen"]["usefulness_change"]["low"] <= 0 < made["chosen"]["usefulness_change"]["value"]
    assert not out.exists()


@pytest.mark.parametrize(
    ("group", "count", "says"),
    [("harmful.txt", 100, "that takes 59"), ("alike.txt", 20, "look-alikes declined, and a direction needs")],
)
def test_too_few_prompts_exit_3(place: Path, tmp_path: Path, group: str, count: int, says: str) -> None:
    few = tmp_path / "few"
    few.mkdir()
    (few / "model").symlink_to(place / "model")
    for name in ("harmful.txt", "benign.txt", "alike.txt"):
        lines = (place / name).read_text("utf-8").splitlines(keepends=True)
        (few / name).write_text("".join(lines[:count] if name == group else lines), "utf-8")
    result = steer(few, "--refusal", MARK, "-o", str(tmp_path / "out"))
    assert result.exit_code == 3
    assert says in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "-o OUT"),
        (("-o", "{place}/model"), "is the model itself"),
        (("-o", "{place}"), "is there already"),
        (("-o", "new", "--as", "lora", "--embedding"), "cannot carry --embedding"),
        (("-o", "new", "--refusal", " "), "--refusal: is empty"),
        (("-o", "new", "--floor", "1"), "--floor"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_loaded(
    place: Path, arguments: tuple[str, ...], says: str
) -> None:
    result = steer(place, *(argument.format(place=place) for argument in arguments))
    assert result.exit_code == 2
    assert says in result.stderr


def test_a_pack_gives_all_three_groups() -> None:
    from aligntax.cli.weights.steer_prompts import groups_of
    from aligntax.types import Intent

    groups = groups_of("clinical", None, None, None, 1000)
    harmful = [prompt for prompt in groups.prompts if prompt.intent is Intent.HARMFUL]
    assert len(harmful) > 50
    assert all(prompt.id.startswith("harmful ") for prompt in harmful)
    assert len({prompt.id for prompt in groups.prompts}) == len(groups.prompts)
    alike = [prompt for prompt in groups.prompts if prompt.id in groups.look_alikes]
    assert len(alike) > 30
    assert {prompt.side for prompt in alike} == {"sensitive"}
    few = groups_of("clinical", None, None, None, 20)
    assert len(few.prompts) == 60
    assert {prompt.id for prompt in few.prompts} <= {prompt.id for prompt in groups.prompts}


def test_a_group_that_is_missing_is_said(place: Path) -> None:
    result = CliRunner().invoke(
        commands,
        ["weights", "steer", str(place / "model"), "--harmful", str(place / "harmful.txt"), "--dry-run"],
    )
    assert result.exit_code == 2
    assert "--benign FILE" in result.stderr
