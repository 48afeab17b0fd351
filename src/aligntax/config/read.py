"""From the text of aligntax.yaml to a `Config`; what is wrong is said with its line, its key and the remedy."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import yaml
from msgspec import inspect

from ..errors import InputError
from .shape import TARGETS, Config

CONFIG_NAME = "aligntax.yaml"
_LARGEST = 200_000  # bytes; YAML of this size still reads in seconds
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\Z")
ALIAS = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")
_SECRET = re.compile(
    r"(?i)(?:.*(?:key|secret|passwor[dt])|(?:(?:api|access|auth|bearer)[_-]?)?token|authori[sz]ation|credentials?)\Z"
)
_EXAMPLES = {"version": "1", "name": "openai/MODEL", "input": "2.50", "output": "10", "temperature": "0.7"}
_PLAIN_KEY = re.compile(r"[\w.-]+\Z")
_STANDARD = "tag:yaml.org,2002:"
_NULL = f"{_STANDARD}null"
_NO_MATCH = {
    "model": ("names no provider", "write provider/model, such as openai/MODEL"),
    "address": (
        "is no address of a server without user and key",
        "write http:// or https://, host and path; keys go into the environment",
    ),
}
_MAKE_ONE = "write one with: aligntax init, or name one with --config"


def config_file(path: str | Path | None = None) -> Path | None:
    """Where the configuration is: `path`, else the variable ALIGNTAX_CONFIG, else aligntax.yaml in this folder.

    None where nobody named one and there is none in this folder.
    """
    named = path or os.environ.get("ALIGNTAX_CONFIG")
    if named:
        return Path(named)
    return Path(CONFIG_NAME) if Path(CONFIG_NAME).exists() else None


def find_config(path: str | Path | None = None) -> Config | None:
    """The configuration of this folder, or the one that is named; None where there is none.

    A relative `store` is turned into a path from the file's own folder. Raises InputError for a file that was
    named and is absent, or that cannot be read as a configuration.
    """
    found = config_file(path)
    return read_config(found)[0] if found else None


def read_config(path: str | Path) -> tuple[Config, str]:
    """The configuration in a file, and the SHA-256 of the file. See `find_config`."""
    path = Path(path)
    content = _content(path)
    config = parse_config(content, name=str(path))
    if config.store and "://" not in config.store:
        config = msgspec.structs.replace(config, store=str(path.parent / config.store))
    return config, hashlib.sha256(content).hexdigest()


def parse_config(content: bytes, *, name: str = CONFIG_NAME) -> Config:
    """The configuration that `content` writes down; `name` is what errors call the file."""
    if len(content) > _LARGEST:
        raise InputError(
            f"this is larger than {_LARGEST // 1000} kB",
            where=name,
            remedy="a configuration is a page or two",
        )
    root = _compose(content, name)
    if root is None or root.tag == _NULL:
        raise InputError("the file is empty", where=name, remedy="begin with the line: version: 1")
    config: Config = _Reader(name).value(root, inspect.type_info(Config), ())
    return config


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST + 1)
    except FileNotFoundError:
        other = path.with_suffix(".yml")
        remedy = f"rename {other.name} to {path.name}" if other.exists() and other != path else _MAKE_ONE
        raise InputError("there is no such file", where=str(path), remedy=remedy) from None
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", where=str(path), remedy="name another file"
        ) from error


def _compose(content: bytes, name: str) -> yaml.Node | None:
    """The tree of nodes, which know their lines. Nothing is constructed, so no tag can run anything."""
    try:
        return yaml.compose(content.decode("utf-8-sig"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError("this is not UTF-8", where=f"{name}:{line}", remedy="save it as UTF-8") from None
    except RecursionError:
        raise InputError(
            "this is nested too deep", where=name, remedy="see docs/reference/config.md"
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = (error.problem or "this is not YAML").removeprefix("but ")
        tab = "'\\t'" in problem
        raise InputError(
            "a tab indents this line" if tab else problem,
            where=f"{name}:{mark.line + 1}" if mark else name,
            remedy="indent with spaces" if tab else "see docs/reference/config.md",
        ) from None
    except yaml.YAMLError as error:
        before = content.decode("utf-8-sig")[: getattr(error, "position", 0)]
        raise InputError(
            "there is a character that YAML does not allow",
            where=f"{name}:{before.count(chr(10)) + 1}",
            remedy="take it out",
        ) from None


Keys = tuple[str, ...]


class _Reader:
    """Goes down the nodes and the types of `Config` together. The types end, so aliases cannot grow without end."""

    def __init__(self, name: str) -> None:
        self.name = name

    def value(self, node: yaml.Node, kind: inspect.Type, path: Keys) -> Any:
        kind, marks = _unwrapped(kind)
        if not node.tag.startswith(_STANDARD) or ":python/" in node.tag:
            self.fail(node, path, "has a tag", "tags such as !name are not read here")
        if isinstance(kind, inspect.StructType):
            return self._section(node, kind, path)
        if isinstance(kind, inspect.DictType):
            return self._names(node, kind, marks, path)
        if not isinstance(node, yaml.ScalarNode):
            self.fail(node, path, "must be one value", "write it on the same line, without - and brackets")
        if not node.value.strip():
            self.fail(node, path, "has no value", "write one, or take the line out")
        if isinstance(kind, inspect.FloatType) and marks == "rate":
            return self._rate(node, kind, path)
        if isinstance(kind, (inspect.FloatType, inspect.IntType)):
            return self._number(node, kind, path)
        if isinstance(kind, inspect.BoolType):
            return self._switch(node, path)
        if isinstance(kind, inspect.LiteralType):
            return self._version(node, path)
        if isinstance(kind, inspect.StrType) and kind.pattern and not re.search(kind.pattern, node.value):
            self.fail(node, path, *_NO_MATCH[marks or ""])
        return node.value

    def _section(self, node: yaml.Node, kind: inspect.StructType, path: Keys) -> Any:
        fields = {field.encode_name: field for field in kind.fields}
        found = {}
        for key, name, content in self._pairs(node, path):
            if name not in fields:
                if _SECRET.match(name):
                    self._secret(key, node, (*path, name))
                self._unknown(key, (*path, name), "is not a key of this file", fields)
            found[name] = self.value(content, fields[name].type, (*path, name))
        missing = [name for name, field in fields.items() if field.required and name not in found]
        if missing:
            example = f"{missing[0]}: {_EXAMPLES.get(missing[0], '1 %')}"
            self.fail(node, (*path, missing[0]), "is missing", f"add the line: {example}")
        return kind.cls(**found)

    def _names(
        self, node: yaml.Node, kind: inspect.DictType, marks: str | None, path: Keys
    ) -> dict[str, Any]:
        found = {}
        for key, name, content in self._pairs(node, path):
            if marks == "targets" and name not in TARGETS:
                self._unknown(key, (*path, name), "is not a rate that can have a limit", TARGETS)
            if marks == "aliases" and isinstance(content, yaml.ScalarNode) and _SECRET.match(name):
                self._secret(key, node, (*path, name))
            if marks == "aliases" and not ALIAS.match(name):
                self.fail(
                    key,
                    (*path, name),
                    "is no alias",
                    "letters, digits, _ . and -; provider/model goes under name:",
                )
            found[name] = self.value(content, kind.value_type, (*path, name))
        return found

    def _pairs(self, node: yaml.Node, path: Keys) -> Iterator[tuple[yaml.Node, str, yaml.Node]]:
        """Key node, key and value node of each entry; a section that is all comments has none."""
        if node.tag == _NULL and isinstance(node, yaml.ScalarNode):
            return
        if not isinstance(node, yaml.MappingNode):
            self.fail(
                node, path, "must hold keys with values", "write each as   key: value   on its own line"
            )
        lines: dict[str, int] = {}
        for key, content in node.value:
            if key.tag == f"{_STANDARD}merge":
                self.fail(key, path, "merges another section with <<", "put what is shared under defaults:")
            if not isinstance(key, yaml.ScalarNode):
                self.fail(key, path, "has a key that is not a name", "write a name before the colon")
            if key.value in lines:
                first = lines[key.value]
                self.fail(
                    key, (*path, key.value), "stands here twice", f"the first is in line {first}; keep one"
                )
            lines[key.value] = key.start_mark.line + 1
            yield key, key.value, content

    def _rate(self, node: yaml.ScalarNode, kind: inspect.FloatType, path: Keys) -> float:
        text = node.value.strip()
        number, percent = text.removesuffix("%").rstrip(), text.endswith("%")
        least, most = kind.gt if kind.ge is None else kind.ge, kind.lt if kind.le is None else kind.le
        form = f"write a number from {least} to {most}, or a percentage"
        if not _NUMBER.match(number):
            self.fail(node, path, f"is {_shown(text)}, not a rate", f"{form}, such as 0.05 or 5 %")
        # Divided, not multiplied: 7 % is to be the float that 0.07 is.
        rate = float(number) / 100 if percent else float(number)
        inside = (kind.ge is None or rate >= kind.ge) and (kind.le is None or rate <= kind.le)
        inside = inside and (kind.gt is None or rate > kind.gt) and (kind.lt is None or rate < kind.lt)
        if not inside:
            meant = f"did you mean {number} %?" if not percent and 1 < rate <= 100 else form
            self.fail(node, path, f"is {_shown(text)}, which is not between {least} and {most}", meant)
        return rate

    def _secret(self, key: yaml.Node, section: yaml.Node, path: Keys) -> NoReturn:
        remedy = f"take it out, and set {key_variable(section)} in the environment or in .env"
        self.fail(key, path, "would keep a key in this file", remedy)

    def _number(self, node: yaml.ScalarNode, kind: inspect.FloatType | inspect.IntType, path: Keys) -> float:
        text, whole = node.value.strip(), isinstance(kind, inspect.IntType)
        least = kind.gt if kind.ge is None else kind.ge
        form = f"write a {'whole ' if whole else ''}number {'from' if kind.gt is None else 'above'} {least}"
        number = float(text) if _NUMBER.match(text) else math.nan
        right = math.isfinite(number) and (kind.ge is None or number >= kind.ge)
        right = right and (kind.gt is None or number > kind.gt)
        if not right or (whole and not re.fullmatch(r"[0-9]{1,12}", text)):
            self.fail(node, path, f"is {_shown(text)}", f"{form}, such as {_EXAMPLES.get(path[-1], '1000')}")
        return int(text) if whole else number

    def _switch(self, node: yaml.ScalarNode, path: Keys) -> bool:
        text = node.value.strip().lower()
        if text not in {"true", "false"}:
            self.fail(node, path, f"is {_shown(node.value)}", "write true or false")
        return bool(text == "true")

    def _version(self, node: yaml.ScalarNode, path: Keys) -> int:
        if node.value != "1":
            remedy = "update aligntax" if node.value.isdecimal() else "write: version: 1"
            self.fail(node, path, f"is {_shown(node.value)}; this aligntax reads version 1", remedy)
        return 1

    def _unknown(self, node: yaml.Node, path: Keys, what: str, known: Iterable[str]) -> NoReturn:
        names = list(known)
        near = difflib.get_close_matches(path[-1].lower(), names, n=1)
        self.fail(node, path, what, f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}")

    def fail(self, node: yaml.Node, path: Keys, what: str, remedy: str) -> NoReturn:
        place = ".".join(key if _PLAIN_KEY.match(key) else _shown(key) for key in path) or "the file"
        raise InputError(f"{place} {what}", where=f"{self.name}:{node.start_mark.line + 1}", remedy=remedy)


def key_variable(node: yaml.Node) -> str:
    """The variable with the key of the model that a section of `models` names, by the rule of docs/reference/models.md."""
    entries = node.value if isinstance(node, yaml.MappingNode) else []
    names = [text.value for key, text in entries if key.value == "name" and isinstance(text, yaml.ScalarNode)]
    provider, *rest = re.split(r"[/:]", names[0] if names else "")
    if provider == "openai-api":
        return f"{re.sub(r'[^A-Za-z0-9_]', '_', rest[0]).upper()}_API_KEY" if rest else "SERVER_API_KEY"
    known = re.match(r"[A-Za-z]+", provider)
    return f"{known.group().upper()}_API_KEY" if known else "OPENAI_API_KEY or ANTHROPIC_API_KEY"


def _unwrapped(kind: inspect.Type) -> tuple[inspect.Type, str | None]:
    """A type without its metadata and without None, and our mark on it."""
    mark = None
    while isinstance(kind, (inspect.Metadata, inspect.UnionType)):
        if isinstance(kind, inspect.Metadata):
            mark = (kind.extra_json_schema or {}).get("x-aligntax") or mark
            kind = kind.type
        else:
            (kind,) = (part for part in kind.types if not isinstance(part, inspect.NoneType))
    return kind, mark


def _shown(text: str) -> str:
    """What the file says, short and quoted: it is the team's own text, not that of a log."""
    return json.dumps(text if len(text) <= 40 else f"{text[:39]}…", ensure_ascii=False)
