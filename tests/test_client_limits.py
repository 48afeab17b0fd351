"""How fast a model is asked."""

from __future__ import annotations

import asyncio

from aligntax.client import ClientSettings, open_model
from aligntax.client.limits import Rate, Slots
from model_server import ModelServer, asking, chat, failing


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_a_429_halves_once_for_all_calls_of_its_time():
    async def run():
        slots = Slots(64)
        tickets = [await slots.acquire() for _ in range(64)]
        for ticket in tickets[:10]:
            slots.release(ticket, throttled=True)
        assert slots.allowed == 32
        for ticket in tickets[10:]:
            slots.release(ticket)
        slots.release(await slots.acquire(), throttled=True)  # begun after: a new sign
        assert slots.allowed == 16

    asyncio.run(run())


def test_a_window_of_successes_allows_about_one_more_and_never_too_many():
    async def run():
        slots = Slots(12)
        slots.allowed = 10.0
        for _ in range(10):
            slots.release(await slots.acquire(), success=True)
        assert 10.9 < slots.allowed <= 11
        for _ in range(100):
            slots.release(await slots.acquire(), success=True)
        assert slots.allowed == 12

    asyncio.run(run())


def test_it_never_halves_below_the_least():
    async def run():
        for least in (1, 3):
            slots = Slots(8, least)
            for _ in range(20):
                slots.release(await slots.acquire(), throttled=True)
            assert slots.allowed == least

    asyncio.run(run())


def test_places_go_first_come_first_served_and_retries_go_first():
    async def run():
        slots, order = Slots(1), []

        async def call(name, first=False):
            ticket = await slots.acquire(first=first)
            order.append(name)
            slots.release(ticket)

        held = await slots.acquire()
        async with asyncio.TaskGroup() as group:
            for name in "abc":
                group.create_task(call(name))
            await asyncio.sleep(0)
            group.create_task(call("retry", first=True))
            await asyncio.sleep(0)
            slots.release(held)
        assert order == ["retry", "a", "b", "c"]
        assert slots.in_flight == 0

    asyncio.run(run())


def test_who_leaves_the_line_leaves_no_hole():
    async def run():
        slots = Slots(1)
        held = await slots.acquire()
        waiting = [asyncio.create_task(slots.acquire()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()  # while it waits
        slots.release(held)  # gives the place to the second
        waiting[1].cancel()  # which leaves in the same moment
        ticket = await asyncio.wait_for(waiting[2], 1)
        assert slots.in_flight == 1
        slots.release(ticket)
        assert slots.in_flight == 0
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(run())


def test_a_rate_lets_a_burst_pass_and_then_one_at_a_time():
    clock = Clock()
    rate = Rate(60, clock)  # one a second, six at once
    assert [rate.take(1) for _ in range(8)] == [0, 0, 0, 0, 0, 0, 1, 2]
    clock.now += 60
    assert [rate.take(1) for _ in range(7)] == [0, 0, 0, 0, 0, 0, 1]


def test_no_minute_holds_more_than_the_rate_and_a_burst():
    clock = Clock()
    rate = Rate(600, clock)
    passed = []
    for _ in range(2000):
        passed.append(clock.now + rate.take(1))
        clock.now += 0.01
    most = max(sum(start <= at < start + 60 for at in passed) for start in passed[::50])
    assert 600 <= most <= 661


def test_what_was_not_used_is_given_back_and_what_was_is_taken():
    clock = Clock()
    rate = Rate(600, clock)  # ten a second, sixty at once
    assert rate.take(60) == 0
    rate.give_back(50)
    assert rate.take(50) == 0
    rate.give_back(-20)  # it used more than it said
    assert rate.take(10) == 3


def test_a_call_larger_than_the_bucket_passes_when_the_bucket_is_full():
    clock = Clock()
    rate = Rate(600, clock)
    assert rate.take(1000) == 0
    assert rate.take(1) > 90  # and is paid off before the next


def test_no_rate_never_waits():
    assert Rate(None).take(1e9) == 0


def test_calls_in_flight_never_exceed_the_setting():
    async def run():
        async with ModelServer(lambda call: chat(), delay_s=0.01) as server:
            settings = ClientSettings(concurrency=4)
            async with open_model("openai/m", base_url=server.url, settings=settings) as model:
                await asyncio.gather(*(model.send(asking(str(n))) for n in range(40)))
            return server.peak, len(server.calls)

    assert asyncio.run(run()) == (4, 40)


def test_a_server_that_takes_few_calls_is_asked_by_few():
    async def run():
        def plan(call):
            return failing(429) if server.in_flight > 5 else chat()

        async with ModelServer(plan, delay_s=0.005) as server:
            settings = ClientSettings(concurrency=64, backoff_s=0.01, attempts=50)
            async with open_model("openai/m", base_url=server.url, settings=settings) as model:
                await asyncio.gather(*(model.send(asking(str(n))) for n in range(400)))
                late = [call.text for call in server.calls[-200:]]
                return model.slots.allowed, len(late) - len(set(late)), len(server.completed)

    allowed, again, completed = asyncio.run(run())
    assert completed == 400
    assert allowed < 16
    assert again < 60  # few of the last calls were 429s, though 64 wanted to ask at once


def test_tokens_per_minute_hold_calls_back():
    async def run():
        async with ModelServer(lambda call: chat()) as server:
            # 10 a second, 60 at once; each call takes 50 and gives 35 back, for it used 15
            settings = ClientSettings(tokens_per_minute=600, max_tokens=26)
            async with open_model("openai/m", base_url=server.url, settings=settings) as model:
                begin = asyncio.get_running_loop().time()
                for _ in range(3):
                    await model.send(asking("What is the dose"))
                return asyncio.get_running_loop().time() - begin

    assert 0.5 < asyncio.run(run()) < 10
