"""The calls of a run: several at once, each stored as it ends."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

from ..errors import AlignTaxError, UpstreamError
from ..types import Outcome, Prompt, Reply, Request, Send
from .file import RunFile, record_of
from .plan import Call, RunSettings, identity_of, planned, request_of
from .progress import Progress, RunSummary

_SYNC_S = 1.0
_HOPELESS = (401, 403, 404)  # wrong key, no access, no such model: every call would end so
_FAILURES = 50  # before the first success

OnProgress = Callable[[Progress], None]


async def run(  # noqa: PLR0913 - each is one option of a run
    prompts: Sequence[Prompt],
    send: Send,
    out: str | Path,
    *,
    model: str,
    suite: str = "",
    repeats: int = 1,
    concurrency: int = 16,
    system: str | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    seed: int = 0,
    retry_errors: bool = False,
    on_progress: OnProgress | None = None,
) -> RunSummary:
    """Ask every prompt `repeats` times; each answer is a line of the file `out` as soon as it is there.

    Called again with the same arguments after any end, kill -9 included, it asks what is missing and nothing else.
    `send` is asked with `sample=`, the number of the repeat, where it takes that. `model` and `suite` are names for
    the log; `system` stands in place of the prompts' own. `concurrency` bounds the calls in flight, `seed` is the
    order's. A call that fails (UpstreamError) is a line with outcome `error`; `retry_errors` asks those again.

    Raises InputError when `out` cannot be written, is written by another process, or holds another run; UpstreamError
    when no call can succeed (wrong key, no such model, 50 failures before any success); and whatever else `send`
    raises, such as an exhausted budget, after the calls in flight have ended. What is stored stays.
    """
    settings = RunSettings(system=system, max_tokens=max_tokens, temperature=temperature, top_p=top_p)
    calls = planned(prompts, repeats, seed)
    with RunFile(out, identity_of(prompts, model, settings), retry_errors=retry_errors) as file:
        missing = [call for call in calls if call.key not in file.finished]
        loop = _Loop(
            file, send, settings, model=model, suite=suite, calls=len(calls), on_progress=on_progress
        )
        loop.former = len(calls) - len(missing)
        await loop.ask(missing, concurrency)
        return loop.summary()


class _Loop:
    def __init__(
        self,
        file: RunFile,
        send: Send,
        settings: RunSettings,
        *,
        model: str,
        suite: str,
        calls: int,
        on_progress: OnProgress | None,
    ) -> None:
        self._file, self._settings = file, settings
        self._send = _with_sample(send)
        self._model, self._suite, self._run = model, suite, file.identity.run
        self._calls, self._on_progress = calls, on_progress
        self.former = self.new = self.failed = self.cached = 0
        self._ended = asyncio.Event()
        self._tokens: Counter[str] = Counter()
        self._cost_usd: float | None = None
        self._started = time.monotonic()
        self._trouble: Exception | None = None

    async def ask(self, calls: Sequence[Call], concurrency: int) -> None:
        """Make the calls, `concurrency` at a time; raises what ended the run early, when nothing is in flight."""
        waiting = iter(calls)
        syncing = asyncio.create_task(self._sync_now_and_then())
        workers = [asyncio.create_task(self._work(waiting)) for _ in range(min(concurrency, len(calls)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            self._ended.set()
            await asyncio.gather(*workers, syncing, return_exceptions=True)
        if self._trouble is not None:
            raise self._trouble

    async def _work(self, waiting: Iterator[Call]) -> None:
        for call in waiting:
            if self._trouble is not None:
                return
            try:
                reply = await self._asked(call)
            except Exception as error:  # noqa: BLE001 - raised again by `ask`, once the others have ended
                self._trouble = self._trouble or error
                return
            self._take(call, reply)  # what fails here ends all: answers could not be stored any more

    async def _asked(self, call: Call) -> Reply:
        try:
            reply = await self._send(request_of(call.prompt, self._settings), call.repeat)
        except UpstreamError as error:
            hopeless = error.status in _HOPELESS or self.failed + 1 >= _FAILURES
            if self.new == self.failed and hopeless:
                raise
            return _failed(error)
        return reply

    def _take(self, call: Call, reply: Reply) -> None:
        system = self._settings.system if self._settings.system is not None else call.prompt.system
        self._file.write(
            record_of(call, reply, model=self._model, suite=self._suite, run=self._run, system=system)
        )
        self.new += 1
        self.failed += reply.outcome is Outcome.ERROR
        self.cached += reply.cached
        self._tokens["prompt"] += reply.prompt_tokens or 0
        self._tokens["completion"] += reply.completion_tokens or 0
        if reply.cost_usd is not None:
            self._cost_usd = (self._cost_usd or 0.0) + reply.cost_usd
        if self._on_progress is not None:
            self._on_progress(self._progress())

    def _progress(self) -> Progress:
        return Progress(
            calls=self._calls,
            former=self.former,
            new=self.new,
            failed=self.failed,
            cost_usd=self._cost_usd,
            elapsed_s=time.monotonic() - self._started,
        )

    def summary(self) -> RunSummary:
        """What is in the file now."""
        return RunSummary(
            calls=self._calls,
            former=self.former,
            new=self.new,
            failed=self._file.outcomes[Outcome.ERROR],
            outcomes=dict(sorted(self._file.outcomes.items())),
            prompt_tokens=self._tokens["prompt"],
            completion_tokens=self._tokens["completion"],
            cached=self.cached,
            cost_usd=self._cost_usd,
            elapsed_s=time.monotonic() - self._started,
        )

    async def _sync_now_and_then(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SYNC_S):
                    await self._ended.wait()
            try:
                await asyncio.to_thread(self._file.sync)
            except AlignTaxError as error:
                self._trouble = self._trouble or error
                return


def _with_sample(send: Send) -> Callable[[Request, int], Awaitable[Reply]]:
    """`send` as a function of the request and the number of the repeat."""
    ask: Callable[..., Awaitable[Reply]] = send
    if "sample" in inspect.signature(send).parameters:
        return lambda request, sample: ask(request, sample=sample)
    return lambda request, _sample: ask(request)


def _failed(error: UpstreamError) -> Reply:
    """A failed call as a reply: the kind of failure alone, for a vendor's message may quote what was asked."""
    status = error.status
    if status is None:
        reason = "no_reply"
    elif status == 429:
        reason = "rate_limit"
    else:
        reason = "server_error" if status >= 500 else "rejected"
    raw = None if status is None else str(status)
    return Reply(text="", outcome=Outcome.ERROR, outcome_raw=raw, outcome_detail=reason)
