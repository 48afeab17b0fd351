"""What goes wrong, and when: on order, or with a probability from a seed."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Mapping
from random import Random

from ..errors import InputError

EVENTS = (
    *("ok", "429", "500", "503", "400", "401", "timeout", "stall", "reset", "half"),
    *("refusal", "input_blocked", "output_blocked", "truncated", "empty"),
)
"""What a script or a table of faults may order; `ok` is an ordinary answer, `half` a body that breaks off."""

PASSING = frozenset({"429", "500", "503", "timeout", "stall", "reset", "half"})
"""Events after which the same call may succeed."""

FAILING = PASSING | {"400", "401"}
"""Events after which there is no reply."""


class Faults:
    """The event of each call: first those of `script`, then by the probabilities of `shares`."""

    def __init__(self, script: Iterable[str], shares: Mapping[str, float] | None, seed: int) -> None:
        self._script, self._shares, self._seed = deque(script), dict(shares or {}), seed
        self.calls = 0
        if wrong := [event for event in (*self._script, *self._shares) if event not in EVENTS]:
            raise InputError(f"there is no event {wrong[0]}", remedy=f"name one of: {', '.join(EVENTS)}")
        if sum(self._shares.values()) > 1 or any(share < 0 for share in self._shares.values()):
            raise InputError("the probabilities of the faults are below 0 or add up to more than 1")

    def next(self) -> str:
        """The event of the next call."""
        self.calls += 1
        if self._script:
            return self._script.popleft()
        draw = random_of(self._seed, "fault", str(self.calls)).random() if self._shares else 1.0
        for event, share in self._shares.items():
            if draw < share:
                return event
            draw -= share
        return "ok"


def random_of(seed: int, *parts: str) -> Random:
    """Chance that follows from the seed and the parts alone, on every machine."""
    text = "\0".join((str(seed), *parts)).encode("utf-8", "surrogatepass")
    number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
    return Random(number)  # noqa: S311 - a simulation, not a secret
