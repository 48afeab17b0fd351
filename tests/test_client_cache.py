"""Answers that are at hand are not paid for again."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys

import pytest

from aligntax.client import Budget, ClientSettings, open_model, parse_price
from aligntax.client.cache import Cache, cache_key
from aligntax.client.names import parse_name
from aligntax.errors import InputError
from aligntax.types import Outcome, Reply
from model_server import ModelServer, asking, chat, failing

URL = "http://127.0.0.1:9/v1"


def talk(folder, requests, *, plan=None, samples=None, settings=None, together=False):
    """Replies in order, and what the server saw."""

    async def run():
        async with ModelServer(plan or (lambda call: chat(f"Answer {call.number}"))) as server:
            # The address is part of what is kept: each server has another port.
            kept = settings or ClientSettings(cache=folder, price=parse_price("1/1"), attempts=1)
            async with open_model(
                "openai/m", base_url=server.url, settings=kept, budget=Budget(usd=9)
            ) as model:
                calls = [
                    model.send(request, sample=sample)
                    for request, sample in zip(requests, samples or [0] * len(requests), strict=True)
                ]
                if together:
                    return await asyncio.gather(*calls), server, model
                return [await call for call in calls], server, model

    return asyncio.run(run())


def test_the_same_question_is_asked_once(tmp_path):
    replies, server, model = talk(tmp_path / "c", [asking("a"), asking("b"), asking("a")])
    assert [reply.text for reply in replies] == ["Answer 0", "Answer 1", "Answer 0"]
    assert [reply.cached for reply in replies] == [False, False, True]
    assert replies[2].cost_usd == 0
    assert len(server.calls) == 2
    assert (model.spent.calls, model.spent.cached) == (2, 1)


def test_the_same_question_at_the_same_time_is_asked_once(tmp_path):
    replies, server, _ = talk(tmp_path / "c", [asking("a")] * 20, together=True)
    assert {reply.text for reply in replies} == {"Answer 0"}
    assert len(server.calls) == 1


def test_repeats_have_answers_of_their_own(tmp_path):
    replies, server, _ = talk(tmp_path / "c", [asking("a")] * 4, samples=[0, 1, 0, 1])
    assert [reply.text for reply in replies] == ["Answer 0", "Answer 1", "Answer 0", "Answer 1"]
    assert len(server.calls) == 2


@pytest.mark.parametrize(
    "answer", [chat(None, refusal="No."), chat(None, finish_reason="content_filter"), chat("Cut", finish_reason="length"),
               chat(""), failing(400, code="content_filter"), chat("x", finish_reason="error")]
)  # fmt: skip
def test_what_is_no_answer_is_not_kept(tmp_path, answer):
    replies, server, _ = talk(tmp_path / "c", [asking("a")] * 2, plan=lambda call: answer)
    assert len(server.calls) == 2
    assert not [reply for reply in replies if reply.cached or reply.outcome is Outcome.ANSWERED]


def test_an_answer_is_named_by_all_it_depends_on_and_by_nothing_else():
    settings, target = ClientSettings(), parse_name("openai/m", base_url=URL)
    request = asking("a", temperature=0.5, schema={"type": "object", "a": 1})
    name = cache_key(request, target, settings, 0)
    others = [
        cache_key(asking("a", temperature=0.6), target, settings, 0),
        cache_key(asking("b", temperature=0.5), target, settings, 0),
        cache_key(asking("a", temperature=0.5, seed=1), target, settings, 0),
        cache_key(request, parse_name("openai/n", base_url=URL), settings, 0),
        cache_key(request, parse_name("openai-responses/m", base_url=URL), settings, 0),
        cache_key(request, parse_name("openai/m", base_url=URL + "x"), settings, 0),
        cache_key(request, target, settings, 1),
        cache_key(request, target, ClientSettings(extra={"reasoning_effort": "low"}), 0),
    ]
    assert len({name, *others}) == 9
    shuffled = asking("a", temperature=0.5, schema={"a": 1, "type": "object"})
    assert cache_key(shuffled, target, ClientSettings(stream=True, concurrency=3), 0) == name


def test_only_the_owner_reads_it_and_git_does_not(tmp_path):
    folder = tmp_path / ".aligntax" / "cache"
    talk(folder, [asking("a")])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "answers.db").stat().st_mode) == 0o600
    assert (folder / ".gitignore").read_text("utf-8") == "*\n"


WRITER = """
import asyncio, sys
from aligntax.client.cache import Cache
from aligntax.types import Outcome, Reply
async def main(folder, who):
    cache = Cache(folder)
    for at in range(200):
        await cache.put(b"%d" % (at + 100 * who), Reply(text=f"{at + 100 * who}", outcome=Outcome.ANSWERED))
        if at % 20 == 0:
            await asyncio.gather(*(cache.put(b"%d-%d-%d" % (who, at, n), Reply(text="x", outcome=Outcome.ANSWERED)) for n in range(20)))
    assert cache.trouble is None, cache.trouble
    cache.close()
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def test_two_processes_share_it(tmp_path):
    both = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "c"), str(who)]) for who in (0, 1)]
    assert [process.wait(60) for process in both] == [0, 0]
    cache = Cache(tmp_path / "c")
    found = [asyncio.run(cache.get(b"%d" % at)) for at in range(300)]
    cache.close()
    assert [reply.text for reply in found] == [str(at) for at in range(300)]


