"""Options that choose exchanges: `--by`, which every command that shows slices has, and the sides of a comparison."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import polars as pl


def names(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Names separated by commas; None where the option was not given."""
    if value is None:
        return None
    return tuple(name.strip() for name in value.split(",") if name.strip())


def models_of(verdicts: pl.LazyFrame) -> tuple[str, ...]:
    """Names of the models in a verdict file, sorted; none where the log names none."""
    from ..estimate import slice_columns

    (model,) = slice_columns(["model"], verdicts.collect_schema())
    found = verdicts.select(model.unique().sort()).collect(engine="streaming")
    return tuple(found.to_series().drop_nulls())


def conditions(_ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """NAME=VALUE, as often as it was given."""
    pairs = [value.partition("=") for value in values]
    for name, _, value in pairs:
        if not name.strip() or not value.strip():
            raise click.BadParameter("write NAME=VALUE, such as model=northwind-2", param=parameter)
    return {name.strip(): value.strip() for name, _, value in pairs}


by_option: Callable[[Any], Any] = click.option(
    "--by",
    callback=names,
    metavar="NAMES",
    help="What to slice by, separated by commas: use_case, model, tags.KEY or any column.  "
    "[default: use_case,model, as far as the log names them]",
)
