"""From the name of a model to one that can be asked: simulated ones here, all others through the client."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..client import Budget, ClientSettings, Spent
    from ..types import Prompt, Reply, Request

SIMULATED = "fake/"


class Opened(Protocol):
    """A model that can be asked, as an async context manager; the client's Model is one."""

    @property
    def name(self) -> str:
        """Provider and model."""

    @property
    def spent(self) -> Spent:
        """What has been used since it was opened."""

    async def send(self, request: Request, *, sample: int = 0) -> Reply:
        """The reply to one request; `sample` tells repeats apart."""

    async def __aenter__(self) -> Opened: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_named(
    name: str,
    *,
    prompts: Sequence[Prompt] = (),
    settings: ClientSettings | None = None,
    budget: Budget | None = None,
    base_url: str | None = None,
) -> Opened:
    """The model of this name. `fake/PERSONA` is simulated, and knows the facts and intents of `prompts`.

    Raises InputError for an unknown name, a missing key, and a budget in money without a price.
    """
    from ..client import ClientSettings, open_model

    name = simulated_name(name)
    settings = settings or ClientSettings()
    if name.startswith(SIMULATED):
        return _Simulated(name, prompts, settings, budget)
    model: Opened = open_model(name, base_url=base_url, settings=settings, budget=budget)
    return model


def checked_name(name: str, base_url: str | None = None) -> str:
    """The name as aligntax writes it. Raises InputError for one that cannot be; asks for no key, and nobody."""
    if (name := simulated_name(name)).startswith(SIMULATED):
        from ..testing import FakeModel

        return FakeModel(name).name
    from ..client import parse_name

    return parse_name(name, base_url=base_url).name


def simulated_name(name: str) -> str:
    """The name with its slash, where it is of a simulated model and was written `fake:PERSONA`."""
    return SIMULATED + name[len(SIMULATED) :] if name.startswith("fake:") else name


class _Simulated:
    """A FakeModel with what real models have: a price, a budget, a count of what was spent."""

    def __init__(
        self, name: str, prompts: Sequence[Prompt], settings: ClientSettings, budget: Budget | None
    ) -> None:
        from ..client import Budget
        from ..errors import InputError
        from ..testing import FakeModel

        if budget is not None and budget.usd is not None and settings.price is None:
            raise InputError(
                "a budget in money needs to know what the model costs",
                where=name,
                remedy="give --price 2.50/10",
            )
        price = settings.price
        self._model = FakeModel(
            name, prompts=prompts, price=None if price is None else (price.input_usd, price.output_usd)
        )
        self._settings, self._budget = settings, budget or Budget()
        self._calls = self._prompt_tokens = self._completion_tokens = 0
        self._usd = 0.0

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def spent(self) -> Spent:
        from ..client import Spent

        return Spent(
            calls=self._calls,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
            usd=self._usd if self._settings.price is not None else None,
        )

    async def send(self, request: Request, *, sample: int = 0) -> Reply:
        from ..client.budget import need

        wanted = need(request, self._settings)
        await self._budget.reserve(wanted)
        reply = await self._model(request, sample=sample)
        asked, said = reply.prompt_tokens or 0, reply.completion_tokens or 0
        self._budget.settle(wanted, usd=reply.cost_usd, tokens=asked + said)
        self._calls += 1
        self._prompt_tokens += asked
        self._completion_tokens += said
        self._usd += reply.cost_usd or 0.0
        return reply

    async def __aenter__(self) -> _Simulated:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
