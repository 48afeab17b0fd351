"""What `aligntax run` prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from .. import __version__
from ..run import RunSettings
from ..run.plan import Identity, identity_of
from ..types import Prompt
from .run_progress import duration
from .terminal import clean

if TYPE_CHECKING:
    from ..client import Forecast
    from ..run import RunSummary

_SIMULATED = "a simulation, which says nothing of any real model"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What one command asks, and where the answers go."""

    suite: str
    prompts: tuple[Prompt, ...]
    model: str
    out: Path
    repeats: int
    settings: RunSettings

    @property
    def calls(self) -> int:
        """Calls in all."""
        return len(self.prompts) * self.repeats

    @property
    def identity(self) -> Identity:
        """What the answers depend on."""
        return identity_of(self.prompts, self.model, self.settings)


def print_forecast(plan: Plan, forecast: Forecast, finished: int, *, as_json: bool) -> None:
    """What the run would take; nothing was asked."""
    if as_json:
        _print_json(plan, dry_run=True, former=finished, **msgspec.structs.asdict(forecast))
        return
    cost = "unknown without --price IN,OUT" if forecast.usd is None else f"at most ${forecast.usd:,.4f}"
    lines = [
        (
            "calls",
            f"{forecast.calls:,}" + (f" ({finished:,} of {plan.calls:,} are finished)" if finished else ""),
        ),
        ("tokens", f"about {forecast.prompt_tokens:,} in, at most {forecast.completion_tokens:,} out"),
        ("cost", cost),
        ("answers", f"{plan.out} (nothing was asked or written)"),
    ]
    _print(plan, lines)


def print_summary(plan: Plan, summary: RunSummary, *, as_json: bool) -> None:
    """What is in the file, and the next step."""
    if as_json:
        _print_json(plan, dry_run=False, **msgspec.structs.asdict(summary))
        return
    calls = f"{summary.calls:,}" + (
        f", {summary.former:,} of them from an earlier start" if summary.former else ""
    )
    outcomes = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in summary.outcomes.items())
    cost = "" if summary.cost_usd is None else f", ${summary.cost_usd:,.4f}"
    cached = f", {summary.cached:,} answers from the cache" if summary.cached else ""
    lines = [
        ("calls", f"{calls} ({duration(summary.elapsed_s)})"),
        ("outcomes", outcomes or "none"),
        ("tokens", f"{summary.prompt_tokens:,} in, {summary.completion_tokens:,} out{cost}{cached}"),
        ("answers", str(plan.out)),
    ]
    if summary.failed:
        lines.append(("failed", f"{summary.failed:,}: the same command with --retry-errors asks them again"))
    _print(plan, [*lines, ("next", f"aligntax scan {plan.out}")])


def _print(plan: Plan, lines: list[tuple[str, str]]) -> None:
    note = f" ({_SIMULATED})" if plan.model.startswith("fake/") else ""
    times = f" x {plan.repeats}" if plan.repeats > 1 else ""
    click.echo(clean(f"{plan.suite}: {len(plan.prompts):,} prompts{times} to {plan.model}{note}"))
    for name, text in lines:
        click.echo(f"  {name:<9} {clean(text)}")


def _print_json(plan: Plan, **found: Any) -> None:
    document = {
        "format": 1,
        "versions": {"aligntax": __version__},
        "suite": plan.suite,
        "model": plan.model,
        "simulated": plan.model.startswith("fake/"),
        "repeats": plan.repeats,
        "file": str(plan.out),
        **found,
    }
    click.echo(json.dumps(document, indent=2))
