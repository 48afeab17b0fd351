"""The smallest part of one prompt that makes the model refuse it: delta debugging over its words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import InputError
from ..types import Send
from .paired import Asking, Judge, request_of
from .reading import LONGEST
from .records import Span

_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+(?:['’][^\W_]+)*"
)


async def smallest_span(
    prompt: str,
    send: Send,
    judge: Judge,
    *,
    repeats: int = 3,
    budget: int = 200,
    system: str | None = None,
    history: str | None = None,
) -> Span:
    """Words without which the prompt is answered, and none of which can stay: what flips the outcome.

    Each try asks `repeats` times and goes by the majority, as `judge` sees the answers; at most `budget` calls are made,
    and what is smallest by then comes back. A part that needs several places of the prompt is found too: then `pieces`
    has several. No words, with a note, where the prompt is answered as it is.

    Raises InputError for a prompt without words or of more than 20,000 characters, and settings out of range; the
    last UpstreamError where no call brought a reply.

    Ref: Zeller and Hildebrandt 2002, Simplifying and isolating failure-inducing input.
    """
    if repeats < 1 or budget < repeats:
        raise InputError(
            f"{repeats} repeats in {budget} calls", remedy="use 1 repeat and as many calls, or more"
        )
    if len(prompt) > LONGEST:
        raise InputError(f"the prompt has {len(prompt):,} characters", remedy=f"cut it to {LONGEST:,} first")
    places = [found.span() for found in _WORD.finditer(prompt)]
    if not places:
        raise InputError("the prompt has no words", remedy="choose another")
    trial = _Trial(prompt, places, Asking(send, judge), (repeats, budget), (system, history))
    if not await trial.refused([]):
        trial.raise_when_nothing_came()
        note = "the budget ended first" if trial.spent else "the prompt is answered as it is"
        return trial.span([], note=note)
    smallest = await _ddmin(list(range(len(places))), trial)
    return trial.span(smallest)


class _Trial:
    """Asks the prompt without some of its words."""

    def __init__(
        self,
        prompt: str,
        places: list[tuple[int, int]],
        asking: Asking,
        limits: tuple[int, int],
        setting: tuple[str | None, str | None],
    ) -> None:
        self._prompt, self._places, self._asking = prompt, places, asking
        self._repeats, self._budget = limits
        self._system, self._history = setting
        self._seen: dict[tuple[int, ...], bool] = {}
        self.spent = False  # the budget, or whatever else stopped the work

    async def answered_without(self, words: Sequence[int]) -> bool:
        return not await self.refused(words)

    async def refused(self, without: Sequence[int]) -> bool:
        """Whether most samples are refused. With the budget spent nothing is taken for answered but the whole."""
        key = tuple(without)
        if key in self._seen:
            return self._seen[key]
        if len(without) == len(self._places):
            return False  # nothing is left to refuse
        if self.spent or self._asking.calls + self._repeats > self._budget:
            self.spent = True
            return bool(without)
        requests = [
            request_of(self.without(without), system=self._system, history=self._history, sample=sample)
            for sample in range(self._repeats)
        ]
        votes = [vote for vote in await self._asking.ask(requests) if vote is not None]
        if self._asking.stopped is not None:
            self.spent = True
            return bool(without)
        # Without a vote nothing was shown: the part stays.
        refused = 2 * sum(vote > 0.5 for vote in votes) > len(votes) if votes else bool(without)
        self._seen[key] = refused
        return refused

    def raise_when_nothing_came(self) -> None:
        if self._asking.last_failure is not None and self._asking.failed == self._asking.calls:
            raise self._asking.last_failure
        if self._asking.stopped is not None and not self._asking.calls:
            raise self._asking.stopped

    def without(self, words: Sequence[int]) -> str:
        text = self._prompt
        for start, end in reversed(self._pieces(words)):
            before, after = text[:start], text[end:]
            if (not before or before[-1].isspace()) and after[:1].isspace():
                after = after[1:]  # one of the two blanks round what went
            text = before + after
        return text

    def span(self, words: Sequence[int], note: str = "") -> Span:
        spelled = tuple(self._prompt[slice(*self._places[at])] for at in words)
        if self.spent and not note:
            note = "the budget ended first: a smaller part may do"
        return Span(
            words=spelled,
            pieces=tuple(self._pieces(words)),
            without=self.without(words),
            calls=self._asking.calls,
            finished=not self.spent,
            note=note,
        )

    def _pieces(self, words: Sequence[int]) -> list[tuple[int, int]]:
        """Offsets of words that stand side by side, joined."""
        pieces: list[tuple[int, int]] = []
        before = None
        for at in words:
            start, end = self._places[at]
            if before is not None and at == before + 1:
                pieces[-1] = (pieces[-1][0], end)
            else:
                pieces.append((start, end))
            before = at
        return pieces


async def _ddmin(words: list[int], trial: _Trial) -> list[int]:
    """Zeller's ddmin: halves, then finer parts and their complements, until no part can be left out."""
    parts = 2
    while len(words) >= 2:
        edges = [len(words) * number // parts for number in range(parts + 1)]
        chunks = [words[edges[at] : edges[at + 1]] for at in range(parts)]
        for chunk in chunks:
            if await trial.answered_without(chunk):
                words, parts = chunk, 2
                break
        else:
            for at in range(parts if parts > 2 else 0):
                rest = [word for number, chunk in enumerate(chunks) if number != at for word in chunk]
                if await trial.answered_without(rest):
                    words, parts = rest, max(parts - 1, 2)
                    break
            else:
                if parts >= len(words):
                    break
                parts = min(2 * parts, len(words))
        if trial.spent:
            break
    return words
