"""How fast a model is asked: calls in flight that follow its 429s, and requests and tokens per minute."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic

_BURST_S = 6.0
"""How many seconds' worth of a minute's allowance may be used at once; vendors count over less than a minute."""


class Slots:
    """Calls in flight: one more for each window of successes, half as many after a 429, first come first served.

    The rule is TCP's (additive increase, multiplicative decrease; Chiu and Jain, 1989). 429s of calls that began
    before the last halving belong to the same congestion and halve nothing.
    """

    def __init__(self, most: int, least: int = 1) -> None:
        self.most, self.least = most, least
        self.allowed = float(most)
        self.in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._clock = 0  # counts acquisitions
        self._halved = -1

    async def acquire(self, *, first: bool = False) -> int:
        """Wait for a place, in front of all others if `first`; returns the ticket that `release` takes."""
        if self.in_flight >= int(self.allowed) or self._waiting:
            place = asyncio.get_running_loop().create_future()
            (self._waiting.appendleft if first else self._waiting.append)(place)
            self._wake()
            try:
                await place
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():  # it was given a place, and leaves
                    self.in_flight -= 1
                    self._wake()
                raise
        else:
            self.in_flight += 1
        self._clock += 1
        return self._clock

    def release(self, ticket: int, *, throttled: bool = False, success: bool = False) -> None:
        """Give the place back, and learn from how the call went."""
        self.in_flight -= 1
        if throttled:
            if ticket > self._halved:
                self.allowed = max(float(self.least), self.allowed / 2)
                self._halved = self._clock
        elif success:
            self.allowed = min(float(self.most), self.allowed + 1 / self.allowed)
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self.in_flight < int(self.allowed):
            place = self._waiting.popleft()
            if not place.done():
                self.in_flight += 1  # taken here, so that nobody slips in between
                place.set_result(None)


class Rate:
    """A token bucket of so many a minute. Its level may fall below 0: then the next wait in turn."""

    def __init__(self, per_minute: float | None, clock: Callable[[], float] = monotonic) -> None:
        self._per_second = per_minute / 60 if per_minute else None
        self._full = max(1.0, _BURST_S * (self._per_second or 0))
        self._level, self._clock = self._full, clock
        self._at = clock()

    def take(self, amount: float) -> float:
        """Take so many; returns the seconds to wait before using them."""
        if self._per_second is None:
            return 0.0
        now = self._clock()
        self._level = min(self._full, self._level + (now - self._at) * self._per_second) - amount
        self._at = now
        # A call larger than the bucket waits for a full bucket, not for ever.
        short = -(self._level + max(0.0, amount - self._full))
        return max(0.0, short / self._per_second)

    def give_back(self, amount: float) -> None:
        """Of what was taken, so many were not used; a negative amount says that more were."""
        self._level = min(self._full, self._level + amount)
