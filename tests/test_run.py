"""A run: every answer stored as it arrives, and a run that was stopped goes on where it was."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import stat
import subprocess
import sys
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from aligntax.errors import AlignTaxError, InputError, UpstreamError
from aligntax.logs import read
from aligntax.run import RunFile, RunSettings, planned, run
from aligntax.run.plan import identity_of
from aligntax.testing import FakeModel
from aligntax.types import Intent, Outcome, Prompt, Reply, Request

PROMPTS = [
    Prompt(
        id=f"p{number}",
        text=f"What is recorded in case {number}?",
        family=f"f{number // 2}",
        side="sensitive" if number % 2 else "neutral",
        domain="clinical",
        tags={"ward": "b2"},
    )
    for number in range(10)
]


def asked(out: Path, send=None, prompts=PROMPTS, **options):
    send = FakeModel("fake/base") if send is None else send
    return asyncio.run(run(prompts, send, out, model="fake/base", suite="cases", **options))


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()]


class Counting:
    """A Send that remembers what it was asked."""

    def __init__(self) -> None:
        self.model = FakeModel("fake/base")
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, request: Request, *, sample: int) -> Reply:
        self.asked.append((request.messages[-1].content, sample))
        return await self.model(request, sample=sample)


def test_every_prompt_is_asked_as_often_as_wanted_and_each_answer_is_a_line(tmp_path):
    summary = asked(tmp_path / "a.jsonl", repeats=3)
    found = lines(tmp_path / "a.jsonl")
    assert sorted(line["id"] for line in found) == sorted(f"p{n}#{r}" for n in range(10) for r in range(3))
    assert (summary.calls, summary.new, summary.former, summary.failed) == (30, 30, 0, 0)
    assert summary.outcomes == {"answered": 30}
    assert summary.completion_tokens == sum(line["completion_tokens"] for line in found)


def test_repeats_are_samples_of_their_own(tmp_path):
    send = Counting()
    asked(tmp_path / "a.jsonl", send, repeats=3)
    assert sorted(send.asked) == sorted((prompt.text, sample) for prompt in PROMPTS for sample in range(3))


def test_a_send_that_knows_no_samples_is_asked_without(tmp_path):
    async def plain(request: Request) -> Reply:
        return Reply(text="yes", outcome=Outcome.ANSWERED)

    assert asked(tmp_path / "a.jsonl", plain).new == 10


def test_a_scan_reads_the_file_without_options(tmp_path):
    asked(tmp_path / "a.jsonl", repeats=2, system="You assist clinicians.")
    frame = pl.concat(list(read([str(tmp_path / "a.jsonl")])))
    assert frame.height == 20
    assert set(frame["use_case"]) == {"clinical"}
    assert set(frame["model_requested"]) == {"fake/base"}
    assert set(frame["system"]) == {"You assist clinicians."}
    assert frame["time"].null_count() == 0
    assert frame["id"].n_unique() == 20
    tags = [json.loads(text) for text in frame["tags"]]
    assert set(tags[0]) == {"prompt_id", "family", "side", "intent", "repeat", "suite", "run", "ward"}
    assert Counter(tag["side"] for tag in tags) == {"sensitive": 10, "neutral": 10}
    assert {tag["suite"] for tag in tags} == {"cases"}


def test_outcomes_of_the_provider_arrive_in_the_log(tmp_path):
    asked(
        tmp_path / "a.jsonl",
        FakeModel("fake/compliant", script=["refusal", "input_blocked", "truncated", "empty"]),
    )
    outcomes = Counter(pl.concat(list(read([str(tmp_path / "a.jsonl")])))["outcome"])
    assert outcomes == {"provider_refused": 1, "input_blocked": 1, "truncated": 1, "empty": 1, "answered": 6}


def test_the_order_spreads_repeats_and_families(tmp_path):
    calls = planned(PROMPTS, 5, seed=1)
    assert [call.key for call in calls] == [call.key for call in planned(PROMPTS, 5, seed=1)]
    assert [call.key for call in calls] != [call.key for call in planned(PROMPTS, 5, seed=2)]
    halves = Counter(call.repeat for call in calls[:25])
    assert max(halves.values()) < 10
    assert min(halves.values()) > 0


def test_asking_again_asks_nothing(tmp_path):
    asked(tmp_path / "a.jsonl")
    before, send = (tmp_path / "a.jsonl").read_bytes(), Counting()
    summary = asked(tmp_path / "a.jsonl", send)
    assert (summary.former, summary.new, send.asked) == (10, 0, [])
    assert (tmp_path / "a.jsonl").read_bytes() == before


def test_more_repeats_ask_only_the_new_ones(tmp_path):
    asked(tmp_path / "a.jsonl", repeats=1)
    send = Counting()
    asked(tmp_path / "a.jsonl", send, repeats=2)
    assert sorted(send.asked) == sorted((prompt.text, 1) for prompt in PROMPTS)


def test_the_system_prompt_of_the_run_stands_in_place_of_the_prompts_own(tmp_path):
    own = [Prompt(id="a", text="Why?", system="own"), Prompt(id="b", text="How?")]
    asked(tmp_path / "own.jsonl", prompts=own)
    asked(tmp_path / "run.jsonl", prompts=own, system="of the run")
    assert {line["id"]: line.get("system") for line in lines(tmp_path / "own.jsonl")} == {
        "a#0": "own",
        "b#0": None,
    }
    assert {line["system"] for line in lines(tmp_path / "run.jsonl")} == {"of the run"}


def test_a_torn_last_line_is_cut_and_asked_again(tmp_path):
    out = tmp_path / "a.jsonl"
    asked(out)
    whole = out.read_bytes()
    out.write_bytes(whole[:-40])
    send = Counting()
    summary = asked(out, send)
    assert (summary.former, len(send.asked)) == (9, 1)
    assert sorted(line["id"] for line in lines(out)) == sorted(f"p{number}#0" for number in range(10))


def test_a_last_line_that_lost_its_line_feed_alone_is_kept(tmp_path):
    out = tmp_path / "a.jsonl"
    asked(out)
    whole = out.read_bytes()
    out.write_bytes(whole[:-1])
    assert asked(out).new == 0
    assert out.read_bytes() == whole


def test_a_first_line_that_was_torn_starts_the_run_anew(tmp_path):
    out = tmp_path / "a.jsonl"
    asked(out)
    out.write_bytes(out.read_bytes()[:30])
    assert asked(out).new == 10
    assert len(lines(out)) == 10


def test_zeros_at_the_end_as_a_power_cut_leaves_them_are_cut(tmp_path):
    out = tmp_path / "a.jsonl"
    asked(out)
    with out.open("ab") as file:
        file.write(b"\0" * 4096)
    assert asked(out).new == 0
    assert len(lines(out)) == 10


def test_a_broken_line_in_the_middle_is_named_and_left_alone(tmp_path):
    out = tmp_path / "a.jsonl"
    asked(out)
    pieces = out.read_bytes().split(b"\n")
    pieces[3] = pieces[3][:20]
    out.write_bytes(b"\n".join(pieces))
    before = out.read_bytes()
    with pytest.raises(InputError, match=r"a\.jsonl:4: this line is not of a run"):
        asked(out)
    assert out.read_bytes() == before


def test_a_call_that_is_in_the_file_twice_is_named(tmp_path):
    out = tmp_path / "a.jsonl"
    asked(out)
    out.write_bytes(out.read_bytes() + out.read_bytes().split(b"\n")[0] + b"\n")
    with pytest.raises(InputError, match=r"a\.jsonl:11: this call is in the file twice"):
        asked(out)


@pytest.mark.parametrize("content", [b'{"prompt": "x", "response": "y"}\n', b"some notes\n", b"no line feed"])
def test_a_file_of_something_else_is_left_alone(tmp_path, content):
    out = tmp_path / "notes.jsonl"
    out.write_bytes(content)
    with pytest.raises(InputError, match="not of a run"):
        asked(out)
    assert out.read_bytes() == content


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"system": "another"}, "system prompt"),
        ({"temperature": 0.5}, "--temperature"),
        ({"max_tokens": 10}, "--max-tokens"),
        ({"prompts": PROMPTS[:9]}, "suite"),
    ],
)
def test_another_run_is_not_mixed_in(tmp_path, options, named):
    out = tmp_path / "a.jsonl"
    asked(out)
    before = out.read_bytes()
    with pytest.raises(InputError, match=f"another {named}.*name another file"):
        asked(out, **options)
    assert out.read_bytes() == before


def test_another_run_is_not_mixed_in_where_only_the_file_itself_was_moved(tmp_path):
    asked(tmp_path / "a.jsonl")
    moved = tmp_path / "b.jsonl"
    (tmp_path / "a.jsonl").rename(moved)
    with pytest.raises(InputError, match="another suite, model"):
        asked(moved, temperature=0.5)
    assert asked(moved).new == 0


def test_facts_and_tags_may_change_for_they_alter_no_answer(tmp_path):
    asked(tmp_path / "a.jsonl")
    assert (
        asked(
            tmp_path / "a.jsonl",
            prompts=[Prompt(id=p.id, text=p.text, intent=Intent.BORDERLINE) for p in PROMPTS],
        ).new
        == 0
    )


def test_failed_calls_are_lines_without_content_and_can_be_asked_again(tmp_path):
    out = tmp_path / "a.jsonl"
    summary = asked(out, FakeModel("fake/base", script=["ok", "429", "500", "400", "reset"]), concurrency=1)
    failed = [line for line in lines(out) if line["outcome"] == "error"]
    assert summary.failed == 4
    assert [(line["outcome_detail"], line["response"]) for line in failed] == [
        ("rate_limit", ""), ("server_error", ""), ("rejected", ""), ("no_reply", ""),
    ]  # fmt: skip
    assert asked(out, Counting()).new == 0
    send = Counting()
    again = asked(out, send, retry_errors=True)
    assert (len(send.asked), again.former, again.new, again.failed) == (4, 6, 4, 0)
    assert sorted(line["id"] for line in lines(out)) == sorted(f"p{number}#0" for number in range(10))


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_or_model_ends_the_run_at_once(tmp_path, status):
    async def refuse(request: Request) -> Reply:
        raise UpstreamError("wrong", status=status)

    with pytest.raises(UpstreamError):
        asked(tmp_path / "a.jsonl", refuse)
    assert lines(tmp_path / "a.jsonl") == []


def test_a_model_that_never_answers_ends_the_run(tmp_path):
    async def fails(request: Request) -> Reply:
        raise UpstreamError("down", status=503, retryable=True)

    with pytest.raises(UpstreamError):
        asked(tmp_path / "a.jsonl", fails, repeats=20)
    assert len(lines(tmp_path / "a.jsonl")) < 60


def test_what_ends_a_run_lets_calls_in_flight_end_and_be_stored(tmp_path):
    class Exhausted(AlignTaxError):
        pass

    started = 0

    async def send(request: Request) -> Reply:
        nonlocal started
        started += 1
        if started == 4:
            raise Exhausted("no money")
        await asyncio.sleep(0.05)
        return Reply(text="yes", outcome=Outcome.ANSWERED)

    with pytest.raises(Exhausted):
        asked(tmp_path / "a.jsonl", send, concurrency=4)
    assert len(lines(tmp_path / "a.jsonl")) == 3
    assert asked(tmp_path / "a.jsonl").former == 3


def test_a_run_that_is_cancelled_goes_on(tmp_path):
    async def stopped() -> None:
        task = asyncio.create_task(
            run(
                PROMPTS,
                FakeModel("fake/base", delay_s=0.02),
                tmp_path / "a.jsonl",
                model="fake/base",
                concurrency=2,
            )
        )
        await asyncio.sleep(0.07)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(stopped())
    stored = len(lines(tmp_path / "a.jsonl"))
    assert 0 < stored < 10
    assert asked(tmp_path / "a.jsonl").former == stored


def test_progress_counts_up_and_knows_the_cost(tmp_path):
    seen = []
    asked(tmp_path / "a.jsonl", FakeModel("fake/base", price=(1.0, 1.0)), on_progress=seen.append)
    assert [progress.done for progress in seen] == list(range(1, 11))
    assert seen[-1].cost_usd == pytest.approx(sum(line["cost_usd"] for line in lines(tmp_path / "a.jsonl")))
    assert seen[-1].left_s == 0.0


def test_only_so_many_calls_are_in_flight(tmp_path):
    flying, most = 0, 0

    async def send(request: Request) -> Reply:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0.002)
        flying -= 1
        return Reply(text="yes", outcome=Outcome.ANSWERED)

    asked(tmp_path / "a.jsonl", send, concurrency=3)
    assert most == 3


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
def test_the_file_is_for_its_owner(tmp_path):
    asked(tmp_path / "a.jsonl")
    assert stat.S_IMODE((tmp_path / "a.jsonl").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / ".a.jsonl.run").stat().st_mode) == 0o700
    assert b"recorded" not in (tmp_path / ".a.jsonl.run" / "settings.json").read_bytes()


def test_a_folder_of_runs_scans_as_answers_alone(tmp_path):
    asked(tmp_path / "a.jsonl")
    log = read([str(tmp_path)])
    assert pl.concat(list(log)).height == 10
    assert log.problems == []


def test_a_second_writer_is_turned_away(tmp_path):
    identity = identity_of(PROMPTS, "fake/base", RunSettings())
    code = (
        "import sys, asyncio\nfrom pathlib import Path\nsys.path.insert(0, sys.argv[2])\n"
        "from test_run import asked\nfrom aligntax.errors import InputError\n"
        "try:\n    asked(Path(sys.argv[1]))\nexcept InputError as error:\n    print(error)\n"
    )
    with RunFile(tmp_path / "a.jsonl", identity):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "a.jsonl"), str(Path(__file__).parent)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert f"is being written by process {os.getpid()}" in done.stdout
    assert asked(tmp_path / "a.jsonl").new == 10


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="the folder does not exist"):
        asked(tmp_path / "no" / "a.jsonl")


def test_a_disk_that_is_full_is_one_clear_line_and_what_is_stored_stays_valid(tmp_path):
    """The limit on the size of a file cuts a write in the middle, as a full disk does."""
    resource = pytest.importorskip("resource")
    out = tmp_path / "a.jsonl"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(InputError, match=r"the disk is full; every answer so far is stored.*make room"):
            asked(out, repeats=3, concurrency=4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    stored = lines(out)
    assert stored
    summary = asked(out, repeats=3)
    assert (summary.former, summary.former + summary.new) == (len(stored), 30)
    assert len({line["id"] for line in lines(out)}) == 30


def test_a_disk_that_fails_to_sync_is_one_clear_line(tmp_path, monkeypatch):
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    real = os.fsync
    with RunFile(tmp_path / "a.jsonl", identity_of(PROMPTS, "fake/base", RunSettings())):
        pass
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="the disk is full"):
        asked(tmp_path / "a.jsonl")
    monkeypatch.setattr(os, "fsync", real)
    assert asked(tmp_path / "a.jsonl").former == 10


def test_ids_that_repeat_are_named(tmp_path):
    with pytest.raises(InputError, match="prompt 2: its id occurs twice"):
        asked(tmp_path / "a.jsonl", prompts=[PROMPTS[0], PROMPTS[0]])


def test_a_suite_without_prompts_is_a_run_without_calls(tmp_path):
    assert asked(tmp_path / "a.jsonl", prompts=[]).calls == 0
