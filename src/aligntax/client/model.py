"""A model that can be asked: retries, limits, budget and cache round the one call."""

from __future__ import annotations

import asyncio
import importlib
import random
import secrets
from time import perf_counter
from types import TracebackType
from typing import cast

import msgspec

from ..errors import InputError
from ..types import Outcome, Reply, Request
from .answer import Answer, Wire
from .budget import Budget, Need, Spent, need
from .cache import Cache, cache_key
from .endings import ending
from .faults import Fault
from .limits import Rate, Slots
from .names import WIRES, Target, find_key, parse_name
from .settings import ClientSettings
from .transport import Transport


def open_model(
    name: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    settings: ClientSettings | None = None,
    budget: Budget | None = None,
) -> Model:
    """The model of this name (docs/reference/models.md), to be used with `async with`.

    `base_url` and `api_key` override the environment's. `budget` may be shared with other models.
    Raises InputError for an unknown name, a missing key, and a budget in money without a price.
    """
    settings = settings or ClientSettings()
    target = parse_name(name, base_url=base_url)
    if budget is not None and budget.usd is not None and settings.price is None:
        raise InputError(
            "a budget in money needs to know what the model costs",
            where=target.name,
            remedy="give --price INPUT/OUTPUT in dollars per million tokens, or a budget in tokens",
        )
    return Model(target, find_key(target, api_key), settings, budget or Budget())


