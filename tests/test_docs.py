"""The documentation says what the program does: everything has its place, links lead somewhere, blocks run."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from aligntax.cli import COMMANDS, LazyGroup
from aligntax.detect import DETECTORS
from aligntax.detect.lexicon import FUNCTIONS as PHRASE_FUNCTIONS
from aligntax.detect.lexicon import LANGUAGES
from aligntax.logs.formats import READERS
from aligntax.logs.plain import ALIASES
from aligntax.outcomes import ENDED_BY_ITSELF, OUTCOMES
from aligntax.types import FUNCTIONS, Answered, Kind, Label, Outcome, exchange_schema, verdict_schema
from documents import DOCS, PAGES, ROOT, blocks, name_of, prose, text_of
from labs import KEPT

sys.path.append(str(DOCS))
import hooks
import shown

PLACES = {  # page -> what has its place in it, as code
    "reference/cli.md": [f"aligntax {name}" for name in COMMANDS],
    "howto/scan-your-logs.md": [*READERS],
    "howto/map-columns.md": [*ALIASES],
    "reference/outcomes.md": [*Outcome, *OUTCOMES, *ENDED_BY_ITSELF],
    "reference/verdicts.md": [*DETECTORS, *Kind, *Label, *Answered],
    "reference/columns.md": [*exchange_schema(), *verdict_schema()],
    "reference/lexicon.md": [*FUNCTIONS, *PHRASE_FUNCTIONS, *LANGUAGES],
}
CONTESTED = (
    "refuse, then answer",
    "caveats",
    "professional",
    "lack of a tool",
    "out of scope",
    "safe alternative",
)
CONTESTED += ("empty output", "wrong premise", "disclaimer round a full answer", "no opinion", "cut text")
CONTESTED += ("filter marker", "one-sided writing")

RAN = [ROOT / "README.md", DOCS / "start.md"]
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:home|root|work|tmp|Users|opt|mnt)/")
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", PLACES)
def test_everything_has_its_place(page: str) -> None:
    named = set(re.findall(r"`([^`\n]+)`", text_of(page)))
    assert [name for name in PLACES[page] if str(name) not in named] == []


def test_outcomes_are_documented_with_the_outcome_they_have() -> None:
    rows = re.findall(r"^\| (`.*`) \|[^|\n]*\| `(\w+)` \|$", text_of("reference/outcomes.md"), re.MULTILINE)
    documented = {value: outcome for values, outcome in rows for value in re.findall(r"`(\w+)`", values)}
    assert documented == {value: outcome.value for value, outcome in OUTCOMES.items()}


def test_every_contested_case_is_written_down_with_an_example() -> None:
    table = text_of("reference/verdicts.md").partition("## Contested cases")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in table.splitlines()
        if line.startswith("|")
    ]
    cases = {row[0]: row for row in rows[2:]}
    assert [case for case in CONTESTED if not any(case in name for name in cases)] == []
    for case, example, answered, kinds, why in cases.values():
        assert '"' in example, case
        assert answered in {*Answered, "–"}, case
        assert kinds == "–" or {kind.replace(" ", "_") for kind in kinds.split(" or ")} <= {*Kind}, case
        assert why, case


def test_the_page_of_commands_is_written_from_their_help() -> None:
    page = hooks.on_page_markdown(text_of("reference/cli.md"))
    for name, place in COMMANDS.items():
        assert f"## aligntax {name}" in page
        for option in options(place):
            assert option in page


def options(place: str) -> set[str]:
    return options_of(command_at(place))


def command_at(place: str) -> click.Command:
    module, _, attribute = place.partition(":")
    command: click.Command = getattr(import_module(module), attribute)
    return command


def options_of(command: click.Command) -> set[str]:
    return {
        "--help",
        "-h",
        *(name for parameter in command.params for name in parameter.opts if name[0] == "-"),
    }


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_shown_commands_exist_with_their_options(path: Path) -> None:
    lines = "\n".join(blocks(path, "bash") + blocks(path, "console")).replace("\\\n", " ").splitlines()
    for line in lines:
        for call in re.findall(r"(?:^|[|;&] *)(?:\$ )?aligntax ([^|;>]*)", line):
            command, *words = shlex.split(call, comments=True)
            known = {"--help", "--version"}
            if command in COMMANDS:
                found = command_at(COMMANDS[command])
                if isinstance(found, LazyGroup) and words and words[0] != "--help":
                    assert words[0] in found.places, line
                    found = command_at(found.places[words.pop(0)])
                known = options_of(found)
            used = {
                word.partition("=")[0] for word in [command, *words] if word.startswith("-") and word != "-"
            }
            assert command in COMMANDS or command in known, line
            assert used <= known, line


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    for target in LINK.findall(prose(path)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        page = (path.parent / name).resolve() if name else path
        assert page.exists(), target
        if anchor:
            assert anchor in anchors(page), target


def anchors(path: Path) -> set[str]:
    found = set()
    for heading in re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE):
        title, _, own = heading.partition("{")
        plain = re.sub(r"[^\w\s-]", "", title).strip().lower()
        found.add(own.strip(" #}") or re.sub(r"[\s-]+", "-", plain))
    return found


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_pages_name_no_machine(path: Path) -> None:
    assert MACHINE_PATH.findall(path.read_text("utf-8")) == []


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_files_of_the_repository_that_pages_name_are_there(path: Path) -> None:
    tops = ("src", "docs", "tests", "benchmarks", "examples", "logs", "detect", "report", "cli")
    named = re.findall(rf"`((?:{'|'.join(tops)})/[a-z_./]+)`", prose(path))
    roots = (ROOT, ROOT / "src" / "aligntax")
    assert [name for name in named if not any((root / name).exists() for root in roots)] == []


@pytest.mark.parametrize("path", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_python_blocks_are_python(path: Path) -> None:
    for code in blocks(path, "python"):
        ast.parse(code)


@pytest.mark.parametrize("path", RAN, ids=name_of)
def test_python_blocks_run_on_the_sample(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown.prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    code = blocks(path, "python")
    assert code
    space: dict[str, object] = {}
    for block in code:
        exec(compile(block, name_of(path), "exec"), space)


@pytest.mark.parametrize(
    "path", [page for page in PAGES if "$ aligntax" in page.read_text("utf-8")], ids=name_of
)
def test_shown_outputs_are_what_the_commands_print(path: Path, tmp_path: Path) -> None:
    """Where this fails after a change that was meant: `make shown` rewrites them."""
    shown.prepare(tmp_path)
    KEPT.mkdir(parents=True, exist_ok=True)
    (tmp_path / ".cache" / "aligntax").mkdir(parents=True)
    (tmp_path / ".cache" / "aligntax" / "lab").symlink_to(KEPT)
    page = path.read_text("utf-8")
    now = shown.rerun(page, tmp_path)
    assert now == page or shown.alike(path.name, now, page)


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert [
        name for page in DOCS.rglob("*.md") if (name := str(page.relative_to(DOCS))) not in navigation
    ] == []


def test_the_pictures_are_there_and_small() -> None:
    shown_in = "".join(page.read_text("utf-8") for page in PAGES)
    pictures = sorted((DOCS / "images").glob("*.png"))
    assert len(pictures) >= 3
    for picture in pictures:
        assert picture.name in shown_in
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size < 300_000


def test_numbers_of_performance_name_their_script() -> None:
    measured = re.compile(r"\d (?:ms|s|MB|GB|k)\b|/s\b|\bF1\b|\bAUC\b|\bECE\b|(?<!\d)0?\.\d\d\b")
    for paragraph in re.split(r"\n\s*\n", prose(ROOT / "README.md")):
        assert not measured.search(paragraph) or "benchmarks/" in paragraph, paragraph


def test_every_benchmark_is_described() -> None:
    described = (ROOT / "benchmarks" / "README.md").read_text("utf-8")
    scripts = [path.name for path in (ROOT / "benchmarks").glob("*.py")]
    assert [name for name in scripts if name not in described] == []
    assert [name for name in re.findall(r"`(\w+\.py)`", described) if name not in scripts] == []
