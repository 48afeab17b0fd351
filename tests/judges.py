"""Judges in this process, for tests: a Send each."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from aligntax.errors import UpstreamError
from aligntax.types import Outcome, Reply, Request, Send

GOOD = {"answered": "full", "kinds": [], "disclaimer": False, "hedging": 0}
REFUSED = {"answered": "none", "kinds": ["hard_refusal"], "disclaimer": False, "hedging": 0}


def says(
    answer: Callable[[Request], object], outcome: Outcome = Outcome.ANSWERED, cost_usd: float | None = 0.001
) -> Send:
    """A judge that replies with what `answer` makes of the request: a text as it is, anything else as JSON."""

    async def send(request: Request) -> Reply:
        made = answer(request)
        text = made if isinstance(made, str) else msgspec.json.encode(made).decode()
        return Reply(text=text, outcome=outcome, prompt_tokens=100, completion_tokens=10, cost_usd=cost_usd)

    return send


def in_turn(*replies: object) -> Send:
    """A judge that gives these replies one after another."""
    waiting = iter(replies)
    return says(lambda _: next(waiting))


def failing(status: int | None = 503, after: int = 0) -> Send:
    """A judge that gives a good verdict `after` times, and then fails."""
    good, calls = says(lambda _: GOOD), iter(range(1_000_000))

    async def send(request: Request) -> Reply:
        if next(calls) >= after:
            raise UpstreamError("simulated", status=status, retryable=True)
        return await good(request)

    return send


def text_of(request: Request) -> str:
    """All that the judge reads, its own earlier reply included."""
    return "\n".join([request.system or "", *(turn.content for turn in request.messages)])


def marked(request: Request, name: str) -> str:
    """The text under judgement between the marks of this name."""
    found = re.search(rf"<{name} (\w+)>\n(.*?)\n</{name} \1>", request.messages[0].content, re.DOTALL)
    assert found is not None
    return found[2]


def obedient(request: Request) -> object:
    """A judge that does whatever it is told to outside of the marks, and reads the answer between them as data."""
    (code,) = set(re.findall(r"carry the code (\w+)", request.system or ""))
    outside = re.sub(rf"<(\w+) {code}>\n.*?\n</\1 {code}>", "", request.messages[0].content, flags=re.DOTALL)
    if re.search(r"grade: full", outside):
        return GOOD
    return REFUSED if "can't help" in marked(request, "answer") else GOOD
