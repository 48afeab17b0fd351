"""How far a run is, and what came of it."""

from __future__ import annotations

import msgspec


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run stands, after each call."""

    calls: int  # that the run is to make in all
    former: int  # of them, those that an earlier start had finished
    new: int  # finished since this start
    failed: int  # among the new
    cost_usd: float | None  # of the new; None: nobody has said what they cost
    elapsed_s: float

    @property
    def done(self) -> int:
        """Calls that are finished."""
        return self.former + self.new

    @property
    def rate(self) -> float | None:
        """Calls a second since this start."""
        return self.new / self.elapsed_s if self.new and self.elapsed_s > 0 else None

    @property
    def left_s(self) -> float | None:
        """Seconds until the end, at this rate."""
        return None if self.rate is None else (self.calls - self.done) / self.rate


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What is in the file when a run is through."""

    calls: int  # asked for in all: prompts times repeats
    former: int  # of them, those that an earlier start had finished
    new: int  # finished by this start
    failed: int  # lines with outcome `error`, earlier ones included
    outcomes: dict[str, int]  # of all lines
    prompt_tokens: int  # of the new calls
    completion_tokens: int  # of the new calls
    cached: int  # of the new calls, those answered from the cache
    cost_usd: float | None  # of the new calls; None: nobody has said what they cost
    elapsed_s: float
