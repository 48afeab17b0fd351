"""Model names: `provider/model`, and where that model is reached with which key."""

from __future__ import annotations

import difflib
import os
import re
from urllib.parse import urlsplit

import msgspec

from ..errors import InputError


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A vendor whose address is known."""

    protocol: str
    base_url: str
    prefix: str  # of its variables: PREFIX_API_KEY, PREFIX_BASE_URL


PROVIDERS: dict[str, Provider] = {
    "openai": Provider(protocol="openai_chat", base_url="https://api.openai.com/v1", prefix="OPENAI"),
    "openai-responses": Provider(
        protocol="openai_responses", base_url="https://api.openai.com/v1", prefix="OPENAI"
    ),
    "anthropic": Provider(protocol="anthropic", base_url="https://api.anthropic.com/v1", prefix="ANTHROPIC"),
}
COMPATIBLE = "openai-api"
"""Provider of any server that speaks OpenAI chat: openai-api/NAME/MODEL, reached at NAME_BASE_URL."""

WIRES: dict[str, str] = {
    "openai_chat": "openai_chat:WIRE",
    "openai_responses": "openai_responses:WIRE",
    "anthropic": "anthropic:WIRE",
}
"""Protocol -> "module:name" of its `Wire`."""

_FORMS = "openai/MODEL, openai-responses/MODEL, anthropic/MODEL or openai-api/NAME/MODEL"
_COLON_KINDS = {("openai", "chat"): "openai", ("openai", "responses"): "openai-responses",
                ("anthropic", "messages"): "anthropic"}  # fmt: skip
_MODERN_HOSTS = ("openai.com", "openai.azure.com", "services.ai.azure.com")


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Which model, where, in which protocol. Holds no key, so it may be shown and logged."""

    name: str  # as aligntax writes it: provider/model
    provider: str
    model: str  # as the vendor writes it
    protocol: str
    base_url: str  # no slash at its end
    key_variable: str  # environment variable that holds the key
    key_needed: bool  # the vendor's own address answers nobody without one
    tokens_field: str  # what OpenAI chat calls the limit of an answer at this address

    @property
    def host(self) -> str:
        """Host name of the base URL."""
        return urlsplit(self.base_url).hostname or ""


def parse_name(name: str, *, base_url: str | None = None) -> Target:
    """The model that `name` names; `base_url` overrides the vendor's address and the environment's.

    >>> parse_name("openai/gpt-4o-mini", base_url="http://127.0.0.1:8000/v1").model
    'gpt-4o-mini'
    >>> parse_name("openai:chat:gpt-4o", base_url="http://127.0.0.1:8000/v1").name
    'openai/gpt-4o'

    Raises InputError for an unknown provider, a name without a model, or an address that is missing or no URL.
    """
    provider, model = _split(name.strip())
    if provider == COMPATIBLE:
        return _compatible(name, model, base_url)
    known = PROVIDERS.get(provider)
    if known is None:
        raise InputError(f"no provider is called {provider!r}", where=name, remedy=_remedy(provider))
    if not model:
        raise InputError("this names no model", where=name, remedy=f"write {provider}/MODEL")
    variable = f"{known.prefix}_BASE_URL"
    address = base_url or os.environ.get(variable, "").strip()
    url = _url(address or known.base_url, "base URL" if base_url else variable, known.protocol)
    return Target(
        name=f"{provider}/{model}",
        provider=provider,
        model=model,
        protocol=known.protocol,
        base_url=url,
        key_variable=f"{known.prefix}_API_KEY",
        key_needed=not address,
        tokens_field=_tokens_field(url),
    )


def find_key(target: Target, api_key: str | None = None) -> str | None:
    """The key to send: `api_key`, else the one in the environment; None where a server of one's own wants none.

    Raises InputError where the vendor needs one, or where what is there cannot be a key. Never shows it.
    """
    where = "api_key" if api_key else target.key_variable
    key = (api_key or os.environ.get(target.key_variable, "")).strip()
    if not key:
        if target.key_needed:
            raise InputError(
                "there is no API key",
                where=target.name,
                remedy=f"set {target.key_variable} in the environment",
            )
        return None
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InputError(
            "this holds blanks or signs that no key has",
            where=where,
            remedy="copy the key again, and nothing else",
        )
    return key


def _split(name: str) -> tuple[str, str]:
    """Provider and model. The first sign of `/` and `:` decides; models hold both."""
    found = re.search(r"[/:]", name)
    if not found:
        return name, ""
    provider, rest = name[: found.start()], name[found.end() :]
    if found.group() == ":":
        kind, colon, model = rest.partition(":")
        if provider == COMPATIBLE and colon:
            return provider, f"{kind}/{model}"
        if colon and (provider, kind) in _COLON_KINDS:
            return _COLON_KINDS[provider, kind], model
    return provider, rest


def _compatible(name: str, rest: str, base_url: str | None) -> Target:
    server, _, model = rest.partition("/")
    if not server or not model:
        raise InputError(
            "this names no server or no model", where=name, remedy=f"write {COMPATIBLE}/NAME/MODEL"
        )
    prefix = re.sub(r"\W", "_", server, flags=re.ASCII).upper()
    variable = f"{prefix}_BASE_URL"
    address = base_url or os.environ.get(variable, "").strip()
    if not address:
        raise InputError(
            f"nobody has said where {server} is",
            where=name,
            remedy=f"set {variable}, such as http://127.0.0.1:8000/v1",
        )
    url = _url(address, "base URL" if base_url else variable, "openai_chat")
    return Target(
        name=f"{COMPATIBLE}/{server}/{model}",
        provider=f"{COMPATIBLE}/{server}",
        model=model,
        protocol="openai_chat",
        base_url=url,
        key_variable=f"{prefix}_API_KEY",
        key_needed=False,
        tokens_field=_tokens_field(url),
    )


def _tokens_field(url: str) -> str:
    """The newer name at OpenAI and Azure; the old one where servers are merely compatible."""
    host = urlsplit(url).hostname or ""
    modern = any(host == known or host.endswith(f".{known}") for known in _MODERN_HOSTS)
    return "max_completion_tokens" if modern else "max_tokens"


def _url(text: str, where: str, protocol: str) -> str:
    try:
        parts = urlsplit(text)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise InputError(
            "this is no address of a server", where=where, remedy="write http:// or https://, host and path"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(
            "a base URL holds no user, password, query or fragment",
            where=where,
            remedy="put the key into the environment",
        )
    bare = text.rstrip("/")
    # Anthropic's own tools leave the version out of ANTHROPIC_BASE_URL.
    return f"{bare}/v1" if protocol == "anthropic" and not parts.path.strip("/") else bare


def _remedy(provider: str) -> str:
    if provider == "fake":
        return "fake models are made by the command line, and in Python by aligntax.testing.FakeModel"
    near = difflib.get_close_matches(provider.lower(), [*PROVIDERS, COMPATIBLE], n=1)
    return f"did you mean {near[0]}?" if near else f"write {_FORMS}"
