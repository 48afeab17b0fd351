"""`aligntax weights average`: one checkpoint out of two or more, streamed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import InputError

if TYPE_CHECKING:
    from ...weights.averaging.recipe import Recipe

_OPERATIONS = ("linear", "slerp", "task_arithmetic", "ties", "dare")


@click.command("average", short_help="Average checkpoints: a ratio per block of layers and per role.")
@click.argument("base", required=False, type=click.Path(path_type=Path))
@click.argument("aligned", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="The output, a new folder.",
)
@click.option("--ratio", type=float, metavar="A", help="Share of ALIGNED in every layer, 0 to 1.")
@click.option("--blocks", metavar="A,A,...", help="One share for each block of layers, from the input on.")
@click.option(
    "--role",
    "roles",
    multiple=True,
    metavar="ROLE=A",
    help="A role's own share (mlp=0.5), one per block (mlp=0.5/0.9), or whose it takes: block, first, last, mean. "
    "Roles: embedding, attention, mlp, norm, final_norm, head, other. Repeat it, or part with commas.",
)
@click.option(
    "--recipe", type=click.Path(path_type=Path), metavar="FILE", help="All of this from a YAML or JSON file."
)
@click.option("--operation", type=click.Choice(_OPERATIONS), help="[default: linear]")
@click.option(
    "--weight", "weights", multiple=True, type=float, metavar="W", help="Weight of each ALIGNED, in order."
)
@click.option("--density", type=float, metavar="SHARE", help="ties: changes kept.  [default: 0.2]")
@click.option("--drop", type=float, metavar="SHARE", help="dare: changes dropped.  [default: 0.5]")
@click.option("--seed", type=int, metavar="N", help="dare: which changes are dropped.  [default: 0]")
@click.option("--extrapolate", is_flag=True, help="Allow shares outside 0 to 1.")
@click.option("--threads", type=click.IntRange(1, 64), metavar="N", help="[default: the cores, at most 8]")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the summary.")
def command(out: Path, threads: int | None, dry_run: bool, as_json: bool, **said: Any) -> None:
    """Make one checkpoint of BASE, before safety training, and ALIGNED, after it.

    theta = theta0 + a * (theta1 - theta0): a = 0 is BASE and a = 1 is ALIGNED, bit for bit. Each is a Hugging Face
    folder, sharded or not, or one safetensors file. The plan is printed first: the ratio of every role, what is
    copied, the space that is needed.

    Tensors are streamed, so memory stays the same whatever the size, and rounded once. Two bfloat16
    models with a from 0 to 1 are computed in float32, everything else in float64. No input is written to; no pickle
    is read; no code is run or copied. The output appears when it is complete and was read back; after Ctrl-C, a full
    disk or kill -9 the same command goes on where it was.
    """
    from ...weights.averaging.average import average, former_result
    from ...weights.averaging.plan import check_space, make_plan
    from .average_progress import AverageProgress
    from .average_words import as_document, shown_plan, shown_result, size

    plan = make_plan(_recipe(said), out)
    if not as_json:
        click.echo(shown_plan(plan))
    result, space = former_result(plan), None
    if result is None:
        space = check_space(plan)
        if not as_json:
            click.echo(f"space     {size(space[0])} needed, {size(space[1])} free")
        if not dry_run:
            with AverageProgress() as bar:
                try:
                    result = average(plan, threads=threads, progress=bar.show)
                except KeyboardInterrupt as stop:
                    raise type(stop)(
                        "what is finished is kept; the same command goes on from there"
                    ) from None
    if as_json:
        click.echo(as_document(plan, result, space))
    elif result is None:
        click.echo("\ndry run: nothing was written")
    else:
        click.echo(shown_result(plan, result))


def _recipe(said: dict[str, Any]) -> Recipe:
    """The recipe that the options spell out, or that of the file, for the checkpoints named beside it."""
    from ...weights.averaging.recipe import Model, Recipe, read_recipe
    from ...weights.ratios import Ratios

    base, aligned = said.pop("base"), said.pop("aligned")
    if base is not None and not aligned:
        raise InputError("one checkpoint is no average", remedy="name BASE and ALIGNED, in this order")
    file, weights = said.pop("recipe"), said.pop("weights")
    if weights and len(weights) != len(aligned):
        raise InputError(
            f"{len(weights)} weights for {len(aligned)} aligned models", remedy="give one --weight for each"
        )
    models = tuple(
        Model(path=str(path), weight=weight)
        for path, weight in zip(aligned, weights or [1.0] * len(aligned), strict=True)
    )
    if file is not None:
        for name, value in said.items():
            if value is not None and value is not False and value != ():  # 0 is something said
                raise InputError(
                    f"--{'role' if name == 'roles' else name} beside --recipe",
                    remedy="say it in the recipe",
                )
        recipe = read_recipe(file)
        if base is None:
            return recipe
        return Recipe(**{**_fields(recipe), "base": str(base), "models": models})
    blocks, ratio = said.pop("blocks"), said.pop("ratio")
    if (blocks is None) == (ratio is None):
        raise InputError("how much of ALIGNED?", remedy="give --ratio, or --blocks, or --recipe")
    try:
        ratios = Ratios(
            blocks=(ratio,) if blocks is None else _numbers(blocks, ",", "--blocks"),
            roles=_roles(said.pop("roles")),
            extrapolate=said.pop("extrapolate"),
        )
    except InputError as error:
        if "extrapolate" not in (error.remedy or ""):
            raise
        raise InputError(
            error.what, remedy="add --extrapolate if it is meant to go beyond the two models"
        ) from None
    given = {name: value for name, value in said.items() if value is not None and name != "roles"}
    return Recipe(base=str(base or ""), models=models, ratios=ratios, **given)


def _fields(recipe: Recipe) -> dict[str, Any]:
    return {name: getattr(recipe, name) for name in recipe.__struct_fields__}


def _roles(said: tuple[str, ...]) -> dict[Any, Any]:
    from ...weights.ratios import ROLES

    roles: dict[Any, Any] = {}
    for part in (part for one in said for part in one.split(",")):
        role, equals, value = (word.strip() for word in part.partition("="))
        if role not in ROLES or not equals:
            raise InputError("is not ROLE=A", where=f"--role {part}", remedy=f"roles are {', '.join(ROLES)}")
        if value in ("block", "first", "last", "mean"):
            roles[role] = value
        else:
            numbers = _numbers(value, "/", f"--role {role}")
            roles[role] = numbers[0] if len(numbers) == 1 else numbers
    return roles


def _numbers(text: str, between: str, where: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(between))
    except ValueError:
        raise InputError("is not a number", where=f"{where} {text}", remedy="such as 0.8") from None
