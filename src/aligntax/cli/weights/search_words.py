"""What a search prints: the fronts on the report prompts, what can be claimed, and how to write the chosen point."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .scoring import CONVENTION

if TYPE_CHECKING:
    from rich.console import Console

    from ...types import Estimate
    from ...weights.searching.search import Found, Settings
    from ...weights.searching.sensitivity import Moved


def document(
    found: Found,
    settings: Settings,
    measured: dict[str, Any],
    write: str | None,
    looked: Sequence[Moved] = (),
) -> dict[str, Any]:
    """Everything, for programs. "scan" is null where none was asked for."""
    from ...stats.gain import RULE
    from ...weights.searching.next_step import next_step
    from ...weights.searching.sensitivity import evaluations_of

    return {
        "convention": CONVENTION,
        "verdict": found.verdict,
        "next": next_step(found) or None,
        "write": write,
        "rule": RULE,
        **msgspec.structs.asdict(found),
        "settings": settings,
        "measured": measured,
        "scan": {"evaluations": evaluations_of(looked), "rows": looked} if looked else None,
    }


def print_found(
    found: Found, write: str | None, *, looked: Sequence[Moved] = (), warning: str | None, report: Path | None
) -> None:
    """What the scan says, the tables, the verdict, and the last line: the command, or what to try."""
    from ...weights.searching.next_step import next_step
    from ..terminal import console

    out = console()
    out.print(f"{CONVENTION}.")
    counts = found.prompts
    out.print(
        f"Points chosen on {counts['selection harmful']} harmful and {counts['selection useful']} useful prompts; "
        f"all numbers below are of {counts['report harmful']} and {counts['report useful']} others.\n"
    )
    if looked:
        _print_scan(out, looked)
    _print_points(out, found)
    _print_areas(out, found)
    _print_gains(out, found)
    for name in found.missing:
        out.print(f"Missing baseline: {name} (--checkpoint). No gain over it is claimed.")
    if warning:
        out.print(f"Few prompts: {warning}.")
    if report is not None:
        out.print(f"Report: {report}")
    out.print(f"\n{found.verdict}")
    if step := next_step(found):
        out.print(step)
    if write is not None:
        out.print(write, soft_wrap=True)


def _print_scan(out: Console, looked: Sequence[Moved]) -> None:
    from ...weights.searching.sensitivity import evaluations_of, readings

    out.print(
        f"Scan: one part at a time back towards the base, on the selection prompts; {evaluations_of(looked)} evaluations "
        "apart from the budgets."
    )
    table = _table("", "", left=2)
    table.show_header = False
    for word, parts in readings(looked):
        table.add_row(word, ", ".join(parts))
    out.print(table)
    out.print(
        "Free: safety is shown to be held at a = 0. Costs: it falls beyond noise. Unclear: neither is shown.\n"
    )


def _print_points(out: Console, found: Found) -> None:
    table = _table("method", "a", "safety", "usefulness", "over", left=2)
    for front in found.fronts:
        for at, row in enumerate(front.rows):
            mark = "*" if row.chosen else " "
            table.add_row(
                front.method if not at else "", f"{mark}{row.label}", _share(row.safety), _share(row.usefulness),
                "" if row.over is None or row.over.value is None else f"{100 * row.over.value:.0f}",
            )  # fmt: skip
    out.print(table)
    out.print(
        f"Percent, with {100 * found.fronts[0].rows[0].safety.level:g} % intervals. * the method's operating point: the "
        f"most useful at safety {100 * found.safety:.0f} or more, by the selection prompts.\n"
    )


def _print_areas(out: Console, found: Found) -> None:
    table = _table("method", "evaluations", "hypervolume", left=1)
    for front in found.fronts:
        table.add_row(front.method, str(front.evaluations), _area(front.hypervolume))
    out.print(table)
    out.print("")


def _print_gains(out: Console, found: Found) -> None:
    table = _table("at its operating point", "usefulness", "safety", "", left=1)
    for gain in found.gains:
        table.add_row(
            f"{gain.method} less {gain.baseline}", _shift(gain.usefulness), _shift(gain.safety), gain.ruling
        )  # fmt: skip
    out.print(table)
    counts = found.prompts
    out.print(
        "Points, paired by prompt, with intervals for all comparisons together. They rest on "
        f"{counts['report useful families']} useful and {counts['report harmful families']} harmful prompts, a family "
        "counted once; where no prompt changed, the interval is what so few cannot rule out.\n"
    )


def _table(*names: str, left: int) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for at, name in enumerate(names):
        table.add_column(name, justify="left" if at < left or not name else "right", overflow="fold")
    return table


def _share(estimate: Estimate) -> str:
    value, low, high = (100 * float(end or 0.0) for end in (estimate.value, estimate.low, estimate.high))
    return f"{value:.0f} ({low:.0f}-{high:.0f})"


def _area(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _shift(estimate: Estimate | None) -> str:
    from .sensitivity import shift

    return shift(estimate) or "-"
