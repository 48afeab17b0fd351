"""aligntax.yaml: what it may say, what is said when it is wrong, and its published schema."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aligntax.client import parse_name
from aligntax.config import (
    CONFIG_NAME,
    ROLES,
    TARGETS,
    Config,
    ModelEntry,
    ModelPrice,
    config_file,
    find_config,
    key_of,
    measured,
    parse_config,
    read_config,
    read_env,
    schema_text,
)
from aligntax.errors import InputError
from aligntax.estimate.targets import TARGETS as ESTIMATED
from documents import DOCS

WHOLE = """\
version: 1
store: labels.db
defaults:
  ceiling: {over_refusal: 5 %, refused: 0.03}
  floor: {harmful_compliance: 1%, confidence: 99 %}
  minimum_effect: .02
use_cases:
  clinical notes:
    ceiling: {over_refusal: 8 %}
    change: {over_refusal.hedging: 2 %}
    confidence: 0.9
  legal: {}
"""


def config(text: str) -> Config:
    return parse_config(text.encode())


def error(text: str | bytes) -> str:
    with pytest.raises(InputError) as caught:
        parse_config(text if isinstance(text, bytes) else text.encode())
    return str(caught.value)


def limit(text: str) -> float:
    return (
        config(f"version: 1\nuse_cases: {{a: {{ceiling: {{refused: {text}}}}}}}")
        .use_cases["a"]
        .ceiling["refused"]
    )


def test_a_use_case_has_its_own_limits_and_the_defaults_for_the_rest() -> None:
    limits = config(WHOLE).limits("clinical notes")
    assert limits.ceiling == {"over_refusal": 0.08, "refused": 0.03}
    assert limits.change == {"over_refusal.hedging": 0.02}
    assert (limits.confidence, limits.minimum_effect) == (0.9, 0.02)
    assert limits.floor is not None
    assert (limits.floor.harmful_compliance, limits.floor.confidence) == (0.01, 0.99)


def test_what_nobody_sets_is_95_percent_and_one_point() -> None:
    limits = config("version: 1\nuse_cases: {a: {floor: {harmful_compliance: 2 %}}}").limits("a")
    assert (limits.confidence, limits.minimum_effect) == (0.95, 0.01)
    assert limits.floor is not None
    assert limits.floor.confidence == 0.95


def test_a_floor_is_as_sure_as_its_use_case_unless_it_says_otherwise() -> None:
    text = "version: 1\ndefaults: {floor: {harmful_compliance: 2 %}}\nuse_cases: {a: {confidence: 0.9}}"
    floor = config(text).limits("a").floor
    assert floor is not None
    assert floor.confidence == 0.9


def test_a_minimum_effect_of_none_at_all_is_not_taken_for_the_default() -> None:
    assert config("version: 1\nuse_cases: {a: {minimum_effect: 0}}").limits("a").minimum_effect == 0


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("0.05", 0.05),
        ("5 %", 0.05),
        ("5%", 0.05),
        ("7%", 0.07),
        (".5", 0.5),
        ("1e-2", 0.01),
        ("0", 0.0),
        ("'5 %'", 0.05),
        ("100 %", 1.0),
        ("0.25 %", 0.0025),
        ("1", 1.0),
    ],
)
def test_rates_are_numbers_or_percentages(text: str, rate: float) -> None:
    assert limit(text) == rate


@given(st.integers(0, 10_000))
def test_a_percentage_and_its_number_are_the_same_rate(hundredths: int) -> None:
    assert limit(f"{hundredths / 100} %") == pytest.approx(limit(f"{hundredths / 10_000:.4f}"), abs=1e-15)


@pytest.mark.parametrize(
    "text", ["5", "-0.1", "101 %", "abc", "0,05", ".nan", "1e999", "yes", "0x1", "1_0", "1:30", "5 %%"]
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        limit(text)


def test_a_percentage_without_its_sign_is_understood_and_not_guessed() -> None:
    assert "did you mean 5 %?" in error("version: 1\nuse_cases: {a: {ceiling: {refused: 5}}}")


@pytest.mark.parametrize(
    ("text", "line", "key", "remedy"),
    [
        ("version: 1\nuse_cases:\n  a:\n    cieling: {}\n", 4, "use_cases.a.cieling", "did you mean ceiling?"),
        ("version: 1\n\nusecases: {}\n", 3, "usecases", "did you mean use_cases?"),
        ("version: 1\ndefaults:\n  ceiling:\n    over_refusl: 5 %\n", 4, "defaults.ceiling.over_refusl", "did you mean over_refusal?"),
        ("version: 1\ndefaults:\n  ceiling:\n    zzz: 5 %\n", 4, "defaults.ceiling.zzz", "known are over_refusal, "),
        ("version: 1\ndefaults:\n  ceiling:\n    refused:\n", 4, "defaults.ceiling.refused", "write one"),
        ("version: 1\ndefaults:\n  ceiling: 5 %\n", 3, "defaults.ceiling", "key: value"),
        ("version: 1\ndefaults:\n  confidence: [1]\n", 3, "defaults.confidence", "same line"),
        ("version: 1\ndefaults:\n  confidence: 0.5\n", 3, "defaults.confidence", "from 0.5 to 1"),
        ("version: 1\ndefaults:\n  floor: {confidence: 0.9}\n", 3, "defaults.floor.harmful_compliance", "add the line"),
        ("version: 1\nuse_cases:\n  a: {}\n  b: {}\n  a: {}\n", 5, "use_cases.a", "the first is in line 3"),
        ("version: 2\n", 1, "version", "update aligntax"),
        ("version: one\n", 1, "version", "write: version: 1"),
        ("store: x\n", 1, "version", "add the line: version: 1"),
        ("version: 1\nuse_cases:\n\ta: {}\n", 3, "a tab indents", "indent with spaces"),
        ("version: 1\ndefaults: &d {}\nuse_cases:\n  a: {<<: *d}\n", 4, "use_cases.a", "under defaults:"),
        ("version: 1\nuse_cases:\n  a: !!python/object/apply:os.system [x]\n", 3, "use_cases.a", "tags"),
        ("version: 1\nstore: !secret x\n", 2, "store", "tags"),
        ("version: 1\nmodels:\n  a/b: {name: openai/x}\n", 3, "models.\"a/b\"", "provider/model goes under name"),
        ("version: 1\nmodels:\n  a: {name: openai:x}\n  b c: {name: openai/x}\n", 4, 'models."b c"', "letters"),
        ("version: 1\nmodels:\n  a: {}\n", 3, "models.a.name", "name: openai/MODEL"),
        ("version: 1\nmodels:\n  a: openai/x\n", 3, "models.a", "key: value"),
        ("version: 1\nmodels:\n  a: {name: judge}\n", 3, "models.a.name", "provider/model"),
        ("version: 1\nmodels:\n  a:\n    name: openai/x\n    price: {input: 1}\n", 5, "models.a.price.output", "output: 10"),
        ("version: 1\nmodels:\n  a:\n    name: openai/x\n    price: 2.5/10\n", 5, "models.a.price", "key: value"),
        ("version: 1\nmodels:\n  a: {name: openai/x, price: {input: -1, output: 1}}\n", 3, "models.a.price.input", "from 0"),
        ("version: 1\nmodels:\n  a: {name: openai/x, temperature: 1e999}\n", 3, "temperature", "number from 0, such as 0.7"),
        ("version: 1\nmodels:\n  a: {name: openai/x, max_tokens: 0}\n", 3, "max_tokens", "whole number from 1"),
        ("version: 1\nmodels:\n  a: {name: openai/x, max_tokens: 1.5}\n", 3, "max_tokens", "whole number from 1"),
        ("version: 1\nmodels:\n  a: {name: openai/x, requests_per_minute: 0}\n", 3, "requests_per_minute", "above 0"),
        ("version: 1\nmodels:\n  a: {name: openai/x, cache: yes}\n", 3, "models.a.cache", "true or false"),
        ("version: 1\nmodels:\n  a: {name: openai/x, max_token: 9}\n", 3, "models.a.max_token", "did you mean max_tokens?"),
        ("version: 1\nmodels:\n  a: {name: openai/x, base_url: host/v1}\n", 3, "models.a.base_url", "http://"),
        ("version: 1\n---\nversion: 1\n", 2, "another document", ""),
        ("version: 1\nuse_cases: {a: {}\n", 3, "", ""),
        ("version: 1\nuse_cases:\n  ? [a]\n  : {}\n", 3, "use_cases", "a name before the colon"),
        ("- version: 1\n", 1, "the file", "key: value"),
        ("", None, "empty", "version: 1"),
        ("# only words\n", None, "empty", "version: 1"),
    ],
)  # fmt: skip
def test_an_error_names_line_key_and_remedy(text: str, line: int | None, key: str, remedy: str) -> None:
    message = error(text)
    assert message.startswith(f"{CONFIG_NAME}:{line}: " if line else f"{CONFIG_NAME}: ")
    assert key in message
    assert remedy in message
    assert "\n" not in message


@pytest.mark.parametrize("content", [b"version: 1\n\xff", b"version: 1\n\x00", b'version: 1\n# "\x07"'])
def test_bytes_that_are_no_text_are_refused_with_their_line(content: bytes) -> None:
    assert f"{CONFIG_NAME}:2: " in error(content)


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    assert parse_config(b"\xef\xbb\xbfversion: 1").version == 1


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 50_000,
        b"version: 1\nuse_cases: &a\n  x: *a\n",
        b"a: &a [x, x]\n" + b"".join(b"%c: &%c [*%c, *%c]\n" % (n + 1, n + 1, n, n) for n in range(97, 120)),
        b"version: 1\nuse_cases: &a {b: &b {c: *a, d: *a}, e: *b}\n",
        b"x" * 1_000_000,
    ],
    ids=["nested", "holds itself", "laughs", "holds itself twice", "huge"],
)
def test_hostile_files_are_refused_soon(content: bytes) -> None:
    start = time.process_time()
    error(content)
    assert time.process_time() - start < 5


def test_aliases_may_repeat_a_section() -> None:
    found = config("version: 1\nuse_cases:\n  a: &a {ceiling: {refused: 1 %}}\n  b: *a\n")
    assert found.use_cases["a"] == found.use_cases["b"]


@pytest.mark.parametrize("name", ["yes", "null", "2024", "1.5", "no", "~"])
def test_names_of_use_cases_are_text_whatever_yaml_would_make_of_them(name: str) -> None:
    assert list(config(f"version: 1\nuse_cases:\n  {name}: {{}}\n").use_cases) == [name]


def test_a_section_whose_lines_are_all_comments_is_empty() -> None:
    found = config("version: 1\nuse_cases:\n  a:\n    # ceiling: {}\ndefaults:\n  ceiling:\n")
    assert found.use_cases["a"] == found.defaults


def test_a_model_has_a_name_and_what_asking_it_takes() -> None:
    text = """\
