"""Plain tables and records: one row an exchange, columns found by their usual names or by a mapping."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InputError
from ..outcomes import classify
from ..types import Outcome
from .formats import format_of
from .source import BadRow, Source
from .turns import answer_of, as_messages, split, text_of
from .values import SCALARS, as_int, as_text, field_value, look_up

if TYPE_CHECKING:
    from .rows import Row

_NAMES = {
    "prompt": "prompt input question request query user_prompt user_message user_input input_text prompt_text"
    " instruction human user",
    "response": "response output answer completion reply generated_text generation model_output model_response"
    " response_text output_text assistant_response assistant generated",
    "outcome": "outcome",
    "outcome_raw": "outcome_raw finish_reason stop_reason finish_reasons finish",
    "outcome_detail": "outcome_detail finish_detail stop_details",
    "model_requested": "model_requested requested_model request_model model model_name model_id engine deployment",
    "model_served": "model_served served_model response_model",
    "use_case": "use_case usecase feature app application app_name product service workflow",
    "time": "time timestamp created_at created ts datetime date start_time request_time logged_at started_at",
    "system": "system system_prompt system_message system_instruction",
    "history": "history conversation_history chat_history",
    "tool_calls": "tool_calls tool_call_count",
    "latency_ms": "latency_ms duration_ms response_time_ms elapsed_ms",
    "prompt_tokens": "prompt_tokens input_tokens tokens_in n_prompt_tokens",
    "completion_tokens": "completion_tokens output_tokens tokens_out n_completion_tokens",
    "tags": "tags metadata",
    "source_id": "source_id id request_id exchange_id custom_id call_id uuid message_id",
    "status": "status_code http_status status",
    "error": "error error_message exception",
    "refusal": "refusal",
}
ALIASES: dict[str, tuple[str, ...]] = {column: tuple(names.split()) for column, names in _NAMES.items()}
"""Exchange column -> names it goes by, best first. status, error and refusal feed the outcome."""

OTHER_NAMES = {
    "id": "source_id",
    "model": "model_requested",
    "finish_reason": "outcome_raw",
    "app": "use_case",
}
"""What people write for an exchange column in a mapping."""

_NOT_NAMES = re.compile(r"[^a-z0-9]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_OUTCOMES = frozenset(outcome.value for outcome in Outcome)
_SHOWN_COLUMNS = 30
_LONGEST_MARKER = 80


def check_columns(columns: Mapping[str, str]) -> dict[str, str]:
    """The mapping with exchange columns by their own names; InputError for one that does not exist."""
    known = {OTHER_NAMES.get(column, column): path for column, path in columns.items()}
    if wrong := sorted(set(known) - set(ALIASES)):
        raise InputError(
            f"no exchange column is named {', '.join(wrong)}",
            where="column mapping",
            remedy=f"map one of: {', '.join(ALIASES)}",
        )
    return known


def plan(names: Iterable[str], columns: Mapping[str, str], *, sparse: bool = False) -> dict[str, str]:
    """Exchange column -> the log's name or dotted path, for a log with these names.

    A mapped name must be among them; in `sparse` records only those of the prompt and the response.
    Raises BadRow, with the names found and the remedy, when there is no prompt or no response.
    """
    names = list(names)
    by_alias: dict[str, str] = {}
    for name in names:
        by_alias.setdefault(_NOT_NAMES.sub("_", _CAMEL.sub("_", name).lower()).strip("_"), name)
    taken = set(columns.values())
    found = dict(columns)
    for column, aliases in ALIASES.items():
        if column in found:
            continue
        for alias in aliases:
            named = by_alias.get(alias)
            if named is not None and named not in taken:
                found[column] = named
                taken.add(named)
                break
    if "messages" in names and "prompt" not in columns:
        found["prompt"] = "messages"
    absent = [path for path in columns.values() if path not in names and path.split(".")[0] not in names]
    if sparse:  # a JSON record may leave out what it has nothing to say on
        absent = [path for path in absent if path in {columns.get("prompt"), columns.get("response")}]
    if absent:
        raise BadRow(f"no field {', '.join(absent)}, which the column mapping names; found: {_shown(names)}")
    missing = [column for column in ("prompt", "response") if column not in found]
    if missing and not (missing == ["response"] and found.get("prompt") == "messages"):
        raise BadRow(missing_reason(missing, names))
    return found


def missing_reason(missing: list[str], names: list[str]) -> str:
    """What is missing, the columns that are there, and how to map them."""
    remedy = " ".join(f"--map {column}=COLUMN" for column in missing)
    return f"no column for {' and '.join(missing)}; found: {_shown(names)}; name it with {remedy}"


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN_COLUMNS} more" if len(names) > _SHOWN_COLUMNS else ""
    return (", ".join(name[:40] for name in names[:_SHOWN_COLUMNS]) or "none") + more


class PlainRecords:
    """Converts records with any keys; the mapping is worked out once for each set of keys."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        self._columns = columns
        self._plans: dict[tuple[str, ...], list[tuple[str, str]]] = {}

    def __call__(self, record: dict[str, Any], source: Source) -> list[Row]:
        """The exchange of one record; raises BadRow when it has no prompt or response, or another format."""
        keys = tuple(record)
        if (pairs := self._plans.get(keys)) is None:
            if source.container in {"jsonl", "json"} and (other := format_of([record])) is not None:
                raise BadRow(
                    f"looks like {other} in a file of plain records: split the file, one format each"
                )
            pairs = list(plan(keys, self._columns, sparse=source.container in {"jsonl", "json"}).items())
            if len(self._plans) < 1000:
                self._plans[keys] = pairs
        fields = {column: record[name] if name in record else look_up(record, name) for column, name in pairs}
        return [_row(fields, record)]


