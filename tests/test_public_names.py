"""The public door is a list of names, and each of them is documented."""

from __future__ import annotations

import inspect
import re

import pytest

import aligntax
from documents import text_of

API = text_of("reference/api.md")
SECTIONS = dict(re.findall(r"^### `?([\w.]+)`?$(.*?)(?=^##|\Z)", API, re.MULTILINE | re.DOTALL))
FUNCTIONS = ("corrected", "read", "scan", "summarise", "survey", "write_report")


def test_what_is_public_is_what_is_documented() -> None:
    assert sorted(SECTIONS) == sorted(aligntax.__all__)


@pytest.mark.parametrize("name", aligntax.__all__)
def test_every_public_name_loads(name: str) -> None:
    assert getattr(aligntax, name) is not None


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_parameter_of_a_public_function_is_documented(name: str) -> None:
    parameters = inspect.signature(getattr(aligntax, name)).parameters
    assert [parameter for parameter in parameters if f"`{parameter}`" not in SECTIONS[name]] == []


def test_every_public_function_is_among_those_checked() -> None:
    public = [name for name in aligntax.__all__ if inspect.isfunction(getattr(aligntax, name))]
    assert sorted(public) == sorted(FUNCTIONS)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'scann'"):
        _ = aligntax.scann
