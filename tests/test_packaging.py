"""The wheel holds everything that a scan needs; `make smoke` installs it alone and scans with it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import aligntax
from aligntax.detect.lexicon import LANGUAGES
from documents import ROOT

PACKAGE = Path(aligntax.__file__).parent
TEMPLATES = [path.name for path in (PACKAGE / "report" / "templates").iterdir()]
SAMPLE = [path.name for path in (PACKAGE / "sample").iterdir()]
AUTHORED = [path.name for path in (PACKAGE / "detect" / "authored").iterdir()]
NEEDED = [
    "py.typed",
    *(f"detect/lexicons/{language}.yaml" for language in LANGUAGES),
    *(f"detect/authored/{name}" for name in AUTHORED),
    *(f"report/templates/{name}" for name in TEMPLATES),
    *(f"sample/{name}" for name in SAMPLE),
    *(f"ui/{path.parent.name}/{path.name}" for path in PACKAGE.glob("ui/*/*.*") if path.suffix != ".pyc"),
    *(f"suites/{path.relative_to(PACKAGE / 'suites')}" for path in PACKAGE.glob("suites/domains/*/*.*")),
    *(f"judge/rubrics/{path.name}" for path in PACKAGE.glob("judge/rubrics/*.yaml")),
    "suites/mask_rules.yaml",
    "label/codebook.yaml",
    "label/known.jsonl",
]
WEIGHTS = (".npz", ".npy", ".safetensors")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, check=True
    )
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_what_a_scan_reads(wheel: zipfile.ZipFile) -> None:
    held = set(wheel.namelist())
    assert len(TEMPLATES) > 5
    assert len(SAMPLE) == 8
    assert [name for name in NEEDED if f"aligntax/{name}" not in held] == []


def test_the_wheel_holds_weights_under_a_megabyte(wheel: zipfile.ZipFile) -> None:
    weights = [entry for entry in wheel.infolist() if entry.filename.endswith(WEIGHTS)]
    assert weights
    assert all(entry.filename.startswith("aligntax/detect/") for entry in weights)
    assert sum(entry.file_size for entry in weights) < 1_000_000


def test_the_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    assert {name.split("/")[0].removesuffix(".dist-info") for name in wheel.namelist()} == {
        "aligntax",
        f"aligntax-{aligntax.__version__}",
    }
    assert not [name for name in wheel.namelist() if name.endswith((".pyc", ".pkl", ".pickle", ".pt"))]


def test_the_metadata_names_licence_command_and_python(wheel: zipfile.ZipFile) -> None:
    folder = f"aligntax-{aligntax.__version__}.dist-info"
    metadata = Parser().parsestr(wheel.read(f"{folder}/METADATA").decode())
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert {"LICENSE", "NOTICE"} == {Path(name).name for name in metadata.get_all("License-File", [])}
    assert "aligntax = aligntax.cli:main" in wheel.read(f"{folder}/entry_points.txt").decode()


def test_a_scan_needs_no_extra(wheel: zipfile.ZipFile) -> None:
    metadata = Parser().parsestr(wheel.read(f"aligntax-{aligntax.__version__}.dist-info/METADATA").decode())
    needed = [entry for entry in metadata.get_all("Requires-Dist", []) if "extra ==" not in entry]
    heavy = ("torch", "transformers", "ray", "starlette", "optuna", "psycopg")
    assert len(needed) <= 12  # docs/why/dependencies.md names each with its reason
    assert [entry for entry in needed if entry.startswith(heavy)] == []
