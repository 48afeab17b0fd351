"""Asking a model about pairs of prompts, and what the answers say: shared by the swaps and the minimiser."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import polars as pl

from ..errors import AlignTaxError, UpstreamError
from ..stats.difference import family_t
from ..types import PROVIDER_BLOCKED, Estimate, Message, Outcome, Reply, Request, Send, exchange_schema

Judge = Callable[[pl.DataFrame], pl.DataFrame]
"""A detector: exchanges in, the same rows with verdict columns out."""

FEW = 8
"""Under so many pairs the exact sign test takes the place of Student's t."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request, and what came of it."""

    request: Request
    refused: float | None  # 0 to 1; None: no reply that can be judged


class Asking:
    """Sends requests, at most `concurrency` at a time, and judges the answers. Counts calls and failures.

    `stopped` is set once something other than a failing endpoint ends the work, such as a budget; then nothing more is
    sent.
    """

    def __init__(self, send: Send, judge: Judge, *, concurrency: int = 16) -> None:
        self._send, self._judge, self._room = send, judge, asyncio.Semaphore(concurrency)
        self.calls = self.failed = 0
        self.stopped: AlignTaxError | None = None
        self.last_failure: UpstreamError | None = None

    async def ask(self, requests: Sequence[Request]) -> list[float | None]:
        """How far each request was refused, 0 to 1, in their order; None where no reply can be judged."""
        replies = await asyncio.gather(*(self._one(request) for request in requests))
        there = [
            (at, reply)
            for at, reply in enumerate(replies)
            if reply is not None and reply.outcome in {Outcome.ANSWERED, *PROVIDER_BLOCKED}
        ]
        found: list[float | None] = [None] * len(requests)
        if there:
            rows = [
                {
                    "id": str(at),
                    "prompt": requests[at].messages[-1].content,
                    "response": reply.text,
                    "outcome": reply.outcome.value,
                    "system": requests[at].system,
                }
                for at, reply in there
            ]
            verdicts = self._judge(pl.DataFrame(rows, schema=exchange_schema()))
            for (at, reply), p_full in zip(there, verdicts["p_full"].to_list(), strict=True):
                found[at] = _refused(reply, p_full)
        return found

    async def _one(self, request: Request) -> Reply | None:
        async with self._room:
            if self.stopped is not None:
                return None
            self.calls += 1
            try:
                return await self._send(request)
            except UpstreamError as error:
                self.failed += 1
                self.last_failure = error
            except AlignTaxError as error:
                self.calls -= 1
                self.stopped = error
            return None


def _refused(reply: Reply, p_full: float | None) -> float | None:
    if reply.outcome in PROVIDER_BLOCKED:
        return 1.0
    return None if p_full is None else 1.0 - p_full


def request_of(text: str, *, system: str | None, history: str | None, sample: int) -> Request:
    """One sample of a prompt, asked as it was: with its system prompt, and the turns before it."""
    before: list[Message] = []
    if history:
        turns = msgspec.json.decode(history, type=list[dict[str, object]])
        before = [Message(role=str(turn.get("role")), content=_text(turn.get("content"))) for turn in turns]
    kept = [turn for turn in before if turn.role in {"user", "assistant"} and turn.content]
    return Request(messages=(*kept, Message(role="user", content=text)), system=system or None, seed=sample)


def _text(content: object) -> str:
    return content if isinstance(content, str) else ""


def effect_of(differences: Sequence[float], *, level: float = 0.95) -> tuple[Estimate | None, float]:
    """Mean difference over prompts with its interval, and the one-sided p-value that it is not above 0.

    `differences` (prompts,): share refused with the word - with the substitute, -1 to 1. Student's t over prompts;
    with fewer than 8, or where all differ by the same, the exact sign test over those that differ. None and 1 where
    there is nothing.
    """
    from scipy.stats import binom, t

    values = np.asarray(differences, dtype=float)
    if not len(values):
        return None, 1.0
    found = family_t(values, range(len(values)), level=level)
    if len(values) >= FEW and found.low is not None:
        error = values.std(ddof=1) / len(values) ** 0.5
        return found, float(t.sf(values.mean() / error, len(values) - 1))
    up, differing = int((values > 1e-9).sum()), int((np.abs(values) > 1e-9).sum())
    return found, float(binom.sf(up - 1, differing, 0.5)) if differing else 1.0
