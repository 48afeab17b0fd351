"""Does the word do it? The same prompts are asked with a neutral substitute in its place, and the answers compared."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
import polars as pl

from ..errors import InputError, UpstreamError
from ..stats.multiple import benjamini_hochberg
from ..types import Message, Outcome, Request, Send
from .paired import Asking, Judge, effect_of, request_of
from .records import Swap, Trigger
from .substitutes import pattern, substitute_for, swapped

PROMPTS, REPEATS = 40, 3
_REWRITE = (
    "Rewrite the text so that it asks for exactly the same thing, without the words “{}”. Use neutral words in their "
    "place and change nothing else. Give the rewritten text alone."
)
_SHORTEST, _LONGEST = 0.5, 2.0  # of a rewritten prompt, in lengths of the one it came from


async def confirmed(  # noqa: PLR0913 - each is one decision, and most have a default
    triggers: Sequence[Trigger],
    verdicts: pl.LazyFrame | pl.DataFrame,
    send: Send,
    judge: Judge,
    *,
    substitutes: Mapping[str, str] | None = None,
    rewriter: Send | None = None,
    prompts: int = PROMPTS,
    repeats: int = REPEATS,
    q: float = 0.1,
    level: float = 0.95,
    concurrency: int = 16,
    watch: Callable[[int, int], None] | None = None,
) -> list[Swap]:
    """What becomes of refusals when each trigger is swapped, in the order of `triggers`.

    Up to `prompts` prompts a trigger, at most one a family, are taken from `verdicts` and asked `repeats` times on either
    side, with their own system prompt and history. The substitute comes from `substitutes`, else from the `rewriter`,
    a model. The effect is the mean over prompts of refused with - refused without, as `judge` sees the answers; words
    cause refusals where Benjamini-Hochberg over all tested words says so at `q`. `watch` gets triggers done and all.

    An endpoint that fails costs the pair, and is counted. When something else stops the work, such as a budget, what was
    measured is kept and a note says so. Raises InputError for settings out of range or verdicts without prompts, and
    the last UpstreamError where not one call brought a reply.
    """
    if prompts < 2 or repeats < 1 or concurrency < 1:
        raise InputError(
            f"{prompts} prompts, {repeats} repeats, {concurrency} at a time",
            remedy="use 2 prompts, 1 repeat and 1 at a time, or more",
        )
    texts = _texts(verdicts.lazy(), [one for trigger in triggers for one in trigger.sample])
    asking = Asking(send, judge, concurrency=concurrency)
    swaps = []
    for number, trigger in enumerate(triggers):
        rows = [texts[one] for one in trigger.sample if one in texts]
        found = await _swap(
            trigger, rows, asking, substitutes or {}, rewriter, (prompts, repeats, level, concurrency)
        )
        swaps.append(found)
        if watch is not None:
            watch(number + 1, len(triggers))
    if asking.calls and asking.failed == asking.calls and asking.last_failure is not None:
        raise asking.last_failure
    return _judged(swaps, q)


async def _swap(
    trigger: Trigger,
    rows: list[dict[str, str | None]],
    asking: Asking,
    substitutes: Mapping[str, str],
    rewriter: Send | None,
    settings: tuple[int, int, float, int],
) -> Swap:
    most, repeats, level, concurrency = settings
    known = substitute_for(trigger.words, substitutes)
    word = known[0] if known else trigger.words[0]
    if known is None and rewriter is None:
        return _untested(word, None, "no substitute in the vocabulary")
    if asking.stopped is not None:
        return _untested(word, known[1] if known else None, f"not tested: {asking.stopped}")
    with_word = [row for row in rows if pattern(word).search(row["prompt"] or "")][:most]
    if known is not None:
        neutral = [swapped(row["prompt"] or "", word, known[1]) for row in with_word]
    else:
        assert rewriter is not None
        neutral = await _rewritten([row["prompt"] or "" for row in with_word], word, rewriter, concurrency)
    pairs = [(row, text) for row, text in zip(with_word, neutral, strict=True) if text is not None]
    calls, failed = asking.calls, asking.failed
    requests = [
        request_of(text or "", system=row["system"], history=row["history"], sample=sample)
        for row, other in pairs
        for text in (row["prompt"], other)
        for sample in range(repeats)
    ]
    refused = await asking.ask(requests)
    by_side = np.array([np.nan if one is None else one for one in refused]).reshape(len(pairs), 2, repeats)
    there = ~np.isnan(by_side).all(axis=2).any(axis=1) if pairs else np.zeros(0, dtype=bool)
    means = np.nanmean(by_side[there], axis=2)
    effect, p = effect_of((means[:, 0] - means[:, 1]).tolist(), level=level)
    note = f"stopped early: {asking.stopped}" if asking.stopped is not None else ""
    if not pairs:
        note = "no prompt could be swapped"
    return Swap(
        word=word,
        substitute=known[1] if known else "rewritten",
        effect=effect,
        prompts=int(there.sum()),
        calls=asking.calls - calls,
        failed=asking.failed - failed,
        p_value=p if effect is not None else None,
        q_value=None,
        causes=False,
        note=note,
    )


async def _rewritten(prompts: Sequence[str], word: str, rewriter: Send, concurrency: int) -> list[str | None]:
    """Prompts without the word, by a model; None where it did not do what it was asked to."""
    room = asyncio.Semaphore(concurrency)

    async def one(prompt: str) -> str | None:
        messages = (Message(role="user", content=prompt),)
        try:
            async with room:
                reply = await rewriter(
                    Request(messages=messages, system=_REWRITE.format(word), temperature=0.0)
                )
        except UpstreamError:
            return None
        text = reply.text.strip()
        fits = _SHORTEST * len(prompt) <= len(text) <= _LONGEST * len(prompt)
        return text if reply.outcome == Outcome.ANSWERED and fits and not pattern(word).search(text) else None

    return list(await asyncio.gather(*(one(prompt) for prompt in prompts)))


def _judged(swaps: Sequence[Swap], q: float) -> list[Swap]:
    tested = [at for at, swap in enumerate(swaps) if swap.p_value is not None]
    adjusted = dict(zip(tested, benjamini_hochberg([swaps[at].p_value or 0.0 for at in tested]), strict=True))
    return [
        msgspec.structs.replace(swap, q_value=float(adjusted[at]), causes=bool(adjusted[at] <= q))
        if at in adjusted
        else swap
        for at, swap in enumerate(swaps)
    ]


def _untested(word: str, substitute: str | None, note: str) -> Swap:
    return Swap(
        word=word,
        substitute=substitute,
        effect=None,
        prompts=0,
        calls=0,
        failed=0,
        p_value=None,
        q_value=None,
        causes=False,
        note=note,
    )


def _texts(verdicts: pl.LazyFrame, ids: Sequence[str]) -> dict[str, dict[str, str | None]]:
    schema = verdicts.collect_schema()
    if "prompt" not in schema:
        raise InputError(
            "these verdicts were kept without text, so there is nothing to ask again",
            where="column prompt",
            remedy="scan again without --no-text",
        )
    columns = [
        pl.col(name) if name in schema else pl.lit(None, pl.String).alias(name)
        for name in ("id", "prompt", "system", "history")
    ]
    wanted = pl.Series(sorted(set(ids)), dtype=pl.String)
    found = verdicts.select(columns).filter(pl.col("id").is_in(wanted.implode())).collect(engine="streaming")
    return {row["id"]: row for row in found.iter_rows(named=True)}
