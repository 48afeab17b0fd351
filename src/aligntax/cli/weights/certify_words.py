"""A certificate for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ...types import Estimate
from ...weights.certifying.certificate import Certificate, Matrix, by_kind, changed, gravest
from ...weights.certifying.words import details, measure, short_kinds, verdict
from ..terminal import clean, console, cut_middle

_WIDEST = 120
_MOST_ROWS = 28  # changed matrices that are shown one by one
_MOST_OUTSIDE = 8
_STAMP = {
    "inside": ("INSIDE", "bold green"),
    "outside": ("OUTSIDE", "bold red"),
    "undecided": ("TOO LITTLE DATA", "bold yellow"),
    "unchanged": ("UNCHANGED", "bold"),
    "unmeasured": ("NOT MEASURED", "bold red"),
}
_LIMITS = (
    "Measured one matrix at a time, with the inputs of BASE: a statement of first order, about inputs like those of "
    "the data. What the changes do together is the KL above, on the held-out rows alone."
)


def page(certificate: Certificate, *, show_all: bool, report: Path | None) -> str:
    """The certificate as it stands on a terminal."""
    screen = console()
    with screen.capture() as printed:
        screen.width = min(screen.width, _WIDEST)
        _print(certificate, screen, show_all=show_all, report=report)
    return "\n".join(line.rstrip() for line in printed.get().splitlines())


def _print(certificate: Certificate, screen: Console, *, show_all: bool, report: Path | None) -> None:
    stamp, style = _STAMP[certificate.ruling]
    screen.print(Text.assemble((stamp, style), f"  {clean(verdict(certificate))}"))
    for line in details(certificate):
        screen.print(Padding(Text(clean(line)), (0, 0, 0, 2)))
    screen.print()
    screen.print(Padding(_facts(certificate, screen.width - 2), (0, 0, 0, 2)))
    moved = changed(certificate.matrices)
    if moved:
        screen.print()
        screen.print(
            Padding(_table(certificate, moved, show_all=show_all, width=screen.width - 2), (0, 0, 0, 2))
        )
        for line in _under_table(certificate, moved, show_all=show_all):
            screen.print(Padding(Text(line, style="dim"), (0, 0, 0, 2)))
    if certificate.outside:
        screen.print()
        _print_outside(certificate, screen, show_all=show_all)
    screen.print()
    for line in _notes(certificate, report):
        screen.print(Padding(Text(line), (0, 0, 0, 2)))


def _facts(certificate: Certificate, width: int) -> Table:
    drift, tuned = certificate.drift, certificate.tuned
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    name = cut_middle(clean(tuned.name), width - 34)
    table.add_row(
        "BASE",
        f"{cut_middle(clean(certificate.base.name), width - 34)}  sha256 {certificate.base.sha256[:12]}",
    )
    table.add_row(
        "TUNED", f"{name}  sha256 {tuned.sha256[:12]}{', an adapter' if tuned.kind == 'adapter' else ''}"
    )
    table.add_row(
        "KL(BASE || TUNED)", f"{_estimate(drift.kl)} nats a token; 95% of rows under {measure(drift.kl_p95)}"
    )
    table.add_row(
        "same first token",
        f"{_share(drift.agreement)} of {drift.tokens:,} tokens in {drift.rows:,} rows held out",
    )
    table.add_row("data", _data(certificate))
    return table


def _data(certificate: Certificate) -> str:
    calibration, held = certificate.calibration, certificate.held_out
    return (
        f"{calibration.rows:,} rows, {calibration.tokens:,} tokens to calibrate; "
        f"{held.rows:,} rows, {held.tokens:,} tokens held out"
    )


def _table(certificate: Certificate, moved: Sequence[Matrix], *, show_all: bool, width: int) -> Table:
    wide = width >= 100
    one_by_one = show_all or len(moved) <= _MOST_ROWS
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for heading in ["layer", "matrix"] if one_by_one else ["matrix", "worst layer"]:
        table.add_column(f"\n{heading}", no_wrap=True)
    table.add_column("leak\nheld out", justify="right", no_wrap=True)
    table.add_column(f"\n({100 * certificate.level:g}%)", no_wrap=True)
    numeric = ["leak\ncalibr.", "output\nchange"]
    numeric += ["\n|dW|/|W|", "stable\nrank", "effective\nrank"] if wide else []
    for heading in numeric:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    labels = short_kinds(by_kind(certificate.matrices))
    for place, matrix in _rows(moved, one_by_one=one_by_one):
        word = Text(matrix.ruling, style=_STAMP[matrix.ruling][1].removeprefix("bold "))
        label = cut_middle(clean(labels[matrix.kind]), width // 4)
        names = (place, label) if one_by_one else (label, place)
        table.add_row(*names, *_numbers(matrix, wide=wide), word)
    return table


def _rows(moved: Sequence[Matrix], *, one_by_one: bool) -> Iterator[tuple[str, Matrix]]:
    """Every matrix with its layer, or the worst of each kind with how many there are."""
    if one_by_one:
        yield from ((str(matrix.layer), matrix) for matrix in moved)
        return
    for matrices in by_kind(moved).values():
        first = gravest(matrices)
        yield f"{first.layer} (of {len(matrices)})", first


def _numbers(matrix: Matrix, *, wide: bool) -> list[str]:
    leak, effect = matrix.leak, matrix.effect
    said = [
        measure(leak.held_out) if leak else "–",
        f"{measure(leak.low)} to {measure(leak.high)}" if leak else "–",
        measure(leak.calibration) if leak else "–",
        measure(effect.held_out) if effect else "–",
    ]
    if wide:
        said += [measure(matrix.relative_norm), f"{matrix.stable_rank:.1f}", f"{matrix.effective_rank:.1f}"]
    return said


def _under_table(certificate: Certificate, moved: Sequence[Matrix], *, show_all: bool) -> Iterator[str]:
    still = len(certificate.matrices) - len(moved)
    if still:
        yield f"{still:,} more matrices were not changed."
    if not show_all and len(moved) > _MOST_ROWS:
        yield f"The worst of each kind, of {len(moved):,} changed matrices; --all shows every one."


def _print_outside(certificate: Certificate, screen: Console, *, show_all: bool) -> None:
    found = sorted(certificate.outside, key=lambda parameter: -parameter.share)
    screen.print(Padding(Text("Outside the guarantee, and changed:", style="bold"), (0, 0, 0, 2)))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for heading, justify in (
        ("parameter", "left"),
        ("", "left"),
        ("relative change", "right"),
        ("of all change", "right"),
    ):
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    shown = found if show_all else found[:_MOST_OUTSIDE]
    for parameter in shown:
        table.add_row(
            cut_middle(clean(parameter.name), screen.width - 46), parameter.why, measure(parameter.relative_norm),
            _percent(parameter.share),
        )  # fmt: skip
    screen.print(Padding(table, (0, 0, 0, 2)))
    if len(shown) < len(found):
        rest = sum(parameter.share for parameter in found[len(shown) :])
        line = f"and {len(found) - len(shown):,} more with {_percent(rest)} of all change; --all shows them"
        screen.print(Padding(Text(line, style="dim"), (0, 0, 0, 2)))


def _notes(certificate: Certificate, report: Path | None) -> Iterator[str]:
    yield from (f"{clean(note[:1].upper() + note[1:])}." for note in certificate.notes)
    yield _LIMITS
    if report:
        yield f"The page is in {clean(str(report))}."


def _estimate(estimate: Estimate) -> str:
    return f"{measure(estimate.value)} ({measure(estimate.low)} to {measure(estimate.high)})"


def _share(estimate: Estimate) -> str:
    return f"{_percent(estimate.value)} ({_percent(estimate.low).removesuffix('%')} to {_percent(estimate.high)})"


def _percent(share: float | None) -> str:
    if share is None:
        return "–"
    if 0 < share < 0.0005:
        return "<0.1%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    return f"{share:.1%}"
