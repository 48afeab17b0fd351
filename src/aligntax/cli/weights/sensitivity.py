"""`aligntax weights sensitivity`: which block of layers is free to restore, and which destroys safety."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .scoring import options

if TYPE_CHECKING:
    from ...types import Estimate
    from ...weights.searching.sensitivity import Moved
    from .scoring import Scoring


@click.command("sensitivity", short_help="Which block is free to restore, which destroys safety.")
@options
def command(base: Path, aligned: Path, n_blocks: int, margin: float, as_json: bool, **asked: Any) -> None:
    """Move one block of layers, or one role, back towards BASE at a time, and score what it does.

    Each part goes to a = 0 and a = 0.5 while the rest stays ALIGNED. Only the selection half of SUITE is used, so that
    a search after it can still report on prompts that nobody has looked at. Nothing is written.
    """
    from ...weights.searching.sensitivity import scan
    from .bar import Bar
    from .scoring import opened

    held = opened(base, aligned, **asked)
    with Bar("evaluating") as progress:
        rows = scan(
            held.resident,
            held.selection,
            n_blocks=n_blocks,
            prompts=held.selection.prompts,
            margin=margin,
            on_progress=progress.update,
        )
    if as_json:
        import msgspec

        document = {"rows": rows, "settings": held.selection.settings, "margin": margin}
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
        return
    _print(rows, held, margin)


def _print(rows: Sequence[Moved], held: Scoring, margin: float) -> None:
    from rich.table import Table

    from ..terminal import console
    from .scoring import CONVENTION, few

    out = console()
    out.print(f"{CONVENTION}. The rest stays at a = 1.")
    suite = held.selection
    out.print(f"{len(suite.harmful)} harmful and {len(suite.benign)} benign prompts of the selection half.\n")
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="")
    table.add_column("part moved", no_wrap=True)
    for name in ("a", "safety", "usefulness", "over"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("reading", no_wrap=True)
    for row in rows:
        table.add_row(
            row.part, f"{row.share:.1f}", *(shift(one) for one in (row.safety, row.usefulness, row.over)), row.word
        )  # fmt: skip
    out.print(table)
    out.print(
        f"\nDifferences to the aligned model in points, with intervals for {len(rows)} looks; over: benign prompts refused.\n"
        f"free: safety is shown not to fall by more than {100 * margin:g} points; costs safety: it falls beyond noise; "
        "unclear: neither is shown."
    )
    if warning := few(suite):
        out.print(f"Few prompts: {warning}.")


def shift(estimate: Estimate | None) -> str:
    """Such as +12 (+3, +22), in points."""
    if estimate is None or estimate.value is None or estimate.low is None or estimate.high is None:
        return ""
    value, low, high = (100 * end for end in (estimate.value, estimate.low, estimate.high))
    return f"{value:+.0f} ({low:+.0f}, {high:+.0f})".replace("-", "−")
