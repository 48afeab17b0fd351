"""Null spaces in words: a row for each layer, a column for each input."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..terminal import console

if TYPE_CHECKING:
    from ...weights.null_space.adapter import Bases
    from ...weights.null_space.moments import Moments

_WIDEST = 120


def page(bases: Bases, train: Moments, held: Moments) -> str:
    """The table of null directions, what it means, and what to doubt."""
    from rich.table import Table

    columns: dict[str, None] = {}
    cells: dict[int, dict[str, str]] = {}
    for layer, column, size, n_in in _inputs(bases):
        columns[column] = None
        cells.setdefault(layer, {})[column] = f"{size:,} of {n_in:,}" if size else "none"
    table = Table(box=None, pad_edge=False, header_style="")
    table.add_column("layer", justify="right")
    for column in columns:
        table.add_column(column, justify="right")
    for layer, row in sorted(cells.items()):
        table.add_row(str(layer), *(row.get(column, "") for column in columns))
    screen = console()
    with screen.capture() as printed:
        screen.width = min(screen.width, _WIDEST)
        screen.print(
            f"Directions that {train.tokens:,} calibration and {held.tokens:,} held-out tokens hardly reach"
        )
        screen.print()
        screen.print(table)
        screen.print()
        for line in _meaning(bases, train, held):
            screen.print(line)
    return "\n".join(line.rstrip() for line in printed.get().splitlines())


def _meaning(bases: Bases, train: Moments, held: Moments) -> list[str]:
    sizes = [(size, n_in) for _, _, size, n_in in _inputs(bases)]
    share = sum(size for size, _ in sizes) / sum(n_in for _, n_in in sizes)
    lines = [
        f"{share:.0%} of all directions: held-out inputs feel any change inside them at most {bases.target:g} times as "
        "much as a change of the same norm in random directions."
    ]
    lines.append(
        "On rows never seen the leak is a little larger than this target: ask for less (--leak) than you will certify."
    )
    if bases.left_out:
        lines.append(f"{len(bases.left_out)} matrices have none and are to be left as they are.")
    widest = max(n_in for _, n_in in sizes)
    if min(train.tokens, held.tokens) < 4 * widest:
        lines.append(
            f"Few tokens for inputs {widest:,} wide: with more of them, directions that look empty now may not be. "
            f"Give at least {4 * widest:,} on either side."
        )
    return lines


def as_document(bases: Bases, train: Moments, held: Moments) -> str:
    """The same as one JSON document."""
    return json.dumps(
        {
            "target": bases.target,
            "model": bases.model,
            "calibration": {"tokens": train.tokens, "rows": train.rows, "data": train.data},
            "held_out": {"tokens": held.tokens, "rows": held.rows, "data": held.data},
            "linears": {
                name: {
                    "null": size,
                    "inputs": n_in,
                    "largest_leak": dict(
                        zip(("calibration", "held_out"), bases.leaks[bases.groups[name]], strict=True)
                    ),
                }
                for name, (size, n_in) in bases.dimensions.items()
            },
            "left_out": list(bases.left_out),
        },
        indent=2,
    )


def _inputs(bases: Bases) -> list[tuple[int, str, int, int]]:
    """For each group its layer, the short names of its readers, null directions and width."""
    from ...weights.layout import place_of

    readers: dict[str, list[str]] = {}
    for name, group in bases.groups.items():
        readers.setdefault(group, []).append(_short(name))
    return [
        (place_of(group).layer or 0, " ".join(names), *bases.dimensions[group])
        for group, names in readers.items()
    ]


def _short(name: str) -> str:
    """Of self_attn.q_proj the "q"; what two parts of a layer both have keeps the part: "mlp.c_proj"."""
    last = name.rsplit(".", 1)[-1]
    return ".".join(name.rsplit(".", 2)[-2:]) if last == "c_proj" else last.removesuffix("_proj")
