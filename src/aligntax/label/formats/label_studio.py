"""Label Studio: its JSON export, tasks for its import, and the labelling configuration of our codebook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from ...types import Annotation, Item
from ..codebook import Axis, load_codebook
from .rows import SYNONYMS, kinds_were_asked, row_of

_CHOICES = ("answered", "kinds", "disclaimer", "hedging", "should_answer", "skipped")
_SHOWN = ("use_case", "outcome", "system", "history", "prompt", "response")


def is_task(record: Mapping[str, Any]) -> bool:
    """Whether a record is a task of Label Studio's full export."""
    return isinstance(record.get("data"), dict) and "annotations" in record


def rows_of(task: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A row per annotation of a task; none where nobody has labelled it."""
    data = task["data"]
    exchange = next((data[name] for name in SYNONYMS["id"] if data.get(name)), None)
    for annotation in task["annotations"] or ():
        row: dict[str, Any] = {
            "id": exchange,
            "annotator": _name(annotation.get("completed_by")),
            "time": annotation.get("updated_at") or annotation.get("created_at"),
            "adjudicated": annotation.get("ground_truth") or None,
            "not_asked": annotation.get("not_asked"),
        }
        for result in annotation.get("result") or ():
            row[result["from_name"]] = _value(result.get("value") or {})
        if annotation.get("was_cancelled"):  # its own way to skip; what was ticked before does not count
            row |= dict.fromkeys(_CHOICES) | {"skipped": row.get("skipped") or "other"}
        yield kinds_were_asked(row)


def tasks_to_label(items: Iterable[Item]) -> list[dict[str, Any]]:
    """Tasks for the import; what a task holds is what `label_studio_config` shows."""
    return [
        {
            "data": {"exchange": item.exchange, **{name: getattr(item, name) or "" for name in _SHOWN}},
            "annotations": [],
        }
        for item in items
    ]


def labelled_tasks(annotations: Iterable[Annotation]) -> list[dict[str, Any]]:
    """A task per exchange with all that was said of it, and no text."""
    tasks: dict[str, dict[str, Any]] = {}
    for annotation in annotations:
        task = tasks.setdefault(
            annotation.exchange, {"data": {"exchange": annotation.exchange}, "annotations": []}
        )
        task["annotations"].append(_exported(annotation))
    return list(tasks.values())


def label_studio_config() -> str:
    """The labelling configuration (XML) for a Label Studio project: the codebook's questions, keys and meanings."""
    view = ElementTree.Element("View")
    for name, heading in (
        ("system", "System prompt"),
        ("history", "Before"),
        ("prompt", "Request"),
        ("response", "Answer"),
    ):
        ElementTree.SubElement(view, "Header", value=heading, size="5")
        ElementTree.SubElement(view, "Text", name=name, value=f"${name}")
    ElementTree.SubElement(
        view, "Header", value="How the call ended (blocked calls: answer the last question alone)", size="5"
    )
    ElementTree.SubElement(view, "Text", name="outcome", value="$outcome")
    for axis in load_codebook().axes:
        _add_axis(view, axis)
    ElementTree.SubElement(view, "Header", value="Or skip it, because", size="5")
    skip = ElementTree.SubElement(
        view, "Choices", name="skipped", toName="response", choice="single", showInLine="true"
    )
    for reason in load_codebook().skip:
        ElementTree.SubElement(skip, "Choice", value=reason.title, alias=reason.name, hotkey=reason.key)
    ElementTree.SubElement(
        view, "TextArea", name="note", toName="response", placeholder="Note", maxSubmissions="1"
    )
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def _add_axis(view: ElementTree.Element, axis: Axis) -> None:
    ElementTree.SubElement(view, "Header", value=axis.question, size="5")
    how = "multiple" if axis.several else "single"
    choices = ElementTree.SubElement(
        view, "Choices", name=axis.name, toName="response", choice=how, showInLine="true"
    )
    for value in axis.values:
        ElementTree.SubElement(
            choices, "Choice", value=value.title, alias=value.name, hint=value.means, hotkey=value.key
        )


def _exported(annotation: Annotation) -> dict[str, Any]:
    row = row_of(annotation)
    results = [_result(name, "choices", _strings(row[name])) for name in _CHOICES if row[name] is not None]
    if annotation.note:
        results.append(_result("note", "text", [annotation.note]))
    exported = {
        "completed_by": {"email": annotation.annotator},
        "updated_at": row["time"],
        "ground_truth": annotation.adjudicated,
        "was_cancelled": annotation.skipped is not None,
        "result": results,
    }
    asked = annotation.kinds is not None or annotation.answered is None
    return exported if asked else {**exported, "not_asked": ["kinds"]}


def _result(name: str, kind: str, value: Sequence[str]) -> dict[str, Any]:
    tag = "textarea" if kind == "text" else kind
    return {"from_name": name, "to_name": "response", "type": tag, "value": {kind: list(value)}}


def _strings(value: Any) -> list[str]:
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def _value(value: Mapping[str, Any]) -> Any:
    if "text" in value:
        text = value["text"]
        return "\n".join(map(str, text)) if isinstance(text, list) else text
    return next((value[kind] for kind in ("choices", "rating", "number") if kind in value), None)


def _name(who: object) -> object:
    if isinstance(who, Mapping):
        full = " ".join(str(who[part]) for part in ("first_name", "last_name") if who.get(part))
        return who.get("email") or who.get("username") or full or who.get("id")
    return who
