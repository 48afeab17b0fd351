"""The option `--by`, which every command that shows slices has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def _names(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    return tuple(name.strip() for name in value.split(",") if name.strip())


by_option: Callable[[Any], Any] = click.option(
    "--by",
    callback=_names,
    metavar="NAMES",
    help="What to slice by, separated by commas: use_case, model, tags.KEY or any column.  "
    "[default: use_case,model, as far as the log names them]",
)
