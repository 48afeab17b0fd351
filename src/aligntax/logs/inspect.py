"""Inspect logs: `.eval` archives (a zip of JSON, deflate or zstd) and the `.json` form.

One sample is one exchange: the last user turn and the output that was scored. The calls that an agent
made on its way there are not exchanges of a user.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from ..json_text import NOT_JSON
from ..outcomes import Ending, classify
from .archive import read_member
from .rows import Row, frames, told
from .source import BadRow, Source
from .turns import Answer, Turns, answer_of, split
from .values import as_int, as_tags, as_text, as_time, seconds_to_ms

if TYPE_CHECKING:
    import polars as pl


class _Sample(msgspec.Struct):
    """The parts of a sample that make an exchange; its events and stores, often megabytes, are not decoded."""

    id: Any = None
    uuid: Any = None
    epoch: Any = None
    input: Any = None
    messages: Any = None
    output: Any = None
    metadata: Any = None
    error: Any = None
    attachments: Any = None
    started_at: Any = None
    total_time: Any = None


class _Evaluation(msgspec.Struct):
    """The parts of an evaluation's header that its samples share."""

    task: Any = None
    model: Any = None
    created: Any = None


class _Header(msgspec.Struct):
    eval: _Evaluation = msgspec.field(default_factory=_Evaluation)


def read(source: Source) -> Iterator[pl.DataFrame]:
    """Frames of exchanges, one a sample."""
    if source.container != "zip":
        return frames(source, lambda record, _: [_exchange(msgspec.convert(record, _Sample), _Evaluation())])
    return _read_archive(source)


def matches(record: dict[str, Any]) -> bool:
    """Whether this is a sample of a `.json` log."""
    return {"input", "target", "output", "epoch"} <= record.keys() and isinstance(record["output"], dict)


def _read_archive(source: Source) -> Iterator[pl.DataFrame]:
    path = source.on_disk()
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile:
        source.problem(None, "the archive is damaged or was cut off")
        return
    with archive:
        names = archive.namelist()
        if not any(map(_is_sample, names)):
            source.problem(None, "a zip archive, but no Inspect log: it has no samples; unpack it first")
            return
        header = _header(archive, names)
        yield from frames(source, lambda sample, _: [_exchange(sample, header)], _samples(archive, source))


def _header(archive: zipfile.ZipFile, names: list[str]) -> _Evaluation:
    """What the samples share; a log that was never finished has it in its journal only."""
    for name in ("header.json", "_journal/start.json"):
        if name in names:
            try:
                return msgspec.json.decode(read_member(archive, archive.getinfo(name)), type=_Header).eval
            except (*NOT_JSON, BadRow):
                continue
    return _Evaluation()


def _samples(archive: zipfile.ZipFile, source: Source) -> Iterator[tuple[int, int, Any]]:
    decoder = msgspec.json.Decoder(_Sample)
    members = [member for member in archive.infolist() if _is_sample(member.filename)]
    for number, member in enumerate(members, start=1):
        try:
            sample = decoder.decode(read_member(archive, member))
        except BadRow as reason:
            source.problem(number, str(reason))
        except NOT_JSON:
            source.problem(number, "broken JSON in the archive member")
        else:
            yield number, member.file_size, sample
        source.read_so_far(number / len(members))


def _is_sample(name: str) -> bool:
    return name.startswith("samples/") and name.endswith(".json")


def _exchange(sample: _Sample, evaluation: _Evaluation) -> Row:
    attachments = sample.attachments if isinstance(sample.attachments, dict) else {}
    output = sample.output if isinstance(sample.output, dict) else {}
    choices = output.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else {}
    answer = answer_of(_resolved(choice.get("message") or {"content": output.get("completion")}, attachments))
    ending = _ending(sample, output, choice, answer)
    turns = _turns(sample, attachments)
    usage = output.get("usage") or {}
    name = as_text(sample.uuid)
    if name is None and sample.id is not None:
        name = f"{sample.id}/{sample.epoch}"
    return {
        "source_id": name,
        "time": as_time(sample.started_at) or as_time(evaluation.created),
        **told(turns, answer, ending),
        "model_requested": as_text(evaluation.model),
        "model_served": as_text(output.get("model")),
        "use_case": as_text(evaluation.task),
        "latency_ms": seconds_to_ms(output.get("time")) or seconds_to_ms(sample.total_time),
        "prompt_tokens": as_int(usage.get("input_tokens")),
        "completion_tokens": as_int(usage.get("output_tokens")),
        "tags": as_tags(sample.metadata),
    }


def _ending(sample: _Sample, output: dict[str, Any], choice: dict[str, Any], answer: Answer) -> Ending:
    return classify(
        as_text(choice.get("stop_reason")),
        answer.text,
        refused=answer.refused,
        tool_calls=answer.tool_calls,
        error=output.get("error") or sample.error,
    )


def _turns(sample: _Sample, attachments: dict[str, Any]) -> Turns:
    """The turns that led to the output: the sample's messages without the answer, or else its input."""
    messages = sample.messages if isinstance(sample.messages, list) else []
    if messages and isinstance(messages[-1], dict) and messages[-1].get("role") == "assistant":
        messages = messages[:-1]
    if not messages:
        messages = sample.input if isinstance(sample.input, list) else [sample.input]
    return split([_resolved(message, attachments) for message in messages])


def _resolved(value: Any, attachments: dict[str, Any]) -> Any:
    """The value with references to long texts ("attachment://...") replaced by the texts."""
    if isinstance(value, str) and value.startswith("attachment://"):
        return attachments.get(value.removeprefix("attachment://"), value)
    if isinstance(value, dict):
        return {key: _resolved(inner, attachments) for key, inner in value.items()}
    if isinstance(value, list):
        return [_resolved(inner, attachments) for inner in value]
    return value
