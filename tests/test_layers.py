"""Imports run one way: a module knows only the layers under its own, and no neighbour in it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import aligntax

# From the ground up, a line a layer; a room is a module or a folder of src/aligntax.
LAYERS = """
types errors json_text
outcomes
stats
logs detect judge label suites mitigate weights client store verdict_file config
estimate run
campaign triggers twins floor frontier tune
report monitor
gateway ui lab testing
cli
"""
HEIGHT = {room: height for height, rooms in enumerate(LAYERS.strip().split("\n")) for room in rooms.split()}
PACKAGE = Path(aligntax.__file__).parent
MODULES = sorted(
    path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or not path.stem.startswith("__")
)


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> Iterator[tuple[str, int]]:
    """Rooms that a module imports, at any depth and for types too, with the line."""
    package = ("aligntax", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            name = ".".join((*base, *([node.module] if node.module else [])))
            targets = [f"{name}.{alias.name}" for alias in node.names]
        else:
            targets = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for target in targets:
            first, _, rest = target.partition(".")
            room = rest.partition(".")[0]
            if first == "aligntax" and room in HEIGHT:  # what else the package itself gives is ground
                yield room, node.lineno


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_layers_under_its_own(path: Path) -> None:
    room = room_of(path)
    assert room in HEIGHT, f"{room} is a new room: say in LAYERS where it stands"
    wrong = [
        f"line {line}: {room} imports {other}"
        for other, line in imported_rooms(path)
        if other != room and HEIGHT[other] >= HEIGHT[room]
    ]
    assert wrong == []


def test_imports_inside_functions_are_seen() -> None:
    module = PACKAGE / "cli" / "scan.py"
    found = {room for room, _ in imported_rooms(module)}
    assert {"logs", "errors", "report", "verdict_file"} <= found
