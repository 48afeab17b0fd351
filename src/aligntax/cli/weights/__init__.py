"""`aligntax weights`: for teams that own the weights. A file a command."""

from __future__ import annotations

import click

from .. import LazyGroup

COMMANDS = {
    "average": "aligntax.cli.weights.average:command",
    "sensitivity": "aligntax.cli.weights.sensitivity:command",
    "search": "aligntax.cli.weights.search:command",
    "moments": "aligntax.cli.weights.moments:command",
    "train": "aligntax.cli.weights.train:command",
    "merge": "aligntax.cli.weights.merge:command",
    "sweep": "aligntax.cli.weights.sweep:command",
    "steer": "aligntax.cli.weights.steer:command",
    "certify": "aligntax.cli.weights.certify:command",
}


@click.group(
    "weights",
    cls=LazyGroup,
    places=COMMANDS,
    short_help="Average, search, train, merge, steer and certify weights.",
)
def command() -> None:
    """For teams that own the weights: recover what safety training cost, and show that it was recovered.

    Everywhere: theta = theta0 + a * (theta1 - theta0), theta0 before safety training, theta1 after it; "a" is the
    share of the ALIGNED model. Inputs are safetensors folders; none is ever written over.

    \b
    Start with:
      aligntax weights average BASE ALIGNED --ratio 0.8 -o OUT --dry-run
    """  # noqa: D301 - click reads the sign itself
