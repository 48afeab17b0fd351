"""`aligntax gate`: is a release within what the team has agreed on?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .where import store_option

if TYPE_CHECKING:
    from ..floor import Decision

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("gate", short_help="Pass, fail or too little data, by the limits in aligntax.yaml.")
@click.argument("verdicts", type=_FILE, metavar="VERDICTS")
@click.option(
    "--config",
    type=_FILE,
    envvar="ALIGNTAX_CONFIG",
    metavar="FILE",
    help="What the team has agreed on.  [default: aligntax.yaml in this folder]",
)
@click.option("--model", metavar="NAME", help="Gate the answers of this model only.")
@click.option("--base", metavar="NAME", help="The model that change: limits compare with.")
@click.option(
    "--base-verdicts", type=_FILE, metavar="FILE", help="Where the base's verdicts are, if not in VERDICTS."
)
@store_option
@click.option("--junit", type=_FILE, metavar="FILE", help="Write JUnit XML, a test case a rule.")
@click.option("--markdown", type=_FILE, metavar="FILE", help="Write the decision as Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the table.")
@click.pass_context
def command(  # noqa: PLR0913, PLR0917 - each is one option
    ctx: click.Context,
    verdicts: Path,
    config: Path | None,
    model: str | None,
    base: str | None,
    base_verdicts: Path | None,
    where: str | None,
    junit: Path | None,
    markdown: Path | None,
    as_json: bool,
) -> None:
    """Hold VERDICTS and their labels against the limits in aligntax.yaml, use case by use case.

    A rule fails, or passes, only on evidence at its confidence; else there is too little data, and the gate says how
    many more labels would decide. Every decision is kept in the store with the hashes of what it came from.

    Exit codes: 0 every rule passed, 1 one failed, 2 could not run, 3 too little data.
    """
    if base and not base_verdicts and not model:
        raise click.UsageError("say which model to gate: --model NAME --base NAME")
    if base and not base_verdicts and base == model:
        raise click.UsageError("a model cannot be its own base")
    from .gate_outputs import check_folders, print_decision, write_outputs
    from .gate_record import decide

    check_folders(junit, markdown)
    decided = decide(
        verdicts, config=config, where=where, model=model, base=base, base_verdicts=base_verdicts
    )
    write_outputs(decided, junit=junit, markdown=markdown)
    print_decision(decided, as_json=as_json)
    ctx.exit(_exit_code(decided.decision))


def _exit_code(decision: Decision) -> int:
    from ..floor import Ruling

    codes = {Ruling.PASS: 0, Ruling.FAIL: 1, Ruling.TOO_LITTLE_DATA: 3}
    return codes[decision.ruling]
