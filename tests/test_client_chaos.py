"""Through 429s, 500s, resets, half-sent bodies and stalls, every item is answered exactly once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from aligntax.client import ClientSettings, open_model
from aligntax.types import Outcome
from model_server import Call, Half, ModelServer, Reset, Silence, Stream, asking, chat, events, failing

FAULTS = (
    (0.02, failing(429, headers={"Retry-After": "0.05"})),
    (0.01, failing(500)),
    (0.01, Reset()),
    (0.01, Half(chat().body)),
    (0.003, Half(chat().body, stall=True)),
    (0.003, Silence()),
)


class Chaos:
    """Which fault each try of each item meets: drawn from the item and the try, not from the order of arrival."""

    def __init__(self, stream: bool) -> None:
        self.tries: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        self.stream = stream

    def __call__(self, call: Call):
        item = call.text
        self.tries[item] += 1
        draw = random.Random(f"{item}, try {self.tries[item]}").random()
        for share, fault in FAULTS:
            draw -= share
            if draw < 0:
                self.met[type(fault).__name__] += 1
                return fault
        if not self.stream:
            return chat(f"answer to {item}")
        pieces = events(
            {"choices": [{"delta": {"content": "answer "}}]},
            {"choices": [{"delta": {"content": f"to {item}"}, "finish_reason": "stop"}]},
            "[DONE]",
        )
        return Stream(pieces)


def survive(count: int, *, least: int, stream: bool = False, concurrency: int = 256):
    plan = Chaos(stream)
    settings = ClientSettings(
        concurrency=concurrency, least_concurrency=least, attempts=12, backoff_s=0.01, idle_s=0.7, total_s=3,
        stream=stream,
    )  # fmt: skip

    async def run():
        async with (
            ModelServer(plan, delay_s=0.01) as server,
            open_model("openai/m", base_url=server.url, settings=settings) as model,
        ):
            items = [f"item {n}" for n in range(count)]
            replies = await asyncio.gather(*(model.send(asking(item)) for item in items))
            assert [reply.text for reply in replies] == [f"answer to {item}" for item in items]
            assert all(reply.outcome is Outcome.ANSWERED for reply in replies)
            assert model.slots.in_flight == 0
            assert sum(reply.attempts for reply in replies) == len(server.calls)
            assert Counter(server.completed) == Counter(items)  # the server's own count: each once
            return server.peak, plan.met, model.spent

    return asyncio.run(run())


@pytest.mark.parametrize("stream", [False, True])
def test_five_hundred_calls_are_each_answered_once(stream):
    peak, met, spent = survive(500, least=256, stream=stream)
    assert peak > 200
    assert set(met) == {"Whole", "Reset", "Half", "Silence"}
    assert spent.calls == 500
    assert spent.lost_calls == met["Reset"] + met["Half"] + met["Silence"]


def test_they_are_when_concurrency_adapts_too():
    assert survive(300, least=1, concurrency=64)[2].calls == 300


@pytest.mark.long
def test_ten_thousand_calls_are_each_answered_once():
    peak, met, spent = survive(10_000, least=256)
    print(f"10,000 calls: peak in flight {peak}, faults met {dict(met)}, tries lost {spent.lost_calls}")
    assert peak >= 250
    assert spent.calls == 10_000
