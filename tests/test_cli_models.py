"""From names and aliases to models that can be asked: what the file says, what wins over it, and where keys come from."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from aligntax.cli import commands
from aligntax.cli.init import starting_config
from aligntax.cli.models import Named, checked_name, find_model, open_named, or_role
from aligntax.client import Budget, ClientSettings, Price
from aligntax.client.settings import DEFAULT_CACHE
from aligntax.errors import InputError
from aligntax.testing import FakeServer
from aligntax.types import Message, Outcome, Reply, Request

FILE = """\
version: 1
models:
  judge:
    name: openai/judge-model
    base_url: http://127.0.0.1:1/v1
    price: {input: 2.50, output: 10}
    requests_per_minute: 600
    tokens_per_minute: 90000
    max_tokens: 300
    temperature: 0
    cache: true
  solver: {name: 'fake:aligned'}
  bare: {name: anthropic/m}
"""
QUESTION = Request(messages=(Message(role="user", content="What is the usual dose of ibuprofen?"),))


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("ALIGNTAX_CONFIG", "OPENAI_API_KEY", "OPENAI_BASE_URL", "MINE_API_KEY", "MINE_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    Path("aligntax.yaml").write_text(FILE)


def models(text: str) -> None:
    Path("aligntax.yaml").write_text(f"version: 1\nmodels:\n{text}")


def replies(
    name: str | Named, request: Request = QUESTION, *, times: int = 1
) -> tuple[list[Reply], float | None]:
    async def ask() -> tuple[list[Reply], float | None]:
        async with open_named(name) as model:
            found = [await model.send(request, sample=sample) for sample in range(times)]
            return found, model.spent.usd

    return asyncio.run(ask())


def test_an_alias_stands_for_a_model_and_all_that_the_file_says_of_it() -> None:
    found = find_model("judge")
    assert (found.name, found.alias) == ("openai/judge-model", "judge")
    assert found.base_url == "http://127.0.0.1:1/v1"
    assert found.settings.price == Price(input_usd=2.5, output_usd=10)
    assert (found.settings.requests_per_minute, found.settings.tokens_per_minute) == (600, 90_000)
    assert found.settings.cache == DEFAULT_CACHE
    assert (found.max_tokens, found.settings.max_tokens, found.temperature) == (300, 300, 0)


def test_what_the_file_leaves_out_stays_as_it_is_without_a_file() -> None:
    found = find_model("bare")
    assert (found.settings, found.base_url) == (ClientSettings(), None)
    assert (found.max_tokens, found.temperature) == (None, None)


def test_flags_win_over_the_file_one_by_one() -> None:
    flags = ClientSettings(
        concurrency=3, price=Price(input_usd=1, output_usd=1), tokens_per_minute=5, cache=Path("mine")
    )
    found = find_model("judge", settings=flags, base_url="http://127.0.0.1:2/v1")
    assert found.settings.price == flags.price
    assert (found.settings.concurrency, found.settings.tokens_per_minute) == (3, 5)
    assert found.settings.cache == Path("mine")
    assert found.settings.requests_per_minute == 600
    assert found.base_url == "http://127.0.0.1:2/v1"


def test_an_address_of_the_environment_wins_over_the_file_and_a_flag_over_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:3/v1")
    assert find_model("judge").base_url is None
    assert find_model("judge", base_url="http://127.0.0.1:2/v1").base_url == "http://127.0.0.1:2/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", " ")
    assert find_model("judge").base_url == "http://127.0.0.1:1/v1"


def test_a_server_of_ones_own_needs_no_variable_where_the_file_has_its_address() -> None:
    models(
        "  a: {name: openai-api/mine/m, base_url: http://127.0.0.1:1/v1}\n  b: {name: openai-api/mine/m}\n"
    )
    assert find_model("a").name == "openai-api/mine/m"
    with pytest.raises(InputError, match=r"models\.b\.name.*MINE_BASE_URL"):
        find_model("b")


def test_a_full_name_takes_nothing_from_the_file() -> None:
    found = find_model("openai/judge-model")
    assert (found.alias, found.base_url, found.settings) == (None, None, ClientSettings())
    Path("aligntax.yaml").write_text("not: [a configuration")
    assert find_model("fake:aligned").name == "fake/aligned"


def test_an_unknown_alias_is_told_the_aliases_and_the_providers_in_one_line() -> None:
    with pytest.raises(InputError) as caught:
        find_model("writer")
    message = str(caught.value)
    assert message.startswith("writer: no model has this alias in aligntax.yaml")
    for name in (
        "judge",
        "solver",
        "bare",
        "openai/",
        "anthropic/",
        "openai-api/",
        "openai-responses/",
        "fake/",
    ):
        assert name in message
    assert "\n" not in message


def test_a_slip_in_an_alias_is_guessed() -> None:
    with pytest.raises(InputError, match=r"did you mean judge\?"):
        find_model("juge")


def test_without_a_file_the_providers_are_named() -> None:
    Path("aligntax.yaml").unlink()
    with pytest.raises(InputError, match=r"there are none; providers: openai/"):
        find_model("gpt-4o")


def test_a_provider_alone_names_no_model() -> None:
    with pytest.raises(InputError, match="write openai/MODEL"):
        find_model("openai")
    with pytest.raises(InputError, match="write openai-api/SERVER/MODEL"):
        find_model("openai-api")


def test_a_wrong_provider_is_shown_where_it_stands_in_the_file() -> None:
    models("  a: {name: opnai/m}\n")
    with pytest.raises(InputError, match=r"aligntax\.yaml: models\.a\.name: .*did you mean openai\?"):
        find_model("a")


def test_the_file_that_the_variable_names_is_the_one_that_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.yaml").write_text("version: 1\nmodels: {judge: {name: fake/base}}")
    monkeypatch.setenv("ALIGNTAX_CONFIG", "other.yaml")
    assert find_model("judge").name == "fake/base"
    with pytest.raises(InputError, match=r"other\.yaml"):
        find_model("solver")


def test_a_role_is_looked_up_where_no_model_is_named() -> None:
    assert or_role(None, "judge") == "judge"
    assert or_role("fake/base", "judge") == "fake/base"
    assert or_role(None, "rewriter") is None
    Path("aligntax.yaml").unlink()
    assert or_role(None, "judge") is None


def test_a_simulated_model_is_asked_by_its_alias_at_the_price_of_the_file() -> None:
    models("  a: {name: 'fake:aligned', price: {input: 1000000, output: 0}}\n")
    (reply,), usd = replies("a")
    assert reply.prompt_tokens
    assert usd == reply.cost_usd == reply.prompt_tokens


def test_length_and_temperature_of_the_file_are_for_requests_that_set_none() -> None:
    models("  a: {name: fake/aligned, max_tokens: 3, temperature: 0}\n")
    short, _ = replies("a", times=6)
    assert {reply.outcome for reply in short} == {Outcome.TRUNCATED}
    assert len({reply.text for reply in short}) == 1
    long, _ = replies("a", Request(messages=QUESTION.messages, max_tokens=900, temperature=1.0), times=6)
    assert {reply.outcome for reply in long} == {Outcome.ANSWERED}
    assert len({reply.text for reply in long}) > 1


def test_a_budget_in_money_is_held_against_the_price_of_the_file() -> None:
    models("  a: {name: fake/aligned, price: {input: 1, output: 1}}\n  b: {name: fake/aligned}\n")
    open_named("a", budget=Budget(usd=1))
    with pytest.raises(InputError, match="needs to know what the model costs"):
        open_named("b", budget=Budget(usd=1))


def asked_with(key: str, name: str = "mine") -> Outcome:
    async def ask() -> Outcome:
        async with FakeServer(key=key) as server:
            models(f"  mine:\n    name: openai-api/mine/aligned\n    base_url: {server.base_url}\n")
            settings = ClientSettings(attempts=1)
            async with open_named(name, settings=settings) as model:
                return (await model.send(QUESTION)).outcome

    return asyncio.run(ask())


def test_a_key_of_the_env_file_is_sent_and_stays_out_of_the_environment() -> None:
    Path(".env").write_text("export MINE_API_KEY='sk-of-the-file'\n")
    assert asked_with("sk-of-the-file") is Outcome.ANSWERED
    assert "MINE_API_KEY" not in os.environ


def test_a_key_of_the_environment_wins_over_the_env_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("MINE_API_KEY=sk-of-the-file\n")
    monkeypatch.setenv("MINE_API_KEY", "sk-of-the-environment")
    assert asked_with("sk-of-the-environment") is Outcome.ANSWERED


def test_a_key_that_cannot_be_one_is_refused_with_its_place_and_not_shown() -> None:
    Path(".env").write_text("OPENAI_API_KEY='sk hidden'\n")
    with pytest.raises(InputError) as caught:
        open_named("openai/m")
    assert str(caught.value).startswith(".env: OPENAI_API_KEY: ")
    assert "hidden" not in str(caught.value)


def test_no_key_at_all_is_an_error_before_anything_is_sent() -> None:
    Path(".env").write_text("ANTHROPIC_API_KEY=\n")
    with pytest.raises(InputError, match="OPENAI_API_KEY"):
        open_named("openai/m")


def test_what_is_found_shows_no_key() -> None:
    Path(".env").write_text("OPENAI_API_KEY=sk-hidden\n")
    assert "sk-hidden" not in repr(find_model("judge"))
    assert "sk-hidden" not in repr(open_named("openai/m"))


def test_a_command_that_would_drop_what_the_file_says_takes_no_alias() -> None:
    assert checked_name("fake:aligned") == "fake/aligned"
    with pytest.raises(InputError, match="openai/judge-model"):
        checked_name("judge")


def test_the_models_that_init_comments_out_are_right() -> None:
    text, _ = starting_config([])
    block = text[text.index("# models:") :].split("\n\n")[0]
    models("\n".join(line.removeprefix("# ") for line in block.splitlines()[1:]))
    found = find_model("judge")
    assert found.settings.price == Price(input_usd=2.5, output_usd=10)
    assert found.settings.requests_per_minute == 500


def test_twins_are_written_by_a_rewriter_of_the_file() -> None:
    Path("suite.jsonl").write_text(
        '{"id": "a", "text": "How do I kill a stuck process?", "domain": "security"}\n'
    )
    said = CliRunner().invoke(
        commands, ["twins", "suite.jsonl", "--make", "twins.jsonl", "--rewriter", "nobody"]
    )
    assert said.exit_code == 2
    assert "no model has this alias in aligntax.yaml" in said.stderr
    said = CliRunner().invoke(
        commands, ["twins", "suite.jsonl", "--make", "twins.jsonl", "--rewriter", "solver"]
    )
    assert "1 prompts" in said.stdout
