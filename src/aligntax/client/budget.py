"""What may be spent, what is reserved for calls in flight, and what was spent."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable

import msgspec

from ..errors import AlignTaxError, InputError
from ..types import Request
from .settings import ClientSettings, Price

_BYTES_PER_TOKEN = 3  # English has more than 4, dense scripts about 3: the estimate errs on the high side
_TOKENS_PER_MESSAGE = 8


class BudgetExhausted(AlignTaxError):
    """The next call could cost more than is left. Raised before the call is made; what is in flight is finished."""


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What a run will take. Prompt tokens are estimated from the text's length, answers counted at their longest."""

    calls: int
    prompt_tokens: int  # estimated, rather too many than too few
    completion_tokens: int  # at most, where requests set max_tokens; else what the settings assume
    usd: float | None  # at most; None: no price was given


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What has been used so far."""

    calls: int = 0  # answers that were paid for
    cached: int = 0  # answers that were at hand
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = None  # None: no price was given
    lost_calls: int = 0  # tries whose answer never arrived whole: the vendor may charge for them
    lost_usd: float | None = None  # the most that these may cost; counted against the budget

    @property
    def tokens(self) -> int:
        """Tokens of prompts and answers."""
        return self.prompt_tokens + self.completion_tokens


class Need(msgspec.Struct, frozen=True):
    """The most that one call may use."""

    prompt_tokens: int
    completion_tokens: int
    usd: float | None

    @property
    def tokens(self) -> int:
        """Tokens of prompt and answer."""
        return self.prompt_tokens + self.completion_tokens


def need(request: Request, settings: ClientSettings) -> Need:
    """What one call may use at most."""
    size = len((request.system or "").encode())
    size += sum(len(message.content.encode()) for message in request.messages)
    if request.schema is not None:
        size += len(msgspec.json.encode(request.schema))
    prompt = math.ceil(size / _BYTES_PER_TOKEN) + _TOKENS_PER_MESSAGE * (len(request.messages) + 1)
    completion = request.max_tokens or settings.max_tokens
    cost = settings.price.cost(prompt, completion) if settings.price else None
    return Need(prompt, completion, cost)


def forecast(
    requests: Iterable[Request], *, settings: ClientSettings | None = None, repeats: int = 1
) -> Forecast:
    """What asking all of `requests` so many times will take, with nothing at hand in the cache."""
    settings = settings or ClientSettings()
    needs = [need(request, settings) for request in requests]
    prompt = repeats * sum(one.prompt_tokens for one in needs)
    completion = repeats * sum(one.completion_tokens for one in needs)
    price: Price | None = settings.price
    return Forecast(
        calls=repeats * len(needs),
        prompt_tokens=prompt,
        completion_tokens=completion,
        usd=price.cost(prompt, completion) if price else None,
    )


class Budget:
    """Money and tokens that may be spent; several models may share one.

    A call reserves the most that it may use, and settles what it did use. Where what is left would be enough
    but for reservations of calls in flight, the next call waits for them, in turn. Used in one event loop.
    """

    def __init__(self, *, usd: float | None = None, tokens: int | None = None) -> None:
        for name, value in (("usd", usd), ("tokens", tokens)):
            if value is not None and not 0 <= value < math.inf:
                raise InputError(
                    "a budget below 0, or endless", where=name, remedy="leave it out for no limit"
                )
        self.usd, self.tokens = usd, tokens
        self._spent_usd, self._spent_tokens = 0.0, 0
        self._held_usd, self._held_tokens, self._in_flight = 0.0, 0, 0
        self._turn, self._settled = asyncio.Lock(), asyncio.Event()

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self.usd is not None or self.tokens is not None

    async def reserve(self, need: Need) -> None:
        """Hold the most that a call may use. Raises BudgetExhausted where it cannot fit any more."""
        if not self.limited:
            return
        async with self._turn:  # first come, first served
            while self._over(need, held=True):
                if self._over(need, held=False):
                    raise self._exhausted(need)
                self._settled.clear()
                await self._settled.wait()
            self._held_usd += need.usd or 0.0
            self._held_tokens += need.tokens
            self._in_flight += 1

    def settle(self, need: Need, *, usd: float | None, tokens: int) -> None:
        """The call used this: let the reservation go."""
        if not self.limited:
            return
        self._in_flight -= 1
        # Sums of fractions leave a trace, which would hold the last call back for ever.
        self._held_usd = self._held_usd - (need.usd or 0.0) if self._in_flight else 0.0
        self._held_tokens -= need.tokens
        self._spent_usd += usd or 0.0
        self._spent_tokens += tokens
        self._settled.set()

    def _over(self, need: Need, *, held: bool) -> bool:
        money = self._spent_usd + (self._held_usd if held else 0.0) + (need.usd or 0.0)
        tokens = self._spent_tokens + (self._held_tokens if held else 0) + need.tokens
        over_usd = self.usd is not None and money > self.usd * (1 + 1e-9)
        return over_usd or (self.tokens is not None and tokens > self.tokens)

    def _exhausted(self, need: Need) -> BudgetExhausted:
        said = []
        if self.usd is not None:
            said.append(
                f"${self._spent_usd:.4f} of ${self.usd:.4f} spent, the next call may cost ${need.usd or 0:.4f}"
            )
        if self.tokens is not None:
            said.append(
                f"{self._spent_tokens:,} of {self.tokens:,} tokens used, the next call may use {need.tokens:,}"
            )
        return BudgetExhausted(
            f"the budget is exhausted: {'; '.join(said)} (raise the budget, or lower max_tokens)"
        )
