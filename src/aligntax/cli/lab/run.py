"""`aligntax lab run`: trains, taxes and repairs a tiny model, and reports what each method gave."""

from __future__ import annotations

from pathlib import Path

import click

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("run", short_help="Train, tax and repair a tiny model by every method; one report.")
@click.option(
    "--quick",
    is_flag=True,
    help="A smaller world and fewer states: two CPU-minutes from nothing, for a first look.",
)
@click.option(
    "--scale",
    type=click.Choice(["tiny", "medium", "large"]),
    default="tiny",
    show_default=True,
    help="Size of world and model; medium and large want a CUDA device.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 100),
    metavar="N",
    help="Alignment runs, each with its own training order and prompts.  [default: 3; with --quick 2]",
)
@click.option(
    "--methods",
    metavar="NAME,...",
    help="Only these methods, and the baselines, which every run has.  [default: all]",
)
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="cpu, or cuda.")
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where bases and results are kept.  [default: aligntax/lab in the user's cache]",
)
@click.option(
    "-o",
    "--output",
    type=_FILE,
    default=Path("lab-report.html"),
    show_default=True,
    metavar="FILE",
    help="The report, one HTML page.",
)
@click.option("--json", "as_json", type=_FILE, metavar="FILE", help="Write all numbers as JSON, too.")
@click.option("--list", "list_methods", is_flag=True, help="List the methods and stop.")
def command(  # noqa: PLR0913, PLR0917 - each is one option
    quick: bool,
    scale: str,
    seeds: int | None,
    methods: str | None,
    device: str,
    cache: Path | None,
    output: Path,
    as_json: Path | None,
    list_methods: bool,
) -> None:
    """Pretrain a tiny language model, make it safe, measure what that cost, and try every method of getting it back.

    The world is generated: five capabilities, and requests whose words are harmful only towards people. Every
    method gets the same number of states of the model, chosen on one set of prompts and reported on another. A
    method is said to beat another only where the difference over seeds is beyond noise.

    Results are kept as they come: the same command goes on after a kill, and more seeds or methods join what is
    there. About ten CPU-minutes with the bases in the cache, twice that from nothing.
    """
    from .run_words import listing, page, progress

    if list_methods:
        click.echo(listing())
        return
    from ...lab.plan import plan_of

    plan = plan_of(
        scale,
        quick=quick,
        seeds=seeds or (2 if quick else 3),
        methods=_named(methods),
        device=_device(device),
    )
    _check(output)
    if as_json is not None:
        _check(as_json)
    from ...lab.experiment import run
    from ...lab.report import write_lab_report

    with progress() as tell:
        results = run(plan, cache=cache, on_progress=tell)
    write_lab_report(results, output, command=_again(quick, scale, seeds, methods, device))
    if as_json is not None:
        from ...lab.as_json import write_json

        write_json(results, as_json)
    click.echo(page(results, output), color=True)


def _named(methods: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in methods.split(",") if name.strip()) if methods else ()


def _again(quick: bool, scale: str, seeds: int | None, methods: str | None, device: str) -> str:
    """The command that repeats the numbers."""
    words = ["aligntax lab run"]
    words += ["--quick"] if quick else [] if scale == "tiny" else [f"--scale {scale}"]
    words += [f"--seeds {seeds}"] if seeds else []
    words += [f"--methods {methods}"] if methods else []
    return " ".join(words + ([] if device == "cpu" else [f"--device {device}"]))


def _device(name: str) -> str:
    """Checked before minutes are spent. One thread: at this size two are slower."""
    from ...errors import InputError, MissingExtra

    try:
        import torch
    except ImportError as absent:
        raise MissingExtra("torch", "weights") from absent
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(
            "there is no CUDA device here", remedy="leave --device out, or run it where there is one"
        )
    if not name.startswith(("cpu", "cuda")):
        raise InputError(f"no device {name!r}", remedy="cpu or cuda")
    if name == "cpu":
        torch.set_num_threads(1)
    return name


def _check(path: Path) -> None:
    from ...errors import InputError

    if not path.absolute().parent.is_dir():
        raise InputError("the folder does not exist", where=str(path.parent), remedy="create it first")
