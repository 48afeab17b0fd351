"""A decision as workflow commands, which GitHub Actions shows beside the job.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

from . import words
from .rules import Decision, Ruling

_COMMAND = {Ruling.FAIL: "error", Ruling.TOO_LITTLE_DATA: "warning"}
_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = {**_DATA, ":": "%3A", ",": "%2C"}


def workflow_commands(decision: Decision) -> list[str]:
    """One line for each rule that did not pass."""
    return [
        f"::{_COMMAND[finding.ruling]} title={_as(_PROPERTY, _title(finding.rule.use_case, finding.ruling))}"
        f"::{_as(_DATA, f'{words.kind(finding.rule)}: {finding.sentence}')}"
        for finding in decision.findings
        if finding.ruling in _COMMAND
    ]


def _title(use_case: str, ruling: Ruling) -> str:
    return f"aligntax gate: {words.RULING[ruling]}, {words.name(use_case)}"


def _as(signs: dict[str, str], text: str) -> str:
    return "".join(signs.get(sign, sign) for sign in text)
