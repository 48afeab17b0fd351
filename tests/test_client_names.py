"""Model names, and the keys that go with them."""

from __future__ import annotations

import asyncio
import re
import traceback

import pytest

from aligntax.client import ClientSettings, open_model, parse_name
from aligntax.client.names import PROVIDERS, WIRES, find_key
from aligntax.client.transport import Transport
from aligntax.errors import InputError, UpstreamError
from documents import ROOT
from model_server import ModelServer, asking, failing

SECRET = "sk-verysecret-0123456789"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("name", "provider", "model", "protocol"),
    [
        ("openai/gpt-4o-mini", "openai", "gpt-4o-mini", "openai_chat"),
        ("openai-responses/gpt-5", "openai-responses", "gpt-5", "openai_responses"),
        ("anthropic/claude-sonnet-4-5", "anthropic", "claude-sonnet-4-5", "anthropic"),
        ("openai:gpt-4o", "openai", "gpt-4o", "openai_chat"),
        ("openai:chat:gpt-4o", "openai", "gpt-4o", "openai_chat"),
        ("openai:responses:gpt-5", "openai-responses", "gpt-5", "openai_responses"),
        ("anthropic:messages:claude-x", "anthropic", "claude-x", "anthropic"),
        ("openai/ft:gpt-4o:acme", "openai", "ft:gpt-4o:acme", "openai_chat"),
        ("openai:ft:gpt-4o:acme", "openai", "ft:gpt-4o:acme", "openai_chat"),
    ],
)
def test_a_name_says_provider_model_and_protocol(name, provider, model, protocol):
    target = parse_name(name)
    assert (target.provider, target.model, target.protocol) == (provider, model, protocol)
    assert target.name == f"{provider}/{model}"


def test_a_compatible_server_is_found_by_the_variables_of_its_name(monkeypatch):
    monkeypatch.setenv("MY_VLLM_BASE_URL", "http://10.0.0.5:8000/v1/")
    monkeypatch.setenv("MY_VLLM_API_KEY", SECRET)
    target = parse_name("openai-api/my-vllm/meta-llama/Llama-3:8b")
    assert target.base_url == "http://10.0.0.5:8000/v1"
    assert target.model == "meta-llama/Llama-3:8b"
    assert target.tokens_field == "max_tokens"
    assert find_key(target) == SECRET
    assert parse_name("openai-api:my-vllm:llama3:8b").name == "openai-api/my-vllm/llama3:8b"


def test_a_server_of_ones_own_needs_no_key_and_the_vendor_does(monkeypatch):
    monkeypatch.setenv("LOCAL_BASE_URL", "http://127.0.0.1:1/v1")
    assert find_key(parse_name("openai-api/local/m")) is None
    assert find_key(parse_name("openai/m", base_url="http://127.0.0.1:1/v1")) is None
    with pytest.raises(InputError, match=r"openai/m: there is no API key \(set OPENAI_API_KEY"):
        open_model("openai/m")
    with pytest.raises(InputError, match="ANTHROPIC_API_KEY"):
        open_model("anthropic/m")


@pytest.mark.parametrize(
    ("url", "field"),
    [
        ("https://api.openai.com/v1", "max_completion_tokens"),
        ("https://ward.openai.azure.com/openai/v1", "max_completion_tokens"),
        ("https://notopenai.com/v1", "max_tokens"),
        ("http://127.0.0.1:8000/v1", "max_tokens"),
    ],
)
def test_the_limit_of_an_answer_has_the_name_that_the_address_knows(url, field):
    assert parse_name("openai/m", base_url=url).tokens_field == field


def test_the_environment_may_name_another_address(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "https://gateway.example/openai/v1")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "https://gateway.example")
    assert parse_name("openai/m").base_url == "https://gateway.example/openai/v1"
    assert parse_name("anthropic/m").base_url == "https://gateway.example/v1"
    assert parse_name("openai/m").tokens_field == "max_tokens"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("opnai/gpt-4o", "did you mean openai"),
        ("claude", "write openai/MODEL"),
        ("openai/", "names no model"),
        ("openai", "names no model"),
        ("openai-api/local", "OPENAI|names no server or no model"),
        ("openai-api/nowhere/m", "set NOWHERE_BASE_URL"),
        ("fake/model", "aligntax.testing.FakeModel"),
    ],
)
def test_a_wrong_name_is_said_with_its_remedy(name, said):
    with pytest.raises(InputError, match=said):
        parse_name(name)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/v1",
        "host:8000",
        "http://",
        "https://user:pw@host/v1",
        "http://h/v1?key=1",
        "http://h:99999",
    ],
)
def test_what_is_no_base_url_is_refused(url):
    with pytest.raises(InputError, match="base URL"):
        parse_name("openai/m", base_url=url)


@pytest.mark.parametrize("key", ["sk with blank", "sk-\u00e9", "sk-1\n2"])
def test_what_cannot_be_a_key_is_refused_and_not_shown(key):
    with pytest.raises(InputError) as caught:
        find_key(parse_name("openai/m"), key)
    assert key not in str(caught.value)


@pytest.mark.parametrize("key", [SECRET, "verysecret7f3a9c"])
def test_a_key_is_in_no_repr_and_in_no_error(monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    echoed = failing(401, f"Incorrect API key provided: {key}. Bearer {key}", code=f"invalid {key}")

    async def ask():
        async with ModelServer(lambda call: echoed) as server:
            model = open_model("openai/m", base_url=server.url)
            async with model:
                shown = [
                    repr(model),
                    str(model),
                    repr(model._transport),
                    repr(model.target),
                    repr(model.settings),
                ]
                try:
                    await model.send(asking())
                except UpstreamError as error:
                    shown += [str(error), repr(error), "".join(traceback.format_exception(error))]
            assert server.calls[0].headers["authorization"] == f"Bearer {key}"
            return shown

    shown = asyncio.run(ask())
    assert "check OPENAI_API_KEY" in shown[-1]
    assert not [text for text in shown if "verysecret" in text]


def test_every_protocol_of_a_provider_is_there(monkeypatch):
    for provider in PROVIDERS:
        target = parse_name(f"{provider}/m", base_url="http://127.0.0.1:1/v1")
        assert target.protocol in WIRES
        assert isinstance(open_model(f"{provider}/m", base_url=target.base_url)._transport, Transport)


def test_every_provider_and_setting_is_on_the_page():
    named = set(re.findall(r"`([^`\n]+)`", (ROOT / "docs" / "reference" / "models.md").read_text("utf-8")))
    assert [name for name in ClientSettings.__struct_fields__ if name not in named] == []
    assert [provider for provider in PROVIDERS if f"{provider}/MODEL" not in named] == []
