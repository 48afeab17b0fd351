"""`aligntax compare`: what one model, version, use case or week does otherwise than another."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import InputError
from .where import open_store, store_option

if TYPE_CHECKING:
    import polars as pl

    from ..estimate.comparison import Side
    from ..store import Store
    from ..types import Annotation, Draw
    from .deltas import Compared

_VERDICTS = click.Path(dir_okay=False, path_type=Path)
_LISTED = 8


def _conditions(_ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    for name, _, value in pairs:
        if not name or not value:
            raise click.BadParameter("write NAME=VALUE, such as model=northwind-2", param=parameter)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _names(_ctx: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip())


@click.command("compare", short_help="What one model, version or week does otherwise than another.")
@click.argument("verdicts", type=_VERDICTS, metavar="BASE")
@click.argument("other", type=_VERDICTS, metavar="[ALIGNED]", required=False)
@click.option(
    "--base",
    multiple=True,
    callback=_conditions,
    metavar="NAME=VALUE",
    help="Which exchanges are the base: model=northwind-2, use_case=..., week=2026-W10, tags.KEY=... May be "
    "repeated; then all must hold.",
)
@click.option(
    "--aligned",
    multiple=True,
    callback=_conditions,
    metavar="NAME=VALUE",
    help="Which exchanges are compared with the base.",
)
@click.option(
    "--by",
    callback=_names,
    default="",
    metavar="NAMES",
    help="Compare within each slice too, such as use_case.",
)
@click.option(
    "--level",
    type=click.FloatRange(0.5, 1, max_open=True, min_open=True),
    default=0.95,
    show_default=True,
    help="Confidence of each interval.",
)
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the tables.")
def command(  # noqa: PLR0913, PLR0917 - each is one option
    verdicts: Path,
    other: Path | None,
    base: dict[str, str],
    aligned: dict[str, str],
    by: tuple[str, ...],
    level: float,
    where: str | None,
    as_json: bool,
) -> None:
    """Compare two sides: refusals, hedging and length, with intervals.

    BASE and ALIGNED are files that `aligntax scan -o` has written. With one file, --base and --aligned choose the
    sides. Differences of rates are corrected by the labels of both sides; without labels they are UNCORRECTED and
    have no interval.
    """
    from ..estimate.comparison import compare
    from .deltas import Compared, to_json

    with _store(where) as store:
        first, second = _sides(store, verdicts, other, base, aligned)
    result = Compared(
        base=first,
        aligned=second,
        files=(verdicts, other or verdicts),
        level=level,
        by=by,
        total=compare(first, second, level=level),
        slices=compare(first, second, by=by, level=level) if by else None,
    )
    if as_json:
        click.echo(to_json(result))
    else:
        _print(result)


def _print(result: Compared) -> None:
    from .deltas import print_comparison
    from .forest import writes_ascii_only
    from .terminal import console

    screen = console()
    with screen.capture() as printed:
        print_comparison(result, screen, plain=writes_ascii_only(screen.encoding))
    click.echo("\n".join(line.rstrip() for line in printed.get().splitlines()), color=True)


def _store(where: str | None) -> contextlib.AbstractContextManager[Store | None]:
    """The store with the labels; none where nobody has made one: comparing leaves no trace."""
    from ..config import find_config
    from ..store.database import DEFAULT

    config = find_config() if where is None else None
    if where is None and not (config and config.store) and not Path(DEFAULT).exists():
        return contextlib.nullcontext()
    return open_store(where)


def _sides(
    store: Store | None,
    verdicts: Path,
    other: Path | None,
    base: Mapping[str, str],
    aligned: Mapping[str, str],
) -> tuple[Side, Side]:
    from ..estimate.comparison import split
    from ..verdict_file import scan_verdicts

    first = scan_verdicts(verdicts)
    if other is not None and not other.samefile(verdicts):
        second = scan_verdicts(other)
        names = _names_of((verdicts, first, base), (other, second, aligned))
        return (
            _side(store, names[0], first, base),
            _side(store, names[1], second, aligned),
        )
    if not (base and aligned):
        raise _unchosen(first)
    draw, annotations = _labels(store, first)
    return split(first, base, aligned, draw=draw, annotations=annotations)


def _side(store: Store | None, name: str, verdicts: pl.LazyFrame, where: Mapping[str, str]) -> Side:
    from ..estimate.comparison import Side

    draw, annotations = _labels(store, verdicts)
    return Side(name=name, verdicts=verdicts, draw=draw, annotations=annotations, where=where)


def _labels(store: Store | None, verdicts: pl.LazyFrame) -> tuple[Draw | None, list[Annotation]]:
    from ..campaign import load

    return load(store, verdicts) if store else (None, [])


def _names_of(*sides: tuple[Path, pl.LazyFrame, Mapping[str, str]]) -> list[str]:
    """What the sides are called: by what was asked for, else by their only model, else by their file."""
    models = [_models(verdicts) for _, verdicts, _ in sides]
    told_apart = all(len(found) == 1 for found in models) and models[0] != models[1]
    names = [
        " · ".join(where.values()) or (found[0] if told_apart else path.stem)
        for (path, _, where), found in zip(sides, models, strict=True)
    ]
    return names if names[0] != names[1] else [str(path) for path, *_ in sides]


def _models(verdicts: pl.LazyFrame) -> list[str]:
    from ..estimate import slice_columns

    (model,) = slice_columns(["model"], verdicts.collect_schema())
    return (
        verdicts.select(model.unique().sort()).collect(engine="streaming").to_series().drop_nulls().to_list()
    )


def _unchosen(verdicts: pl.LazyFrame) -> InputError:
    """One file and no sides: shows how to choose them, in names of this file."""
    models = _models(verdicts)
    pair = (models[0], models[1]) if len(models) > 1 else ("northwind-2", "northwind-3")
    there = f"; models here: {', '.join(models[:_LISTED])}" if models else ""
    return InputError(
        "one file has both sides: say which they are",
        remedy=f"--base model={pair[0]} --aligned model={pair[1]}, or use_case, week, month, tags.KEY{there}",
    )