class Model:
    """A model that can be asked. `send` is a `Send`; made by `open_model`, used with `async with`."""

    def __init__(self, target: Target, key: str | None, settings: ClientSettings, budget: Budget) -> None:
        self.target, self.settings, self.budget = target, settings, budget
        module, _, attribute = WIRES[target.protocol].partition(":")
        self._wire = cast("Wire", getattr(importlib.import_module(f".{module}", __package__), attribute))
        self._transport = Transport(target, self._wire, key, settings)
        self.slots = Slots(settings.concurrency, settings.least_concurrency)
        self._requests, self._tokens = Rate(settings.requests_per_minute), Rate(settings.tokens_per_minute)
        self._cache: Cache | None = None
        self._flying: dict[bytes, asyncio.Future[None]] = {}
        self._spent = _Count(priced=settings.price is not None)

    def __repr__(self) -> str:
        return f"Model({self.name!r})"

    @property
    def name(self) -> str:
        """Provider and model, as aligntax writes them."""
        return self.target.name

    @property
    def spent(self) -> Spent:
        """What has been used since it was opened."""
        return self._spent.as_spent()

    @property
    def cache_trouble(self) -> str | None:
        """Why answers are no longer kept, where that failed; calls go on without."""
        return self._cache.trouble if self._cache else None

    async def __aenter__(self) -> Model:
        if self.settings.cache is not None:
            self._cache = Cache(self.settings.cache)
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._transport.__aexit__(kind, error, trace)
        finally:
            if self._cache is not None:
                self._cache.close()

    async def send(self, request: Request, *, sample: int = 0) -> Reply:
        """The reply to one request; a refusal by the provider is an outcome of it.

        `sample` tells repeats of one request apart: each has an answer of its own in the cache.
        Raises UpstreamError when no reply could be had, BudgetExhausted before a call that could cost too much.
        """
        cache = self._cache
        if cache is None:
            return await self._ask(request)
        key = cache_key(request, self.target, self.settings, sample)
        while flying := self._flying.get(key):  # the same question is being asked: its answer will do
            await asyncio.wait([flying])
        if (kept := await cache.get(key)) is not None:
            self._spent.cached += 1
            return kept
        self._flying[key] = done = asyncio.get_running_loop().create_future()
        try:
            reply = await self._ask(request)
            if reply.outcome is Outcome.ANSWERED:
                await cache.put(key, reply)
            return reply
        finally:
            del self._flying[key]
            done.set_result(None)

    async def _ask(self, request: Request) -> Reply:
        settings = self.settings
        body = self._wire.encode(request, self.target, settings)
        wanted = need(request, settings)
        once = secrets.token_hex(16) if self._wire.idempotent else None
        attempt = 1
        while True:
            try:
                return await self._try(request, body, wanted, once, attempt)
            except Fault as fault:
                if not fault.retryable or attempt >= settings.attempts:
                    raise fault.as_error(self.target, attempt) from None
                wait = self._wait(fault, attempt)
            await asyncio.sleep(wait)
            attempt += 1

    async def _try(
        self, request: Request, body: bytes, wanted: Need, once: str | None, attempt: int
    ) -> Reply:
        """One try, in its place of the line. Whatever happens, place and reservation are given back."""
        ticket = await self.slots.acquire(first=attempt > 1)
        answer: Answer | None = None
        fault: Fault | None = None
        reserved = sent = False
        try:
            await self.budget.reserve(wanted)
            reserved = True
            pause = max(self._requests.take(1), self._tokens.take(wanted.tokens))
            if pause:
                await asyncio.sleep(pause)
            begin, sent = perf_counter(), True
            answer, status = await self._transport.ask(request, body, once)
            return self._reply(answer, status, wanted, (perf_counter() - begin) * 1e3, attempt)
        except Fault as failed:
            fault = failed
            raise
        finally:
            lost = sent and answer is None and (fault is None or fault.sent)
            self.slots.release(
                ticket, throttled=fault is not None and fault.throttled, success=answer is not None
            )
            if reserved:
                self._settle(answer, wanted, lost=lost)

    def _reply(self, answer: Answer, status: int, wanted: Need, latency_ms: float, attempt: int) -> Reply:
        outcome, raw, detail = ending(answer, status)
        price, usage = self.settings.price, _usage(answer, wanted)
        return Reply(
            text=answer.text,
            outcome=outcome,
            outcome_raw=raw,
            outcome_detail=detail,
            model_requested=self.target.model,
            model_served=answer.model,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            cost_usd=price.cost(*usage) if price else None,
            latency_ms=latency_ms,
            attempts=attempt,
        )

    def _settle(self, answer: Answer | None, wanted: Need, *, lost: bool) -> None:
        price, spent = self.settings.price, self._spent
        if answer is not None:
            prompt, completion = _usage(answer, wanted)
            usd = price.cost(prompt, completion) if price else None
            spent.calls += 1
            spent.prompt_tokens += prompt
            spent.completion_tokens += completion
            spent.usd += usd or 0.0
            self.budget.settle(wanted, usd=usd, tokens=prompt + completion)
            self._tokens.give_back(wanted.tokens - prompt - completion)
        elif lost:  # perhaps answered, perhaps charged: a budget must count it
            spent.lost_calls += 1
            spent.lost_usd += wanted.usd or 0.0
            self.budget.settle(wanted, usd=wanted.usd, tokens=wanted.tokens)
        else:
            self.budget.settle(wanted, usd=0.0, tokens=0)
            self._tokens.give_back(wanted.tokens)

    def _wait(self, fault: Fault, attempt: int) -> float:
        """Seconds until the next try: what the vendor asks for, else full jitter under a ceiling that doubles.

        Ref: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
        """
        settings = self.settings
        ceiling = min(settings.longest_wait_s, settings.backoff_s * 2 ** (attempt - 1))
        jitter = random.uniform(0, ceiling)  # noqa: S311 - so that callers do not return together
        if fault.wait_s is None:
            return jitter
        return min(settings.longest_wait_s, fault.wait_s + min(jitter, settings.backoff_s))


class _Count(msgspec.Struct):
    """Running sums behind `Spent`."""

    priced: bool
    calls: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    lost_calls: int = 0
    lost_usd: float = 0.0

    def as_spent(self) -> Spent:
        return Spent(
            calls=self.calls,
            cached=self.cached,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            usd=self.usd if self.priced else None,
            lost_calls=self.lost_calls,
            lost_usd=self.lost_usd if self.priced else None,
        )


def _usage(answer: Answer, wanted: Need) -> tuple[int, int]:
    """Tokens that are paid for: the vendor's count, else nothing for what a filter or an error stopped, else estimates."""
    if answer.prompt_tokens is not None:
        return answer.prompt_tokens, answer.completion_tokens or 0
    if answer.error:
        return 0, 0
    return wanted.prompt_tokens, -(-len(answer.text.encode()) // 3)
