"""`aligntax compare`: what one model, version, use case or week does otherwise than another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import InputError
from .by import conditions, models_of, names
from .where import labels_if_any, labels_of, store_option

if TYPE_CHECKING:
    import polars as pl

    from ..estimate.comparison import Side
    from ..store import Store
    from .deltas import Compared

_VERDICTS = click.Path(dir_okay=False, path_type=Path)
_LISTED = 8


@click.command("compare", short_help="What one model, version or week does otherwise than another.")
@click.argument("verdicts", type=_VERDICTS, metavar="BASE")
@click.argument("other", type=_VERDICTS, metavar="[ALIGNED]", required=False)
@click.option(
    "--base",
    multiple=True,
    callback=conditions,
    metavar="NAME=VALUE",
    help="Which exchanges are the base: model=northwind-2, use_case=..., week=2026-W10, tags.KEY=... May be "
    "repeated; then all must hold.",
)
@click.option(
    "--aligned",
    multiple=True,
    callback=conditions,
    metavar="NAME=VALUE",
    help="Which exchanges are compared with the base.",
)
@click.option(
    "--by",
    callback=names,
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

    files = (verdicts, other or verdicts)
    with labels_if_any(where) as store:
        first, second = _sides(store, verdicts, other, base, aligned)
        former = _former(store, files, (first, second))
    result = Compared(
        base=first,
        aligned=second,
        files=files,
        former=former,
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
    draw, annotations = labels_of(store, first)
    return split(first, base, aligned, draw=draw, annotations=annotations)


def _former(store: Store | None, files: tuple[Path, Path], sides: tuple[Side, Side]) -> tuple[str, ...]:
    """What to say of labels that belong to another state of these files."""
    from ..verdict_file import scan_verdicts
    from .former import former_labels

    said = (
        former_labels(store, scan_verdicts(file), side.annotations, source=file.name)
        for file, side in zip(files, sides, strict=True)
    )
    return tuple(dict.fromkeys(filter(None, said)))


def _side(store: Store | None, name: str, verdicts: pl.LazyFrame, where: Mapping[str, str]) -> Side:
    from ..estimate.comparison import Side

    draw, annotations = labels_of(store, verdicts)
    return Side(name=name, verdicts=verdicts, draw=draw, annotations=annotations, where=where)


def _names_of(*sides: tuple[Path, pl.LazyFrame, Mapping[str, str]]) -> list[str]:
    """What the sides are called: by what was asked for, else by their only model, else by their file."""
    models = [models_of(verdicts) for _, verdicts, _ in sides]
    told_apart = all(len(found) == 1 for found in models) and models[0] != models[1]
    names = [
        " · ".join(where.values()) or (found[0] if told_apart else path.stem)
        for (path, _, where), found in zip(sides, models, strict=True)
    ]
    return names if names[0] != names[1] else [str(path) for path, *_ in sides]


def _unchosen(verdicts: pl.LazyFrame) -> InputError:
    """One file and no sides: shows how to choose them, in names of this file."""
    models = models_of(verdicts)
    pair = (models[0], models[1]) if len(models) > 1 else ("northwind-2", "northwind-3")
    there = f"; models here: {', '.join(models[:_LISTED])}" if models else ""
    return InputError(
        "one file has both sides: say which they are",
        remedy=f"--base model={pair[0]} --aligned model={pair[1]}, or use_case, week, month, tags.KEY{there}",
    )
