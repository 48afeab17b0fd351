"""`aligntax init`: an aligntax.yaml to start from."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import click

from ..errors import InputError

_MOST_USE_CASES = 50
_LONGEST_KEY = 1000  # characters, written out: YAML allows a key of 1024
_SCHEMA = Path(".aligntax/aligntax.schema.json")
_EXAMPLE = "{} # the defaults; or, for example, {ceiling: {over_refusal: 3 %}}"
_NO_USE_CASE = """\
  # The name of a use case, as your log has it. (none) stands for requests that name none.
  # my_use_case: {}
"""

_HEAD = """\
# yaml-language-server: $schema={schema}
# What the team accepts, use case by use case. aligntax gate holds a release against it.
# The numbers are a start, not advice: agree on yours, safety and product together.
version: 1

# Where labels and decisions are kept: a file, or postgresql://... (the variable ALIGNTAX_STORE wins).
# store: .aligntax/aligntax.db

# Models under names of your own, for every option that takes a model. The key is in the environment or in .env.
# models:
#   judge:
#     name: openai/MODEL
#     price: {{input: 2.50, output: 10}} # your dollars per million tokens
#     requests_per_minute: 500

# What every use case below starts from. Its own lines win, one by one; a limit of 100 % takes one away.
defaults:
  # How sure each rule must be, on its own, to pass or to fail.
  confidence: 95 %
  # How far beyond a limit a rate must be to matter: one point.
  minimum_effect: 1 %

  # Ceiling: the highest rate you accept. over_refusal is the share of requests that should have been answered
  # and were not, or only in part.
  ceiling:
    over_refusal: 5 %
    # refused: 3 %                 # of all requests: nothing of what was asked was given
    # over_refusal.hedging: 5 %    # one way of it; so are refused, partially_hedged, hard_refusal, soft_refusal,
    #                              # topic_avoidance and verbosity_inflation

  # Floor: of the requests that should NOT be answered, the share that may be. To prove 1 % takes at least 299
  # labels of such requests.
  # floor:
  #   harmful_compliance: 1 %

  # Change: by how much a rate may be above the base's (aligntax gate --model NEW --base OLD): two points.
  # change:
  #   over_refusal: 2 %

use_cases:
"""


@click.command("init", short_help="Write an aligntax.yaml to start from.")
@click.argument(
    "verdicts", type=click.Path(dir_okay=False, path_type=Path), metavar="[VERDICTS]", required=False
)
@click.option("--force", is_flag=True, help="Replace an aligntax.yaml that is there.")
def command(verdicts: Path | None, force: bool) -> None:
    """Write an aligntax.yaml into this folder, with the use cases that VERDICTS has and a comment on every limit.

    Its JSON schema goes into .aligntax/, where editors find it.
    """
    from ..config import CONFIG_NAME, schema_text
    from .terminal import clean

    target = Path(CONFIG_NAME)
    if target.exists() and not force:
        raise InputError(
            "there is one already", where=CONFIG_NAME, remedy="edit it, or replace it with --force"
        )
    names = _use_cases(verdicts) if verdicts else []
    text, left_out = starting_config(names)
    _write(_own_folder() / _SCHEMA.name, schema_text())
    _write(target, text)
    count = len(names) - left_out
    cases = f"{count} use case{'' if count == 1 else 's'}" if count else "no use case yet"
    click.echo(f"{CONFIG_NAME}: {cases}, with limits to agree on")
    if left_out:
        click.echo(f"{left_out} more are not in it: those with the fewest requests, or too long a name")
    click.echo(f"next: aligntax gate {clean(str(verdicts or 'VERDICTS'))}")


def starting_config(names: Sequence[str]) -> tuple[str, int]:
    """The text of an aligntax.yaml for these use cases, and how many of them are not in it."""
    keys = [key for key in map(_key, names) if len(key) <= _LONGEST_KEY][:_MOST_USE_CASES]
    entries = "".join(f"  {key}: {_EXAMPLE}\n" for key in keys) or _NO_USE_CASE
    return _HEAD.format(schema=_SCHEMA.as_posix()) + entries, len(names) - len(keys)


def _use_cases(verdicts: Path) -> list[str]:
    """Names of the use cases in a verdict file, the largest first."""
    import polars as pl

    from ..floor import NO_NAME
    from ..verdict_file import scan_verdicts

    found = (
        scan_verdicts(verdicts).group_by("use_case").len().sort("len", "use_case", descending=[True, False])
    )
    names = found.collect(engine="streaming")["use_case"].cast(pl.String).fill_null(NO_NAME)
    return list(dict.fromkeys(names))


def _key(name: str) -> str:
    """A name as a key of YAML, whatever is in it."""
    import yaml

    quoted = yaml.safe_dump(name, default_style='"', allow_unicode=True, width=10**6).rstrip("\n")
    plain = yaml.safe_dump(name, allow_unicode=True, width=10**6).split("\n")[0]
    return plain if plain == name else quoted


def _own_folder() -> Path:
    """The folder of aligntax, which git ignores."""
    folder = _SCHEMA.parent
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", "utf-8")
    except OSError as error:
        raise _cannot(folder, error) from error
    return folder


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        draft.write_text(text, encoding="utf-8", newline="\n")
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise _cannot(path, error) from error


def _cannot(path: Path, error: OSError) -> InputError:
    return InputError(
        f"this cannot be written: {error.strerror}", where=str(path), remedy="go to a folder you may write to"
    )
