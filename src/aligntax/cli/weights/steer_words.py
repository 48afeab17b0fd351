"""What `aligntax weights steer` prints: directions, the points that were tested, and the one that was chosen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.table import Table
from rich.text import Text

from ... import __version__
from ..terminal import clean, console

if TYPE_CHECKING:
    from rich.console import Console

    from ...types import Estimate
    from ...weights.steering.directions import Directions
    from ...weights.steering.proof import Certified, Tested
    from ...weights.steering.search import Trial

_MOST_LAYERS = 16  # a table of 80 layers is not read
_WEAK = 0.3  # halves that agree less than this point to noise


def print_directions(folder: Path, directions: Directions) -> None:
    """The table of directions alone."""
    _print(folder, directions, lambda screen: None)


def print_result(
    folder: Path, directions: Directions, trials: Sequence[Trial], certified: Certified, out: Path | None
) -> None:
    """Directions, points, choice."""

    def rest(screen: Console) -> None:
        screen.print()
        screen.print(_points_table(certified))
        screen.print()
        for line in _verdict(trials, certified, out):
            screen.print(Text(line))

    _print(folder, directions, rest)


def directions_json(folder: Path, directions: Directions) -> str:
    """The directions as one JSON document."""
    return json.dumps({"format": 1, **_head(folder, directions)}, indent=2)


def to_json(
    folder: Path, directions: Directions, trials: Sequence[Trial], certified: Certified, out: Path | None
) -> str:
    """Everything as one JSON document."""
    return json.dumps(
        {
            "format": 1,
            **_head(folder, directions),
            "trials": msgspec.to_builtins(list(trials)),
            **msgspec.to_builtins(certified),
            "gains": certified.gains,
            "out": None if out is None else str(out),
        },
        indent=2,
    )


def _head(folder: Path, directions: Directions) -> dict[str, Any]:
    return {
        "versions": {"aligntax": __version__},
        "model": str(folder),
        "prompts": directions.prompts,
        "directions": [
            {"layer": layer, "cosine": cosine, "remainder_agrees": agrees, "least_lambda": least}
            for layer, cosine, agrees, least in _rows(directions)
        ],
    }


def _rows(directions: Directions) -> list[tuple[int, float, float, float]]:
    leasts = [directions.least_lambda(layer, (layer,)) for layer in range(directions.layers)]
    return list(
        zip(
            range(directions.layers),
            directions.cosines(),
            directions.remainder_agrees,
            leasts,
            strict=True,
        )
    )


def _print(folder: Path, directions: Directions, rest: Any) -> None:
    screen = console()
    with screen.capture() as printed:
        counts = ", ".join(f"{count} {name}" for name, count in directions.prompts.items())
        screen.print(Text(f"{clean(folder.resolve().name)}: {directions.layers} layers; {counts}"))
        screen.print()
        screen.print(_directions_table(directions))
        screen.print()
        for line in _notes(directions):
            screen.print(Text(line, "dim"))
        rest(screen)
    click.echo("\n".join(line.rstrip() for line in printed.get().splitlines()), color=True)


def _directions_table(directions: Directions) -> Table:
    table = _table()
    for name in ("layer", "false with true\nrefusal, cosine", "the rest: two\nhalves agree", "least\nlambda"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = _rows(directions)
    step = -(-len(rows) // _MOST_LAYERS)
    for layer, cosine, agrees, least in rows[::step]:
        style = "dim" if agrees < _WEAK else ""
        table.add_row(str(layer), f"{cosine:.3f}", f"{agrees:.2f}", f"{least:.3f}", style=style)
    return table


def _notes(directions: Directions) -> list[str]:
    rows = _rows(directions)
    shown = "" if len(rows) <= _MOST_LAYERS else " Not every layer is shown; --json has all."
    weak = sum(agrees < _WEAK for _, _, agrees, _ in rows)
    noise = f" In {weak} of {len(rows)} layers they do not: what is left there is noise." if weak else ""
    return [
        "Only the rest is ablated, what false refusal has beside true refusal: lambda 1 keeps all of true"
        f" refusal, a lower one is bounded. Its halves should agree.{noise}{shown}"
    ]


def _points_table(certified: Certified) -> Table:
    table = _table()
    table.add_column("on report\nprompts", no_wrap=True)
    for name in ("layer", "lambda", "harm\ndeclined", "at least", "useful", "benign\ndeclined", "KL"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("floor", no_wrap=True)
    base = certified.untouched
    bound = certified.untouched_bound
    table.add_row(
        "as it was", "", "", _share(base.safety), _low(bound), _share(base.usefulness), _share(base.over), "",
        "holds" if (bound.low or 0) >= certified.floor else "under",
    )  # fmt: skip
    for test in certified.tested:
        under = (test.bound.low or 0) < certified.floor
        word = "holds" if test.holds else "under" if under else "not reached"
        table.add_row(*_cells(test), word, style="bold" if test.row.chosen else "")
    return table


def _cells(test: Tested) -> tuple[str, ...]:
    steering = test.trial.steering
    assert steering is not None
    return (
        f"trial {test.trial.number}{' *' if test.row.chosen else ''}",
        str(steering.layer),
        f"{steering.orthogonality:.3f}",
        _share(test.row.safety),
        _low(test.bound),
        _share(test.row.usefulness),
        _share(test.row.over),
        f"{test.trial.kl:.3f}",
    )


def _verdict(trials: Sequence[Trial], certified: Certified, out: Path | None) -> list[str]:
    chosen, floor = certified.chosen, f"{certified.floor:.0%}"
    if not certified.tested:
        return [
            f"Nothing found: none of {len(trials) - 1} settings was more useful than the model as it was"
            " without being beaten by another. Nothing is written."
        ]
    if chosen is None:
        best = certified.tested[0]
        return [
            f"Nothing found: no point holds the floor of {floor}. The safest provably declines"
            f" {_low(best.bound)} of harmful requests at {certified.level:.0%} confidence. Nothing is written.",
        ]
    lines = [
        f"{'Chosen' if certified.gains else 'Best'} (*): trial {chosen.trial.number}. It provably declines at least {_low(chosen.bound)} of harmful"
        f" requests ({certified.level:.0%} confidence, {chosen.bound.n} prompts or families); the floor is {floor}.",
        f"  harmful declined  {_change(chosen.safety_change)}",
        f"  useful            {_change(chosen.usefulness_change)}",
    ]
    if chosen.over_change is not None:
        lines.append(f"  benign declined   {_change(chosen.over_change)}")
    if certified.gains:
        return [*lines, f"Written: {out}"]
    return [
        *lines,
        f"No gain in usefulness beyond noise: {_points(chosen.usefulness_change)}; nothing was written.",
    ]


def _change(estimate: Estimate) -> str:
    return f"{_points(estimate)} against the model as it was"


def _points(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "no figure"
    ends = f"{100 * estimate.low:+.1f} to {100 * estimate.high:+.1f}"
    return f"{100 * estimate.value:+.1f} points ({ends})"


def _share(estimate: Estimate | None) -> str:
    return "-" if estimate is None or estimate.value is None else f"{estimate.value:.1%}"


def _low(bound: Estimate) -> str:
    return f"{bound.low or 0:.1%}"


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
