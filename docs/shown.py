"""Rewrites what the documentation shows of real runs: outputs of commands, and the picture of the report.

A `console` block that begins with "$ aligntax" holds what that command prints, run in a folder where `logs/` is the
sample log and nothing else lies; the blocks of a page share the folder. `make shown` calls this.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import aligntax

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "images" / "report.png"
SIZE = {"width": 1180, "height": 1370}

_BLOCK = re.compile(r"^```console\n\$ (aligntax[^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def prepare(folder: Path) -> None:
    """Lay the sample log into `folder`, as a user's own logs would lie there."""
    for name in ("logs", "demo"):
        (folder / name).mkdir()
    for log in (Path(aligntax.__file__).parent / "sample").glob("*.jsonl"):
        if not log.name.endswith(".labels.jsonl"):
            shutil.copy(log, folder / "logs")


def rerun(page: str, folder: Path) -> str:
    """The text of a page with every shown output replaced by what its command prints now."""
    return _BLOCK.sub(lambda block: f"```console\n$ {block[1]}\n{_output(block[1], folder)}```", page)


def _output(command: str, folder: Path) -> str:
    words = shlex.split(command)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("ALIGNTAX_")}
    ran = subprocess.run(  # noqa: S603 - commands of our own pages
        [sys.executable, "-m", *words],
        cwd=folder,
        env={**variables, "COLUMNS": "112", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise RuntimeError(f"{command}: exit code {ran.returncode}\n{ran.stderr}")
    return "".join(f"{line.rstrip()}\n" for line in ran.stdout.splitlines())


def _take_picture(folder: Path) -> None:
    from playwright.sync_api import sync_playwright

    report = folder / "report.html"
    _output(f"aligntax scan --sample --report {report.name}", folder)
    browser_path = next(filter(None, map(shutil.which, _BROWSERS)), None)
    with sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, device_scale_factor=1.25, color_scheme="light")
        page.goto(report.as_uri())
        page.screenshot(path=PICTURE)
        browser.close()


def main() -> None:
    """Rewrite every page that shows an output, then the picture."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        with tempfile.TemporaryDirectory() as name:
            prepare(Path(name))
            before = page.read_text("utf-8")
            after = rerun(before, Path(name)) if _BLOCK.search(before) else before
        if after != before:
            page.write_text(after, "utf-8")
            print(f"{page.relative_to(ROOT)}: rewritten")
    with tempfile.TemporaryDirectory() as name:
        _take_picture(Path(name))
    print(f"{PICTURE.relative_to(ROOT)}: taken, {PICTURE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
