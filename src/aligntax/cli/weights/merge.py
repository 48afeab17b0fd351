"""`aligntax weights merge`: an adapter and its base as one ordinary model."""

from __future__ import annotations

from pathlib import Path

import click

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("merge", short_help="Write a base and its LoRA adapter as one model.")
@click.argument("base", type=_FOLDER, metavar="BASE")
@click.argument("adapter", type=_FOLDER, metavar="ADAPTER")
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="The output, a new folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the summary.")
def command(base: Path, adapter: Path, out: Path, as_json: bool) -> None:
    """Merge ADAPTER, a LoRA as PEFT saves it, into BASE, the model that it was trained on, and write the whole model.

    weights average and servers without LoRA take whole models. The change is computed in float32 and rounded once, with
    the base, to the type that BASE is stored in; what was written is read back and compared. The model must fit into
    memory twice. No input is written to; OUT appears when it is complete.
    """
    from ...weights.merging import merge

    merged = merge(base, adapter, out)
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(merged), indent=2).decode())
        return
    replaced = f", {len(merged.replaced)} tensors replaced whole" if merged.replaced else ""
    click.echo(
        f"merged     {merged.adapter} into {merged.base}: {merged.projections} projections changed{replaced}"
    )
    why = ", the widest of BASE's, which loses nothing" if merged.widened else ", as BASE is stored"
    click.echo(f"written    in {merged.dtype}{why}; read back and the same")
    click.echo(f"tokenizer  of the {merged.tokenizer}")
    click.echo(f"model      {out}")
