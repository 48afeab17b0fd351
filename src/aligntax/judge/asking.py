"""One judgement after another from a model: how each ended, what all of them cost."""

from __future__ import annotations

import asyncio
import enum
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from ..errors import AlignTaxError, UpstreamError
from ..types import Outcome, Reply, Send
from .schemas import fields_of
from .wording import Question, asked_again

HOPELESS = (401, 403, 404)  # wrong key, no access, no such model: every call would end so
_FAILURES = 50  # before the first reply


class Judging(enum.StrEnum):
    """How the judging of one thing ended; a verdict is there only with the first."""

    JUDGED = "judged"
    OFF_SCHEMA = "off_schema"  # what came back did not follow the schema, asked again or not
    JUDGE_REFUSED = "judge_refused"  # the judge's provider says refusal
    BLOCKED = "blocked"  # a filter at the judge's provider stopped the call or withheld the reply
    JUDGE_FAILED = "judge_failed"  # no reply could be had
    NOT_ASKED = "not_asked"  # there was no whole answer to judge


_ENDINGS = {
    Outcome.PROVIDER_REFUSED: Judging.JUDGE_REFUSED,
    Outcome.INPUT_BLOCKED: Judging.BLOCKED,
    Outcome.OUTPUT_BLOCKED: Judging.BLOCKED,
    Outcome.ERROR: Judging.JUDGE_FAILED,
}
_UNUSABLE = {
    Outcome.TRUNCATED: "it was cut at the limit of tokens",
    Outcome.EMPTY: "it was empty",
    Outcome.TOOL_CALL: "it called a tool",
}


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one judgement."""

    judging: Judging
    values: dict[str, Any] | None = None  # by field of the rubric; only where it was judged
    detail: str | None = None  # what was wrong; no text of the judge or of what it judged
    calls: int = 0
    cut: bool = False  # the judge did not see the middle of a text


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What a judge has used so far."""

    calls: int = 0  # that brought a reply
    repairs: int = 0  # calls that asked again after a reply off the schema
    cached: int = 0  # replies that came from a cache
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = None  # None: no reply said what it cost
    unpriced: int = 0  # replies that did not say what they cost


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a round of judging is."""

    done: int
    total: int
    endings: dict[str, int]  # value of Judging -> how many ended so
    spent: Spent  # by this judge, earlier rounds included


OnProgress = Callable[[Progress], None]


class Asker:
    """Calls of a judge, `concurrency` at a time, each with at most `attempts` tries at the schema."""

    def __init__(
        self, send: Send, *, attempts: int, concurrency: int, on_progress: OnProgress | None
    ) -> None:
        self._send, self._attempts, self._concurrency = send, attempts, concurrency
        self._on_progress = on_progress
        self.spent = Spent()
        self.trouble: AlignTaxError | None = None
        self._failed = 0

    async def ask(self, questions: Sequence[tuple[Question, type[msgspec.Struct]] | None]) -> list[Heard]:
        """What came of each question, in their order; None among them was not to be asked.

        Raises UpstreamError where no call can succeed: wrong key, no such model, 50 failures before any reply. What
        else ends the asking, such as an exhausted budget, is kept in `trouble`: what was judged is not lost by it, and
        what was not reached has failed.
        """
        self.trouble = None
        self._failed = 0
        round_ = _Round(len(questions), self._on_progress)
        heard: list[Heard | None] = [None] * len(questions)
        waiting = iter(range(len(questions)))
        replies = self.spent.calls

        async def work(waiting: Iterator[int]) -> None:
            for place in waiting:
                asked = questions[place]
                one = (
                    Heard(judging=Judging.NOT_ASKED) if asked is None else await self._judge(*asked, replies)
                )
                heard[place] = one
                round_.took(one, self.spent)

        workers = [asyncio.create_task(work(waiting)) for _ in range(min(self._concurrency, len(questions)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return [one for one in heard if one is not None]

    async def _judge(self, question: Question, type_: type[msgspec.Struct], replies: int) -> Heard:
        request, calls = question.request, 0
        wrong = Heard(judging=Judging.JUDGE_FAILED, detail="not reached", cut=question.cut)
        while calls < self._attempts:
            if self.trouble is not None:
                return msgspec.structs.replace(
                    wrong,
                    judging=Judging.JUDGE_FAILED,
                    detail=f"not asked: {type(self.trouble).__name__}",
                    calls=calls,
                )
            try:
                reply = await self._send(request)
            except UpstreamError as error:
                self._refuse_hopeless(error, replies)
                status = f"status {error.status}" if error.status is not None else "no reply"
                return Heard(judging=Judging.JUDGE_FAILED, detail=status, calls=calls + 1, cut=question.cut)
            except AlignTaxError as error:
                self.trouble = self.trouble or error
                continue
            calls += 1
            self._count(reply, again=calls > 1)
            heard, complaint = read_reply(reply, type_)
            if heard.judging is not Judging.OFF_SCHEMA:
                return msgspec.structs.replace(heard, calls=calls, cut=question.cut)
            wrong = msgspec.structs.replace(heard, calls=calls, cut=question.cut)
            request = asked_again(question.request, reply.text, complaint)
        return wrong

    def _refuse_hopeless(self, error: UpstreamError, replies: int) -> None:
        self._failed += 1
        if self.spent.calls == replies and (error.status in HOPELESS or self._failed >= _FAILURES):
            raise error

    def _count(self, reply: Reply, *, again: bool) -> None:
        spent, cost = self.spent, reply.cost_usd
        self.spent = Spent(
            calls=spent.calls + 1,
            repairs=spent.repairs + again,
            cached=spent.cached + reply.cached,
            prompt_tokens=spent.prompt_tokens + (reply.prompt_tokens or 0),
            completion_tokens=spent.completion_tokens + (reply.completion_tokens or 0),
            usd=spent.usd if cost is None else (spent.usd or 0.0) + cost,
            unpriced=spent.unpriced + (cost is None),
        )


def read_reply(reply: Reply, type_: type[msgspec.Struct]) -> tuple[Heard, str]:
    """What a reply says, and the complaint that goes back to the judge where it is off the schema.

    Read by the schema alone: a verdict that stands anywhere in other words is none. The complaint may repeat a word of
    the judge; `detail` has the field only.
    """
    if (ending := _ENDINGS.get(reply.outcome)) is not None:
        return Heard(judging=ending, detail=reply.outcome.value), ""
    if (what := _UNUSABLE.get(reply.outcome)) is not None:
        return Heard(judging=Judging.OFF_SCHEMA, detail=reply.outcome.value), what
    try:
        record = msgspec.json.decode(reply.text, type=type_)
    except msgspec.ValidationError as error:
        complaint = str(error)
        field = re.match(r"\w*", complaint.rpartition("`$.")[2])
        known = field is not None and field[0] in type_.__struct_fields__
        return Heard(
            judging=Judging.OFF_SCHEMA, detail=f"wrong {field[0] if field and known else 'fields'}"
        ), complaint
    except (msgspec.DecodeError, UnicodeEncodeError):
        return Heard(judging=Judging.OFF_SCHEMA, detail="no JSON"), "it was not one JSON object"
    return Heard(judging=Judging.JUDGED, values=fields_of(record)), ""


class _Round:
    def __init__(self, total: int, on_progress: OnProgress | None) -> None:
        self._total, self._on_progress = total, on_progress
        self._endings: Counter[str] = Counter()

    def took(self, heard: Heard, spent: Spent) -> None:
        self._endings[heard.judging.value] += 1
        if self._on_progress is not None:
            progress = Progress(
                done=self._endings.total(), total=self._total, endings=dict(self._endings), spent=spent
            )
            self._on_progress(progress)
