"""How a model is asked: times, tries, limits, price and cache."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec

from ..errors import InputError

DEFAULT_CACHE = Path(".aligntax/cache")
"""Where answers are kept when a door turns the cache on without naming a folder."""


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What a model costs, in US dollars per million tokens. aligntax ships no prices: they go stale."""

    input_usd: float
    output_usd: float

    def __post_init__(self) -> None:
        if not (0 <= self.input_usd < math.inf and 0 <= self.output_usd < math.inf):
            raise InputError(
                "a price below 0, or none at all", where="price", remedy="US dollars per million tokens"
            )

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """US dollars for these tokens."""
        return (prompt_tokens * self.input_usd + completion_tokens * self.output_usd) / 1e6


class ClientSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How one model is asked. Raises InputError for values that make no sense."""

    concurrency: int = 32  # most calls in flight; halved on a 429, and grown back
    least_concurrency: int = 1  # never halved below this
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None  # of prompt and answer together
    connect_s: float = 10.0  # until the connection stands
    idle_s: float = 60.0  # between two pieces of an answer that has begun
    total_s: float = 600.0  # one try, from the request to the last byte
    attempts: int = 6  # tries of one call, the first included
    backoff_s: float = 0.5  # ceiling of the first random wait; doubles with each try
    longest_wait_s: float = 60.0  # ceiling of any wait, Retry-After included
    stream: bool = False  # whether to read the answer as a stream of events
    max_tokens: int = 4096  # budgeted for a request that sets none; sent to vendors that insist on a number
    price: Price | None = None  # None: cost is unknown
    cache: Path | None = None  # folder of kept answers; None: nothing is kept
    extra: dict[str, Any] = {}  # more fields of the request body, in the vendor's words

    def __post_init__(self) -> None:
        for field in ("concurrency", "least_concurrency", "attempts", "max_tokens"):
            _check(field, getattr(self, field) >= 1, "a whole number from 1 on")
        for field in ("connect_s", "idle_s", "total_s"):
            _check(field, 0 < getattr(self, field) < math.inf, "seconds above 0")
        for field in ("backoff_s", "longest_wait_s"):
            _check(field, 0 <= getattr(self, field) < math.inf, "seconds from 0 on")
        for field in ("requests_per_minute", "tokens_per_minute"):
            value = getattr(self, field)
            _check(field, value is None or 0 < value < math.inf, "a number above 0, or none")
        _check("least_concurrency", self.least_concurrency <= self.concurrency, "no more than concurrency")


def _check(field: str, right: bool, remedy: str) -> None:
    if not right:
        raise InputError("this value makes no sense", where=field, remedy=f"give {remedy}")


def parse_price(text: str) -> Price:
    """The price that "INPUT/OUTPUT" says, in US dollars per million tokens.

    >>> parse_price("2.50/10")
    Price(input_usd=2.5, output_usd=10.0)
    """
    try:
        asked, answered = text.split("/")
        return Price(input_usd=float(asked), output_usd=float(answered))
    except ValueError:
        raise InputError(
            f"{text!r} is no price",
            remedy="write dollars per million tokens of prompt / of answer: --price 2.50/10",
        ) from None
