"""What a judge is asked, in which words, on which scale: rubrics by name or from a file."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from ..errors import InputError
from ..types import ShouldAnswer
from .schemas import Field, answer_type, object_of

RUBRICS: dict[str, str] = {
    "verdict": "verdict.yaml",
    "completeness": "completeness.yaml",
    "quality": "quality.yaml",
    "preference": "preference.yaml",
}
"""Name of a rubric that ships with this version -> its file."""

_FOR_PEOPLE = "should_answer"
_SHAPE = "docs/reference/judges.md shows one"


class Rubric(msgspec.Struct, frozen=True, kw_only=True):
    """What a judge is asked. Another wording or scale is another version: numbers of two do not mix."""

    name: str
    version: str
    instructions: str  # the system prompt, without what aligntax adds about form and safety
    schema: dict[str, Any]  # JSON schema of the reply: one object, all properties required
    scale: str = ""  # in words, for people

    @property
    def label(self) -> str:
        """Name and version, as the column `judge` has them.

        >>> Rubric(name="tone", version="2", instructions="", schema={}).label
        'tone@2'
        """
        return f"{self.name}@{self.version}"


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    version: str
    instructions: str
    fields: dict[str, Field]
    scale: str = ""


def load_rubric(name_or_path: str | Path) -> Rubric:
    """The rubric of this name in RUBRICS, else the one in this YAML file.

    Raises InputError, with file and field, for what is no rubric; for a field `should_answer`, which only people can
    say; and for a name that is neither.
    """
    if isinstance(name_or_path, str) and name_or_path in RUBRICS:
        text = (resources.files(__package__) / "rubrics" / RUBRICS[name_or_path]).read_text("utf-8")
        return _parsed(text, name_or_path)
    path = Path(name_or_path)
    try:
        return _parsed(path.read_text("utf-8"), str(path))
    except FileNotFoundError:
        known = ", ".join(RUBRICS)
        raise InputError(
            "there is no such rubric", where=str(path), remedy=f"give a file, or one of {known}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("the file cannot be read", where=str(path), remedy="give YAML in UTF-8") from error


def with_facts(rubric: Rubric, facts: int) -> Rubric:
    """A rubric of completeness for so many facts: the schema of its first field, once for each."""
    (field,) = rubric.schema["properties"].values()
    return msgspec.structs.replace(
        rubric, schema=object_of({f"fact_{number}": field for number in range(1, facts + 1)})
    )


def refuse_unusable(rubric: Rubric, where: str | None = None) -> None:
    """Raises InputError for a rubric whose replies cannot be checked, or that asks what only people can say."""
    where = where or rubric.label
    if not rubric.name.strip() or not rubric.version.strip() or not rubric.instructions.strip():
        raise InputError("name, version or instructions are empty", where=where, remedy=_SHAPE)
    if _FOR_PEOPLE in rubric.schema.get("properties", {}):
        values = ", ".join(ShouldAnswer)
        raise InputError(
            f"only people can say whether a request should have been answered ({values})",
            where=f"{where}, {_FOR_PEOPLE}",
            remedy="leave the field out, and label it",
        )
    answer_type(rubric.schema, where)


def _parsed(text: str, where: str) -> Rubric:
    import yaml

    try:
        file = msgspec.convert(yaml.safe_load(text), _File)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"{where}:{mark.line + 1}" if mark is not None else where
        raise InputError("is no YAML", where=line, remedy=_SHAPE) from None
    except msgspec.ValidationError as error:
        remedy = 'put it in quotes: "1", "yes"' if "Expected `str`" in str(error) else _SHAPE
        raise InputError(_in_words(error), where=where, remedy=remedy) from None
    if not file.fields:
        raise InputError("asks nothing", where=f"{where}, fields", remedy=_SHAPE)
    rubric = Rubric(
        name=file.name,
        version=file.version,
        instructions=file.instructions,
        schema=object_of({name: _schema(field, f"{where}, {name}") for name, field in file.fields.items()}),
        scale=file.scale,
    )
    refuse_unusable(rubric, where)
    return rubric


def _schema(field: Field, where: str) -> dict[str, Any]:
    try:
        return field.schema()
    except ValueError as error:
        raise InputError(str(error), where=where, remedy=_SHAPE) from None


def _in_words(error: msgspec.ValidationError) -> str:
    """What msgspec says, with the path as people write it: `$.fields[...].to` has no `$` for them."""
    text = str(error)
    return text[:1].lower() + text[1:].replace("`$.", "`").replace("`$`", "the file")