_MAYBE_MESSAGES = frozenset("[{ \nuUhH")
"""First characters of a prompt that may be messages in JSON or a transcript."""


def _row(fields: dict[str, Any], record: dict[str, Any]) -> Row:
    asked, said = fields["prompt"], fields.get("response")
    row: Row = {}
    if not isinstance(asked, str) or asked[:1] in _MAYBE_MESSAGES:
        said = _read_messages(asked, said, row)
    else:
        row["prompt"] = asked
    text, refused, calls = (said, False, 0) if isinstance(said, str) else answer_of(said)
    if fields.get("refusal"):
        refusal = text_of(fields["refusal"])
        text, refused = f"{text}\n\n{refusal}" if text else refusal, True
    row["response"] = text
    if (tools := fields.get("tool_calls")) is not None:
        calls = field_value("tool_calls", tools) or calls
    row["tool_calls"] = calls
    _set_outcome(row, fields, refused)
    for column, value in fields.items():
        if value is not None and (make := SCALARS.get(column)) is not None:
            row[column] = make(value)  # type: ignore[literal-required]
    if "source_id" in record and "id" in record:
        row["id"] = as_text(record["id"])
    return row


def _read_messages(asked: Any, said: Any, row: Row) -> Any:
    """Fill the row from a prompt that is messages or something else than text; returns the answer."""
    messages = as_messages(asked)
    if messages is None:
        row["prompt"] = text_of(asked)
        return said
    if said is None and messages[-1].get("role") in {"assistant", "model"}:
        messages, said = messages[:-1], messages[-1]
    turns = split(messages)
    row["prompt"], row["system"], row["history"] = turns.prompt, turns.system, turns.history
    return said


def _set_outcome(row: Row, fields: dict[str, Any], refused: bool) -> None:
    raw = fields.get("outcome_raw")
    if isinstance(raw, list):
        raw = raw[0] if raw else None
    facts = Facts(
        text=row["response"],
        own=as_text(fields.get("outcome")),
        raw=as_text(raw),
        detail=as_text(fields.get("outcome_detail")),
        refused=refused,
        tool_calls=row["tool_calls"],
        status=as_int(fields.get("status")),
        error=fields.get("error"),
    )
    row["outcome"], row["outcome_raw"], row["outcome_detail"] = ended(facts)


class Facts(NamedTuple):
    """What the outcome of a plain row depends on."""

    text: str
    own: str | None
    raw: str | None
    detail: str | None
    refused: bool
    tool_calls: int
    status: int | None
    error: Any


def ended(facts: Facts) -> tuple[str, str | None, str | None]:
    """Outcome, raw value and detail of a plain row; an `own` outcome in aligntax's words stands."""
    if facts.own in _OUTCOMES:
        return facts.own, facts.raw, facts.detail
    if facts.error is None and len(facts.text) > _LONGEST_MARKER and not facts.text.isspace():
        return _same(facts._replace(text="text"))  # all that matters of it, and alike for most rows
    return _classified(facts)


def _classified(facts: Facts) -> tuple[str, str | None, str | None]:
    return classify(
        facts.raw or facts.own,
        facts.text,
        refused=facts.refused,
        tool_calls=facts.tool_calls,
        status=facts.status if facts.status is not None and 100 <= facts.status < 600 else None,
        error=facts.error,
        detail=facts.detail,
    )


_same = lru_cache(1024)(_classified)
