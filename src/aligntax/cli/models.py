"""From the name of a model, or its alias in aligntax.yaml, to one that can be asked."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import msgspec

from ..errors import InputError

if TYPE_CHECKING:
    from ..client import Budget, ClientSettings, Spent
    from ..config import ModelEntry
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


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """A model that a name or an alias stands for, and how it is to be asked: flags, environment and file in one."""

    name: str  # provider/model, as aligntax writes it
    alias: str | None = None  # what aligntax.yaml calls it, where it was named so
    base_url: str | None = None  # None: the environment's, else the vendor's
    settings: ClientSettings
    max_tokens: int | None = None  # of requests that set none
    temperature: float | None = None  # likewise


def find_model(name: str, *, settings: ClientSettings | None = None, base_url: str | None = None) -> Named:
    """The model of this name, which is `provider/model` or an alias of aligntax.yaml.

    What the file says of an alias fills in what `settings` leaves at its default. `base_url` is a flag's: it wins over
    the environment, and the environment over the file. Nobody is asked, and no key is needed.
    Raises InputError for a name that is neither.
    """
    from ..client import ClientSettings

    settings = settings or ClientSettings()
    if _is_full(name):
        return Named(name=_checked(name, base_url), base_url=base_url, settings=settings)
    entry, place = _entry(name)
    address = base_url or _own_address(entry)
    try:
        full = _checked(entry.name, address)
    except InputError as error:
        if error.where != entry.name:
            raise
        raise InputError(error.what, where=f"{place}: models.{name}.name", remedy=error.remedy) from error
    return Named(
        name=full,
        alias=name,
        base_url=address,
        settings=_filled(settings, entry),
        max_tokens=entry.max_tokens,
        temperature=entry.temperature,
    )


def or_role(name: str | None, role: str) -> str | None:
    """`name`; where a command was given none, `role` if aligntax.yaml has a model for it, else None."""
    if name is not None:
        return name
    from ..config import find_config

    config = find_config()
    return role if config and role in config.models else None


def open_named(
    name: str | Named,
    *,
    prompts: Sequence[Prompt] = (),
    settings: ClientSettings | None = None,
    budget: Budget | None = None,
    base_url: str | None = None,
) -> Opened:
    """The model of this name or alias (see `find_model`; its result is taken as it is, without the file again).

    `fake/PERSONA` is simulated, and knows the facts and intents of `prompts`. A key comes from the environment, else
    from `.env`. Raises InputError for an unknown name, a missing key, and a budget in money without a price.
    """
    found = name if isinstance(name, Named) else find_model(name, settings=settings, base_url=base_url)
    model: Opened
    if found.name.startswith(SIMULATED):
        model = _Simulated(found.name, prompts, found.settings, budget)
    else:
        from ..client import open_model

        key = _key(found)
        model = open_model(
            found.name, base_url=found.base_url, api_key=key, settings=found.settings, budget=budget
        )
    return model if found.max_tokens is None and found.temperature is None else _Filling(model, found)


def checked_name(name: str, base_url: str | None = None) -> str:
    """The full name as aligntax writes it. Raises InputError for one that cannot be; asks for no key, and nobody.

    An alias is refused: its name alone would leave out its address, price and limits. `find_model` takes both.
    """
    if not _is_full(name):
        found = find_model(name, base_url=base_url)
        raise InputError(
            "this command takes no alias",
            where=name,
            remedy=f"write --model {found.name}, its price and limits",
        )
    return _checked(name, base_url)


def simulated_name(name: str) -> str:
    """The name with its slash, where it is of a simulated model and was written `fake:PERSONA`."""
    return SIMULATED + name[len(SIMULATED) :] if name.startswith("fake:") else name


def _is_full(name: str) -> bool:
    return "/" in name or ":" in name


def _checked(name: str, base_url: str | None) -> str:
    if (name := simulated_name(name)).startswith(SIMULATED):
        from ..testing import FakeModel

        return FakeModel(name).name
    from ..client import parse_name

    return parse_name(name, base_url=base_url).name


def _entry(alias: str) -> tuple[ModelEntry, str]:
    """What aligntax.yaml says of an alias, and what errors call the file."""
    from ..client.names import COMPATIBLE, PROVIDERS
    from ..config import CONFIG_NAME, config_file, read_config

    if alias in {*PROVIDERS, COMPATIBLE, "fake"}:
        form = f"{alias}/SERVER/MODEL" if alias == COMPATIBLE else f"{alias}/MODEL"
        raise InputError("this names no model", where=alias, remedy=f"write {form}")
    file = config_file()
    models = read_config(file)[0].models if file else {}
    if alias in models:
        return models[alias], str(file)
    near = difflib.get_close_matches(alias.lower(), models, n=1)
    known = f"aliases there: {', '.join(models)}" if models else "there are none"
    if near:
        known = f"did you mean {near[0]}? {known}"
    providers = ", ".join(f"{name}/" for name in (*PROVIDERS, COMPATIBLE, "fake"))
    raise InputError(
        f"no model has this alias in {file or CONFIG_NAME}",
        where=alias,
        remedy=f"{known}; providers: {providers}",
    )


def _own_address(entry: ModelEntry) -> str | None:
    """The address in the file, unless the environment has one for this provider."""
    if entry.base_url is None or simulated_name(entry.name).startswith(SIMULATED):
        return None
    from ..client import parse_name

    variable = parse_name(entry.name, base_url=entry.base_url).key_variable.replace("_API_KEY", "_BASE_URL")
    return None if os.environ.get(variable, "").strip() else entry.base_url


def _filled(settings: ClientSettings, entry: ModelEntry) -> ClientSettings:
    """`settings`, and what the file says where they say nothing."""
    from ..client import ClientSettings, Price
    from ..client.settings import DEFAULT_CACHE

    price = entry.price and Price(input_usd=entry.price.input, output_usd=entry.price.output)
    said = {
        "price": price,
        "requests_per_minute": entry.requests_per_minute,
        "tokens_per_minute": entry.tokens_per_minute,
        "max_tokens": entry.max_tokens,
        "cache": DEFAULT_CACHE if entry.cache else None,
    }
    default = ClientSettings()
    new = {
        field: value
        for field, value in said.items()
        if value is not None and getattr(settings, field) == getattr(default, field)
    }
    return msgspec.structs.replace(settings, **new)


def _key(found: Named) -> str | None:
    """The key of `.env`; None where the environment has one, which the client reads itself."""
    from ..client import parse_name
    from ..config import ENV_FILE, key_of

    variable = parse_name(found.name, base_url=found.base_url).key_variable
    key = key_of(variable)
    if key and (not key.isascii() or not key.isprintable() or " " in key):
        raise InputError(
            "this holds blanks or signs that no key has",
            where=f"{ENV_FILE}: {variable}",
            remedy="copy the key again",
        )
    return key


class _Filling:
    """A model whose requests get the length and the temperature of aligntax.yaml where they set none."""

    def __init__(self, model: Opened, found: Named) -> None:
        self._model, self._found = model, found

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def spent(self) -> Spent:
        return self._model.spent

    async def send(self, request: Request, *, sample: int = 0) -> Reply:
        found = self._found
        filled = msgspec.structs.replace(
            request,
            max_tokens=found.max_tokens if request.max_tokens is None else request.max_tokens,
            temperature=found.temperature if request.temperature is None else request.temperature,
        )
        return await self._model.send(filled, sample=sample)

    async def __aenter__(self) -> _Filling:
        await self._model.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._model.__aexit__(kind, error, trace)


class _Simulated:
    """A FakeModel with what real models have: a price, a budget, a count of what was spent."""

    def __init__(
        self, name: str, prompts: Sequence[Prompt], settings: ClientSettings, budget: Budget | None
    ) -> None:
        from ..client import Budget
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
