"""Rewrites what the documentation shows of real runs: outputs of commands, and pictures of the pages.

A `console` block that begins with "$ aligntax" holds what that command prints, run in a folder where `logs/` is the
sample log and nothing else lies; the blocks of a page share the folder, and a block with a title is a file in it. A
verdict by exit code, as a gate gives it, is shown after the output. `make shown` calls this.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import aligntax

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
SIZE = {"width": 1180, "height": 1370}

_BLOCK = re.compile(
    r"^```console\n\$ (?P<command>aligntax[^\n]*)\n.*?^```|^```\w+ title=\"(?P<file>[\w.]+)\"\n(?P<text>.*?)^```",
    re.MULTILINE | re.DOTALL,
)
_VERDICTS = (1, 3)  # exit codes that mean something else than a failure of the command
_CHANGING = {  # what no two runs share
    r"decision [0-9a-f]{16}": "decision 5f0c2a9d71e84b36",
    r"\(\d+:\d\d\)": "(0:00)",
    r"the newest of \d{4}-\d\d-\d\d": "the newest of 2026-06-01",
}
_TRAINED = {"weights.md"}
"""Pages whose commands train a model first. Another processor or build of torch rounds otherwise, after hundreds of steps
the model is another one, and each number moves a little: of their outputs the words are compared, not the numbers."""
_SHARED = 0.6
_QUIET = {"COLUMNS": "112", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}  # one thread: sums in one order
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
    return _BLOCK.sub(lambda block: _block(block, folder), page)


def alike(name: str, one: str, other: str) -> bool:
    """Whether two texts of a page show the same outputs; of a page that trains models, mostly the same words.

    A verdict may turn with the numbers: with another base altogether each output shares over six words in ten.
    """
    if name not in _TRAINED:
        return one == other
    pairs = zip(_words(one), _words(other), strict=True)
    return all(
        first & second and len(first & second) >= _SHARED * len(first | second) for first, second in pairs
    )


def _words(page: str) -> list[set[str]]:
    return [
        {word for word in block[0].split() if not re.search(r"\d", word)} for block in _BLOCK.finditer(page)
    ]


def _block(block: re.Match[str], folder: Path) -> str:
    if block["file"]:
        (folder / block["file"]).write_text(block["text"], "utf-8")
        return block[0]
    return f"```console\n$ {block['command']}\n{_output(block['command'], folder)}```"


def _output(command: str, folder: Path) -> str:
    words = shlex.split(command)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("ALIGNTAX_")}
    ran = subprocess.run(  # noqa: S603 - commands of our own pages
        [sys.executable, "-m", *words],
        cwd=folder,
        env={**variables, **_QUIET, "XDG_CACHE_HOME": str(folder / ".cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode not in (0, *_VERDICTS):
        raise RuntimeError(f"{command}: exit code {ran.returncode}\n{ran.stderr}")
    code = f"(exit code {ran.returncode})\n" if ran.returncode else ""
    text = "".join(f"{line.rstrip()}\n" for line in ran.stdout.splitlines()) + code
    for pattern, instead in _CHANGING.items():
        text = re.sub(pattern, instead, text)
    return text


def _take_pictures(folder: Path) -> None:
    from playwright.sync_api import sync_playwright

    _output("aligntax scan --sample --report report.html -o verdicts.parquet", folder)
    _output("aligntax label plan verdicts.parquet --by use_case,model --budget 240 --seed 7", folder)
    with sync_playwright() as engine:
        path = next(filter(None, map(shutil.which, _BROWSERS)), None)
        browser = engine.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, device_scale_factor=1.25, color_scheme="light")
        page.goto((folder / "report.html").as_uri())
        page.screenshot(path=IMAGES / "report.png")
        with _serving(folder) as link:
            page.set_viewport_size({"width": 1180, "height": 830})
            page.goto(link)
            for key in "1fxj":
                page.keyboard.press(key)
            page.screenshot(path=IMAGES / "label.png")
        _output("aligntax label import --sample", folder)
        _output("aligntax report verdicts.parquet --out report.html", folder)
        page.set_viewport_size({"width": 1180, "height": 1080})
        page.goto((folder / "report.html").as_uri())
        page.locator("h2#corrected").evaluate("heading => heading.scrollIntoView()")
        page.screenshot(path=IMAGES / "corrected.png")
        browser.close()


@contextlib.contextmanager
def _serving(folder: Path) -> Iterator[str]:
    """The link of one annotator, while the labelling page is served."""
    words = [sys.executable, "-m", "aligntax", "label", "serve", "--port", "0", "--annotator", "anna"]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603
        try:
            assert server.stdout is not None
            yield next(word for line in server.stdout for word in line.split() if word.startswith("http"))
        finally:
            server.terminate()


def main() -> None:
    """Rewrite every page that shows an output, then the pictures."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        with tempfile.TemporaryDirectory() as name:
            prepare(Path(name))
            before = page.read_text("utf-8")
            after = rerun(before, Path(name)) if "$ aligntax" in before else before
        if not alike(page.name, after, before):
            page.write_text(after, "utf-8")
            print(f"{page.relative_to(ROOT)}: rewritten")
    with tempfile.TemporaryDirectory() as name:
        _take_pictures(Path(name))
    for picture in sorted(IMAGES.glob("*.png")):
        print(f"{picture.relative_to(ROOT)}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
