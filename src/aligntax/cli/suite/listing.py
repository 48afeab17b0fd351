"""`aligntax suite list`: the packs that come with aligntax."""

from __future__ import annotations

import json

import click


@click.command("list", short_help="The packs that come with aligntax.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the table.")
def command(as_json: bool) -> None:
    """List the domain packs: families of twins, required facts, probes of the floor, words of the vocabulary."""
    from ...suites import DOMAINS, load_pack

    rows = []
    for name in DOMAINS:
        pack = load_pack(name)
        rows.append(
            {
                "pack": name,
                "prompts": len(pack.prompts),
                "families": len({prompt.family for prompt in pack.prompts if prompt.family}),
                "facts": sum(len(prompt.facts) for prompt in pack.prompts if prompt.side == "sensitive"),
                "floor": len(pack.floor),
                "vocabulary": len(pack.vocabulary),
                "system_prompts": [calibration.name for calibration in pack.system_prompts],
            }
        )
    if as_json:
        click.echo(json.dumps({"format": 1, "packs": rows}, indent=2))
        return
    _print(rows)


def _print(rows: list[dict[str, object]]) -> None:
    from rich.table import Table

    from ..label.words import show

    table = Table(box=None, pad_edge=False)
    table.add_column("pack")
    for name in ("prompts", "families", "facts", "floor", "vocabulary"):
        table.add_column(name, justify="right")
    table.add_column("system prompts")
    for row in rows:
        *cells, calibrations = row.values()
        table.add_row(*map(str, cells), ", ".join(calibrations) if isinstance(calibrations, list) else "")
    show(lambda screen: screen.print(table))
    click.echo(
        "\nAsk a model:  aligntax run clinical --model M     and its floor:  aligntax run clinical/floor"
    )
