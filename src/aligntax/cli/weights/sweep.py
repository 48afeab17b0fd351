"""`aligntax weights sweep`: ranks at one effective scale, and learning rates."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .train_options import training_options

if TYPE_CHECKING:
    from ...weights.training.data import Mix, Row
    from ...weights.training.held_out import HeldOut

_WARNING = (
    "The lowest loss is not the best model: it says nothing of capability. Put every folder on the front beside "
    "uniform averaging and the kept checkpoints: aligntax weights search"
)


def _numbers(
    kind: type[int] | type[float],
) -> Callable[[click.Context, click.Parameter, str], tuple[Any, ...]]:
    def read(_ctx: click.Context, _parameter: click.Parameter, value: str) -> tuple[Any, ...]:
        try:
            found = tuple(kind(part) for part in value.split(",") if part.strip())
        except ValueError as fault:
            raise click.BadParameter(f"{value!r} is no list of numbers: say 1,4,16") from fault
        if not found or len(set(found)) < len(found):
            raise click.BadParameter("give one number or more, each once")
        return found

    return read


@click.command("sweep", short_help="Ranks at one effective scale, and learning rates.")
@training_options
@click.option(
    "--ranks",
    default="8",
    show_default=True,
    metavar="N,N",
    callback=_numbers(int),
    help="Each at the same effective scale, --multiplier.",
)
@click.option(
    "--lrs",
    default="1e-5,3e-5,1e-4",
    show_default=True,
    metavar="X,X",
    callback=_numbers(float),
    help="Learning rates.",
)
@click.option(
    "--held-out",
    type=click.FloatRange(0, 0.9, min_open=True),
    default=0.2,
    show_default=True,
    metavar="X",
    help="Share of the prompts of DATA that are measured on and not trained on.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
@click.option(
    "-o", "--out", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="OUT",
    help="A folder for the runs; one that was cut off goes on.",
)  # fmt: skip
def command(
    *,
    ranks: tuple[int, ...],
    lrs: tuple[float, ...],
    held_out: float,
    dry_run: bool,
    as_json: bool,
    out: Path,
    **said: Any,
) -> None:
    """Train MODEL on DATA once for every rank and learning rate, and measure each on prompts that were held out.

    Options are those of aligntax weights train. The scale in effect is the same for every rank: with a fixed alpha
    it would fall as the rank rises, and a sweep over ranks would be one over step sizes.
    """
    from ...weights.training.run import plan_training
    from .train_options import bases_of, recipe_of
    from .train_words import PLAN_COLUMN, plan_lines, wrapped

    runs = {
        f"r{rank}-lr{rate:g}": recipe_of(said, rank=rank, rate=rate)
        for rank in (ranks if said["adapter"] in ("lora", "null-space") else ranks[:1])
        for rate in lrs
    }
    bases = bases_of(said)
    mixed, measured = _rows(said, out, held_out)
    plans = {name: plan_training(recipe, said["model"], mixed, bases=bases) for name, recipe in runs.items()}
    if not as_json:
        lines = plan_lines(next(iter(plans.values())), out)
        lines.append(f"sweep       {len(runs)} runs: {', '.join(runs)}; {len(measured):,} rows held out")
        click.echo(wrapped(lines, under=PLAN_COLUMN))
    if dry_run:
        if as_json:
            click.echo(json.dumps({"format": 1, "runs": list(runs), "held_out": len(measured)}, indent=2))
        return
    table = [_row("start", said["model"], None, measured, said, out)]
    for name, recipe in runs.items():
        losses = _trained(name, recipe, mixed, out, said, bases)
        table.append(_row(name, out / name, losses[-1][1], measured, said, out))
    if as_json:
        click.echo(
            json.dumps(
                {"format": 1, "runs": table, "multiplier": said["multiplier"], "note": _WARNING}, indent=2
            )
        )
        return
    _print(table)


def _rows(said: dict[str, Any], out: Path, share: float) -> tuple[Mix, list[Row]]:
    from ...weights.training.data import held_out, mix
    from ...weights.training.files import refuse_clash
    from .train_options import look_alikes, own_rows, replayed

    refuse_clash(said["model"], out)
    train, measured = held_out(own_rows(said), share=share, seed=said["seed"])
    benign, _ = look_alikes(said, train, out)
    general, general_share = replayed(said)
    seen = {row.prompt for row in measured}
    mixed = mix(
        train, benign=[row for row in benign if row.prompt not in seen], share=said["benign_share"],
        replay=[row for row in general if row.prompt not in seen], replay_share=general_share,
        refusals_only=said["refusals_only"], seed=said["seed"],
    )  # fmt: skip
    return mixed, measured


def _trained(
    name: str, recipe: Any, mixed: Mix, out: Path, said: dict[str, Any], bases: Any
) -> tuple[tuple[int, float, float | None], ...]:
    from ...weights.training.run import train
    from .train_options import judge
    from .train_progress import TrainProgress

    with TrainProgress(name) as progress:
        return train(
            recipe, said["model"], mixed, out / name, bases=bases, judge=judge, report=progress.step
        ).losses


def _row(
    name: str, folder: Path, loss: float | None, measured: list[Row], said: dict[str, Any], out: Path
) -> dict[str, Any]:
    """A line of the table; what was measured is stored, and not measured again."""
    import msgspec

    from ...weights.training.files import write_whole
    from ...weights.training.held_out import HeldOut, measure
    from .train_options import judge

    path = out / f"{name}.held-out.json"
    if path.exists():
        found: HeldOut = msgspec.json.decode(path.read_bytes(), type=HeldOut)
    else:
        found = measure(folder, measured, judge=judge, max_new_tokens=said["max_new_tokens"])
        out.mkdir(parents=True, exist_ok=True)
        write_whole(path, msgspec.json.encode(found))
    return {"name": name, "folder": str(folder), "loss": loss, **msgspec.to_builtins(found)}


def _print(table: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from ..terminal import console

    shown = Table(box=None, pad_edge=False)
    for at, title in enumerate(
        (
            "run",
            "loss",
            "harm\ndeclined",
            "benign\nanswered",
            "benign\ndeclined",
            "nats/token\nharmful",
            "nats/token\nbenign",
        )
    ):
        shown.add_column(title, justify="left" if at == 0 else "right")
    for row in table:
        shown.add_row(
            row["name"], _shown(row["loss"], ".4g"), _shown(row["declined"], ".0%"), _shown(row["answered"], ".0%"),
            _shown(row["over_refused"], ".0%"), _shown(row["loss_harmful"], ".3f"), _shown(row["loss_benign"], ".3f"),
        )  # fmt: skip
    first = table[0]
    console().print(shown)
    click.echo(
        f"Held out: {first['n_harmful']:,} harmful and {first['n_benign']:,} benign rows; shares by the detector, "
        "uncorrected."
    )
    click.echo(_WARNING)


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
