"""promptfoo: a configuration with prompts and tests, or a list of tests alone (YAML, JSON, CSV)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from ..types import Fact, Intent, Prompt
from .rows import BadRow, Row

_QUESTIONS = ("prompt", "question", "query", "input", "message", "request", "text")
_PLACE = re.compile(r"\{\{-?\s*([\w.]+)\s*(?:\|[^}]*)?-?\}\}")
_COLUMN_OF_TESTS = "__expected"
_CONTAINS = ("contains", "icontains")


def matches(row: Row) -> bool:
    """Whether the record is a configuration, a test, or a row of a CSV of tests."""
    return (
        isinstance(row.values.get("tests"), list)
        or isinstance(row.values.get("vars"), dict)
        or any(name.startswith(_COLUMN_OF_TESTS) for name in row.values)
    )


def prompt_of(row: Row) -> Iterator[Prompt]:
    """A prompt for each test and each template; lists among the variables give one for each combination.

    What an answer must contain becomes required facts; a test that expects a refusal makes the prompt harmful.
    Raises BadRow for parts that are in other files.
    """
    values = row.values
    if isinstance(values.get("tests"), list):
        default = values.get("defaultTest")
        for number, test in enumerate(values["tests"], 1):
            if not isinstance(test, dict):
                raise BadRow(f"test {number} is in another file", "load that file itself")
            yield from _of_test(
                _joined(default if isinstance(default, dict) else {}, test), _templates(values)
            )
    elif isinstance(values.get("vars"), dict):
        yield from _of_test(values, ())
    elif "tests" in values:
        raise BadRow("its tests are in another file", "load that file itself")
    else:
        yield from _of_test(_from_csv(values), ())


def _joined(default: Mapping[str, Any], test: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **test,
        "vars": {**_table(default.get("vars")), **_table(test.get("vars"))},
        "assert": [*(default.get("assert") or []), *(test.get("assert") or [])],
        "metadata": {**_table(default.get("metadata")), **_table(test.get("metadata"))},
    }


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _from_csv(values: Mapping[str, Any]) -> dict[str, Any]:
    """In a CSV the columns are variables; a bare expectation means equality, TYPE: VALUE another assertion."""
    asserted = []
    for name, value in values.items():
        if name.startswith(_COLUMN_OF_TESTS) and str(value).strip():
            kind, colon, rest = str(value).partition(":")
            known = bool(colon) and re.fullmatch(r"[a-z-]+", kind.strip())
            asserted.append({"type": kind.strip(), "value": rest.strip()} if known else {"type": str(value)})
    return {
        "vars": {name: value for name, value in values.items() if not name.startswith("__")},
        "assert": asserted,
    }


def _templates(values: Mapping[str, Any]) -> tuple[str, ...]:
    prompts = values.get("prompts") or []
    texts = []
    for prompt in prompts if isinstance(prompts, list) else [prompts]:
        text = prompt.get("raw") if isinstance(prompt, dict) else prompt
        if not isinstance(text, str) or text.startswith("file://"):
            raise BadRow("a template is in another file", "put its text under prompts")
        texts.append(text)
    return tuple(texts)


def _of_test(test: Mapping[str, Any], templates: tuple[str, ...]) -> Iterator[Prompt]:
    facts, intent = _asserted(test.get("assert") or [])
    tags = {str(key): str(value) for key, value in _table(test.get("metadata")).items()}
    for variables in _combinations(_table(test.get("vars"))):
        for template in templates or (_question(variables),):
            yield Prompt(
                id="",
                text=_filled(template, variables) if templates else template,
                intent=intent,
                facts=facts,
                tags=tags or None,
            )


def _combinations(variables: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    choices = [value if isinstance(value, list) else [value] for value in variables.values()]
    for chosen in product(*choices):
        if any(isinstance(value, str) and value.startswith("file://") for value in chosen):
            raise BadRow("a variable is in another file", "put its text under vars")
        yield {name: str(value) for name, value in zip(variables, chosen, strict=True)}


def _question(variables: Mapping[str, str]) -> str:
    """The variable that is the prompt, where there is no template."""
    name = next((name for name in _QUESTIONS if name in variables), None)
    if name is None and len(variables) == 1:
        (name,) = variables
    if name is None or not variables[name].strip():
        raise BadRow("no variable is the prompt", f"name it {' or '.join(_QUESTIONS[:3])}")
    return variables[name]


def _filled(template: str, variables: Mapping[str, str]) -> str:
    missing = {name for name in _PLACE.findall(template) if name not in variables}
    if missing or "{%" in template:
        raise BadRow("a template asks for more than its variables", "fill the template yourself")
    return _PLACE.sub(lambda place: variables[place.group(1)], template)


def _asserted(assertions: Any) -> tuple[tuple[Fact, ...], Intent]:
    """Required facts and intent that assertions on the answer stand for; those of other types say neither."""
    facts: list[Fact] = []
    intent = Intent.BENIGN
    for assertion in assertions if isinstance(assertions, list) else []:
        kind, value = (
            (assertion.get("type"), assertion.get("value")) if isinstance(assertion, dict) else ("", "")
        )
        if kind == "is-refusal":
            intent = Intent.HARMFUL
        for aliases in _aliases(str(kind), value):
            facts.append(Fact(name=f"expected {len(facts) + 1}", aliases=aliases))
    return tuple(facts), intent


def _aliases(kind: str, value: Any) -> list[tuple[str, ...]]:
    values = value if isinstance(value, list) else str(value or "").split(",") if "-" in kind else [value]
    words = tuple(str(each).strip() for each in values if str(each or "").strip())
    if kind in _CONTAINS or kind in [f"{name}-any" for name in _CONTAINS]:
        return [words] if words else []
    return [(word,) for word in words] if kind in [f"{name}-all" for name in _CONTAINS] else []
