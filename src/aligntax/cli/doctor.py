"""`aligntax doctor`: what is installed here, and whether it can work."""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Iterator
from pathlib import Path

import click

from .. import __file__ as package
from .. import __version__
from ..errors import AlignTaxError

_NEEDED = ("polars", "numpy", "scipy", "msgspec", "click", "rich", "jinja2", "zstandard")
_WEIGHTS = (".npz", ".npy", ".safetensors")


@click.command("doctor", short_help="What is installed here, and whether it can work.")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Say what is installed here and whether the detector works, one line each.

    Exit code 2 when something is missing that every scan needs.
    """
    sound = True
    for ok, name, value in _findings():
        sound = sound and ok
        click.echo(f"{'ok' if ok else 'NO':<4}{name:<11}{value}")
    if not sound:
        ctx.exit(2)


def _findings() -> Iterator[tuple[bool, str, str]]:
    system = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    yield True, "aligntax", f"{__version__}, {system}"
    versions = {name: _version(name) for name in _NEEDED}
    listed = ", ".join(f"{name} {version or 'MISSING'}" for name, version in versions.items())
    yield all(versions.values()), "packages", listed
    yield _detector()
    yield _loops()
    yield from _weights()
    yield from _extras()


def _detector() -> tuple[bool, str, str]:
    from .detector import detector_name

    try:
        return True, "detector", f"{detector_name()}, works"
    except (AlignTaxError, ImportError) as error:
        return False, "detector", str(error)


def _loops() -> tuple[bool, str, str]:
    """Which route the hot loops take; both give the same verdicts."""
    from ..detect import native

    if native.load() is not None:
        return True, "loops", "compiled"
    return True, "loops", "array operations: slower, same verdicts; install again where there is a C compiler"


def _weights() -> Iterator[tuple[bool, str, str]]:
    found = False
    for path in sorted((Path(package).parent / "detect").iterdir()):
        if path.suffix in _WEIGHTS:
            found = True
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()[:16]
            yield True, "weights", f"{path.name}, {len(content) / 1000:,.0f} kB, sha256 {digest}"
    if not found:
        yield False, "weights", "not in this installation; install aligntax again"


def _extras() -> Iterator[tuple[bool, str, str]]:
    """What each optional extra would need, and whether it is there; none of them is needed for a scan."""
    from importlib import metadata

    needs: dict[str, list[str]] = {}
    for requirement in metadata.requires("aligntax") or ():
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", requirement)
        distribution = re.match(r"[\w.-]+", requirement)
        if extra and distribution:
            needs.setdefault(extra[1], []).append(distribution[0])
    for name, distributions in needs.items():
        there = all(_version(distribution) for distribution in distributions)
        state = "installed" if there else f"not installed: pip install 'aligntax[{name}]'"
        yield True, "extra", f"{name}, {state}"


def _version(distribution: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
