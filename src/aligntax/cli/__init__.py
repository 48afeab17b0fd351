"""The command line. Each command group is a file of its own, loaded when it is called.

Exit codes: 0 ok, 1 a gate failed, 2 could not run, 3 too little evidence, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Mapping
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

import click

from .. import __version__
from ..errors import DISK_FULL, AlignTaxError

COMMANDS = {
    "init": "aligntax.cli.init:command",
    "scan": "aligntax.cli.scan:command",
    "suite": "aligntax.cli.suite:command",
    "run": "aligntax.cli.run:command",
    "label": "aligntax.cli.label:command",
    "estimate": "aligntax.cli.estimate:command",
    "compare": "aligntax.cli.compare:command",
    "triggers": "aligntax.cli.triggers:command",
    "gate": "aligntax.cli.gate:command",
    "report": "aligntax.cli.report:command",
    "twins": "aligntax.cli.twins:command",
    "weights": "aligntax.cli.weights:command",
    "lab": "aligntax.cli.lab:command",
    "doctor": "aligntax.cli.doctor:command",
}
"""Name of a command -> where it lives, in the order in which help lists them."""


class LazyGroup(click.Group):
    """A group that imports a command when it is asked for. `places`: name of a command -> "module:function"."""

    def __init__(self, *arguments: Any, places: Mapping[str, str], **settings: Any) -> None:
        self.places = places
        super().__init__(*arguments, **settings)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(self.places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, imported now; None where there is none."""
        if cmd_name not in self.places:
            return None
        module, _, name = self.places[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


class _Program(LazyGroup):
    """The whole program: errors raised on purpose become one line and an exit code."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except AlignTaxError as error:
            from .terminal import clean

            click.echo(f"error: {clean(str(error))}", err=True)
            ctx.exit(error.exit_code)
        except BrokenPipeError:
            _hush()
            ctx.exit(128 + 13)  # as a shell shows a program that SIGPIPE ended
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            _hush()
            click.echo(f"error: what this prints cannot be written: {error.strerror}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt as stop:
            click.echo(f"stopped: {stop}" if str(stop) else "stopped", err=True)
            ctx.exit(143 if isinstance(stop, Terminated) else 130)


class Terminated(KeyboardInterrupt):
    """The system asked this process to end: it leaves in the same order as after Ctrl-C."""


@click.group(
    cls=_Program,
    places=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every option can also be set by a variable, such as ALIGNTAX_SCAN_BY=use_case,model. "
    "Nothing leaves this machine but the calls to a model that you name.",
)
@click.version_option(__version__, "-V", "--version", message="aligntax %(version)s")
def commands() -> None:
    """Measure what safety tuning costs your LLM product on its own workload: refusals, hedging, avoidance
    and padding on legitimate requests, from your own logs, offline.

    Start with:  aligntax scan --sample
    """


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # an ASCII terminal shows "?" where it has no sign
    try:
        commands.main(prog_name="aligntax", auto_envvar_prefix="ALIGNTAX")
    except Exception:  # noqa: BLE001  Python's own exit code would be 1, which means that a gate failed
        traceback.print_exc()
        click.echo("error: this is a bug in aligntax; please report it with the lines above", err=True)
    sys.exit(2)


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated


def _hush() -> None:
    """The reader of our output is gone: Python must not complain when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
