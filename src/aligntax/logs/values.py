"""Values as logs hold them, made into the types of the exchange columns; never raises, None says "no such thing"."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import msgspec

from .turns import text_of


def as_text(value: Any) -> str | None:
    """A scalar as text; None for nothing and for what is no scalar."""
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def as_int(value: Any) -> int | None:
    """A count from an int, a whole float or a string of digits; None for anything else."""
    if isinstance(value, str):
        value = int(value) if value.isdecimal() and len(value) < 20 else as_float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not -(2**63) < value < 2**63:
        return None
    return int(value)


def as_float(value: Any) -> float | None:
    """A number from a number or its text; None for anything else, NaN and infinities."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if -1e300 < number < 1e300 else None


def elapsed_ms(start: dt.datetime | None, end: dt.datetime | None) -> float | None:
    """Milliseconds between two times; None where one is missing or they run backwards."""
    if start is None or end is None or end < start:
        return None
    return (end - start) / dt.timedelta(milliseconds=1)


def seconds_to_ms(seconds: Any) -> float | None:
    """A duration in seconds as milliseconds, to the microsecond."""
    number = as_float(seconds)
    return None if number is None else round(number * 1000, 3)


def as_time(value: Any) -> dt.datetime | None:
    """A UTC time from ISO 8601 text or a Unix time in s, ms, us or ns; no offset is taken as UTC."""
    moment: dt.datetime | None
    if isinstance(value, dt.datetime):
        moment = value
    elif isinstance(value, str) and not value.isdigit():
        try:
            moment = dt.datetime.fromisoformat(value.strip().removesuffix(" UTC"))
        except ValueError:
            return None
    else:
        moment = _unix_time(value)
        if moment is None:
            return None
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


def _unix_time(value: Any) -> dt.datetime | None:
    whole = as_int(value) if isinstance(value, int | str) else None
    number: float | None = whole if whole is not None else as_float(value)
    if number is None or not 0 < number < 1e20:
        return None
    microseconds: float
    if number < 1e11:  # seconds reach this in the year 5138
        microseconds = number * 1_000_000
    elif number < 1e14:
        microseconds = number * 1000
    else:
        microseconds = number if number < 1e17 else number // 1000
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=round(microseconds))


def as_tags(*sources: Any) -> str | None:
    """The scalars of the given dicts as a JSON object; None when there are none."""
    tags = {
        str(key): value
        for found in sources
        if isinstance(found, dict)
        for key, value in found.items()
        if isinstance(value, str | int | float | bool) and not (isinstance(value, str) and len(value) > 500)
    }
    return msgspec.json.encode(tags).decode() if tags else None


USE_CASE_KEYS = ("use_case", "usecase", "feature", "app", "application", "product", "workflow")


def use_case_of(*sources: Any) -> str | None:
    """The first use case named in the given dicts."""
    for found in sources:
        if isinstance(found, dict):
            for key in USE_CASE_KEYS:
                if isinstance(name := found.get(key), str) and name:
                    return name
    return None


def look_up(record: Any, path: str) -> Any:
    """The value at a key, or at a dotted path of keys and list positions; None where there is none."""
    if isinstance(record, dict) and path in record:
        return record[path]
    value = record
    for step in path.split("."):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.lstrip("-").isdigit():
            position = int(step)
            value = value[position] if -len(value) <= position < len(value) else None
        else:
            return None
    return value


def _as_prose(value: Any) -> str | None:
    return text_of(value) or None


def _as_json(value: Any) -> str | None:
    return value or None if isinstance(value, str) else msgspec.json.encode(value).decode()


def _as_tag_text(value: Any) -> str | None:
    return value or None if isinstance(value, str) else as_tags(value)


SCALARS: dict[str, Callable[[Any], Any]] = {
    "model_requested": as_text,
    "model_served": as_text,
    "use_case": as_text,
    "time": as_time,
    "system": _as_prose,
    "history": _as_json,
    "latency_ms": as_float,
    "prompt_tokens": as_int,
    "completion_tokens": as_int,
    "tags": _as_tag_text,
    "source_id": as_text,
}
"""Exchange columns that are one value of the log, and what makes that value of the column's type."""


def field_value(column: str, value: Any) -> Any:
    """A log's value as the type of any exchange column; None where it is no such thing."""
    if column in {"prompt", "response"}:
        return text_of(value)
    if column == "tool_calls":
        return len(value) if isinstance(value, list) else as_int(value)
    make: Callable[[Any], Any] = SCALARS.get(column, as_text)
    return make(value)