def test_an_answer_is_in_the_file_when_put_returns(tmp_path):
    script = WRITER.replace("    cache.close()\n", "    import os; os._exit(0)\n")
    assert (
        subprocess.run([sys.executable, "-c", script, str(tmp_path), "0"], check=False, timeout=60).returncode
        == 0
    )
    with sqlite3.connect(tmp_path / "answers.db") as connection:
        (count,) = connection.execute("SELECT count(*) FROM answers").fetchone()
    connection.close()
    assert count == 200 + 200


def test_what_is_no_cache_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "answers.db").write_bytes(b"this is no database, and long enough to be seen as none" * 50)
    with pytest.raises(InputError, match="delete this file"):
        Cache(tmp_path)
    with pytest.raises(InputError, match="name another folder"):
        Cache(tmp_path / "answers.db" / "below")


def test_a_cache_that_cannot_be_written_stops_no_answer(tmp_path):
    async def run():
        async with (
            ModelServer(lambda call: chat("long " * 5000)) as server,
            open_model("openai/m", base_url=server.url, settings=ClientSettings(cache=tmp_path)) as model,
        ):
            model._cache._writer.execute("PRAGMA max_page_count = 1")  # the disk is full
            replies = [await model.send(asking(text)) for text in "ab"]
            return replies, model.cache_trouble

    replies, trouble = asyncio.run(run())
    assert [reply.outcome for reply in replies] == [Outcome.ANSWERED] * 2
    assert "full" in trouble


def test_nothing_is_kept_unless_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, server, _ = talk(None, [asking("a")] * 2, settings=ClientSettings(price=parse_price("1/1")))
    assert len(server.calls) == 2
    assert os.listdir(tmp_path) == []


def test_a_kept_reply_is_the_reply(tmp_path):
    reply = Reply(
        text="Ä\n\x00", outcome=Outcome.ANSWERED, outcome_raw="stop", prompt_tokens=3, latency_ms=1.5
    )

    async def run():
        cache = Cache(tmp_path / "c")
        await cache.put(b"key", reply)
        kept = await cache.get(b"key"), await cache.get(b"other")
        cache.close()
        return kept

    kept, absent = asyncio.run(run())
    assert kept == Reply(
        **{**{f: getattr(reply, f) for f in Reply.__struct_fields__}, "cached": True, "cost_usd": 0.0}
    )
    assert absent is None
