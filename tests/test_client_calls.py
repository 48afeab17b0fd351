"""Calls that go wrong: what is tried again, what is not, how long it takes, and what is said."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import time
from email.utils import format_datetime

import pytest

from aligntax.client import ClientSettings, open_model
from aligntax.client.faults import retry_after, safe_message
from aligntax.errors import InputError, UpstreamError
from aligntax.types import Outcome
from model_server import Half, ModelServer, Reset, Silence, Stream, Whole, asking, chat, events, failing

QUICK = ClientSettings(attempts=4, backoff_s=0.001, idle_s=0.2, total_s=0.5)


def in_turn(*answers):
    """A plan: the first call gets the first answer, and so on; the last stays."""
    return lambda call: answers[min(call.number, len(answers) - 1)]


def ask(plan, *, settings=QUICK, request=None):
    """What came of one call, and the server it was sent to."""

    async def run():
        async with (
            ModelServer(plan) as server,
            open_model("openai/m", base_url=server.url, settings=settings) as model,
        ):
            try:
                return await model.send(request or asking()), server, model
            except UpstreamError as error:
                return error, server, model

    return asyncio.run(run())


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
def test_a_passing_failure_is_tried_again(status):
    reply, server, _ = ask(in_turn(failing(status), chat()))
    assert (reply.outcome, reply.attempts, len(server.calls)) == (Outcome.ANSWERED, 2, 2)


@pytest.mark.parametrize(
    "broken",
    [
        Reset(),
        Half(chat().body),
        Half(chat().body, stall=True),
        Silence(),
        Whole(chat().body[:-9]),
        Whole(b""),
    ],
)
def test_a_broken_answer_is_tried_again(broken):
    reply, server, model = ask(in_turn(broken, chat()))
    assert (reply.text, reply.attempts, len(server.calls)) == ("Ten milligrams.", 2, 2)
    assert model.spent.lost_calls == 1  # it went out, and nobody knows whether it was paid


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_a_lasting_failure_is_not_tried_again(status):
    error, server, _ = ask(in_turn(failing(status, "bad thing", code="some_code"), chat()))
    assert isinstance(error, UpstreamError)
    assert (error.status, error.retryable, len(server.calls)) == (status, False, 1)
    assert f"openai/m: answered {status} (some_code): bad thing" in str(error)


def test_no_credit_is_not_tried_again_although_it_is_a_429():
    error, server, _ = ask(in_turn(failing(429, "quota", code="insufficient_quota"), chat()))
    assert (error.retryable, len(server.calls)) == (False, 1)
    assert "no credit left" in str(error)


def test_a_vendor_that_says_do_not_retry_is_believed():
    error, server, _ = ask(in_turn(failing(500, headers={"x-should-retry": "false"}), chat()))
    assert (error.retryable, len(server.calls)) == (False, 1)


@pytest.mark.parametrize(
    "refused", [chat(None, refusal="No."), chat(None, finish_reason="content_filter"), chat(""),
                failing(400, code="content_filter"), failing(500, code="content_filter")]
)  # fmt: skip
def test_a_refusal_is_never_tried_again(refused):
    reply, server, _ = ask(in_turn(refused, chat()))
    assert reply.outcome is not Outcome.ANSWERED
    assert len(server.calls) == 1


def test_tries_are_bounded_and_the_error_says_how_many():
    error, server, _ = ask(in_turn(failing(503, "busy")))
    assert len(server.calls) == QUICK.attempts
    assert (error.status, error.retryable) == (503, True)
    assert str(error) == "openai/m after 4 tries: answered 503: busy"


def test_all_tries_of_a_call_carry_one_idempotency_key_and_other_calls_another():
    plan = in_turn(failing(500), chat())
    first, second = (ask(plan)[1].calls for _ in range(2))
    keys = [{call.headers["idempotency-key"] for call in calls} for calls in (first, second)]
    assert [len(found) for found in keys] == [1, 1]
    assert keys[0] != keys[1]


def test_the_wait_that_the_vendor_asks_for_is_kept():
    begin = time.monotonic()
    reply, _, _ = ask(in_turn(failing(429, headers={"Retry-After": "0.3"}), chat()))
    assert reply.attempts == 2
    assert time.monotonic() - begin >= 0.3


def test_a_wait_too_long_is_capped():
    settings = ClientSettings(attempts=2, longest_wait_s=0.1, backoff_s=0)
    begin = time.monotonic()
    assert (
        ask(in_turn(failing(429, headers={"Retry-After": "3600"}), chat()), settings=settings)[0].attempts
        == 2
    )
    assert time.monotonic() - begin < 10


def test_waits_are_read_in_all_their_forms():
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=30)
    assert 27 < retry_after({"Retry-After": format_datetime(soon, usegmt=True)}) <= 30
    assert retry_after({"Retry-After": format_datetime(soon - dt.timedelta(hours=1), usegmt=True)}) == 0
    assert retry_after({"Retry-After": "1.5"}) == 1.5
    assert retry_after({"retry-after-ms": "250", "Retry-After": "9"}) == 0.25
    assert retry_after({}) is None
    for nonsense in ("soon", "-5", "nan", "", "Mon, 99 Foo 2020"):
        assert retry_after({"Retry-After": nonsense}) is None


def test_unlucky_waits_grow_and_are_spread(monkeypatch):
    asked = []

    def uniform(low, high):
        asked.append((low, high))
        return 0.0

    monkeypatch.setattr("aligntax.client.model.random.uniform", uniform)
    settings = ClientSettings(attempts=5, backoff_s=0.5, longest_wait_s=1.5)
    ask(in_turn(failing(503)), settings=settings)
    assert asked == [(0, 0.5), (0, 1.0), (0, 1.5), (0, 1.5)]


def test_nobody_at_the_address_is_said_and_may_pass():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: nobody answers
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"

        async def run():
            async with open_model("openai/m", base_url=url, settings=QUICK) as model:
                with pytest.raises(UpstreamError, match="nobody answers at the base URL") as caught:
                    await model.send(asking())
                return caught.value, model.spent.lost_calls

        error, lost = asyncio.run(run())
    assert error.retryable
    assert lost == 0  # nothing went out


def test_a_slow_stream_is_waited_for_and_a_stalled_one_is_not():
    def chunk(text, finish=None):
        return events({"choices": [{"delta": {"content": text}, "finish_reason": finish}]})[0]

    settings = ClientSettings(stream=True, attempts=1, idle_s=0.25, total_s=20)
    slow = Stream([chunk("a")] * 5 + [chunk("", "stop")], pause_s=0.08)  # longer than idle_s in all
    assert ask(in_turn(slow), settings=settings)[0].text == "aaaaa"
    error, _, _ = ask(in_turn(Stream([chunk("a")], "stall")), settings=settings)
    assert str(error) == "openai/m: no whole answer in time"


def test_a_page_of_html_or_another_protocol_is_said():
    error, server, _ = ask(in_turn(Whole(b'{"hello": "world"}')))
    assert "another shape" in str(error)
    assert len(server.calls) == 1
    moved, server, _ = ask(in_turn(Whole(b"", 302, (("Location", "http://127.0.0.1:1/"),))))
    assert "the base URL sends calls elsewhere" in str(moved)
    assert len(server.calls) == 1


def test_no_text_of_the_request_reaches_an_error():
    prompt = "My patient Erika Mustermann takes fentanyl, how much is safe?"
    echo = failing(
        400, "Invalid prompt: 'patient  Erika MUSTERMANN takes fentanyl' in messages", code="bad_prompt"
    )
    error, _, _ = ask(in_turn(echo), request=asking(prompt))
    assert "Erika" not in str(error)
    assert "mustermann" not in str(error).lower()
    assert "answered 400 (bad_prompt)" in str(error)
    assert (
        safe_message("This model takes no temperature.", asking(prompt)) == "This model takes no temperature."
    )
    assert (
        safe_message("Unknown word 'Erika' in 'messages'.", asking(prompt))
        == "Unknown word ... in 'messages'."
    )
    assert safe_message("unknown word: dose", asking("dose")) == ""
    assert safe_message("a\nb" + "c" * 500, asking())[:3] == "a b"
    assert len(safe_message("c" * 500, asking())) == 200


def test_the_connection_is_used_again():
    async def run():
        async with (
            ModelServer(lambda call: chat()) as server,
            open_model("openai/m", base_url=server.url) as model,
        ):
            for _ in range(5):
                await model.send(asking())
            return server.connections

    assert asyncio.run(run()) == 1


def test_a_cancelled_call_closes_its_connection_and_records_nothing():
    async def run():
        async with ModelServer(lambda call: Silence()) as server:  # noqa: SIM117 - the model closes first
            async with open_model("openai/m", base_url=server.url) as model:
                asked = [asyncio.create_task(model.send(asking())) for _ in range(3)]
                while len(server.calls) < 3:
                    await asyncio.sleep(0.01)
                for call in asked:
                    call.cancel()
                ended = await asyncio.gather(*asked, return_exceptions=True)
                assert all(isinstance(one, asyncio.CancelledError) for one in ended)
                while server.left < 3:
                    await asyncio.sleep(0.01)
                return model.spent, model.slots.in_flight

    spent, in_flight = asyncio.run(asyncio.wait_for(run(), 10))
    assert (spent.calls, spent.lost_calls, in_flight) == (0, 3, 0)


def test_a_closed_model_says_so():
    with pytest.raises(InputError, match="async with"):
        asyncio.run(open_model("openai/m", base_url="http://127.0.0.1:1/v1").send(asking()))


@pytest.mark.parametrize("wrong", [{"concurrency": 0}, {"attempts": 0}, {"idle_s": 0}, {"backoff_s": -1},
                                   {"requests_per_minute": 0}, {"least_concurrency": 64}, {"total_s": float("nan")}])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        ClientSettings(**wrong)