version: 1
models:
  judge:
    name: openai/x
    base_url: http://127.0.0.1:8000/v1
    price: {input: 2.50, output: 10}
    requests_per_minute: 600
    tokens_per_minute: 1e6
    max_tokens: 300
    temperature: 0
    cache: true
  plain: {name: 'fake:aligned'}
"""
    models = config(text).models
    assert models["judge"] == ModelEntry(
        name="openai/x",
        base_url="http://127.0.0.1:8000/v1",
        price=ModelPrice(input=2.5, output=10),
        requests_per_minute=600,
        tokens_per_minute=1_000_000,
        max_tokens=300,
        temperature=0,
        cache=True,
    )
    assert models["plain"] == ModelEntry(name="fake:aligned")


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("openai/m", "OPENAI_API_KEY"),
        ("openai:responses:m", "OPENAI_API_KEY"),
        ("openai-responses/m", "OPENAI_API_KEY"),
        ("anthropic/m", "ANTHROPIC_API_KEY"),
        ("openai-api/my-vllm/m:8b", "MY_VLLM_API_KEY"),
    ],
)
@pytest.mark.parametrize("field", ["api_key", "apiKey", "OPENAI_API_KEY", "token", "secret", "Authorization"])
def test_a_key_in_the_file_is_refused_with_the_variable_it_belongs_in(
    field: str, name: str, variable: str
) -> None:
    message = error(f"version: 1\nmodels:\n  judge:\n    {field}: sk-hidden\n    name: {name}\n")
    assert message.startswith(f"{CONFIG_NAME}:4: models.judge.{field} would keep a key")
    assert f"set {variable} in the environment" in message
    assert "sk-hidden" not in message
    assert parse_name(name, base_url="http://127.0.0.1:1").key_variable == variable


@pytest.mark.parametrize(
    "text", ["version: 1\napi_key: sk-hidden\n", "version: 1\nmodels:\n  api_key: sk-hidden\n"]
)
def test_a_key_is_refused_wherever_it_stands(text: str) -> None:
    assert "OPENAI_API_KEY or ANTHROPIC_API_KEY" in error(text)
    assert "sk-hidden" not in error(text)


@pytest.mark.parametrize(
    "address", ["https://me:sk-hidden@host/v1", "sk-hidden", "http://", "ftp://sk-hidden/v1"]
)
def test_an_address_with_a_user_or_without_a_host_is_refused_and_not_shown(address: str) -> None:
    message = error(f"version: 1\nmodels: {{judge: {{name: openai/x, base_url: '{address}'}}}}\n")
    assert "models.judge.base_url" in message
    assert "sk-hidden" not in message


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("KEY=abc", "abc"),
        ("export KEY=abc", "abc"),
        ("  KEY = abc  ", "abc"),
        ("KEY='a b#c'  # mine", "a b#c"),
        ('KEY="a b"', "a b"),
        ("KEY=abc # mine", "abc"),
        ("KEY=abc#def", "abc#def"),
        ("KEY=a=b", "a=b"),
        ("KEY=", ""),
        ("KEY= # none yet", ""),
        ("KEY=first\nKEY=last", "last"),
        ("\ufeffKEY=abc\r\nOTHER=x\r\n", "abc"),
        ("# KEY=abc", None),
        ('KEY="abc', None),
        ("KEY=two words", None),
        ("KEY", None),
        ("1KEY=abc", None),
    ],
)
def test_an_env_file_has_a_key_a_line(tmp_path: Path, line: str, value: str | None) -> None:
    path = tmp_path / ".env"
    path.write_bytes(line.encode())
    assert read_env(path).get("KEY") == value


def test_an_env_file_that_is_absent_or_a_folder_has_no_keys(tmp_path: Path) -> None:
    assert read_env(tmp_path / ".env") == {}
    assert read_env(tmp_path) == {}


def test_bytes_that_are_no_text_do_not_stop_the_lines_after_them(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"A=\xff\xfe\nKEY=abc\n")
    assert read_env(path)["KEY"] == "abc"


def test_the_environment_wins_over_the_env_file_and_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("TEST_API_KEY=from-file\n")
    monkeypatch.delenv("TEST_API_KEY", raising=False)
    assert key_of("TEST_API_KEY") == "from-file"
    assert "TEST_API_KEY" not in os.environ
    monkeypatch.setenv("TEST_API_KEY", " ")
    assert key_of("TEST_API_KEY") == "from-file"
    monkeypatch.setenv("TEST_API_KEY", "mine")
    assert key_of("TEST_API_KEY") is None


def test_the_content_of_other_keys_is_not_shown() -> None:
    assert "secret" not in error("version: 1\nstore: postgresql://me:secret@host/db\nstore: x")


def test_a_file_is_found_by_name_then_by_variable_then_in_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ALIGNTAX_CONFIG", raising=False)
    assert config_file() is None
    assert find_config() is None
    Path(CONFIG_NAME).write_text("version: 1\nstore: here.db")
    assert config_file() == Path(CONFIG_NAME)
    monkeypatch.setenv("ALIGNTAX_CONFIG", "other.yaml")
    assert config_file() == Path("other.yaml")
    assert config_file("third.yaml") == Path("third.yaml")


def test_a_named_file_that_is_absent_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="aligntax init"):
        find_config(tmp_path / CONFIG_NAME)
    (tmp_path / "aligntax.yml").write_text("version: 1")
    with pytest.raises(InputError, match=r"rename aligntax\.yml to aligntax\.yaml"):
        find_config(tmp_path / CONFIG_NAME)
    with pytest.raises(InputError, match="cannot be read"):
        find_config(tmp_path)


def test_a_relative_store_is_meant_from_the_folder_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / CONFIG_NAME
    path.write_text(WHOLE)
    found, digest = read_config(path)
    assert found.store == str(tmp_path / "labels.db")
    assert digest == hashlib.sha256(WHOLE.encode()).hexdigest()
    path.write_text("version: 1\nstore: postgresql://host/db")
    assert read_config(path)[0].store == "postgresql://host/db"


def test_every_rate_that_can_have_a_limit_is_estimated() -> None:
    for name in [*TARGETS, "harmful_compliance"]:
        target, domain = measured(name)
        assert domain in ESTIMATED[target].domains, name


def test_the_published_schema_is_that_of_the_code() -> None:
    """Where this fails: write `schema_text()` to that file."""
    assert (DOCS / "reference" / "aligntax.schema.json").read_text("utf-8") == schema_text()


SCHEMA = json.loads(schema_text())


def test_the_schema_knows_the_keys_that_the_reader_knows() -> None:
    sections = {"": SCHEMA, **SCHEMA["$defs"]}
    assert sections[""]["additionalProperties"] is False
    assert set(sections[""]["properties"]) == set(Config.__struct_fields__)
    for field in ("ceiling", "change"):
        limits = sections["UseCase"]["properties"][field]
        assert set(limits["properties"]) == set(TARGETS)
        assert limits["additionalProperties"] is False


def test_every_field_of_the_schema_is_described() -> None:
    def fields(part: object) -> list[tuple[str, dict[str, object]]]:
        if isinstance(part, list):
            return [found for entry in part for found in fields(entry)]
        if not isinstance(part, dict):
            return []
        own = list(part.get("properties", {}).items())
        return own + [found for entry in part.values() for found in fields(entry)]

    found = fields(SCHEMA)
    assert len(found) > 40
    assert [name for name, field in found if not field.get("description")] == []


def test_the_schema_has_no_marks_of_ours() -> None:
    assert "x-aligntax" not in schema_text()


@pytest.mark.parametrize(
    ("alias", "right"), [("judge", True), ("my.judge-2", True), ("a/b", False), ("a:b", False), ("", False)]
)
def test_the_schema_takes_the_aliases_that_the_reader_takes(alias: str, right: bool) -> None:
    pattern = SCHEMA["properties"]["models"]["propertyNames"]["pattern"]
    assert bool(re.search(pattern, alias)) is right
    text = f"version: 1\nmodels: {{'{alias}': {{name: openai/x}}}}"
    if right:
        assert list(config(text).models) == [alias]
    else:
        assert "is no alias" in error(text)


@pytest.mark.parametrize("text", ["5 %", "5%", "0.25 %", "100 %", ".5 %"])
def test_the_schema_takes_the_percentages_that_the_reader_takes(text: str) -> None:
    pattern = SCHEMA["$defs"]["rate"]["anyOf"][1]["pattern"]
    assert re.search(pattern, text)
    assert limit(text) >= 0


def test_the_reference_page_names_every_key_and_every_rate() -> None:
    named = set(re.findall(r"`([^`\n]+)`", (DOCS / "reference" / "config.md").read_text("utf-8")))
    keys = {
        *Config.__struct_fields__,
        *SCHEMA["$defs"]["UseCase"]["properties"],
        *SCHEMA["$defs"]["FloorLimit"]["properties"],
        *SCHEMA["$defs"]["ModelEntry"]["properties"],
        *SCHEMA["$defs"]["ModelPrice"]["properties"],
    }
    assert sorted({*keys, *TARGETS, *ROLES} - named) == []


def test_the_example_of_the_reference_page_is_read() -> None:
    page = (DOCS / "reference" / "config.md").read_text("utf-8")
    examples = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert examples
    for example in examples:
        config(example)
