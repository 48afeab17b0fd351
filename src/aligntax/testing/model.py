"""A simulated model in this process: a `Send` whose answers follow from a seed and stated rules."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from random import Random

import msgspec

from ..errors import InputError, UpstreamError
from ..types import Fact, Intent, Outcome, Prompt, Reply, Request
from . import wording
from .behaviour import Behaviour, Chances, behaviour_of
from .faults import FAILING, PASSING, Faults, random_of
from .schema import filled

PREFIX = "fake/"
CHARACTERS_A_TOKEN = 4

_BLOCKS: dict[str, tuple[Outcome, str]] = {
    "refusal": (Outcome.PROVIDER_REFUSED, "refusal"),
    "input_blocked": (Outcome.INPUT_BLOCKED, "content_filter"),
    "output_blocked": (Outcome.OUTPUT_BLOCKED, "content_filter"),
    "empty": (Outcome.EMPTY, "stop"),
}
Answers = Mapping[str, str] | Callable[[Request], str | None]


class FakeModel:
    """A SIMULATOR of a model, for tests and for trying things without a key. It is no model, and proves nothing of one.

    An instance is called as a `Send`. `model` is `fake/PERSONA` (see PERSONAS), with `@SEED` after it if wanted;
    `behaviour` replaces the persona's. The same seed, model, request and sample give the same reply. The sample is
    the number that `sample` names, else `request.seed`, else how many times this instance has met the request; at
    temperature 0 all samples are the first. How likely one prompt is to be refused has a part of its own that depends on the seed and the
    prompt alone, so that two personas with one seed differ by their behaviour and not by luck.

    Knowledge comes from outside: `prompts` are prompts of a suite, whose facts it states (less those it loses) and
    whose harmful ones it knows as such; `answers` are ready answers by the text of the last user turn, or a function
    of the request (None: compose one). A ready answer is still refused, hedged or padded as the behaviour has it.

    `script` orders what happens to the first calls, and `faults` the probability of an event at every later call, both
    by names of EVENTS. Faults raise UpstreamError as a real endpoint does. `price` is (input, output) in USD per
    million tokens; without one the cost of a reply is unknown. `delay_s` is waited before every reply.
    """

    def __init__(  # noqa: PLR0913 - each is one knob of the simulation
        self,
        model: str = "fake/aligned",
        *,
        seed: int = 0,
        behaviour: Behaviour | None = None,
        prompts: Iterable[Prompt] = (),
        answers: Answers | None = None,
        script: Iterable[str] = (),
        faults: Mapping[str, float] | None = None,
        price: tuple[float, float] | None = None,
        delay_s: float = 0.0,
        stall_s: float = 0.0,
    ) -> None:
        persona, _, own_seed = model.removeprefix(PREFIX).partition("@")
        if own_seed and not own_seed.isdecimal():
            raise InputError("the seed after @ is not a number", where=model, remedy="write fake/aligned@7")
        self.name = model if model.startswith(PREFIX) else f"{PREFIX}{model}"
        self.seed = int(own_seed) if own_seed else seed
        self._persona = persona
        self.behaviour = behaviour_of(persona) if behaviour is None else behaviour
        self._known = {prompt.text: prompt for prompt in prompts}
        self._answers = answers
        self._faults = Faults(script, faults, self.seed)
        self._price, self._delay_s, self._stall_s = price, delay_s, stall_s
        self._met: Counter[bytes] = Counter()

    @property
    def calls(self) -> int:
        """How many calls came so far, those that failed on order included."""
        return self._faults.calls

    async def __call__(self, request: Request, *, sample: int | None = None) -> Reply:
        """The reply to a request. Raises UpstreamError where the script or the faults order one."""
        sample = self._sample(request) if sample is None else sample
        event = self._faults.next()
        if event == "stall":
            await asyncio.sleep(self._stall_s)
        elif self._delay_s:
            await asyncio.sleep(self._delay_s)
        if event in FAILING:
            status = int(event) if event.isdecimal() else None
            raise UpstreamError(f"simulated {event}", status=status, retryable=event in PASSING)
        return self.reply(request, sample, event)

    async def stream(self, request: Request, *, piece: int = 24) -> AsyncIterator[str]:
        """The text of the reply in pieces of at most `piece` characters."""
        text = (await self(request)).text
        for start in range(0, len(text), piece):
            await asyncio.sleep(0)
            yield text[start : start + piece]

    def chances(self, request: Request) -> Chances:
        """The true probabilities of what this request brings, for tests that must find them again."""
        prompt = _asked(request)
        known = self._known.get(prompt)
        risk = self.behaviour.risk(
            prompt, request.system, harmful=known is not None and known.intent is Intent.HARMFUL
        )
        effect = self._random("effect", prompt).gauss(0.0, self.behaviour.spread)
        return self.behaviour.chances(risk, effect)

    def reply(self, request: Request, sample: int = 0, event: str = "ok") -> Reply:
        """The reply of one sample, at once and without any failure of the transport."""
        chance = self._random(self._persona, _key(request), str(0 if request.temperature == 0 else sample))
        if event in _BLOCKS:
            return self._ended(request, "", *_BLOCKS[event])
        if request.schema is not None and self._ready(request) is None:
            return self._cut(request, filled(request.schema, chance), event)
        text, outcome = self._text(request, chance)
        if outcome is not Outcome.ANSWERED:
            return self._ended(request, text, outcome, "content_filter")
        return self._cut(request, text, event)

    def _text(self, request: Request, chance: Random) -> tuple[str, Outcome]:
        chances, prompt, draw = self.chances(request), _asked(request), chance.random()
        hedges, pads = chance.random() < chances.hedge, chance.random() < chances.pad
        if draw < chances.block:
            return "", Outcome.INPUT_BLOCKED
        draw -= chances.block
        if draw < chances.refuse:
            return wording.refusal(chance, prompt), Outcome.ANSWERED
        draw -= chances.refuse
        if draw < chances.half:
            points = self._points(request, chance)
            return wording.half_refusal(chance, prompt, points[: max(1, len(points) // 3)]), Outcome.ANSWERED
        if draw < chances.half + chances.avoid:
            return wording.avoidance(chance, prompt), Outcome.ANSWERED
        ready = self._ready(request)
        points = [ready] if ready is not None else self._points(request, chance)
        text = (
            wording.hedged_answer(chance, prompt, points)
            if hedges
            else ready or wording.answer(chance, prompt, points)
        )
        return (wording.padded(chance, prompt, text) if pads else text), Outcome.ANSWERED

    def _points(self, request: Request, chance: Random) -> list[str]:
        prompt = _asked(request)
        known = self._known.get(prompt)
        facts: tuple[Fact, ...] = known.facts if known is not None else ()
        kept = [fact for fact in facts if chance.random() >= self.behaviour.loss]
        if facts and not kept:
            return wording.statements(chance, prompt, ())
        return wording.statements(chance, prompt, kept)

    def _ready(self, request: Request) -> str | None:
        if callable(self._answers):
            return self._answers(request)
        return None if self._answers is None else self._answers.get(_asked(request))

    def _cut(self, request: Request, text: str, event: str) -> Reply:
        most = request.max_tokens * CHARACTERS_A_TOKEN if request.max_tokens is not None else len(text)
        if event == "truncated":
            most = min(most, len(text) // 2)
        if len(text) > most:
            return self._ended(request, text[:most], Outcome.TRUNCATED, "length")
        return self._ended(request, text, Outcome.ANSWERED, "stop")

    def _ended(self, request: Request, text: str, outcome: Outcome, raw: str) -> Reply:
        asked = sum(len(turn.content) for turn in request.messages) + len(request.system or "")
        tokens_in, tokens_out = tokens(asked), tokens(len(text))
        price = self._price
        cost = None if price is None else (tokens_in * price[0] + tokens_out * price[1]) / 1e6
        return Reply(
            text=text,
            outcome=outcome,
            outcome_raw=raw,
            model_requested=self.name,
            model_served=self.name,
            prompt_tokens=tokens_in,
            completion_tokens=tokens_out,
            cost_usd=cost,
            latency_ms=self._delay_s * 1000 or None,
        )

    def _sample(self, request: Request) -> int:
        if request.seed is not None:
            return request.seed
        key = hashlib.blake2b(_key(request).encode(), digest_size=16).digest()
        self._met[key] += 1
        return self._met[key] - 1

    def _random(self, *parts: str) -> Random:
        return random_of(self.seed, *parts)


def tokens(characters: int) -> int:
    """A rough count of tokens, four characters each; what the simulator charges and reports."""
    return -(-characters // CHARACTERS_A_TOKEN)


def _asked(request: Request) -> str:
    return next((turn.content for turn in reversed(request.messages) if turn.role == "user"), "")


def _key(request: Request) -> str:
    return msgspec.json.encode(msgspec.structs.replace(request, seed=None)).decode()
