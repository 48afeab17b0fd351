"""A judge: a model with a rubric, that gives verdicts on answers. It is a second score, and never a label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from ..errors import AlignTaxError, InputError
from ..types import Fact, Send
from .asking import Asker, Heard, Judging, OnProgress, Spent
from .rubric import Rubric, load_rubric, refuse_unusable, with_facts
from .schemas import answer_type
from .tables import Row, completeness_table, preference_table, rows_of, verdict_table
from .wording import LONGEST, Question, Text, listed, question

if TYPE_CHECKING:
    import polars as pl

ORDERS = ("first", "second", "tie")
"""What a rubric that compares two answers has to ask for, in a field `better`."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Two answers to one request, of two models A and B. Pairs of one `family` count as one piece of evidence."""

    id: str
    request: str
    a: str
    b: str
    family: str | None = None  # None: a family of its own
    system: str | None = None


class Judge:
    """A model that judges by a rubric. `send` is how it is reached; `rubric` a Rubric, or a name or file for load_rubric.

    `attempts` (1 or more) is how often one thing is asked in all while the reply is off the schema. `concurrency` bounds
    the calls in flight. A text longer than `longest` characters is shown without its middle. `temperature` None leaves
    it to the vendor, as some models want. `model` is the name that stands in the results.
    """

    def __init__(  # noqa: PLR0913 - each is one setting of the calls
        self,
        send: Send,
        rubric: Rubric | str,
        *,
        attempts: int = 2,
        concurrency: int = 8,
        model: str = "unnamed",
        longest: int = LONGEST,
        temperature: float | None = 0.0,
        max_tokens: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        if min(attempts, concurrency, longest) < 1:
            raise InputError("attempts, concurrency and longest must be 1 or more", where="Judge")
        self.rubric = rubric if isinstance(rubric, Rubric) else load_rubric(rubric)
        refuse_unusable(self.rubric)
        self.name = f"{model} {self.rubric.label}"
        self._asker = Asker(send, attempts=attempts, concurrency=concurrency, on_progress=on_progress)
        self._longest, self._temperature, self._max_tokens = longest, temperature, max_tokens

    def __repr__(self) -> str:
        return f"Judge({self.name!r})"

    @property
    def spent(self) -> Spent:
        """Calls, tokens and money so far."""
        return self._asker.spent

    @property
    def trouble(self) -> AlignTaxError | None:
        """What ended the last round before all was asked, such as an exhausted budget; None: nothing did."""
        return self._asker.trouble

    async def verdicts(
        self, answers: pl.DataFrame | pl.LazyFrame | Iterable[tuple[str, str]]
    ) -> pl.DataFrame:
        """A judgement of each answer, in their order: of exchanges or scanned rows, or of (request, answer) pairs.

        Columns: `id` (of pairs: their position); for each field of the rubric FIELD`_by_judge`, null unless judged;
        `score`, where the rubric asks for `answered`: 0 for full, 1 for part and none; `judge`, model and rubric;
        `judging`, see Judging; `judging_detail`, what was wrong; `judge_calls`; `cut`, whether the middle of a text was
        not shown. Only answers that ended by themselves are judged, the others are `not_asked`; no row is dropped.

        Raises InputError for a rubric that is not about one answer, and for missing columns; UpstreamError when no call
        can succeed.
        """
        if self._compares() or self._about_facts():
            raise InputError(
                "this rubric is not about one answer alone",
                where=self.rubric.label,
                remedy="use preferences() for two answers, completeness() for facts",
            )
        rows = rows_of(answers)
        heard = await self._heard([self._texts(row) for row in rows])
        return verdict_table([row.id for row in rows], heard, self.rubric, self.name)

    async def completeness(self, answers: Iterable[tuple[str, str, Sequence[Fact]]]) -> pl.DataFrame:
        """How each answer treats the facts it should state: (request, answer, facts), in their order.

        Columns: `id`, the position; `facts`, how many are required; `facts_by_judge`, for each stated, contradicted or
        absent; `completeness_by_judge`, stated / required, 0 to 1; `contradicted_by_judge`, how many; and those from
        `judge` on as in `verdicts`. Without facts or without text there is nothing to ask.
        """
        if not self._about_facts():
            raise InputError(
                "this rubric is not about facts", where=self.rubric.label, remedy='use "completeness"'
            )
        cases = list(answers)
        rows = rows_of([(request, answer) for request, answer, _ in cases])
        texts = [
            [*given, Text(name="facts", text=listed(facts))]
            if (given := self._texts(row)) and facts
            else None
            for row, (_, _, facts) in zip(rows, cases, strict=True)
        ]
        heard = await self._heard(texts, [len(facts) for _, _, facts in cases])
        return completeness_table([len(facts) for _, _, facts in cases], heard, self.name)

    async def preferences(self, pairs: Iterable[Pair]) -> pl.DataFrame:
        """Which of two answers is better, each pair asked in both orders; for `preference` to make a number of.

        Columns: `id`, `family`; `a_first` and `b_first`, what was said in each order: a, b or tie, null unless judged;
        `preferred`: what both orders say, else tie; null unless both were judged; `flipped`, whether the orders name
        different answers; `length_a`, `length_b` in characters; `judge`; `judging_a_first`, `judging_b_first`; `cut`.
        A pair where both answers are the same text is a tie in both orders, unasked.
        """
        if not self._compares():
            raise InputError(
                "this rubric does not compare two answers",
                where=self.rubric.label,
                remedy='ask for "better": first, second or tie',
            )
        kept = list(pairs)
        heard = await self._heard([texts for pair in kept for texts in self._both_orders(pair)])
        return preference_table(kept, heard[0::2], heard[1::2], self.name)

    async def _heard(
        self, texts: Sequence[list[Text] | None], facts: Sequence[int] | None = None
    ) -> list[Heard]:
        questions = []
        types: dict[int, tuple[Rubric, type[msgspec.Struct]]] = {}
        for place, given in enumerate(texts):
            count = 0 if facts is None else facts[place]
            if count not in types:
                rubric = with_facts(self.rubric, count) if count else self.rubric
                types[count] = rubric, answer_type(rubric.schema, rubric.label)
            rubric, type_ = types[count]
            questions.append(None if given is None else (self._question(rubric, given), type_))
        return await self._asker.ask(questions)

    def _question(self, rubric: Rubric, texts: Sequence[Text]) -> Question:
        return question(
            rubric.instructions,
            texts,
            rubric.schema,
            longest=self._longest,
            temperature=self._temperature,
            max_tokens=self._max_tokens,
        )

    def _texts(self, row: Row) -> list[Text] | None:
        if not row.whole or not row.answer.strip():
            return None
        around = (("system_prompt", row.system), ("earlier_turns", row.history))
        return [
            *(Text(name=name, text=text) for name, text in around if text),
            Text(name="request", text=row.request),
            Text(name="answer", text=row.answer),
        ]

    def _both_orders(self, pair: Pair) -> list[list[Text] | None]:
        if pair.a == pair.b:
            return [None, None]
        around = [Text(name="system_prompt", text=pair.system)] if pair.system else []
        around.append(Text(name="request", text=pair.request))
        return [
            [*around, Text(name="first_answer", text=first), Text(name="second_answer", text=second)]
            for first, second in ((pair.a, pair.b), (pair.b, pair.a))
        ]

    def _compares(self) -> bool:
        return set(self.rubric.schema["properties"].get("better", {}).get("enum", ())) == set(ORDERS)

    def _about_facts(self) -> bool:
        return list(self.rubric.schema["properties"]) == ["fact_1"]


def endings(judged: pl.DataFrame) -> dict[str, int]:
    """How many judgings ended in each way, every way of Judging named; for verdicts and completeness.

    Both orders of a pair are counted, one judging each.
    """
    names = [name for name in ("judging", "judging_a_first", "judging_b_first") if name in judged.columns]
    values = [value for name in names for value in judged[name].to_list()]
    return {ending.value: values.count(ending.value) for ending in Judging}
