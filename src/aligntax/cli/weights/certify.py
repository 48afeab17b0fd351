"""`aligntax weights certify`: what a step from one checkpoint to another does to general inputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ...weights.certifying.certificate import Certificate

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("certify", short_help="How much of a change general inputs can feel, matrix by matrix.")
@click.argument("base", type=_FOLDER, metavar="BASE")
@click.argument("tuned", type=_FOLDER, metavar="TUNED")
@click.option(
    "--data",
    type=_FILE,
    required=True,
    metavar="FILE",
    help='General text as JSON lines, {"prompt": ..., "completion": ...}: what must not change.',
)
@click.option(
    "--held-out",
    default="0.3",
    show_default=True,
    metavar="SHARE|FILE",
    help="Share of the rows to hold out, by a hash of the prompt; or a file of rows of their own.",
)
@click.option(
    "--leak-target",
    type=click.FloatRange(min=0, min_open=True),
    default=0.1,
    show_default=True,
    metavar="LEAK",
    help="Largest held-out leak of a matrix. Given here it makes a gate: exit code 1 where it is not kept.",
)
@click.option(
    "--level",
    type=click.FloatRange(0.5, 0.999),
    default=0.95,
    show_default=True,
    metavar="SHARE",
    help="Confidence of the intervals.",
)
@click.option("--report", type=_FILE, metavar="FILE", help="Write the certificate as one HTML page.")
@click.option("--json", "as_json", is_flag=True, help="Print the certificate as JSON instead.")
@click.option("--all", "show_all", is_flag=True, help="Show every matrix, not the worst of each kind.")
@click.option(
    "--max-tokens", type=click.IntRange(2), default=512, show_default=True, metavar="N", help="Cut rows here."
)
@click.option(
    "--batch-tokens",
    type=click.IntRange(1),
    default=4096,
    show_default=True,
    metavar="N",
    help="Tokens read at a time, with padding; fewer take less memory.",
)
@click.option(
    "--chat/--no-chat",
    default=None,
    help="Read rows as talks in BASE's chat template.  [default: where there is one]",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "auto"]),
    default="float32",
    show_default=True,
    help="Precision of both models in memory; a merged adapter is rounded to it.",
)
@click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1, or auto.  [default: cpu]")
@click.pass_context
def command(  # noqa: PLR0913, PLR0917 - each is one option
    ctx: click.Context,
    base: Path,
    tuned: Path,
    data: Path,
    held_out: str,
    leak_target: float,
    level: float,
    report: Path | None,
    as_json: bool,
    show_all: bool,
    max_tokens: int,
    batch_tokens: int,
    chat: bool | None,
    dtype: str,
    device: str | None,
) -> None:
    """Certify the step from BASE to TUNED: for each matrix inside the layers, how much of its change inputs like
    those of --data can feel, on rows it was not chosen by; and which parameters that says nothing about.

    BASE is a folder with a whole model; TUNED is one of the same shape, or a LoRA adapter for BASE as PEFT saves it.
    Leak: the effect of the change on general inputs relative to a change of the same norm in random directions: 1 is
    felt like any other change, 0 not at all. KL(BASE || TUNED) on held-out answers is measured beside it, because the
    leak is a statement of first order, one matrix at a time.

    Exit codes: 0 certified, and inside where --leak-target was given; 1 outside of a --leak-target that was given;
    2 could not run; 3 too little data.
    """
    from ...weights.certifying.certificate import to_json
    from ...weights.certifying.certify import certify
    from ...weights.certifying.reading import Settings
    from .certify_progress import CertifyProgress

    _check_folder(report)
    settings = Settings(
        held_out=_held_out(held_out), target=leak_target, level=level, max_tokens=max_tokens,
        batch_tokens=batch_tokens, chat=chat, dtype=dtype, device=device,  # type: ignore[arg-type]
    )  # fmt: skip
    with CertifyProgress() as progress:
        certificate = certify(base, tuned, data, settings=settings, watch=progress.show)
    if report:
        from ...report.certificate import write_certificate

        write_certificate(certificate, report)
    if as_json:
        click.echo(to_json(certificate))
    else:
        from .certify_words import page

        click.echo(page(certificate, show_all=show_all, report=report), color=True)
    explicit = ctx.get_parameter_source("leak_target") is not click.core.ParameterSource.DEFAULT
    ctx.exit(exit_code(certificate, gate=explicit))


def exit_code(certificate: Certificate, *, gate: bool) -> int:
    """3 where too little data leave it open, 1 where a gate is not kept, else 0."""
    if certificate.ruling == "undecided":
        return 3
    return 1 if gate and certificate.ruling == "outside" else 0


def _held_out(said: str) -> Path | float:
    from ...errors import InputError

    try:
        share = float(said)
    except ValueError:
        return Path(said)
    if not 0 < share < 1:
        raise InputError(f"--held-out {said} is no share", remedy="give a number between 0 and 1, or a file")
    return share


def _check_folder(report: Path | None) -> None:
    from ...errors import InputError

    if report is not None and not report.absolute().parent.is_dir():
        raise InputError("the folder does not exist", where=str(report.parent), remedy="create it first")
