"""`aligntax label`: from verdicts to expert labels. A file a command."""

from __future__ import annotations

import click

from .. import LazyGroup

COMMANDS = {
    "plan": "aligntax.cli.label.plan:command",
    "serve": "aligntax.cli.label.serve:command",
    "status": "aligntax.cli.label.status:command",
    "export": "aligntax.cli.label.export:command",
    "import": "aligntax.cli.label.take_over:command",
}


@click.group(
    "label", cls=LazyGroup, places=COMMANDS, short_help="Choose answers, and have experts label them."
)
def command() -> None:
    """Choose which answers to label, have experts label them in the browser, or bring labels from elsewhere.

    Start with:  aligntax label plan VERDICTS --budget 200
    """
