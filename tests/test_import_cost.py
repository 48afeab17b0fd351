"""What loading costs, in modules rather than seconds, and that it touches no network."""

from __future__ import annotations

import subprocess
import sys

import pytest

from aligntax.cli import COMMANDS

HEAVY = {
    "polars",
    "numpy",
    "scipy",
    "torch",
    "rich",
    "jinja2",
    "msgspec",
    "yaml",
    "zstandard",
    "aiohttp",
    "sqlalchemy",
}

NO_NETWORK = """
import socket
def refuse(*args, **kwargs):
    raise SystemExit("the network was touched")
for name in ("socket", "create_connection", "getaddrinfo", "gethostbyname"):
    setattr(socket, name, refuse)
"""


def modules_after(code: str) -> set[str]:
    """Modules that `code` has loaded beyond those of a bare Python."""
    script = (
        f"import sys\nbefore = set(sys.modules)\n{code}\nprint('\\n'.join(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout[done.stdout.rindex("\f") + 1 :].split())


def after_import() -> set[str]:
    return modules_after("import aligntax\nprint('\\f')")


def after_help(*arguments: str) -> set[str]:
    return modules_after(
        f"sys.argv = ['aligntax', *{list(arguments)}]\n"
        "from aligntax.cli import main\n"
        "try:\n    main()\nexcept SystemExit as leaving:\n    assert not leaving.code\n"
        "print('\\f')"
    )


def test_importing_aligntax_loads_almost_nothing():
    loaded = after_import()
    assert {name for name in loaded if name.startswith("aligntax")} == {"aligntax"}
    assert len(loaded) < 40


@pytest.mark.parametrize(
    "arguments", [["--help"], ["label", "--help"], *([name, "--help"] for name in COMMANDS)]
)
def test_help_loads_click_and_none_of_the_packages_that_do_the_work(arguments):
    loaded = after_help(*arguments)
    assert not {name.partition(".")[0] for name in loaded} & HEAVY
    assert len(loaded) < 150


def test_a_bare_import_and_help_touch_no_network():
    code = f"{NO_NETWORK}\nimport aligntax\nimport sys\nsys.argv = ['aligntax', '--help']\nfrom aligntax.cli import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: aligntax" in done.stdout


def test_every_public_name_can_be_loaded():
    code = "import aligntax\nfor name in aligntax.__all__:\n    getattr(aligntax, name)\nprint('torch' in __import__('sys').modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False", done.stderr
