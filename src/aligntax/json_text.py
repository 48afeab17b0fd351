"""JSON inside a text: decoded where it is some, left alone where it is not."""

from __future__ import annotations

from typing import Any

import msgspec

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes or text that are not JSON."""


def parsed(value: Any) -> Any:
    """The object or array that a text holds as JSON; any other value as it is."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str) or value.lstrip()[:1] not in {"{", "["}:
        return value
    try:
        return msgspec.json.decode(value)
    except NOT_JSON:
        return value
