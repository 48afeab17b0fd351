"""`aligntax weights moments`: what general inputs reach in each matrix, and the directions that they do not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import InputError

if TYPE_CHECKING:
    from ...weights.null_space.moments import Moments

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("moments", short_help="Find the directions that general inputs do not reach.")
@click.argument("model", type=click.Path(file_okay=False, path_type=Path), metavar="MODEL")
@click.option(
    "--data", type=_FILE, required=True, metavar="FILE",
    help='General text as JSON lines, {"prompt": ..., "completion": ...}: what must not change.',
)  # fmt: skip
@click.option(
    "--held-out", default="0.3", show_default=True, metavar="SHARE|FILE",
    help="Share of the rows to hold out, by a hash of the prompt; or a file of rows of their own.",
)  # fmt: skip
@click.option(
    "--leak", type=click.FloatRange(min=0, min_open=True), default=0.1, show_default=True, metavar="LEAK",
    help="Most that held-out inputs may feel of any change inside a null space.",
)  # fmt: skip
@click.option("--bases", type=_FILE, metavar="FILE", help="Write the null spaces, for weights train.")
@click.option(
    "-o", "--out", type=_FILE, metavar="FILE", help="Write the second moments of the calibration rows."
)
@click.option(
    "--most", type=click.IntRange(1), metavar="N", help="At most N directions a matrix, the emptiest ones."
)
@click.option(
    "--max-tokens", type=click.IntRange(1), default=512, show_default=True, metavar="N", help="Cut rows here."
)
@click.option(
    "--batch-size", type=click.IntRange(1), default=8, show_default=True, metavar="N", help="Rows at a time."
)
@click.option(
    "--sketch-above",
    type=click.IntRange(1),
    metavar="N",
    help="Sketch inputs wider than N instead of summing.",
)
@click.option(
    "--chat/--no-chat",
    default=None,
    help="Read rows as talks in the chat template.  [default: where there is one]",
)
@click.option(
    "--dtype", type=click.Choice(["float32", "bfloat16", "auto"]), default="float32", show_default=True,
    help="Precision of the model in memory; sums are float64, on a GPU float32.",
)  # fmt: skip
@click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1, or auto.  [default: cpu]")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON instead.")
def command(model: Path, out: Path | None, bases: Path | None, as_json: bool, **said: Any) -> None:
    """Read general text through MODEL once and find, for every matrix inside its layers, the directions of its input
    that the text hardly reaches: its null space. A change of the matrix inside it leaves general behaviour alone.

    Directions are ordered on the calibration rows, and as many are taken as keep the largest leak of any change
    inside them under --leak on the held-out rows too. Leak: how much general inputs feel a change, relative to one of
    the same norm in random directions: 1 is like any other, 0 not at all; every token counts alike, so that a few very
    long ones hide no other. A matrix without such directions is left out: training must not touch it.

    Rows are split as in weights certify. The held-out rows decide how many directions are taken: for a number that is
    independent of them, certify on further rows. With --bases or -o a killed run goes on where it was.
    """
    from ...weights.null_space.adapter import choose_bases
    from .certify_progress import CertifyProgress
    from .moments_words import as_document, page

    _check_folders(out, bases)
    with CertifyProgress() as bar:
        train, held = _both(model, out or bases, said, bar)
    chosen = choose_bases(train, held, leak=said["leak"], most=said["most"])
    if out:
        train.save(out)
    if bases:
        chosen.save(bases)
    _forget(out or bases)
    if as_json:
        click.echo(as_document(chosen, train, held))
    else:
        click.echo(page(chosen, train, held))
        for path, words in ((out, "second moments"), (bases, "null spaces")):
            if path:
                click.echo(f"{words}: {path}")


def _both(folder: Path, beside: Path | None, said: dict[str, Any], bar: Any) -> tuple[Moments, Moments]:
    """Calibration and held-out moments."""
    from ...weights.batches import batches_of, texts_of
    from ...weights.certifying.examples import read_split
    from ...weights.loading import load_model, load_tokenizer
    from ...weights.null_space.moments import collect

    first, second, notes = read_split(said["data"], _held_out(said["held_out"]))
    for note in notes:
        click.echo(f"note: {note}", err=True)
    bar.show("loading", 0, 1)
    tokenizer, model = load_tokenizer(folder), load_model(folder, dtype=said["dtype"], device=said["device"])
    found = []
    for side, rows in (("calibration", first), ("held-out", second)):
        texts, read = texts_of(tokenizer, rows, chat=said["chat"]), [0]
        plain = said["chat"] is False or not getattr(tokenizer, "chat_template", None)

        def show(_tokens: int, side: str = side, read: list[int] = read, total: int = len(rows)) -> None:
            read[0] = min(total, read[0] + said["batch_size"])
            bar.show(side, read[0], total)

        batches = batches_of(
            tokenizer, texts, max_tokens=said["max_tokens"], batch_size=said["batch_size"], special=plain
        )
        partial = _partial(beside, side) if beside else None
        found.append(
            collect(
                model,
                batches,
                partial=partial,
                keep=True,
                sketch_above=said["sketch_above"],
                even=True,
                progress=show,
            )
        )
    return found[0], found[1]


def _partial(beside: Path, side: str) -> Path:
    return beside.with_name(f".{beside.name}.{side}.partial")


def _forget(beside: Path | None) -> None:
    for side in ("calibration", "held-out") if beside else ():
        assert beside is not None
        _partial(beside, side).unlink(missing_ok=True)


def _held_out(said: str) -> Path | float:
    try:
        share = float(said)
    except ValueError:
        return Path(said)
    if not 0 < share < 1:
        raise InputError(f"--held-out {said} is no share", remedy="give a number between 0 and 1, or a file")
    return share


def _check_folders(*files: Path | None) -> None:
    for file in files:
        if file is not None and not file.absolute().parent.is_dir():
            raise InputError("the folder does not exist", where=str(file.parent), remedy="create it first")
